"""Chains of plain layers, answered for K models at once.

Features are (K, B, F). Images are (B, K x C, H, W), the models side by side as channels: a
convolution of K models is one of K groups, and BatchNorm and pooling never mix channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d

from privaudit.cohort.game import DROPOUT
from privaudit.cohort.network import Buffers, KeyedDropout
from privaudit.keys import fold, uniform

Layers = list[tuple[str, nn.Module]]

_ELEMENTWISE = (nn.ReLU, nn.Tanh, nn.GELU, nn.Sigmoid, nn.Identity)


def chain(module: nn.Module) -> Layers | None:
    """The layers that an input goes through one after another, by name; None if it is no chain.

    Known are linear layers, plain convolutions, BatchNorm of images, pooling of two by two,
    activations, dropout of single numbers, and flattening.
    """
    layers = _listed(module)
    if layers is None or len({layer for _, layer in layers}) < len(layers):
        return None  # the second use of a layer has no name of its own
    return layers


def _listed(module: nn.Module) -> Layers | None:
    if type(module) is not nn.Sequential:
        return None
    layers: Layers = []
    for name, child in module._modules.items():  # named_children skips second names
        assert child is not None
        inner = _listed(child) if type(child) is nn.Sequential else [("", child)]
        if inner is None or not all(type(c) is nn.Sequential or _known(c) for _, c in inner):
            return None
        layers += [(f"{name}.{below}" if below else name, layer) for below, layer in inner]
    return layers


def _known(layer: nn.Module) -> bool:
    if not all(p.requires_grad for p in layer.parameters()):
        return False
    if type(layer) is nn.Flatten:
        return (layer.start_dim, layer.end_dim) == (1, -1)
    if type(layer) is KeyedDropout:
        return not layer.features
    if type(layer) is nn.Conv2d:
        return layer.groups == 1 and layer.padding_mode == "zeros"
    if type(layer) is nn.BatchNorm2d:
        return layer.affine and layer.track_running_stats
    if type(layer) is nn.MaxPool2d:
        plain = (layer.padding, layer.dilation, layer.ceil_mode, layer.return_indices)
        return layer.kernel_size == layer.stride == 2 and plain == (0, 1, False, False)
    return type(layer) is nn.Linear or type(layer) in _ELEMENTWISE


def answer(
    layers: Layers, weights: Mapping[str, Tensor], buffers: Buffers, x: Tensor, key: Tensor
) -> tuple[Tensor, Buffers]:
    """Logits (K, B, C) of examples (K, B, ...) in training, and the buffers afterwards.

    Args:
        layers: as `chain` lists them.
        weights: (K, *shape) by name.
        buffers: (K, *shape) by name; not changed.
        x: each model's examples.
        key: (K,) for dropout.
    """
    models, dropouts, after = len(x), 0, dict(buffers)
    if x.ndim == 5:
        x = x.transpose(0, 1).flatten(1, 2)
    for name, layer in layers:
        if isinstance(layer, nn.Flatten):
            x = x.flatten(2) if x.ndim == 3 else _features(x, models)
        elif isinstance(layer, nn.Linear):
            x = _Linear.apply(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"))
        elif isinstance(layer, nn.Conv2d):
            kernels = weights[f"{name}.weight"].flatten(0, 1)
            bias = weights[f"{name}.bias"].flatten() if f"{name}.bias" in weights else None
            x = conv2d(
                x.contiguous(),
                kernels,
                bias,
                layer.stride,
                layer.padding,
                layer.dilation,
                groups=models,
            )
        elif isinstance(layer, nn.BatchNorm2d):
            x = _normalised(x, name, layer, weights, after)
        elif isinstance(layer, nn.MaxPool2d):
            x = _Pool.apply(x)
        elif isinstance(layer, KeyedDropout):
            x = _dropped(x, layer, fold(fold(key, DROPOUT), dropouts), models)
            dropouts += 1
        else:
            x = layer(x)
    return x, after


def _features(x: Tensor, models: int) -> Tensor:
    """(K, B, C x H x W) from (B, K x C, H, W)."""
    images, channels, *sides = x.shape
    return x.view(images, models, channels // models, *sides).transpose(0, 1).flatten(2)


def _normalised(
    x: Tensor, name: str, layer: nn.BatchNorm2d, weights: Mapping[str, Tensor], after: Buffers
) -> Tensor:
    """BatchNorm of every model by its own statistics, which move on in `after`."""
    kept = [after[f"{name}.running_{what}"] for what in ("mean", "var")]
    moved = [each.flatten().clone() for each in kept]
    scale, shift = (weights[f"{name}.{what}"].flatten() for what in ("weight", "bias"))
    momentum = layer.momentum
    assert momentum is not None
    x = batch_norm(x, moved[0], moved[1], scale, shift, True, momentum, layer.eps)
    for what, each, now in zip(("mean", "var"), kept, moved, strict=True):
        after[f"{name}.running_{what}"] = now.view_as(each)
    after[f"{name}.num_batches_tracked"] = after[f"{name}.num_batches_tracked"] + 1
    return x


def _dropped(x: Tensor, layer: KeyedDropout, key: Tensor, models: int) -> Tensor:
    if layer.p == 0:
        return x
    if x.ndim == 3:
        return x * (uniform(key, *x.shape[1:]) >= layer.p) / (1 - layer.p)
    shape = (x.shape[0], x.shape[1] // models, *x.shape[2:])
    keep = (uniform(key, *shape) >= layer.p).transpose(0, 1).flatten(1, 2)
    return x * keep / (1 - layer.p)


class _Linear(torch.autograd.Function):
    """K linear layers, x (K, B, I) to (K, B, O), by the quickest order of each product."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        # Few outputs are quicker as rows, and so is a softmax over them.
        few = weight.shape[1] < 32
        product = torch.bmm(weight, x.mT).mT if few else torch.bmm(x, weight.mT)
        return product if bias is None else product.add_(bias[:, None])

    @staticmethod
    def backward(
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        of_x = torch.bmm(gradient, weight) if ctx.needs_input_grad[0] else None
        of_bias = gradient.sum(1) if ctx.needs_input_grad[2] else None
        return of_x, torch.bmm(gradient.mT, x), of_bias


class _Pool(torch.autograd.Function):
    """The largest of two by two pixels; as in PyTorch, the first of equals gets the gradient."""

    # Shares of 0 and 1 as floats: products with truth values are five times as slow on a CPU.

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        first, second, third, fourth = (part.contiguous() for part in _quarters(x))
        above, below = torch.maximum(first, second), torch.maximum(third, fourth)
        ctx.save_for_backward(_more(second, first), _more(fourth, third), _more(below, above))
        ctx.shape = x.shape
        return torch.maximum(above, below)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        right_above, right_below, lower = ctx.saved_tensors
        of_x = gradient.new_zeros(ctx.shape)
        first, second, third, fourth = _quarters(of_x)
        below = gradient * lower
        above = gradient - below
        torch.mul(above, right_above, out=second)
        torch.sub(above, second, out=first)
        torch.mul(below, right_below, out=fourth)
        torch.sub(below, fourth, out=third)
        return of_x


def _more(one: Tensor, other: Tensor) -> Tensor:
    """1 where one is greater, else 0."""
    return one.sub(other).sign_().clamp_(min=0)


def _quarters(x: Tensor) -> list[Tensor]:
    """The four pixels of each window (..., H // 2, W // 2), row by row."""
    height, width = (side // 2 * 2 for side in x.shape[-2:])
    inside = x[..., :height, :width]
    return [inside[..., row::2, column::2] for row in (0, 1) for column in (0, 1)]
