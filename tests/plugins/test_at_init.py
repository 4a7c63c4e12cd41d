"""Pruning at initialisation: against formulas written anew, and what it may see."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import prune

import privaudit
from privaudit.cohort import Cohort
from privaudit.experiment.promises import promise_of
from privaudit.recipe import load_recipe
from privaudit.store.journal import Journal
from privaudit_plugins.defenses.dp_sgd import DPSGD
from privaudit_plugins.models.cnn import CNN
from privaudit_plugins.models.densenet40 import DenseNet40
from privaudit_plugins.models.mlp import MLP
from privaudit_plugins.models.vit_tiny import ViTTiny
from privaudit_plugins.sparsifiers._at_start import AtStart
from privaudit_plugins.sparsifiers.at_init import MagnitudeAtInit, RandomAtInit
from privaudit_plugins.sparsifiers.fine_pruning import FinePruning
from privaudit_plugins.sparsifiers.random_support import RandomSupport
from privaudit_plugins.sparsifiers.snip import Snip
from privaudit_plugins.sparsifiers.synflow import SynFlow

Make = Callable[..., Cohort]
PRUNERS: list[type[AtStart]] = [Snip, SynFlow, MagnitudeAtInit, RandomAtInit]
every_pruner = pytest.mark.parametrize("pruner", PRUNERS, ids=lambda p: p.__name__)
MEMBERS = [40, 33, 20]
NET = CNN(width=4, norm="batch")
MATRICES = ["conv1.weight", "conv2.weight", "output.weight"]


def made(pruner: type[AtStart], **options: Any) -> AtStart:
    return pruner.model_validate(options)


def masks_of(cohort: Cohort, plugin: AtStart, density: float) -> dict[str, Tensor]:
    other = cohort.fork()
    plugin.prune(other, density)
    return other.masks


def largest(scores: dict[str, np.ndarray], stays: int) -> dict[str, np.ndarray]:
    """Which scores are among so many largest."""
    every = np.concatenate([s.ravel() for s in scores.values()])
    least = np.sort(every)[len(every) - stays]
    return {name: score >= least for name, score in scores.items()}


@every_pruner
def test_untrained_networks_are_pruned_and_each_is_trained_once(
    make_cohort: Make, pruner: type[AtStart]
) -> None:
    plugin = made(pruner, density=[0.6, 0.2])
    cohort = make_cohort(MEMBERS, model=NET, sparsifier=plugin, epochs=3)
    start = cohort.initial_weights
    levels = [(label, cohort.masks, cohort.weights) for label in plugin.sparsify(cohort)]
    assert [label for label, _, _ in levels] == ["density 0.6", "density 0.2"]
    assert [record.epochs for record in cohort.records] == [3, 3]
    total = sum(start[n][0].numel() for n in MATRICES)
    for (_, masks, weights), density in zip(levels, (0.6, 0.2), strict=True):
        for m in range(3):
            assert sum(int(masks[n][m].sum()) for n in MATRICES) == round(density * total)
        assert all(bool(mask.all()) for n, mask in masks.items() if n not in MATRICES)
        assert all(not bool(weights[n][~masks[n]].any()) for n in MATRICES)
        # The same as to train from the initial weights with this mask given.
        plain = make_cohort(MEMBERS, model=NET, epochs=3)
        plain.prune_where({n: ~mask for n, mask in masks.items()})
        plain.fit()
        plain.rewind("best")
        for name, weight in plain.weights.items():
            assert torch.equal(weight, weights[name]), name
    assert cohort.original is None


@every_pruner
def test_three_models_together_are_three_alone(make_cohort: Make, pruner: type[AtStart]) -> None:
    plugin = made(pruner, density=0.4, shuffle=True)
    options = {"model": NET, "sparsifier": plugin, "stack": 3}
    together = make_cohort(MEMBERS, **options)
    list(plugin.sparsify(together))
    for m in range(3):
        alone = make_cohort(MEMBERS, models=[m], **options)
        list(plugin.sparsify(alone))
        for name, weight in alone.weights.items():
            assert torch.equal(together.masks[name][m], alone.masks[name][0])
            assert (together.weights[name][m] - weight[0]).abs().max() < 1e-10


@pytest.mark.parametrize("rows", ["member", "validation", "reference"])
def test_snip_scores_weights_by_the_gradient_of_a_gate_before_them(
    make_cohort: Make, rows: Literal["member", "validation", "reference"]
) -> None:
    """Lee et al. 2019, equations 3 to 5: |∂L(c ⊙ w)/∂c| at c = 1, for a 64-16-10 perceptron."""
    cohort = make_cohort([40, 23])
    masks = masks_of(cohort, Snip(rows=rows), 0.3)
    for m in range(2):
        chosen = cohort.rows(rows)[m]  # fewer than the batch asks for, so all of them
        x, y = cohort.data.plain(chosen).flatten(1), cohort.data.y[chosen]
        w = {n: t[m] for n, t in cohort.weights.items()}
        gates = {n: torch.ones_like(w[n]).requires_grad_() for n in ("1.weight", "4.weight")}
        hidden = (x @ (gates["1.weight"] * w["1.weight"]).T + w["1.bias"]).relu()
        logits = hidden @ (gates["4.weight"] * w["4.weight"]).T + w["4.bias"]
        cross_entropy(logits, y).backward()  # type: ignore[no-untyped-call]
        scores = {}
        for name, gate in gates.items():
            assert gate.grad is not None
            scores[name] = gate.grad.abs().numpy()
        expected = largest(scores, round(0.3 * (64 * 16 + 16 * 10)))
        for name, mask in expected.items():
            assert np.array_equal(masks[name][m].numpy(), mask), name


def test_snip_looks_at_no_more_than_its_batch(
    make_cohort: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort = make_cohort([40, 23])
    asked: list[Any] = []
    gradients = cohort.gradients

    def noted(loss: Any, **options: Any) -> dict[str, Tensor]:
        asked.append(options)
        return gradients(loss)

    monkeypatch.setattr(cohort, "gradients", noted)
    Snip(batch=7, rows="reference").prune(cohort, 0.5)
    assert asked == [{"rows": "reference", "most": 7}]


def flow_scores(weights: list[np.ndarray], biases: list[np.ndarray]) -> list[np.ndarray]:
    """|w| · ∂R/∂|w| of a perceptron with ReLU without signs, by hand: Tanaka et al., equation 2.

    What reaches a unit from an input of ones, times the weight, times the paths to the outputs.
    """
    weights, biases = [np.abs(w) for w in weights], [np.abs(b) for b in biases]
    reached = [np.ones(weights[0].shape[1])]
    for w, b in zip(weights, biases, strict=True):
        reached.append(w @ reached[-1] + b)
    left = [np.ones(len(weights[-1]))]
    for w in reversed(weights[1:]):
        left.insert(0, left[0] @ w)
    return [
        out[:, None] * w * into[None, :]
        for out, w, into in zip(left, weights, reached[:-1], strict=True)
    ]


@pytest.mark.parametrize("iterations", [1, 100])
def test_synflow_keeps_what_the_paper_s_algorithm_keeps(make_cohort: Make, iterations: int) -> None:
    """Algorithm 1, step by step in NumPy."""
    cohort = make_cohort([40, 23], model=MLP(hidden=(12, 9)))
    masks = masks_of(cohort, SynFlow(iterations=iterations), 0.05)
    names = ["hidden1", "hidden2", "output"]
    for m in range(2):
        w = [cohort.weights[f"{n}.weight"][m].numpy().copy() for n in names]
        b = [cohort.weights[f"{n}.bias"][m].numpy() for n in names]
        total = sum(a.size for a in w)
        for k in range(1, iterations + 1):
            scores = dict(zip(names, flow_scores(w, b), strict=True))
            kept = largest(scores, round(0.05 ** (k / iterations) * total))
            w = [a * kept[name] for a, name in zip(w, names, strict=True)]
        for name, layer in zip(names, w, strict=True):
            assert np.array_equal(masks[f"{name}.weight"][m].numpy(), layer != 0), name


def test_synflow_conserves_what_flows_through_each_layer(make_cohort: Make) -> None:
    """Theorem 2 of the paper: without biases, the scores of every layer sum to R."""
    cohort = make_cohort([40], model=MLP(hidden=(12, 9)))
    cohort.set({n: 0 * w for n, w in cohort.weights.items() if n.endswith("bias")})
    names = ("hidden1.weight", "hidden2.weight", "output.weight")
    scores = SynFlow._scores(cohort, names)
    w = [cohort.weights[n][0].abs() for n in names]
    flow = float((w[2] @ w[1] @ w[0]).sum())
    for name in names:
        assert float(scores[name].sum()) == pytest.approx(flow, rel=1e-12)


def test_synflow_in_many_steps_empties_no_layer_where_one_step_does(make_cohort: Make) -> None:
    """What the paper is about: layer collapse, at a density that keeps few weights."""
    cohort = make_cohort([40], model=MLP(hidden=(40, 40)))
    many = masks_of(cohort, SynFlow(), 0.01)
    at_once = masks_of(cohort, MagnitudeAtInit(), 0.01)
    smallest = [
        min(int(masks[f"{n}.weight"].sum()) for n in ("hidden1", "hidden2", "output"))
        for masks in (many, at_once)
    ]
    assert smallest[0] > 0
    assert smallest[1] == 0  # the first layer has 64 inputs, so it starts smallest


def test_synflow_is_finite_where_a_network_is_deep(make_cohort: Make) -> None:
    cohort = make_cohort([20], model=DenseNet40(growth=2), precision="fp32")
    masks = masks_of(cohort, SynFlow(iterations=2), 0.3)
    matrices = [mask for mask in masks.values() if mask.ndim > 2]
    total = sum(mask.numel() for mask in matrices)
    assert sum(int(mask.sum()) for mask in matrices) == round(0.3 * total)


def test_synflow_keeps_its_masks_when_a_run_is_resumed(make_cohort: Make, tmp_path: Path) -> None:
    plugin = SynFlow(density=(0.5, 0.2), iterations=5)
    first = make_cohort(sparsifier=plugin, journal=Journal(tmp_path))
    list(plugin.sparsify(first))
    plan = make_cohort(sparsifier=plugin, journal=Journal(tmp_path), plan=True)
    list(plugin.sparsify(plan))
    assert [record.found for record in plan.records] == [2, 2]
    assert all(torch.equal(w, plan.weights[n]) for n, w in first.weights.items())


def test_magnitudes_are_those_that_torch_prunes_in_the_untrained_network(make_cohort: Make) -> None:
    cohort = make_cohort([20], model=NET)
    module = NET.build((1, 8, 8), 10).double()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(cohort.initial_weights[name][0])
    layers = [(module.get_submodule(n), "weight") for n in ("conv1", "conv2", "output")]
    prune.global_unstructured(layers, prune.L1Unstructured, amount=0.63)
    masks = masks_of(cohort, MagnitudeAtInit(), 0.37)
    for name in MATRICES:
        assert torch.equal(masks[name][0], module.get_buffer(f"{name}_mask").bool())


def test_random_supports_are_those_of_random_after_training(make_cohort: Make) -> None:
    cohort = make_cohort(MEMBERS, model=NET)
    other = cohort.fork()
    RandomSupport().prune(other, 0.3)
    masks = masks_of(cohort, RandomAtInit(), 0.3)
    for name in MATRICES:
        assert torch.equal(masks[name], other.masks[name])
        assert not torch.equal(masks[name][0], masks[name][1])


def test_random_supports_at_initialisation_take_every_weight_equally_often(
    make_cohort: Make,
) -> None:
    """Uniform over supports of one size: layers have their share, and two meet by chance."""
    cohort = make_cohort([12] * 12, model=NET)
    masks = masks_of(cohort, RandomAtInit(), 0.3)
    flat = torch.cat([masks[n].flatten(1) for n in MATRICES], 1).double()
    size = flat.shape[1]
    assert (flat.sum(1) == round(0.3 * size)).all()
    for name in MATRICES:
        part = masks[name].double()
        assert abs(float(part.mean()) - 0.3) < 4 * (0.21 / part.numel()) ** 0.5
    together = (flat @ flat.T / size)[~torch.eye(12, dtype=torch.bool)]
    assert (together - 0.09).abs().max() < 4 * (0.09 * 0.91 / size) ** 0.5


@every_pruner
def test_a_shuffled_support_has_the_same_share_of_each_layer(
    make_cohort: Make, pruner: type[AtStart]
) -> None:
    masks = []
    for shuffle in (False, True):
        plugin = made(pruner, density=0.3, shuffle=shuffle)
        cohort = make_cohort(MEMBERS, model=NET, sparsifier=plugin, epochs=1)
        list(plugin.sparsify(cohort))
        masks.append(cohort.masks)
    plain, shuffled = masks
    for name in MATRICES:
        assert torch.equal(plain[name].flatten(1).sum(1), shuffled[name].flatten(1).sum(1))
    assert not torch.equal(plain["output.weight"], shuffled["output.weight"])


class Embedded(privaudit.Model):
    """Pixels as tokens, looked up."""

    name: Literal["embedded"] = "embedded"
    only: bool = False

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return _Lookup(classes, self.only)


class _Lookup(nn.Module):
    def __init__(self, classes: int, only: bool) -> None:
        super().__init__()
        self.table = nn.Embedding(40, classes)
        self.output = nn.Identity() if only else nn.Linear(classes, classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = (x.flatten(1) * 8 + 8).long().clamp(0, 39)
        answer: Tensor = self.output(self.table(tokens).mean(1))
        return answer


@every_pruner
def test_embeddings_stay_dense(make_cohort: Make, pruner: type[AtStart]) -> None:
    cohort = make_cohort([20], model=Embedded())
    masks = masks_of(cohort, made(pruner), 0.2)
    assert bool(masks["table.weight"].all())
    assert int(masks["output.weight"].sum()) == 20
    alone = make_cohort([20], model=Embedded(only=True))
    with pytest.raises(privaudit.RecipeError, match="no weight of two axes outside of embeddings"):
        list(made(pruner).sparsify(alone))


def test_synflow_refuses_what_normalises_each_example(make_cohort: Make) -> None:
    for model in (CNN(width=4, norm="group"), ViTTiny(width=12, depth=1, patch=4)):
        cohort = make_cohort([20], model=model)
        with pytest.raises(privaudit.RecipeError, match="conserves no synaptic flow") as caught:
            list(SynFlow().sparsify(cohort))
        assert len(str(caught.value).splitlines()) == 1
        assert cohort.records == []  # before anything is trained


@pytest.mark.parametrize("pruner", [Snip, SynFlow])
def test_scores_that_are_no_numbers_are_refused(make_cohort: Make, pruner: type[AtStart]) -> None:
    cohort = make_cohort([20])
    cohort.set({n: w / 0 for n, w in cohort.weights.items()})
    with pytest.raises(privaudit.PluginError, match="no finite number"):
        made(pruner).prune(cohort, 0.5)


def test_a_layer_without_weights_is_told(
    make_cohort: Make, caplog: pytest.LogCaptureFixture
) -> None:
    plugin = MagnitudeAtInit(density=(0.5, 0.01))
    cohort = make_cohort([40, 30], model=MLP(hidden=(40, 40)), sparsifier=plugin, epochs=1)
    with caplog.at_level(logging.WARNING):
        list(plugin.sparsify(cohort))
    told = [r.getMessage() for r in caplog.records if "without a weight" in r.getMessage()]
    assert told == [
        "sparsifier 'magnitude_at_init': density 0.01 leaves hidden1.weight without a weight, in 2 "
        "of 2 networks: where nothing leads past such a layer answers are the same for every "
        "example, and that nothing leaks then says nothing about sparsity"
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"density": 0},
        {"density": 1},
        {"density": []},
        {"density": [0.5, 0.5]},
        {"density": "half"},
        {"scope": "layer"},
        {"epochs": 3},
        {"shuffle": "perhaps"},
    ],
)
@every_pruner
def test_options_out_of_bounds_are_refused(pruner: type[AtStart], options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        made(pruner, **options)


@pytest.mark.parametrize(
    ("pruner", "options"),
    [(Snip, {"batch": 0}), (Snip, {"rows": "test"}), (SynFlow, {"iterations": 0})],
)
def test_their_own_options_out_of_bounds_are_refused(
    pruner: type[AtStart], options: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError):
        made(pruner, **options)


def recipe(sparsifiers: list[Any], split: dict[str, Any], **more: Any) -> dict[str, Any]:
    base = {"name": "r", "dataset": "digits", "model": "mlp", "attacks": ["loss"], "shadows": 0}
    return base | {"split": split, "sparsifiers": sparsifiers} | more


def test_rows_that_the_split_has_not_are_mistakes_of_the_recipe_all_at_once() -> None:
    sparsifiers = [
        {"name": "snip", "rows": "reference"},
        "fine_pruning",
        {"name": "snip", "label": "right"},
    ]
    attacks = [{"name": "loss", "shadow_sparsifier": {"name": "snip", "rows": "reference"}}]
    with pytest.raises(privaudit.RecipeError) as caught:
        load_recipe(recipe(sparsifiers, {"validation": 0}, attacks=attacks, shadows=2))
    assert len(caught.value.problems) == 3
    assert "set split.reference to more than 0, or rows to another" in caught.value.problems[0]
    assert "'fine_pruning' looks at validation examples" in caught.value.problems[1]
    load_recipe(recipe(sparsifiers[:1], {"reference": 50}))
    assert FinePruning(rows="member").refusal(privaudit.SplitOptions(validation=0)) is None


@pytest.mark.parametrize(("rows", "promises"), [("reference", True), ("member", False)])
@pytest.mark.parametrize("pruner", [Snip, FinePruning])
def test_epsilon_is_that_of_the_training_alone_if_members_chose_nothing(
    make_cohort: Make, pruner: Any, rows: str, promises: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Against the dense network's ε: a mask from other people's data is known beforehand."""
    pytest.importorskip("dp_accounting")
    plugin = pruner(rows=rows, density=0.5)
    defense = DPSGD(noise_multiplier=2.0)
    options: dict[str, Any] = {"model": CNN(width=4), "defense": defense, "validation": 0}
    cohort = make_cohort([40, 40], sparsifier=plugin, **options)
    list(plugin.sparsify(cohort))
    promise = promise_of(defense, cohort)
    if not promises:
        assert promise is None
        assert "by looking at members beside training" in caplog.text
        return
    dense = make_cohort([40, 40], **options)
    for _ in cohort.records:
        dense.fit()
    expected = promise_of(defense, dense)
    assert promise is not None
    assert expected is not None
    assert promise.epsilon == expected.epsilon
    assert promise.trainings == len(cohort.records)
    assert any("reference examples" in what for what in promise.outside)


@pytest.mark.parametrize("pruner", [SynFlow, MagnitudeAtInit, RandomAtInit])
def test_epsilon_stands_where_nothing_is_looked_at(make_cohort: Make, pruner: Any) -> None:
    pytest.importorskip("dp_accounting")
    plugin, defense = pruner(density=0.5), DPSGD(noise_multiplier=2.0)
    cohort = make_cohort([40, 40], sparsifier=plugin, defense=defense, validation=0)
    list(plugin.sparsify(cohort))
    promise = promise_of(defense, cohort)
    assert promise is not None
    assert not any("decided" in what for what in promise.outside)
