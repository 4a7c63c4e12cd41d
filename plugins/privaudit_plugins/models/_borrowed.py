"""Networks of other libraries, made for large colour images, given the examples of a dataset."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from privaudit import RecipeError


def tried(network: nn.Module, called: str, shape: tuple[int, ...], classes: int) -> nn.Module:
    """The network, once it has answered one example with logits.

    Args:
        network: freshly built.
        called: what the recipe calls it.
        shape: (channels, height, width) of an example.
        classes: how many logits it must have.

    Raises:
        RecipeError: it cannot.
    """
    size = "×".join(map(str, shape[1:]))
    try:
        with torch.no_grad():
            answer: object = network.eval()(torch.zeros(1, *shape))
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise RecipeError(
            f"model {called} takes no images of {size} pixels: {said(error)}"
        ) from error
    finally:
        network.train()
    if not isinstance(answer, Tensor) or answer.shape != (1, classes):
        given = (
            f"shape {tuple(answer.shape)}" if isinstance(answer, Tensor) else type(answer).__name__
        )
        raise RecipeError(
            f"model {called} answers an image of {size} pixels with {given} in the place of one "
            f"logit for each of {classes} classes: it is no classifier, or has auxiliary outputs"
        )
    return network


def said(error: Exception) -> str:
    """The first line of what another library says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def with_channels(network: nn.Module, channels: int) -> nn.Module:
    """The network, whose first convolution reads so many channels; itself where it does already."""
    for name, layer in network.named_modules():
        if not isinstance(layer, nn.Conv2d):
            continue
        if layer.in_channels == channels:
            return network
        fitting = nn.Conv2d(
            channels,
            layer.out_channels,
            layer.kernel_size,  # type: ignore[arg-type]
            layer.stride,  # type: ignore[arg-type]
            layer.padding,  # type: ignore[arg-type]
            bias=layer.bias is not None,
        )
        network.set_submodule(name, fitting)
        return network
    return network
