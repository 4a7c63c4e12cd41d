"""Which weights lose their effect with a filter, and networks without them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, relu

from privaudit.channels import Channels, compact
from privaudit.networks.dropout import adapt
from privaudit_plugins.models.cnn import CNN
from privaudit_plugins.models.densenet40 import DenseNet40
from privaudit_plugins.models.mlp import MLP
from privaudit_plugins.models.resnet20 import ResNet20
from privaudit_plugins.models.vgg16_bn import VGG16
from privaudit_plugins.models.vit_tiny import ViTTiny

Layer = nn.Conv2d | nn.Linear


class Residual(nn.Module):
    """stem + inner, of which a linear layer reads the mean; `inner` reads the stem alone."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3)
        self.inner = nn.Conv2d(4, 4, 3, padding=1)
        self.output = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = relu(self.stem(x))
        x = x + self.inner(x)
        answer: Tensor = self.output(x.mean((2, 3)))
        return answer


class Concatenating(nn.Module):
    """Two convolutions side by side, pooled, flattened and read through one BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 2, 3, padding=1, bias=False)
        self.second = nn.Conv2d(2, 3, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(5)
        self.output = nn.Linear(5 * 9, 2)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        both = torch.cat([first, self.second(torch.relu(first))], dim=1)
        both = avg_pool2d(relu(self.norm(both)), 2)
        answer: Tensor = self.output(both.view(both.size(0), -1))
        return answer


class Tokens(nn.Module):
    """A transformer's perceptron, added to what it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(6)
        self.wide, self.narrow = nn.Linear(6, 8), nn.Linear(8, 6)
        self.dropout = nn.Dropout(0.1)
        self.output = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2)  # (B, 1, 36), six tokens of six numbers
        x = x.reshape(-1, 6, 6)
        x = x + self.narrow(self.dropout(nn.functional.gelu(self.wide(self.norm(x)))))
        answer: Tensor = self.output(x[:, 0])
        return answer


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: MLP(hidden=(9, 7), dropout=0.1).build((1, 6, 6), 4),
    "cnn": lambda: CNN(width=4).build((1, 6, 6), 4),
    "cnn with BatchNorm": lambda: CNN(width=4, norm="batch").build((1, 6, 6), 4),
    "resnet20": lambda: ResNet20().build((1, 6, 6), 4),
    "densenet": lambda: DenseNet40(growth=3, depth=13).build((1, 6, 6), 4),
    "vgg16": lambda: VGG16(width=4).build((1, 6, 6), 4),
    "residual": Residual,
    "concatenating": Concatenating,
    "tokens": Tokens,
}


# attention is not understood, the perceptrons between are
ATTENTIVE = {"vit": lambda: ViTTiny(patch=2, width=6, depth=1).build((1, 6, 6), 4)}


def network(make: Callable[[], nn.Module]) -> nn.Module:
    """In float64, as the engine adapts it; no BatchNorm answers what ReLU makes zero."""
    torch.manual_seed(0)
    module = adapt(make()).double().eval()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d) and layer.affine:
            assert layer.running_mean is not None
            layer.running_mean.uniform_(-0.1, 0.1)
            nn.init.uniform_(layer.weight, 0.05, 0.1)
            nn.init.uniform_(layer.bias, 0.3, 0.5)
    return module


def some_dead(channels: Channels) -> dict[str, Tensor]:
    """Half of the filters of each layer but the last, at random, and never all."""
    generator = torch.Generator().manual_seed(1)
    names = list(channels.filters)[:-1]
    dead = {n: torch.rand(1, channels.filters[n], generator=generator) < 0.5 for n in names}
    return {n: d & (torch.arange(d.shape[1]) > 0) for n, d in dead.items()}


def without(module: nn.Module, where: dict[str, Tensor]) -> nn.Module:
    """The network with weights of its first model's mask at zero."""
    with torch.no_grad():
        for name, mask in where.items():
            module.get_parameter(name).masked_fill_(mask[0], 0)
    return module


def whole_filters(where: Tensor) -> Tensor:
    """Of a mask (M, outputs, ...) only what covers all of an output."""
    if where.ndim == 2:
        return where
    return where & where.flatten(2).all(2).view(*where.shape[:2], *[1] * (where.ndim - 2))


def size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def silent_inputs(module: nn.Module) -> dict[str, Tensor]:
    """Which input channels of each layer are zero whatever the network is asked, measured."""
    silent: dict[str, Tensor] = {}

    def watch(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def look(layer: nn.Module, inputs: Any, output: Tensor) -> None:
            axes = 1 if isinstance(layer, nn.Conv2d) else inputs[0].ndim - 1
            silent[name] = (inputs[0].transpose(0, axes).flatten(1) == 0).all(1)

        return look

    hooks = [
        layer.register_forward_hook(watch(name))
        for name, layer in module.named_modules()
        if isinstance(layer, Layer)
    ]
    module(torch.randn(400, 1, 6, 6, dtype=torch.float64))
    for hook in hooks:
        hook.remove()
    return silent


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_columns_without_effect_are_those_of_channels_that_are_always_zero(
    make: Callable[[], nn.Module],
) -> None:
    module = network(make)
    where = Channels(module).without_effect(some_dead(Channels(module)))
    own = {n: whole_filters(w) for n, w in where.items()}
    silent = silent_inputs(without(module, own))
    assert any(bool(zero.any()) for zero in silent.values())
    for name, zero in silent.items():
        weight = module.get_parameter(f"{name}.weight")
        mask = where.get(f"{name}.weight", torch.zeros(1, *weight.shape, dtype=torch.bool))[0]
        columns = mask.transpose(0, 1).flatten(1).all(1)
        assert torch.equal(columns, zero), name


@pytest.mark.parametrize("make", (NETWORKS | ATTENTIVE).values(), ids=NETWORKS | ATTENTIVE)
def test_a_compact_network_answers_as_the_one_with_zeros(make: Callable[[], nn.Module]) -> None:
    module = network(make)
    channels = Channels(module)
    dead = some_dead(channels)
    without(module, channels.without_effect(dead))
    before = {n: v.clone() for n, v in module.state_dict().items()}
    small = compact(module)
    x = torch.randn(5, 1, 6, 6, dtype=torch.float64)
    assert (small(x) - module(x)).abs().max() < 1e-12
    assert size(small) < size(module)
    assert size(small) == channels.size({n: d[0] for n, d in dead.items()})
    assert all(torch.equal(v, before[n]) for n, v in module.state_dict().items())
    for layer in small.modules():  # attributes are what the weights are
        if isinstance(layer, Layer):
            width = (layer.weight.shape[1], layer.weight.shape[0])
            told = (
                (layer.in_channels, layer.out_channels)
                if isinstance(layer, nn.Conv2d)
                else (layer.in_features, layer.out_features)
            )
            assert told == width
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.num_features == len(layer.weight) == len(layer.running_mean)


def test_a_filter_takes_its_batchnorm_and_its_columns_along() -> None:
    module = CNN(width=2, norm="batch").build((1, 4, 4), 3)
    dead = {"conv1": torch.tensor([[False, True], [True, False]])}
    where = Channels(module).without_effect(dead)
    assert set(where) == {"conv1.weight", "norm1.weight", "norm1.bias", "conv2.weight"}
    for m, filter_ in ((0, 1), (1, 0)):
        assert where["conv1.weight"][m, filter_].all()
        assert where["norm1.weight"][m].tolist() == dead["conv1"][m].tolist()
        assert where["norm1.bias"][m].tolist() == dead["conv1"][m].tolist()
        assert where["conv2.weight"][m, :, filter_].all()
        assert not where["conv1.weight"][m, 1 - filter_].any()
        assert not where["conv2.weight"][m, :, 1 - filter_].any()


def test_flattened_channels_take_all_their_pixels_along() -> None:
    module = CNN(width=2).build((1, 8, 8), 3)  # conv2 has 4 channels of 2×2 pixels
    where = Channels(module).without_effect({"conv2": torch.tensor([[False, True, False, False]])})
    columns = where["output.weight"][0, 0]
    assert columns.nonzero()[:, 0].tolist() == [4, 5, 6, 7]
    assert where["conv2.bias"][0].tolist() == [False, True, False, False]


def test_an_added_channel_goes_only_with_all_its_parts() -> None:
    module = network(Residual)
    stem, inner = torch.zeros(2, 1, 4, dtype=torch.bool)
    stem[0, [0, 1]] = True
    inner[0, [1, 2]] = True
    where = Channels(module).without_effect({"stem": stem, "inner": inner})
    inner_columns = where["inner.weight"][0].transpose(0, 1).flatten(1).all(1)
    assert inner_columns.tolist() == [True, True, False, False]  # it reads the stem alone
    assert where["output.weight"][0].all(0).tolist() == [False, True, False, False]
    small = compact(without(module, where))
    assert small.get_parameter("stem.weight").shape[0] == 3
    assert small.get_parameter("inner.weight").shape[:2] == (3, 3)
    assert small.get_parameter("output.weight").shape == (2, 3)


def test_in_resnet_the_first_convolution_of_a_block_shrinks_alone() -> None:
    module = network(NETWORKS["resnet20"])
    dead = {"segment2.1.conv1": torch.arange(32)[None] < 20, "segment2.1.conv2": torch.ones(1, 32)}
    where = Channels(module).without_effect({n: d.bool() for n, d in dead.items()})
    small = compact(without(module, where))
    assert small.get_parameter("segment2.1.conv1.weight").shape[:2] == (12, 32)
    assert small.get_parameter("segment2.1.conv2.weight").shape[:2] == (32, 12)
    assert size(module) - size(small) == 20 * (2 * 9 * 32 + 2)


def test_a_filter_that_only_dead_batchnorm_channels_read_has_no_effect() -> None:
    channels = Channels(network(NETWORKS["densenet"]))
    readers = [f"features.{n}.norm" for n in ("layer1_1", "layer1_2", "layer1_3", "transition1")]
    third = {n: torch.arange(16 + 3 * i)[None] == 3 for i, n in enumerate(readers)}
    where = channels.without_effect(third)["stem.weight"][0].flatten(1).all(1)
    assert where.nonzero()[:, 0].tolist() == [3]
    third.pop(readers[1])
    assert "stem.weight" not in channels.without_effect(third)


def test_constant_channels_and_the_last_layer_s_outputs_stay() -> None:
    module = network(NETWORKS["cnn with BatchNorm"])
    with torch.no_grad():
        module.get_parameter("conv1.weight")[0] = 0  # its BatchNorm answers a constant
        module.get_parameter("output.weight")[1] = 0
        module.get_parameter("output.bias")[1] = 0
    assert size(compact(module)) == size(module)


def test_every_layer_keeps_a_channel() -> None:
    module = network(NETWORKS["cnn"])
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    small = compact(module)
    assert small.get_parameter("conv1.weight").shape == (1, 1, 3, 3)
    assert small.get_parameter("conv2.weight").shape == (1, 1, 3, 3)
    assert small(torch.randn(2, 1, 6, 6).double()).shape == (2, 4)


class Odd(nn.Module):
    """Two convolutions, a way between them that is not understood, and a linear layer."""

    def __init__(self, between: Callable[[Odd, Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, padding=1)
        self.group_norm, self.sigmoid = nn.GroupNorm(2, 4), nn.Sigmoid()
        self.grouped = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.unscaled = nn.BatchNorm2d(4, affine=False)
        self.output = nn.Linear(4, 2)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.between(self, self.first(x)))
        answer: Tensor = self.output(torch.relu(x).mean((-1, -2)))
        return answer


def overwritten(net: Odd, x: Tensor) -> Tensor:
    same = x
    x += net.grouped(x)
    return same


def rescaled(net: Odd, x: Tensor) -> Tensor:
    same = x
    x -= 1
    return same


def filled(net: Odd, x: Tensor) -> Tensor:
    x[:, 0] = 1
    return x


ODD: dict[str, Callable[[Odd, Tensor], Tensor]] = {
    "sigmoid": lambda net, x: net.sigmoid(x),
    "group norm": lambda net, x: net.group_norm(x),
    "a BatchNorm without a scale": lambda net, x: net.unscaled(x),
    "a constant": lambda net, x: x + 1,
    "channels moved": lambda net, x: x.flip(1),
    "channels as pixels": lambda net, x: x.transpose(1, 2),
    "called twice": lambda net, x: net.second(x),
    "weight used elsewhere": lambda net, x: conv2d(x, net.second.weight, padding=1),
    "by name": lambda net, x: torch.relu(input=x),
    "overwritten": overwritten,
    "rescaled": rescaled,
    "filled": filled,
    "data": lambda net, x: x if x.sum() > 0 else x + 1,
    "grouped": lambda net, x: net.grouped(x),
}


@pytest.mark.parametrize("between", ODD.values(), ids=ODD)
def test_what_is_not_understood_has_no_dependents(between: Callable[[Odd, Tensor], Tensor]) -> None:
    module = network(lambda: Odd(between))
    where = Channels(module).without_effect({"first": torch.tensor([[True, True, True, False]])})
    assert set(where) == {"first.weight", "first.bias"}
    without(module, where)
    small = compact(module)
    assert size(small) == size(module)
    x = torch.randn(2, 1, 6, 6, dtype=torch.float64)
    assert torch.equal(small(x), module(x))


@pytest.mark.parametrize("between", ["grouped", "called twice", "weight used elsewhere"])
def test_layers_that_cannot_shrink_stay(between: str) -> None:
    module = network(lambda: Odd(ODD[between]))
    layer = "grouped" if between == "grouped" else "second"
    where = Channels(module).without_effect({layer: torch.tensor([[True, True, False, True]])})
    small = compact(without(module, where))
    assert size(small) == size(module)
    x = torch.randn(2, 1, 6, 6, dtype=torch.float64)
    assert torch.equal(small(x), module(x))


def test_a_sum_in_place_is_a_sum() -> None:
    def inner(net: Odd, x: Tensor) -> Tensor:
        more = relu(net.grouped(x))
        more += x
        return more

    module = network(lambda: Odd(inner))
    dead = torch.tensor([[True, True, True, False]])
    half = Channels(module).without_effect({"first": dead})
    assert "second.weight" not in half
    both = Channels(module).without_effect(
        {"first": dead, "grouped": ~dead | dead[:, [3, 0, 1, 2]]}
    )
    columns = both["second.weight"][0].transpose(0, 1).flatten(1).all(1)
    assert columns.tolist() == [False, True, True, False]


def test_filters_come_in_the_order_of_the_calls() -> None:
    class Reversed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.output, self.hidden = nn.Linear(3, 2), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            answer: Tensor = self.output(relu(self.hidden(x)))
            return answer

    assert Channels(Reversed()).filters == {"hidden": 3, "output": 2}
    assert list(Channels(Reversed()).filters) == ["hidden", "output"]
