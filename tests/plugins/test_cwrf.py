"""CWRF: which weights are critical, where they go, and what is tuned around them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div

from privaudit import (
    Defense,
    Examples,
    Model,
    PluginError,
    RecipeError,
    SplitOptions,
    Step,
    load_recipe,
)
from privaudit.cohort import Cohort
from privaudit_plugins.defenses._importance import importances, largest
from privaudit_plugins.defenses.cwrf import CriticalWeightsRewinding

Make = Callable[..., Cohort]
Named = dict[str, Tensor]
MEMBERS = [40, 33, 20]
MATRICES = {"convolutional": ["0.weight", "7.weight"], "perceptron": ["1.weight", "4.weight"]}
VARIANTS = ["zero", "tune_critical", "rewind"]


def cwrf(**options: Any) -> CriticalWeightsRewinding:
    return CriticalWeightsRewinding.model_validate(options)


class Still(Defense):
    """A loss that moves nothing; answers are rounded."""

    name: Literal["still"] = "still"

    def loss(self, step: Step) -> Tensor:
        return step.logits.sum() * 0

    def respond(self, logits: Tensor, companion: Callable[..., Tensor] | None) -> Tensor:
        return logits.round()


class Referring(Defense):
    reference: ClassVar[bool] = True
    name: Literal["referring"] = "referring"


class Paired(Defense):
    name: Literal["paired"] = "paired"

    def companion(self, classes: int) -> nn.Module:
        return nn.Bilinear(classes, 1, 1)


def trained(make_cohort: Make, **options: Any) -> Cohort:
    cohort = make_cohort(MEMBERS, **options)
    cohort.fit()
    cohort.rewind("best")
    return cohort


def finished(cohort: Cohort, defense: CriticalWeightsRewinding) -> Cohort:
    after = cohort.fork()
    defense.finish(after)
    return after


def critical(cohort: Cohort, share: float) -> Named:
    """Where the scores are largest, told apart by sorting each model's own."""
    scores = importances(cohort, [r.reference for r in cohort._rows]).vulnerability
    names = next(names for names in MATRICES.values() if set(names) <= set(scores))
    found = {n: torch.zeros_like(scores[n], dtype=torch.bool) for n in names}
    for m in range(len(cohort)):
        flat = torch.cat([scores[n][m].flatten() for n in names])
        left = torch.cat([cohort.masks[n][m].flatten() for n in names])
        order = sorted(range(len(flat)), key=lambda i: (not left[i], -float(flat[i])))
        top = torch.zeros(len(flat), dtype=torch.bool)
        top[order[: round(share * int(left.sum()))]] = True
        sizes = [scores[n][m].numel() for n in names]
        for name, part in zip(names, torch.split(top, sizes), strict=True):
            found[name][m] = part.view_as(found[name][m])
    return found


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", MATRICES)
def test_what_is_frozen_is_bit_equal_after_tuning(
    make_cohort: Make, request: pytest.FixtureRequest, variant: str, kind: str
) -> None:
    cohort = trained(make_cohort, model=request.getfixturevalue(kind)(), weight_decay=0.01)
    before, initial, where = cohort.weights, cohort.initial_weights, critical(cohort, 0.1)
    after = finished(cohort, cwrf(share=0.1, variant=variant)).weights
    assert set(where) == set(MATRICES[kind])
    for name, weight in after.items():
        top = where.get(name, torch.zeros_like(weight, dtype=torch.bool))
        if variant == "tune_critical":
            assert torch.equal(weight[~top], before[name][~top])
            moved, start = weight[top], initial[name][top]
        else:
            frozen = initial[name] if variant == "rewind" else torch.zeros_like(weight)
            assert torch.equal(weight[top], frozen[top])
            moved, start = weight[~top], before[name][~top]
        assert not len(start) or float((moved != start).double().mean()) > 0.5


@pytest.mark.parametrize("share", [0.0001, 0.001, 0.05, 1.0])
def test_as_many_are_critical_as_asked_but_at_least_one(make_cohort: Make, share: float) -> None:
    cohort = make_cohort(MEMBERS)
    generator = torch.Generator().manual_seed(0)
    scores = {n: torch.rand(w.shape, generator=generator) for n, w in cohort.weights.items()}
    found = largest(cohort, scores, share)
    counts = torch.stack([where.flatten(1).sum(1) for where in found.values()]).sum(0)
    assert counts.tolist() == [max(1, round(share * (64 * 16 + 16 * 10)))] * 3
    assert set(found) == {"1.weight", "4.weight"}


def test_scores_are_those_of_plain_autograd(
    make_cohort: Make, digits: Examples, perceptron: Callable[..., Model]
) -> None:
    cohort = trained(make_cohort)
    rows = [r.reference for r in cohort._rows]
    found = importances(cohort, rows)
    for m in range(3):
        module = perceptron().build(digits.shape, 10).double().eval()
        for name, value in module.named_parameters():
            value.data.copy_(cohort.weights[name][m])
        x, member = (digits.x.double() - 8) / 8, cohort._rows[m].member
        y = digits.y[member]
        with torch.no_grad():
            unseen = module(x[rows[m]]).softmax(-1)
            sure = unseen[torch.arange(16), digits.y[rows[m]]].mean()
            target = module(x[member]).softmax(-1)
            own = target[torch.arange(len(y)), y].clone()
            target *= ((1 - sure) / (1 - own))[:, None]
            target[torch.arange(len(y)), y] = sure
        assert (target.sum(-1) - 1).abs().max() < 1e-12
        answer = module(x[member])
        losses = {
            "vulnerability": kl_div(answer.log_softmax(-1), target, reduction="batchmean"),
            "utility": cross_entropy(answer, y),
        }
        for which, loss in losses.items():
            gradients = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True)
            for (name, value), gradient in zip(module.named_parameters(), gradients, strict=True):
                score = getattr(found, which)[name][m]
                assert (score - (gradient * value).abs()).abs().max() < 1e-12, (which, name)


def test_the_correlation_reported_is_pearson_s_over_what_is_not_pruned(make_cohort: Make) -> None:
    cohort = trained(make_cohort)
    cohort.prune(keep=0.5)
    found = importances(cohort, [r.reference for r in cohort._rows])
    noted = finished(cohort, cwrf()).take_notes()["importance correlation"]
    for m in range(3):
        one, other = (
            np.concatenate(
                [scores[n][m][cohort.masks[n][m]].numpy() for n in MATRICES["perceptron"]]
            )
            for scores in found
        )
        assert abs(float(noted[m]) - np.corrcoef(one, other)[0, 1]) < 1e-12
    assert len(set(noted.tolist())) == 3


@pytest.mark.parametrize("score", ["vulnerability", "utility", "random"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_three_together_are_three_alone(
    make_cohort: Make, convolutional: Callable[..., Model], score: str, variant: str
) -> None:
    defense = cwrf(score=score, variant=variant, share=0.1, epochs=1, lr=0.05)
    options: dict[str, Any] = {"model": convolutional(dropout=0.1), "defense": defense}
    together = finished(trained(make_cohort, **options), defense)
    for m in range(3):
        alone = make_cohort(MEMBERS, models=[m], **options)
        alone.fit()
        alone.rewind("best")
        one = finished(alone, defense)
        assert (one.states()[0].flat - together.states()[m].flat).abs().max() < 1e-10
        assert one.take_notes().keys() == {"importance correlation"}


def test_scores_choose_different_weights(make_cohort: Make) -> None:
    cohort = trained(make_cohort)
    chosen = []
    for score in ("vulnerability", "utility", "random"):
        after = finished(cohort, cwrf(score=score, share=0.1, variant="zero")).weights
        chosen.append(torch.cat([(after[n] == 0).flatten(1) for n in MATRICES["perceptron"]], 1))
    for one in range(3):
        for other in range(one):
            shared = (chosen[one] & chosen[other]).sum(1) / chosen[one].sum(1)
            assert bool((shared < 0.95).all())
    assert not torch.equal(chosen[2][0], chosen[2][1])  # each model draws its own


@pytest.mark.parametrize("variant", VARIANTS)
def test_pruned_weights_are_no_candidates_and_stay_zero(make_cohort: Make, variant: str) -> None:
    cohort = trained(make_cohort)
    cohort.prune(keep=0.3)
    cohort.fit()
    where = critical(cohort, 0.2)
    after = finished(cohort, cwrf(share=0.2, variant=variant))
    for name in MATRICES["perceptron"]:
        pruned, weight = ~cohort.masks[name], after.weights[name]
        assert not bool((where[name] & pruned).any())
        assert not bool(weight[pruned].any())
        if variant == "rewind":
            top = where[name]
            assert torch.equal(weight[top], cohort.initial_weights[name][top])
    left = round(0.3 * (64 * 16 + 16 * 10))
    zeroed = round(0.2 * left) if variant == "zero" else 0
    biases = 26
    assert after.nonzero().tolist() == [left - zeroed + biases] * 3


def test_the_inner_defense_is_in_force_while_tuning(make_cohort: Make) -> None:
    defense = cwrf(share=0.1, defense=Still())
    cohort = trained(make_cohort, defense=defense)
    plain = trained(make_cohort)
    after = finished(cohort, defense).weights
    for name, weight in after.items():
        assert torch.equal(cohort.weights[name], plain.weights[name])  # no part in the training
        back = critical(cohort, 0.1).get(name, torch.zeros_like(weight, dtype=torch.bool))
        expected = torch.where(back, cohort.initial_weights[name], cohort.weights[name])
        assert torch.equal(weight, expected)


def test_what_an_attacker_sees_passes_through_the_inner_defense() -> None:
    logits = torch.tensor([[0.2, 1.7]])
    assert torch.equal(cwrf(defense=Still()).respond(logits, None), torch.tensor([[0.0, 2.0]]))
    assert torch.equal(cwrf().respond(logits, None), logits)


def test_fine_tuning_has_a_schedule_of_its_own_and_ends_at_its_best_epoch(
    make_cohort: Make,
) -> None:
    cohort = trained(make_cohort)
    after = finished(cohort, cwrf(epochs=5, lr=0.3))
    assert [record.epochs for record in cohort.records] == [2, 5]
    again = cohort.fork()
    where = critical(cohort, 0.001)
    again.rewind("initial", where=where)
    again.freeze(where)
    again.fit(5, lr=0.3)
    last = again.weights
    again.rewind("best")
    assert all(torch.equal(w, again.weights[n]) for n, w in after.weights.items())
    assert not torch.equal(last["1.weight"], again.weights["1.weight"])


def test_the_unseen_examples_are_reference_or_else_validation_examples(make_cohort: Make) -> None:
    for options in ({}, {"reference": 0}):
        finished(trained(make_cohort, **options), cwrf(share=0.1))
    with pytest.raises(PluginError, match=r"'cwrf'.*split\.validation or split\.reference"):
        finished(trained(make_cohort, reference=0, validation=0), cwrf())


@pytest.mark.parametrize(
    ("options", "split", "message"),
    [
        ({}, {}, None),
        ({}, {"validation": 0, "reference": 10}, None),
        ({}, {"validation": 0}, "split.validation above 0"),
        ({"defense": Referring()}, {}, "'referring'.*set split.reference to more than 0"),
        ({"defense": Referring()}, {"reference": 0.1}, None),
    ],
)
def test_a_split_without_unseen_examples_is_refused_before_training(
    options: dict[str, Any], split: dict[str, Any], message: str | None
) -> None:
    refusal = cwrf(**options).refusal(SplitOptions.model_validate(split))
    assert (refusal is None) == (message is None)
    assert message is None or re.search(message, str(refusal))


def test_a_second_network_or_a_second_finish_is_refused_at_once() -> None:
    for inner, what in ((Paired(), "a second network, as 'paired'"), (cwrf(), "as 'cwrf'")):
        with pytest.raises(ValidationError, match=what):
            cwrf(defense=inner)


RECIPE: dict[str, Any] = {
    "name": "nested",
    "dataset": "digits",
    "model": "mlp",
    "attacks": ["loss"],
}


def test_a_recipe_with_an_inner_defense_survives_being_written_out() -> None:
    entry = {"name": "cwrf", "share": 0.001, "defense": {"name": "relaxloss", "alpha": 0.1}}
    recipe = load_recipe(RECIPE | {"defenses": [entry]})
    inner = recipe.defenses[0].plugin.defense  # type: ignore[attr-defined]
    assert (inner.name, inner.alpha) == ("relaxloss", 0.1)
    dumped = recipe.model_dump(mode="json", serialize_as_any=True)
    assert dumped["defenses"][0]["defense"]["alpha"] == 0.1
    assert load_recipe(dumped) == recipe
    other = load_recipe(dumped, ["defenses.0.defense.alpha=0.2"])
    assert other.digest() != recipe.digest()


def test_a_recipe_whose_inner_defense_has_a_second_network_is_told_in_one_line() -> None:
    entry = {"name": "cwrf", "defense": "min_max"}
    with pytest.raises(RecipeError) as caught:
        load_recipe(RECIPE | {"defenses": [entry]})
    assert str(caught.value).splitlines() == [
        "recipe: defenses[0].defense: must not bring a second network, as 'min_max' does: "
        "name another"
    ]
