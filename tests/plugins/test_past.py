"""PAST: γ and the penalty, against the formulas written anew; whose examples it looks at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn.functional import cross_entropy

from privaudit import PluginError, RecipeError, SplitOptions, load_recipe
from privaudit.cohort import Cohort
from privaudit_plugins.models.cnn import CNN
from privaudit_plugins.sparsifiers.past import PrivacyAwareSparsityTuning, over_layer_mean, shrunk

Make = Callable[..., Cohort]
MEMBERS = [40, 33, 20]
LAYERS = [("1.weight", "1.bias"), ("4.weight", "4.bias")]


def past(**options: Any) -> PrivacyAwareSparsityTuning:
    return PrivacyAwareSparsityTuning.model_validate(options)


def sensitivities(cohort: Cohort, model: int, unseen: str) -> dict[str, Tensor]:
    """|∂G/∂θ| of a 64-16-10 perceptron, of G itself, by autograd; G is one number."""
    w = {n: t[model].clone().requires_grad_() for n, t in cohort.weights.items()}
    losses = []
    for role in (unseen, "member"):
        rows = cohort.rows(role)[model]
        x, y = cohort.data.plain(rows).flatten(1), cohort.data.y[rows]
        hidden = (x @ w["1.weight"].T + w["1.bias"]).relu()
        losses.append(cross_entropy(hidden @ w["4.weight"].T + w["4.bias"], y))
    (losses[0] - losses[1]).backward()  # type: ignore[no-untyped-call]
    return {n: t.grad.abs() for n, t in w.items() if t.grad is not None}


@pytest.mark.parametrize("alpha", [1.0, 2.5])
@pytest.mark.parametrize("unseen", ["validation", "reference"])
def test_gamma_is_the_gradient_of_the_loss_gap_over_its_sum_in_the_layer(
    make_cohort: Make, unseen: Literal["validation", "reference"], alpha: float
) -> None:
    """Hu et al. 2024, equation 4: γ_i = |M|·|∇_i G| / Σ_{j in M} |∇_j G|."""
    cohort = make_cohort(MEMBERS)
    cohort.fit()
    found = past(unseen=unseen, alpha=alpha).penalties(cohort)
    for m in range(len(MEMBERS)):
        sensitivity = sensitivities(cohort, m, unseen)
        for layer in LAYERS:
            size = sum(sensitivity[n].numel() for n in layer)
            total = sum(float(sensitivity[n].sum()) for n in layer)
            for name in layer:
                expected = (size * sensitivity[name] / total) ** alpha
                assert torch.allclose(found[name][m], expected, rtol=1e-8, atol=1e-12), name


def test_tuning_is_epochs_of_training_each_followed_by_a_proximal_step(make_cohort: Make) -> None:
    """The minimiser of (v - w)²/2 + t|v| is found by trying, and the step's size written anew."""
    options: dict[str, Any] = {"schedule": "step", "milestones": [1], "gamma": 0.5, "lr": 0.1}
    plugin = past(strength=2e-3, epochs=2, lr=0.04)
    cohort = make_cohort(MEMBERS, sparsifier=plugin, **options)
    assert list(plugin.sparsify(cohort)) == [""]
    plain = make_cohort(MEMBERS, **options)
    plain.fit()
    plain.rewind("best")
    for rate in (0.04, 0.02):
        gamma = plugin.penalties(plain)
        plain.fit(1, tune=True, lr=rate, schedule="constant", milestones=())
        moved = {name: w.clone() for name, w in plain.weights.items()}
        for name, weight in moved.items():
            for m, steps in enumerate([3, 3, 2]):  # ⌈40/16⌉, ⌈33/16⌉, ⌈20/16⌉
                w, t = weight[m].clone(), 2e-3 * rate * steps * gamma[name][m]
                tried = torch.stack([torch.zeros_like(w), w - t, w + t])
                objective = (tried - w).square() / 2 + t * tried.abs()
                weight[m] = tried.gather(0, objective.argmin(0, keepdim=True))[0]
        plain.set(moved)
    for name, weight in plain.weights.items():
        assert torch.allclose(cohort.weights[name], weight, rtol=0, atol=1e-12), name
    zeros = sum(int((w == 0).sum()) for w in cohort.weights.values())
    assert zeros == sum(int((w == 0).sum()) for w in plain.weights.values()) > 0
    assert all(bool(mask.all()) for mask in cohort.masks.values())
    assert [record.epochs for record in cohort.records] == [2, 1, 1]
    assert cohort.original is not None


def test_layers_weigh_as_much_as_under_a_plain_penalty_and_silent_ones_nothing() -> None:
    values = {
        "a.weight": torch.tensor([[[1.0, 3.0]], [[0.0, 0.0]]]),
        "a.bias": torch.tensor([[5.0], [0.0]]),
        "scale": torch.tensor([[2.0, 2.0], [0.0, 4.0]]),
    }
    everything = {n: torch.ones_like(v, dtype=torch.bool) for n, v in values.items()}
    relative = over_layer_mean(values, everything)
    assert relative["a.weight"].tolist() == pytest.approx(
        np.array([[[1 / 3, 1.0]], [[0.0, 0.0]]]), abs=1e-7
    )
    assert relative["a.bias"].flatten().tolist() == pytest.approx([5 / 3, 0.0])
    assert relative["scale"].tolist() == [[1.0, 1.0], [0.0, 2.0]]


def test_behind_a_pruner_what_is_pruned_stays_so_and_counts_in_no_mean(make_cohort: Make) -> None:
    plugin = past(strength=1e-2, epochs=2)
    cohort = make_cohort(MEMBERS)
    cohort.fit()
    cohort.prune(0.3)
    before = cohort.masks
    found = plugin.penalties(cohort)
    for m in range(len(MEMBERS)):
        sensitivity = {
            n: s[before[n][m]] for n, s in sensitivities(cohort, m, "validation").items()
        }
        for layer in LAYERS:
            mean = torch.cat([sensitivity[n] for n in layer]).mean()
            for name in layer:
                kept = found[name][m][before[name][m]]
                assert torch.allclose(kept, sensitivity[name] / mean, rtol=1e-8, atol=1e-12)
    assert list(plugin.follow(cohort)) == ["past"]
    assert [record.epochs for record in cohort.records] == [2, 1, 1]
    for name, mask in before.items():
        assert torch.equal(cohort.masks[name], mask)
        assert not bool(cohort.weights[name][~mask].any())


def test_weights_shrink_to_zero_and_not_past_it() -> None:
    weights = {"w": torch.tensor([[1.0, -1.0, 0.2, -0.2, 0.0], [1.0, -1.0, 0.2, -0.2, 0.0]])}
    penalties = {"w": torch.tensor([[1.0, 2.0, 1.0, 1.0, 1.0]] * 2)}
    after = shrunk(weights, penalties, torch.tensor([0.25, 0.0]))["w"]
    assert after.tolist()[0] == [0.75, -0.5, 0.0, 0.0, 0.0]
    assert torch.equal(after[1], weights["w"][1])


@pytest.mark.parametrize("model", [None, CNN(width=4, norm="batch")], ids=["mlp", "cnn"])
def test_three_models_together_are_three_alone(make_cohort: Make, model: Any) -> None:
    plugin = past(strength=1e-2, epochs=2)
    options = {"model": model, "sparsifier": plugin, "stack": 3}
    together = make_cohort(MEMBERS, **options)
    list(plugin.sparsify(together))
    for m in range(3):
        alone = make_cohort(MEMBERS, models=[m], **options)
        list(plugin.sparsify(alone))
        for name, weight in alone.weights.items():
            assert (together.weights[name][m] - weight[0]).abs().max() < 1e-10, name


def test_the_loss_gap_shrinks(make_cohort: Make) -> None:
    """What the method is for, on networks that have learnt their 40 members by heart."""

    def gap(cohort: Cohort) -> Tensor:
        logits, y = cohort.logits(), cohort.labels
        seen, unseen = (
            torch.stack([cross_entropy(z[r], y[r]) for z, r in zip(logits, rows, strict=True)])
            for rows in (cohort.rows("member"), cohort.rows("reference"))
        )
        return unseen - seen

    plugin = past(strength=0.005, epochs=15)
    options = {"epochs": 30, "validation": 40, "reference": 120}
    before, after = make_cohort(**options), make_cohort(sparsifier=plugin, **options)
    before.fit()
    list(plugin.sparsify(after))
    assert (gap(after) < gap(before)).all()
    assert sum(int((w == 0).sum()) for w in after.weights.values()) > 0


def test_the_control_penalises_all_alike_and_looks_at_nobody(make_cohort: Make) -> None:
    cohort = make_cohort(MEMBERS, validation=0, reference=0)
    found = past(by="uniform").penalties(cohort)
    assert all(bool((f == 1).all()) for f in found.values())
    assert {n: f.shape for n, f in found.items()} == {n: w.shape for n, w in cohort.weights.items()}
    assert not cohort.looks.members
    flat = past(alpha=0, unseen="validation").penalties(make_cohort(MEMBERS))
    assert all(bool((f == 1).all()) for f in flat.values())


def test_it_looks_at_no_more_examples_than_it_is_told(
    make_cohort: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort = make_cohort(MEMBERS)
    gradients, asked = cohort.gradients, []

    def noted(loss: Any, rows: str, most: int | None) -> dict[str, Tensor]:
        asked.append((rows, most))
        return gradients(loss, rows, most)

    monkeypatch.setattr(cohort, "gradients", noted)
    past(examples=7, unseen="reference").penalties(cohort)
    assert asked == [("member", 7), ("reference", 7)]


def test_members_are_looked_at(make_cohort: Make) -> None:
    cohort = make_cohort(MEMBERS)
    past().penalties(cohort)
    assert cohort.looks.members


def test_a_plan_gets_through(make_cohort: Make) -> None:
    plugin = past(epochs=2)
    assert list(plugin.sparsify(make_cohort(MEMBERS, sparsifier=plugin, plan=True))) == [""]


def test_gradients_that_are_no_numbers_are_refused(make_cohort: Make) -> None:
    cohort = make_cohort(MEMBERS)
    cohort.set({n: torch.full_like(w, torch.nan) for n, w in cohort.weights.items()})
    with pytest.raises(PluginError, match=r"past: .*gradients of 1\.weight are no finite numbers"):
        past().penalties(cohort)


def test_a_split_without_unseen_examples_is_refused_before_training() -> None:
    split = SplitOptions(validation=0, reference=0)
    assert "set split.validation to more than 0" in (past().refusal(split) or "")
    assert "set split.reference to more" in (past(unseen="reference").refusal(split) or "")
    assert past(by="uniform").refusal(split) is None
    assert past().refusal(SplitOptions(validation=10, reference=0)) is None
    recipe: dict[str, Any] = {
        "name": "t",
        "dataset": "digits",
        "model": "mlp",
        "split": {"validation": 0},
        "sparsifiers": [
            "past",
            {"name": "past", "label": "other", "unseen": "reference"},
            {"name": "l1_unstructured", "then": "past"},
        ],
        "attacks": ["loss"],
        "shadows": 0,
    }
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe)
    assert len(caught.value.problems) == 3
    assert "sparsifiers[2].then: 'past' compares members" in caught.value.problems[2]


@pytest.mark.parametrize(
    "wrong",
    [
        {"strength": 0},
        {"strength": -1},
        {"strength": "inf"},
        {"strength": "nan"},
        {"alpha": -0.1},
        {"alpha": "inf"},
        {"epochs": 0},
        {"lr": 0},
        {"lr": "inf"},
        {"examples": 0},
        {"by": "magnitude"},
        {"unseen": "member"},
        {"density": 0.5},
    ],
)
def test_options_out_of_bounds_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        past(**wrong)
