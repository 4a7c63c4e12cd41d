"""Network slimming: the penalty, and the channels that go with small scales."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.func import grad

from privaudit import (
    RecipeError,
    Weights,
)
from privaudit.channels import compact
from privaudit.cohort import Cohort
from privaudit_plugins.models.cnn import CNN
from privaudit_plugins.models.densenet40 import DenseNet40
from privaudit_plugins.models.mlp import MLP
from privaudit_plugins.models.resnet20 import ResNet20
from privaudit_plugins.sparsifiers.slimming import Slimming

Make = Callable[..., Cohort]
NET = CNN(width=3, norm="batch")  # 3 and 6 channels


def one(cohort: Cohort, m: int) -> nn.Module:
    """A model of the cohort as a network of its own."""
    state = cohort.weights | cohort.buffers
    module = cohort.network.module
    module.load_state_dict({n: v[m] for n, v in state.items()}, strict=False)
    return module.eval()


def with_scales(cohort: Cohort, *scales: list[float]) -> Cohort:
    """Every model with these scales in its BatchNorm layers, which lead channels to the output."""
    named = {n: w for n, w in cohort.weights.items() if "norm" in n and n.endswith("weight")}
    cohort.set(
        {
            name: torch.tensor(values).to(weight).expand_as(weight)
            for (name, weight), values in zip(named.items(), scales, strict=True)
        }
    )
    return cohort


def test_the_penalty_is_the_sum_of_all_scales() -> None:
    module = NET.build((1, 4, 4), 2)
    values: dict[str, Tensor] = {n: torch.full_like(p, -2.0) for n, p in module.named_parameters()}
    values["norm2.weight"] = torch.tensor([1.0, -1, 3, 0, 0, 0.5])
    sparsifier = Slimming(weight=0.1)
    penalty = sparsifier.penalty(Weights(values, module))
    assert penalty.item() == pytest.approx(0.1 * (3 * 2.0 + 5.5))
    slope = grad(lambda named: sparsifier.penalty(Weights(named, module)))(values)
    assert slope["norm1.weight"].tolist() == pytest.approx([-0.1] * 3)
    assert slope["norm2.weight"].tolist() == pytest.approx([0.1, -0.1, 0.1, 0, 0, 0.1])
    assert all(not bool(s.any()) for n, s in slope.items() if "norm" not in n or "bias" in n)


@pytest.mark.parametrize(("options", "start"), [({}, 0.5), ({"start": 1}, 1.0)])
def test_scales_start_at_one_half_as_published(
    make_cohort: Make, options: dict[str, float], start: float
) -> None:
    plain = make_cohort(model=NET).initial_weights
    cohort = make_cohort(model=NET, sparsifier=Slimming.model_validate(options))
    for name, weight in cohort.initial_weights.items():
        if "norm" in name and name.endswith("weight"):
            assert bool((weight == start).all()), name
        else:
            assert torch.equal(weight, plain[name]), name


@pytest.mark.parametrize("start", [0, -1, "inf", "nan"])
def test_a_start_that_leaves_no_channel_is_refused(start: object) -> None:
    with pytest.raises(ValidationError):
        Slimming.model_validate({"start": start})


def test_training_makes_scales_small(make_cohort: Make) -> None:
    totals = []
    for weight in (0.0, 0.2):
        cohort = make_cohort(model=NET, sparsifier=Slimming(weight=weight), epochs=3, lr=0.05)
        cohort.fit()
        totals.append(cohort.weights["norm1.weight"].abs().sum(1))
    assert bool((totals[1] < 0.8 * totals[0]).all())


def test_the_channels_of_smallest_scale_go_with_all_that_depends_on_them(make_cohort: Make) -> None:
    cohort = with_scales(make_cohort(model=NET), [0.5, -2, 0.1], [1, -0.2, 3, 0.3, 0.4, -5])
    Slimming(weight=0).prune(cohort, 5 / 9)
    first = torch.tensor([True, True, False])
    second = torch.tensor([True, False, True, False, False, True])
    for m in range(2):
        masks = {n: mask[m] for n, mask in cohort.masks.items()}
        for name in ("norm1.weight", "norm1.bias"):
            assert torch.equal(masks[name], first)
        for name in ("norm2.weight", "norm2.bias"):
            assert torch.equal(masks[name], second)
        assert torch.equal(masks["conv1.weight"], first.view(3, 1, 1, 1).expand(3, 1, 3, 3))
        both = second.view(6, 1, 1, 1) & first.view(1, 3, 1, 1)
        assert torch.equal(masks["conv2.weight"], both.expand(6, 3, 3, 3))
        assert torch.equal(masks["output.weight"], second.repeat_interleave(4).expand(10, 24))
        assert bool(masks["output.bias"].all())


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_every_layer_keeps_its_best_channel(make_cohort: Make, scope: str) -> None:
    cohort = with_scales(make_cohort(model=NET), [0.1, 0.3, 0.2], [9, 8, 7, 6, 5, 4])
    Slimming.model_validate({"scope": scope}).prune(cohort, 3 / 9)
    masks = cohort.masks
    assert masks["norm1.weight"][0].tolist() == [False, True, False]
    assert masks["norm2.weight"][0].tolist() == [True, True, False, False, False, False]


@pytest.mark.parametrize(
    "model", [ResNet20(), DenseNet40(growth=3, depth=13)], ids=lambda m: m.name
)
def test_residual_and_dense_networks_shrink_and_answer_the_same(
    make_cohort: Make, model: ResNet20 | DenseNet40
) -> None:
    sparsifier = Slimming(density=0.4, epochs=1)
    cohort = make_cohort([16], model=model, sparsifier=sparsifier, epochs=1, validation=0)
    assert list(sparsifier.sparsify(cohort)) == ["density 0.4"]
    module = one(cohort, 0)
    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
    alive = [int((layer.weight != 0).sum()) for layer in norms]
    assert sum(alive) == round(0.4 * sum(layer.num_features for layer in norms))
    assert min(alive) >= 1
    for layer in norms:
        assert not bool(layer.bias[layer.weight == 0].any())
    small = compact(module)
    x = torch.randn(4, 1, 8, 8, dtype=torch.float64)
    assert (small(x) - module(x)).abs().max() < 1e-10
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in module.parameters())


def test_a_network_without_batchnorm_is_refused_with_the_way_out(make_cohort: Make) -> None:
    with pytest.raises(
        RecipeError, match=r"slimming: this network has no BatchNorm.*l1_structured"
    ):
        make_cohort(model=MLP(), sparsifier=Slimming())
