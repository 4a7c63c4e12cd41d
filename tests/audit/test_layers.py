"""Every layer of the fast way against automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from privaudit.networks.dropout import KeyedDropout
from privaudit.networks.network import Network, stack
from privaudit.optimizers import SGD
from privaudit.train.optimizer import Optimizer
from privaudit.train.ways.activations import ACTIVATIONS
from privaudit.train.ways.chain import back, chain, forth
from privaudit.train.ways.passing import Pass
from privaudit.train.ways.table import LAYERS

K, B = 3, 5

VARIANTS: dict[type[nn.Module], list[Callable[[], nn.Module]]] = {
    nn.Linear: [lambda: nn.Linear(12, 40), lambda: nn.Linear(12, 7, bias=False)],
    nn.Flatten: [nn.Flatten],
    nn.Conv2d: [
        lambda: nn.Conv2d(3, 4, 3, padding=1),
        lambda: nn.Conv2d(3, 5, (3, 2), stride=2, dilation=(1, 2), bias=False),
    ],
    nn.BatchNorm2d: [lambda: nn.BatchNorm2d(3), lambda: nn.BatchNorm2d(3, momentum=0.3)],
    nn.MaxPool2d: [lambda: nn.MaxPool2d(2)],
    KeyedDropout: [lambda: KeyedDropout(0.3, features=False)],
    nn.GELU: [nn.GELU, lambda: nn.GELU(approximate="tanh")],
    nn.ReLU: [nn.ReLU, lambda: nn.ReLU(inplace=True)],
    nn.SiLU: [nn.SiLU, lambda: nn.SiLU(inplace=True)],
}
CASES = [
    pytest.param(make, images, id=f"{kind.__name__} {number}{' of images' if images else ''}")
    for kind, entry in LAYERS.items()
    for number, make in enumerate(VARIANTS.get(kind, [kind]))
    for images in (False, True)
    if entry.takes in ("images" if images else "features", "both")
]


def networks_around(make: Callable[[], nn.Module], images: bool) -> list[nn.Module]:
    """K networks with the layer between two that have weights, so that it is gone back through."""
    found: list[nn.Module] = []
    for model in range(K):
        torch.manual_seed(model)
        layer = make()
        if images:
            first: nn.Module = nn.Conv2d(2, 3, 3, padding=1)
            answer = layer(first(torch.randn(B, 2, 6, 8)))
            rest = [nn.Flatten(), nn.Linear(answer.flatten(1).shape[1], 4)]
        else:
            first, rest = nn.Linear(9, 12), [nn.Linear(layer(torch.randn(B, 12)).shape[1], 4)]
        # Tanh before it: a layer that works in place would spoil what Tanh needs on its way back.
        found.append(nn.Sequential(first, nn.Tanh(), layer, *rest))
    return found


def data(images: bool) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    shape = (2, 6, 8) if images else (9,)
    x = torch.randn(K, B, *shape, generator=g, dtype=torch.float64)
    return x, torch.randn(K, B, 4, generator=g, dtype=torch.float64)


@pytest.mark.parametrize(("make", "images"), CASES)
def test_a_layer_goes_forth_and_back_as_autograd_does(
    make: Callable[[], nn.Module], images: bool
) -> None:
    modules = networks_around(make, images)
    flat, buffers = stack(modules, torch.float64)
    network = Network(modules[0], torch.device("cpu"), torch.float64)
    x, weight = data(images)
    key = torch.tensor([5, 6, 7])
    layers = chain(network.module, tuple(x.shape[2:]))
    assert layers is not None
    named = network.views(flat)
    with torch.no_grad():
        passing = Pass(named, dict(buffers), key, Optimizer(named, SGD()))
        logits = forth(layers, passing, x)
        gradients = back(passing, weight)
    for layer in network.module.modules():
        if isinstance(layer, nn.ReLU | nn.SiLU):
            layer.inplace = False  # autograd itself refuses to go back through a spoilt Tanh
    leaves = {n: w.detach().clone().requires_grad_() for n, w in named.items()}
    for model in range(K):
        own = {n: w[model] for n, w in leaves.items()}
        held = {n: b[model] for n, b in buffers.items()}
        answer, after = network.forward(own, held, x[model], key=key[model])
        assert (answer - logits[model]).abs().max() < 1e-12
        torch.autograd.backward((answer * weight[model]).sum())
        for name, buffer in after.items():
            assert torch.allclose(buffer.double(), passing.buffers[name][model].double()), name
    for name, leaf in leaves.items():
        assert leaf.grad is not None
        assert (leaf.grad - gradients[name]).abs().max() < 1e-11, name


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_an_activation_s_derivative_is_its_own(kind: type[nn.Module]) -> None:
    """By finite differences, which know nothing of PyTorch's rules."""
    x = torch.linspace(-3, 3, 41, dtype=torch.float64) + 0.013
    layer, activation = kind(), ACTIVATIONS[kind]
    answer = activation.forward(layer, x)
    found = activation.backward(layer, torch.ones_like(x), x, answer)
    h = 1e-6
    expected = (layer(x + h) - layer(x - h)) / (2 * h)
    assert (found - expected).abs().max() < 1e-8


REFUSED: dict[str, Callable[[], nn.Module]] = {
    "groups": lambda: nn.Conv2d(2, 2, 3, groups=2),
    "reflection": lambda: nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"),
    "named padding": lambda: nn.Conv2d(2, 2, 3, padding="same"),
    "no statistics": lambda: nn.BatchNorm2d(2, track_running_stats=False),
    "cumulative statistics": lambda: nn.BatchNorm2d(2, momentum=None),
    "no scale": lambda: nn.BatchNorm2d(2, affine=False),
    "three by three": lambda: nn.MaxPool2d(3),
    "overlapping": lambda: nn.MaxPool2d(2, stride=1),
    "indices": lambda: nn.MaxPool2d(2, return_indices=True),
    "part of the axes": lambda: nn.Flatten(2),
    "whole channels": lambda: KeyedDropout(0.5, features=True),
    "unknown": lambda: nn.Softplus(),
    "a subclass": lambda: type("Mine", (nn.ReLU,), {})(),
}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_what_a_layer_s_entry_does_not_accept_makes_no_chain(
    make: Callable[[], nn.Module],
) -> None:
    assert chain(nn.Sequential(make(), nn.Flatten(), nn.Linear(8, 2)), (2, 4, 4)) is None


def test_hooks_and_frozen_weights_make_no_chain() -> None:
    hooked = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    assert chain(hooked, (3,)) is not None
    hooked[1].register_forward_hook(lambda layer, inputs, answer: 2 * answer)
    assert chain(hooked, (3,)) is None
    frozen = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    frozen[0].weight.requires_grad_(False)
    assert chain(frozen, (3,)) is None


def test_other_shapes_are_a_chain_once_they_are_flattened() -> None:
    rows = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    assert chain(rows, (3, 4)) is not None
    assert chain(nn.Sequential(nn.Linear(4, 2)), (3, 4)) is None
    assert chain(nn.Linear(4, 2), (4,)) is None
