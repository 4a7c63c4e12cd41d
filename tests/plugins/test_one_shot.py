"""The one-shot pruners: what goes, how much stays, and that it stays away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.utils import prune

from privaudit import (
    Model,
    RecipeError,
    Sparsifier,
)
from privaudit.cohort import Cohort
from privaudit_plugins.models.cnn import CNN
from privaudit_plugins.models.mlp import MLP
from privaudit_plugins.models.resnet20 import ResNet20
from privaudit_plugins.sparsifiers._one_shot import OneShot, weakest
from privaudit_plugins.sparsifiers.l1_unstructured import L1Unstructured
from privaudit_plugins.sparsifiers.random_support import RandomSupport
from privaudit_plugins.sparsifiers.slimming import Slimming
from privaudit_plugins.sparsifiers.structured import L1Structured, L2Structured

Make = Callable[..., Cohort]
PRUNERS: list[type[OneShot]] = [
    L1Unstructured, RandomSupport, L1Structured, L2Structured, Slimming
]  # fmt: skip
every_pruner = pytest.mark.parametrize("pruner", PRUNERS, ids=lambda p: p.__name__)
MEMBERS = [40, 33, 20]
NET = CNN(width=4, norm="batch")  # matrices conv1 (4×9), conv2 (8×36), output (10×32)
MATRICES = ["conv1.weight", "conv2.weight", "output.weight"]


def made(pruner: type[OneShot], **options: Any) -> OneShot:
    return pruner.model_validate(options)


def kept(masks: dict[str, Tensor], names: list[str]) -> list[int]:
    return [sum(int(masks[n][m].sum()) for n in names) for m in range(len(masks[names[0]]))]


class Recorder:
    """Passes a cohort on to the script, and notes how each fit starts."""

    def __init__(self, cohort: Cohort) -> None:
        self._cohort = cohort
        self.fits: list[tuple[dict[str, Tensor], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cohort, name)

    def fit(self, epochs: int | None = None, **options: Any) -> None:
        self.fits.append((self._cohort.weights, options | {"epochs": epochs}))
        self._cohort.fit(epochs, **options)


@every_pruner
def test_a_script_trains_once_and_tunes_once_for_each_density(
    make_cohort: Make, pruner: type[OneShot]
) -> None:
    sparsifier = made(pruner, density=[0.7, 0.3], epochs=1, lr=0.01)
    options = {"model": NET, "sparsifier": sparsifier, "epochs": 5, "lr": 0.3}
    cohort = make_cohort(MEMBERS, **options)
    recorder = Recorder(cohort)
    levels = []
    for label in sparsifier.sparsify(recorder):  # type: ignore[arg-type]
        levels.append((label, cohort.masks, cohort.weights))
    assert [label for label, _, _ in levels] == ["density 0.7", "density 0.3"]
    tuned = {"tune": True, "epochs": 1, "lr": 0.01}
    assert [options for _, options in recorder.fits] == [{"epochs": None}, tuned, tuned]
    plain = make_cohort(MEMBERS, **options)
    plain.fit()
    last = plain.weights
    plain.rewind("best")
    assert not torch.equal(plain.weights["conv1.weight"], last["conv1.weight"])
    for (start, _), (_, masks, weights) in zip(recorder.fits[1:], levels, strict=True):
        assert not all(bool(mask.all()) for mask in masks.values())
        for name, trained in plain.weights.items():
            assert torch.equal(start[name], trained * masks[name]), name
            assert not bool(weights[name][~masks[name]].any()), name
        assert not torch.equal(weights["output.bias"], start["output.bias"])


@every_pruner
def test_three_models_together_are_three_alone(make_cohort: Make, pruner: type[OneShot]) -> None:
    sparsifier = made(pruner, density=0.4)
    options = {"model": CNN(width=4, norm="batch"), "sparsifier": sparsifier, "stack": 3}
    together = make_cohort(MEMBERS, **options)
    list(sparsifier.sparsify(together))
    for m in range(3):
        alone = make_cohort(MEMBERS, models=[m], **options)
        list(sparsifier.sparsify(alone))
        for name, weight in alone.weights.items():
            assert torch.equal(together.masks[name][m], alone.masks[name][0])
            assert (together.weights[name][m] - weight[0]).abs().max() < 1e-10


@every_pruner
def test_fine_tuning_follows_the_recipe_where_nothing_is_given(
    make_cohort: Make, pruner: type[OneShot]
) -> None:
    sparsifier = made(pruner, density=0.5)
    cohort = make_cohort(model=NET, sparsifier=sparsifier, epochs=3)
    assert list(sparsifier.sparsify(cohort)) == ["density 0.5"]
    assert [record.epochs for record in cohort.records] == [3, 3]


@pytest.mark.parametrize("pruner", [L1Unstructured, RandomSupport])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_density_is_exact_to_one_weight(
    make_cohort: Make, pruner: type[OneShot], scope: str
) -> None:
    cohort = make_cohort(MEMBERS, model=NET)
    made(pruner, scope=scope).prune(cohort, 0.35)
    sizes = [4 * 9, 8 * 36, 10 * 32]
    if scope == "global":
        assert kept(cohort.masks, MATRICES) == [round(0.35 * sum(sizes))] * 3
    else:
        for name, size in zip(MATRICES, sizes, strict=True):
            assert kept(cohort.masks, [name]) == [round(0.35 * size)] * 3
    assert all(bool(m.all()) for n, m in cohort.masks.items() if n not in MATRICES)


@pytest.mark.parametrize("pruner", [L1Structured, L2Structured])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_so_many_filters_stay(make_cohort: Make, pruner: type[OneShot], scope: str) -> None:
    cohort = make_cohort(MEMBERS, model=CNN(width=5, norm="batch"))
    made(pruner, scope=scope).prune(cohort, 0.3)
    masks = cohort.masks
    rows = {n: masks[f"{n}.weight"].flatten(2).any(2) for n in ("conv1", "conv2")}
    for m in range(3):
        counts = [int(rows["conv1"][m].sum()), int(rows["conv2"][m].sum())]
        assert counts == [2, 3] if scope == "layer" else sum(counts) == round(0.3 * 15)
        assert min(counts) >= 1
        first, second = rows["conv1"][m], rows["conv2"][m]
        assert torch.equal(masks["norm1.weight"][m], first)
        assert torch.equal(masks["norm2.bias"][m], second)
        assert torch.equal(masks["conv2.weight"][m].any(0).flatten(1).any(1), first)
        pixels = second.repeat_interleave(4)  # 2×2 of each channel
        assert torch.equal(masks["output.weight"][m], pixels.expand(10, -1))
        assert bool(masks["output.bias"][m].all())


@pytest.mark.parametrize("density", [0.001, 0.4])
def test_a_filter_stays_in_every_layer(make_cohort: Make, density: float) -> None:
    cohort = make_cohort(model=MLP(hidden=(6, 3)))
    cohort.set({"hidden2.weight": cohort.weights["hidden2.weight"] / 1000})
    made(L1Structured, scope="global").prune(cohort, density)
    stays = [cohort.masks[f"hidden{n}.weight"].any(2).sum(1).tolist() for n in (1, 2)]
    assert stays == ([[1, 1], [1, 1]] if density < 0.1 else [[3, 3], [1, 1]])


def one_network(cohort: Cohort, model: Model) -> nn.Module:
    module = model.build((1, 8, 8), 10).double()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(cohort.weights[name][0])
    return module


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_single_weights_are_those_that_torch_prunes(make_cohort: Make, scope: str) -> None:
    cohort = make_cohort([20], model=NET)
    module = one_network(cohort, NET)
    made(L1Unstructured, scope=scope).prune(cohort, 0.37)
    layers = [(module.get_submodule(n), "weight") for n in ("conv1", "conv2", "output")]
    if scope == "global":
        prune.global_unstructured(layers, prune.L1Unstructured, amount=0.63)
    else:
        for layer, name in layers:
            prune.l1_unstructured(layer, name, amount=0.63)  # type: ignore[no-untyped-call]
    for name in MATRICES:
        assert torch.equal(cohort.masks[name][0], module.get_buffer(f"{name}_mask").bool())


@pytest.mark.parametrize(("pruner", "order"), [(L1Structured, 1), (L2Structured, 2)])
@pytest.mark.parametrize("model", [NET, MLP(hidden=(9, 7)), ResNet20()], ids=lambda m: m.name)
def test_filters_are_those_that_torch_prunes(
    make_cohort: Make, pruner: type[OneShot], order: int, model: Model
) -> None:
    cohort = make_cohort([20], model=model)
    module = one_network(cohort, model)
    made(pruner).prune(cohort, 0.28)
    kinds = (nn.Conv2d, nn.Linear)
    layers = [n for n, layer in module.named_modules() if isinstance(layer, kinds)]
    for name in layers[:-1]:
        prune.ln_structured(  # type: ignore[no-untyped-call]
            module.get_submodule(name), "weight", amount=0.72, n=order, dim=0
        )
        theirs = module.get_buffer(f"{name}.weight_mask").flatten(1).any(1)
        ours = cohort.masks[f"{name}.weight"][0].flatten(1).any(1)
        assert torch.equal(ours, theirs), name


def test_norms_of_filters_of_all_layers_are_compared_by_weight(make_cohort: Make) -> None:
    cohort = make_cohort([20], model=MLP(hidden=(4, 4)))
    first, second = torch.tensor([[1.0, 3, 5, 7], [2, 4, 6, 8]]).double()
    cohort.set({
        "hidden1.weight": first.view(1, 4, 1).expand(1, 4, 64),
        "hidden2.weight": second.view(1, 4, 1).expand(1, 4, 4),
    })  # fmt: skip
    for pruner in (L1Structured, L2Structured):
        other = cohort.fork()
        made(pruner, scope="global").prune(other, 0.5)
        assert other.masks["hidden1.weight"][0, :, 0].tolist() == [False, False, True, True]
        assert other.masks["hidden2.weight"][0, :, 3].tolist() == [False, False, True, True]


def test_random_supports_are_nested_and_each_model_s_own(make_cohort: Make) -> None:
    cohort = make_cohort(MEMBERS, model=NET)
    supports = []
    for density in (0.6, 0.3):
        other = cohort.fork()
        made(RandomSupport).prune(other, density)
        supports.append(torch.cat([other.masks[n].flatten(1) for n in MATRICES], 1))
    large, small = supports
    assert bool((large | ~small).all())
    for a, b in ((0, 1), (0, 2), (1, 2)):
        both = (small[a] & small[b]).double().mean()
        assert abs(float(both) - 0.09) < 0.04  # as two independent supports of 0.3 meet
    other = cohort.fork()
    other.set({n: w.flip(-1) * 2 for n, w in other.weights.items()})
    made(RandomSupport).prune(other, 0.3)  # looks at no weight
    again = torch.cat([other.masks[n].flatten(1) for n in MATRICES], 1)
    assert torch.equal(again, small)


def test_layers_of_one_size_have_random_supports_of_their_own(make_cohort: Make) -> None:
    cohort = make_cohort([20], model=MLP(hidden=(64, 64)))
    made(RandomSupport, scope="layer").prune(cohort, 0.5)
    assert not torch.equal(cohort.masks["hidden1.weight"], cohort.masks["hidden2.weight"])


def test_the_weakest_of_a_hand_made_case() -> None:
    scores = {"a": torch.tensor([[5.0, 1, 4, 3]]), "b": torch.tensor([[0.1, 0.2]])}
    gone = weakest(scores, 0.5, "global")
    assert gone["a"].tolist() == [[False, True, False, True]]
    assert gone["b"].tolist() == [[True, False]]  # 0.2 is spared, though less than 3
    gone = weakest(scores, 0.5, "layer")
    assert gone["a"].tolist() == [[False, True, False, True]]
    assert gone["b"].tolist() == [[True, False]]
    gone = weakest({"a": torch.tensor([[1.0, 1, 1], [1, 2, 3]])}, 0.4, "layer")
    assert gone["a"].tolist() == [[False, True, True], [True, True, False]]


def test_a_network_without_hidden_layers_has_no_filters_to_prune(make_cohort: Make) -> None:
    sparsifier = made(L2Structured)
    cohort = make_cohort(model=MLP(hidden=()), sparsifier=sparsifier)
    with pytest.raises(RecipeError, match=r"l2_structured: .* use a deeper network"):
        list(sparsifier.sparsify(cohort))
    assert cohort.records == []  # before anything is trained


@pytest.mark.parametrize(
    "options",
    [
        {"density": 0},
        {"density": 1},
        {"density": []},
        {"density": [0.5, 1.5]},
        {"density": [0.5, 0.5]},
        {"scope": "filter"},
        {"epochs": 0},
        {"lr": 0},
    ],
)
@every_pruner
def test_options_out_of_bounds_are_refused(pruner: type[OneShot], options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        made(pruner, **options)


def test_fine_tuning_is_known_to_the_engine() -> None:
    assert all(pruner.tunes for pruner in PRUNERS)
    assert not Sparsifier.tunes
