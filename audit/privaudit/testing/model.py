"""The contract of models."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn.functional import cross_entropy

from privaudit.api.boundary import blamed, broken, guest
from privaudit.api.plugin import Model
from privaudit.errors import PluginError, PrivauditError
from privaudit.testing.material import C, build, generator
from privaudit.testing.require import require

_SHAPES = ((3, 16, 16), (12,))  # images, and features
_BATCH = 5
_FIXED = (
    "Where it takes examples of one size alone, call "
    "check_plugin(..., shape=(channels, height, width), classes=...)."
)

Weights = dict[str, Tensor]


def check_model(model: Model, shape: tuple[int, ...] | None = None, classes: int = C) -> None:
    """Build the network for images and for features, of which it may refuse one.

    Args:
        model: the plugin.
        shape: the only examples to try.
        classes: how many there are.
    """
    if shape is not None:
        _check_shape(model, shape, classes)
        return
    refusals = []
    for tried in _SHAPES:
        try:
            build(model, tried, 0, classes)
        except PrivauditError as error:
            if isinstance(error, PluginError) and error.original:  # it fails, it does not refuse
                raise PluginError(f"{error}. {_FIXED}", error.original) from error
            refusals.append(str(error))
            continue
        try:
            _check_shape(model, tried, classes)
        except PluginError as error:
            hint = f". {_FIXED}" if error.original else ""
            raise PluginError(f"{error}{hint}", error.original) from error
    require(
        len(refusals) < len(_SHAPES),
        f"{type(model).__name__}.build accepts neither images nor features: "
        f"{'; '.join(refusals)}. {_FIXED}",
    )


def _check_shape(model: Model, shape: tuple[int, ...], classes: int) -> None:
    where = f"{type(model).__name__}.build for examples {shape}"
    networks = [build(model, shape, seed, classes) for seed in (0, 1)]
    if not isinstance(networks[0], nn.Module):
        raise broken(model, "build", f"gives {type(networks[0]).__name__}, not an nn.Module")
    again = build(model, shape, 0, classes).state_dict()
    for name, value in networks[0].state_dict().items():
        require(
            torch.equal(value, again[name]),
            f"{where}: {name} starts differently under one seed: "
            "initialise from torch's global generator",
        )
    x = torch.randn(_BATCH, *shape, generator=generator())
    if x.ndim == 4:  # as convolutions like it best, and as the engine may give it
        x = x.contiguous(memory_format=torch.channels_last)
    for network in networks:
        network.eval()
    with guest(model, "forward"):
        answers = [network(x) for network in networks]
    alone = [_logits(model, answer, (_BATCH, classes)) for answer in answers]
    _check_gradients(model, networks, x, classes)
    _check_together(model, networks, x, torch.stack(alone).detach())


def _logits(model: Model, answer: object, shape: tuple[int, int]) -> Tensor:
    """The logits in what a network answers: itself, its `.logits` or its `["logits"]`."""
    logits = _found(answer)
    wanted = f"must answer with logits {shape}"
    if isinstance(logits, list | tuple):
        kinds = ", ".join(type(part).__name__ for part in logits)
        what = f"{wanted}, not with several values ({kinds}): return the logits alone"
        raise broken(model, "build", what)
    if not isinstance(logits, Tensor):
        raise broken(model, "build", f"{wanted}, not with {type(logits).__name__}")
    if logits.shape != shape:
        raise broken(model, "build", f"{wanted}, not {tuple(logits.shape)}")
    if not bool(logits.isfinite().all()):
        raise broken(model, "build", "answers plain examples with NaN or infinity")
    if bool((logits >= 0).all()) and torch.allclose(logits.sum(1), logits.new_ones(()), atol=1e-4):
        what = f"{wanted}, not with probabilities: leave out the softmax at its end"
        raise broken(model, "build", what)
    return logits


def _found(answer: Any) -> Any:
    if isinstance(answer, Mapping) and "logits" in answer:
        return answer["logits"]
    return getattr(answer, "logits", answer)


def _check_gradients(model: Model, networks: list[nn.Module], x: Tensor, classes: int) -> None:
    """Each network trains by itself: forward and back, in training mode."""
    y = torch.arange(_BATCH) % classes
    for network in networks:
        network.train()
        with torch.random.fork_rng(devices=[]), guest(model, "forward"):
            torch.manual_seed(0)
            logits = _logits(model, network(x), (_BATCH, classes))
            if not logits.requires_grad:
                what = "gives logits without a gradient: leave out .detach() and torch.no_grad()"
                raise broken(model, "build", what)
            loss = cross_entropy(logits, y)
            torch.autograd.backward(loss)
        moved = [(n, p.grad) for n, p in network.named_parameters() if p.grad is not None]
        if not moved:
            raise broken(model, "build", "gives a network no weight of which has a gradient")
        for name, gradient in moved:
            if not bool(gradient.isfinite().all()):
                raise broken(model, "build", f"the gradient of {name} is not finite")
        network.zero_grad()


def _check_together(model: Model, networks: list[nn.Module], x: Tensor, alone: Tensor) -> None:
    """Many networks train at once if torch.vmap can take them; if not, one after another."""
    y = torch.arange(_BATCH) % alone.shape[-1]
    answer = _answer(networks[0])
    again = [build(model, tuple(x.shape[1:]), seed, alone.shape[-1]).eval() for seed in (0, 1)]
    try:
        networks[0].eval()
        state = (*stack_module_state(again), torch.stack([x, x]))
        stacked = vmap(answer)(*state)
        _rest_dropout(networks[0].train())
        vmap(grad(lambda p, b, x: cross_entropy(answer(p, b, x), y)))(*state)
    except Exception as error:  # whatever torch raises; the network has been seen to train alone
        _warn(model, error)
        return
    if not torch.allclose(stacked, alone, atol=1e-4, rtol=1e-4):
        what = "two networks stacked with torch.vmap answer differently than each alone"
        raise broken(model, "build", what)


def _warn(model: Model, error: Exception) -> None:
    plugin_error = blamed(error, model)
    reason = (
        plugin_error
        or f"model {model.name!r}: {type(error).__name__}: {str(error).splitlines()[0]}"
    )
    warnings.warn(
        f"many of these networks cannot be trained at once, so they are trained one after another, "
        f"which is slower. {reason}",
        stacklevel=2,
    )


def _rest_dropout(network: nn.Module) -> None:
    """Put dropout to rest: the engine draws it from each model's own key."""
    for module in network.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()


def _answer(network: nn.Module) -> Callable[[Weights, Weights, Tensor], Tensor]:
    def answer(parameters: Weights, buffers: Weights, x: Tensor) -> Tensor:
        # A copy, because BatchNorm writes its statistics into the dictionary's tensors.
        copies = {name: buffer.clone() for name, buffer in buffers.items()}
        logits: Tensor = _found(functional_call(network, {**parameters, **copies}, (x,)))
        return logits

    return answer
