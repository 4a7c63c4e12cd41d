"""The contract of models."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn.functional import cross_entropy

from privaudit.api.plugin import Model
from privaudit.errors import PrivauditError
from privaudit.testing.material import C, build, generator
from privaudit.testing.require import require

_SHAPES = ((3, 16, 16), (12,))  # images, and features
_BATCH = 5

Weights = dict[str, Tensor]


def check_model(model: Model) -> None:
    """Build the network for images and for features; it may refuse one of the two."""
    who = type(model).__name__
    refusals = []
    for shape in _SHAPES:
        try:
            build(model, shape, seed=0)
        except PrivauditError as error:
            refusals.append(str(error))
            continue
        _check_shape(model, shape)
    require(
        len(refusals) < len(_SHAPES),
        f"{who}.build accepts neither images nor features: {'; '.join(refusals)}",
    )


def _check_shape(model: Model, shape: tuple[int, ...]) -> None:
    where = f"{type(model).__name__}.build for examples {shape}"
    networks = [build(model, shape, seed) for seed in (0, 1)]
    again = build(model, shape, seed=0).state_dict()
    for name, value in networks[0].state_dict().items():
        require(
            torch.equal(value, again[name]),
            f"{where}: {name} starts differently under one seed: "
            "initialise from torch's global generator",
        )
    x = torch.randn(_BATCH, *shape, generator=generator())
    for network in networks:
        network.eval()
    alone = [network(x) for network in networks]
    require(
        alone[0].shape == (_BATCH, C),
        f"{where} must answer with logits {(_BATCH, C)}, not {tuple(alone[0].shape)}",
    )
    stacked = vmap(_answer(networks[0]), in_dims=(0, 0, None))(*stack_module_state(networks), x)
    require(
        torch.allclose(stacked, torch.stack(alone), atol=1e-4, rtol=1e-4),
        f"{where}: two networks stacked with torch.vmap answer differently than each alone",
    )
    _check_gradient(networks, x, where)


def _check_gradient(networks: list[nn.Module], x: Tensor, where: str) -> None:
    """Training mode, with dropout at rest: the engine draws it from each model's own key."""
    for network in networks:
        network.train()
        for module in network.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.eval()
    answer = _answer(networks[0])
    y = torch.arange(_BATCH) % C

    def loss(parameters: Weights, buffers: Weights) -> Tensor:
        return cross_entropy(answer(parameters, buffers, x), y)

    parameters, buffers = stack_module_state(networks)
    gradients = vmap(grad(loss))(parameters, buffers)
    for name, gradient in gradients.items():
        require(bool(gradient.isfinite().all()), f"{where}: the gradient of {name} is not finite")


def _answer(network: nn.Module) -> Callable[[Weights, Weights, Tensor], Tensor]:
    def answer(parameters: Weights, buffers: Weights, x: Tensor) -> Tensor:
        # A copy, because BatchNorm writes its statistics into the dictionary's tensors.
        held = {name: buffer.clone() for name, buffer in buffers.items()}
        logits: Tensor = functional_call(network, {**parameters, **held}, (x,))
        return logits

    return answer
