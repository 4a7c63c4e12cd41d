"""Layers of K models side by side, each with its own way back.

Features are (K, B, F). Images are (B, K x C, H, W), the models side by side as channels: a
convolution of K models is one of K groups, and BatchNorm and pooling never mix channels.
Derivatives are written out, because automatic ones cost a small step as much as its arithmetic.
Every function here is called as `layer(now, name, layer, x)` and leaves its way back in `now`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from privaudit.keys import fold, uniform
from privaudit.networks.dropout import KeyedDropout
from privaudit.train.sparse import SparseRows
from privaudit.train.ways.passing import Pass

_ops = torch.ops.aten


def linear(now: Pass, name: str, layer: nn.Module, x: Tensor) -> Tensor:
    """(K, B, O) from (K, B, I), by the quickest order of each product."""
    weight, bias = now.weights[f"{name}.weight"], now.weights.get(f"{name}.bias")
    inner = bool(now.back)
    # Few outputs are quicker as rows, and so is a softmax over them.
    few = weight.shape[1] < 32
    answer = torch.bmm(weight, x.mT).mT if few else torch.bmm(x, weight.mT)
    if bias is not None:
        answer += bias[:, None]

    def way(gradient: Tensor) -> Tensor | None:
        of_x = torch.bmm(gradient, weight) if inner else None
        momentum = now.optimizer.take(f"{name}.weight")
        if momentum is None:
            now.gradients[f"{name}.weight"] = torch.bmm(gradient.mT, x)
        else:
            momentum.baddbmm_(gradient.mT, x, beta=now.optimizer.keep)
        if bias is not None:
            now.gradients[f"{name}.bias"] = gradient.sum(1)
        return of_x

    now.back.append(way)
    return answer


def sparse_linear(now: Pass, name: str, x: SparseRows) -> Tensor:
    """(K, B, O) from the network's sparse input.

    Each column's weights must lie side by side in memory, as `Network.turned` keeps them. A
    model at a time, so that its gradient is still in the cache when its momentum comes by.
    """
    weight, bias = now.weights[f"{name}.weight"], now.weights.get(f"{name}.bias")
    tables = weight.mT.unbind()
    answer = torch.stack([b.product(table) for b, table in zip(x.examples, tables, strict=True)])
    if bias is not None:
        answer += bias[:, None]

    def way(gradient: Tensor) -> None:
        momentum = now.optimizer.take(f"{name}.weight")
        keep, into = now.optimizer.keep, momentum
        if into is None:
            keep, into = 0.0, torch.zeros_like(weight)
            now.gradients[f"{name}.weight"] = into
        parts = zip(x.columns, gradient.contiguous().unbind(), into.mT.unbind(), strict=True)
        for columns, gradient_of_model, table in parts:
            torch.add(columns.product(gradient_of_model), table, alpha=keep, out=table)
        if bias is not None:
            now.gradients[f"{name}.bias"] = gradient.sum(1)

    now.back.append(way)
    return answer


def convolution(now: Pass, name: str, layer: nn.Module, x: Tensor) -> Tensor:
    """K convolutions as one of K groups."""
    assert isinstance(layer, nn.Conv2d)
    assert not isinstance(layer.padding, str)
    weight, bias = now.weights[f"{name}.weight"], now.weights.get(f"{name}.bias")
    kernels, x, inner = weight.flatten(0, 1), arranged(x), bool(now.back)
    shape = (layer.stride, layer.padding, layer.dilation)
    offset = None if bias is None else bias.flatten()

    def way(gradient: Tensor) -> Tensor | None:
        of_x, of_kernels, of_offset = _ops.convolution_backward(
            gradient, x, kernels, None if offset is None else offset.shape, *shape, False, [0, 0],
            now.models, [inner, True, offset is not None],
        )  # fmt: skip
        now.gradients[f"{name}.weight"] = of_kernels.view_as(weight)
        if bias is not None:
            now.gradients[f"{name}.bias"] = of_offset.view_as(bias)
        return of_x if inner else None

    now.back.append(way)
    return conv2d(x, kernels, offset, *shape, groups=now.models)


def batch_norm(now: Pass, name: str, layer: nn.Module, x: Tensor) -> Tensor:
    """BatchNorm of every model by its own statistics, which move on in the buffers."""
    assert isinstance(layer, nn.BatchNorm2d)
    weight, bias = now.weights[f"{name}.weight"], now.weights[f"{name}.bias"]
    statistics = [f"{name}.running_{what}" for what in ("mean", "var")]
    moved = [now.buffers[statistic].flatten().clone() for statistic in statistics]
    scale, inner = weight.flatten(), bool(now.back)
    answer: Tensor
    answer, mean, width = _ops.native_batch_norm(
        x, scale, bias.flatten(), *moved, True, layer.momentum, layer.eps
    )
    for statistic, new in zip(statistics, moved, strict=True):
        now.buffers[statistic] = new.view_as(now.buffers[statistic])
    count = f"{name}.num_batches_tracked"
    now.buffers[count] = now.buffers[count] + 1

    def way(gradient: Tensor) -> Tensor | None:
        of_x, of_scale, of_shift = _ops.native_batch_norm_backward(
            gradient, x, scale, *moved, mean, width, True, layer.eps, [inner, True, True]
        )
        now.gradients[f"{name}.weight"] = of_scale.view_as(weight)
        now.gradients[f"{name}.bias"] = of_shift.view_as(bias)
        return of_x if inner else None

    now.back.append(way)
    return answer


def pool(now: Pass, name: str, layer: nn.Module, x: Tensor) -> Tensor:
    """The largest of two by two pixels; the first of equals gets the gradient."""
    shape = ([2, 2], [2, 2], [0, 0], [1, 1], False)
    answer: Tensor
    answer, places = _ops.max_pool2d_with_indices(x, *shape)
    now.returns(lambda gradient: _ops.max_pool2d_with_indices_backward(gradient, x, *shape, places))
    return answer


def side_by_side(x: Tensor) -> Tensor:
    """(B, K x C, H, W) from images (K, B, C, H, W)."""
    return arranged(x.permute(1, 3, 4, 0, 2).flatten(3).permute(0, 3, 1, 2))


def arranged(x: Tensor) -> Tensor:
    """The same in memory as convolutions have it quickest: on a CPU with channels last."""
    on_cpu = x.device.type == "cpu"
    return x.contiguous(memory_format=torch.channels_last if on_cpu else torch.contiguous_format)


def flatten(now: Pass, name: str, layer: nn.Module, x: Tensor) -> Tensor:
    """(K, B, C x H x W) from (B, K x C, H, W), or from what is flat or one-dimensional already."""
    if x.ndim == 3:
        return x
    images, channels, *sides = x.shape
    apart = (now.models, images, channels // now.models, *sides)
    now.returns(lambda gradient: side_by_side(gradient.reshape(apart)))
    return torch.unflatten(x, 1, (now.models, -1)).transpose(0, 1).flatten(2)


def dropout(now: Pass, name: str, layer: nn.Module, x: Tensor) -> Tensor:
    """Some numbers of each model zero, by its own key."""
    assert isinstance(layer, KeyedDropout)
    key = fold(now.key, now.dropouts)
    now.dropouts += 1
    if layer.p == 0:
        return x
    if x.ndim == 3:
        keep = uniform(key, *x.shape[1:]) >= layer.p
    else:
        shape = (x.shape[0], x.shape[1] // now.models, *x.shape[2:])
        keep = side_by_side(uniform(key, *shape) >= layer.p)
    scale = keep.to(x.dtype).div_(1 - layer.p)
    now.returns(lambda gradient: gradient * scale)
    return x * scale
