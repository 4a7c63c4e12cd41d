"""Fine-pruning: the units that go are those that are silent on clean examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.functional import conv2d, max_pool2d, relu

import privaudit
from privaudit.channels import Channels, compact
from privaudit.cohort import Cohort
from privaudit_plugins.models.cnn import CNN
from privaudit_plugins.models.densenet40 import DenseNet40
from privaudit_plugins.models.mlp import MLP
from privaudit_plugins.models.resnet20 import ResNet20
from privaudit_plugins.models.vit_tiny import ViTTiny
from privaudit_plugins.sparsifiers.fine_pruning import FinePruning

Make = Callable[..., Cohort]
NET = CNN(width=4)


def pruned_filters(cohort: Cohort, layer: str) -> list[list[int]]:
    kept = cohort.masks[f"{layer}.weight"].flatten(2).any(2)
    return [(~row).nonzero()[:, 0].tolist() for row in kept]


def test_the_least_active_filters_of_the_last_convolution_go(make_cohort: Make) -> None:
    """By the mean of what is pooled behind it, as the authors' code has it, written anew."""
    cohort = make_cohort([40, 23], model=NET)
    cohort.fit()
    w = cohort.weights
    expected = []
    for m, rows in enumerate(cohort.rows("validation")):
        x = cohort.data.plain(rows)
        x = max_pool2d(relu(conv2d(x, w["conv1.weight"][m], w["conv1.bias"][m], padding=1)), 2)
        x = max_pool2d(relu(conv2d(x, w["conv2.weight"][m], w["conv2.bias"][m], padding=1)), 2)
        activation = x.mean((0, 2, 3))
        expected.append(sorted(activation.argsort()[:5].tolist()))
    FinePruning().prune(cohort, 3 / 8)
    assert pruned_filters(cohort, "conv2") == expected
    masks = cohort.masks
    assert bool(masks["conv1.weight"].all())  # the last convolution alone
    for m, gone in enumerate(expected):
        assert not bool(masks["conv2.bias"][m][gone].any())
        pixels = torch.zeros(8, dtype=torch.bool).index_fill(0, torch.tensor(gone), True)
        assert torch.equal(masks["output.weight"][m], ~pixels.repeat_interleave(4).expand(10, -1))


def test_a_unit_that_is_made_dormant_is_the_one_that_goes(make_cohort: Make) -> None:
    cohort = make_cohort([40, 23], model=MLP(hidden=(12, 7)))
    bias = cohort.weights["hidden2.bias"] + 5  # no other is silent by chance
    bias[0, 4] = bias[1, 2] = -1000.0
    cohort.set({"hidden2.bias": bias})
    FinePruning(rows="reference").prune(cohort, 6 / 7)
    assert pruned_filters(cohort, "hidden2") == [[4], [2]]
    assert bool(cohort.masks["hidden1.weight"].all())


def test_every_layer_may_be_pruned(make_cohort: Make) -> None:
    cohort = make_cohort([40], model=MLP(hidden=(12, 7)))
    bias = {n: cohort.weights[f"{n}.bias"] + 5 for n in ("hidden1", "hidden2")}
    bias["hidden1"][0, 3] = bias["hidden2"][0, 5] = -1000.0
    cohort.set({f"{n}.bias": b for n, b in bias.items()})
    other = cohort.fork()
    FinePruning(layers="all").prune(other, 0.9)
    assert pruned_filters(other, "hidden1") == [[3]]
    assert pruned_filters(other, "hidden2") == [[5]]
    FinePruning(layers="all", scope="global").prune(cohort, 17 / 19)
    assert pruned_filters(cohort, "hidden1") + pruned_filters(cohort, "hidden2") == [[3], [5]]


@pytest.mark.parametrize(
    "model",
    [CNN(width=4, norm="batch"), ResNet20(), DenseNet40(growth=4, depth=10), MLP(hidden=(9,))],
    ids=lambda m: m.name,
)
def test_what_was_pruned_can_be_cut_out(make_cohort: Make, model: privaudit.Model) -> None:
    cohort = make_cohort([20], model=model)
    before = sum(p.numel() for p in cohort.network.module.parameters())
    FinePruning(rows="member").prune(cohort, 0.4)
    state = {n: w[0] for n, w in (cohort.weights | cohort.buffers).items()}
    module = cohort.network.module
    module.load_state_dict(state, strict=False)
    small = compact(module.eval())
    after = sum(p.numel() for p in small.parameters())
    assert after <= before
    if model.name in ("cnn", "mlp"):  # in residual networks a channel goes with all that add to it
        assert after < before
    x = cohort.data.plain(cohort.rows("member")[0])
    with torch.no_grad():
        assert (module(x) - small(x)).abs().max() < 1e-9


def test_levels_are_tuned_and_each_model_is_alone(make_cohort: Make) -> None:
    plugin = FinePruning(density=(0.5, 0.25), epochs=1)
    options: dict[str, Any] = {"model": NET, "sparsifier": plugin, "stack": 3}
    together = make_cohort([40, 33, 20], **options)
    assert list(plugin.sparsify(together)) == ["density 0.5", "density 0.25"]
    assert [record.epochs for record in together.records] == [2, 1, 1]
    for m in range(3):
        alone = make_cohort([40, 33, 20], models=[m], **options)
        list(plugin.sparsify(alone))
        for name, weight in alone.weights.items():
            assert torch.equal(together.masks[name][m], alone.masks[name][0])
            assert (together.weights[name][m] - weight[0]).abs().max() < 1e-10


def test_filters_have_the_numbers_of_the_inputs_that_they_feed() -> None:
    """A residual network by hand: a sum's number for both that add up, a mean of all readers."""

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(3, 2)
            self.b = nn.Linear(3, 2)
            self.c = nn.Linear(2, 2)
            self.d = nn.Linear(2, 1)

        def forward(self, x: Tensor) -> Tensor:
            a = self.a(x).relu()
            y: Tensor = self.d((a + self.b(x)).relu() + self.c(a).tanh())
            return y

    channels = Channels(Both())
    inputs = {
        "a": torch.zeros(1, 3),
        "b": torch.zeros(1, 3),
        "c": torch.tensor([[1.0, 2.0]]),
        "d": torch.tensor([[5.0, 8.0]]),
    }
    found = channels.at_filters(inputs)
    assert {n: v.tolist() for n, v in found.items()} == {
        "a": [[3.0, 5.0]],  # read by c and, in a sum, by d
        "b": [[5.0, 8.0]],
        "c": [[5.0, 8.0]],
    }
    assert channels.read_filters == ("a", "b", "c")
    assert Channels(Both()).at_filters({}) == {}


@pytest.mark.parametrize("model", [MLP(hidden=())], ids=["mlp"])
def test_a_network_without_hidden_units_is_refused(
    make_cohort: Make, model: privaudit.Model
) -> None:
    cohort = make_cohort([20], model=model)
    with pytest.raises(privaudit.RecipeError, match="no hidden unit") as caught:
        list(FinePruning().sparsify(cohort))
    assert len(str(caught.value).splitlines()) == 1
    assert cohort.records == []


def test_a_last_layer_whose_units_are_lost_is_refused(make_cohort: Make) -> None:
    """That of a transformer, whose stream all blocks add to; layers inside of a block can go."""
    cohort = make_cohort([20], model=ViTTiny(width=12, depth=1, patch=4), epochs=1)
    with pytest.raises(privaudit.RecipeError, match=r"'blocks.0.fc2' .* set `layers: all`"):
        list(FinePruning().sparsify(cohort))
    assert cohort.records == []
    assert list(FinePruning(layers="all").sparsify(cohort)) == ["density 0.5"]
    assert len(pruned_filters(cohort, "blocks.0.fc1")[0]) > 0
    assert bool(cohort.masks["blocks.0.fc2.bias"].all())


@pytest.mark.parametrize(
    "options",
    [{"density": 0}, {"rows": "clean"}, {"layers": "first"}, {"lr": 0}, {"density": [0.2, 0.2]}],
)
def test_options_out_of_bounds_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FinePruning.model_validate(options)
