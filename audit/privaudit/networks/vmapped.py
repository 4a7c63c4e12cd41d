"""Functions of one model turned into functions of K stacked models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.func import vmap
from torch.utils._pytree import tree_flatten, tree_map, tree_map_only, tree_unflatten

Result = TypeVar("Result")
Lift = Callable[[Callable[..., Result], int], Callable[..., Result]]


def over_models(function: Callable[..., Result], count: int) -> Callable[..., Result]:
    """A function of one model's tensors, for `count` models stacked on a leading axis, at once.

    Tensors in tuples, dictionaries and the like are found; what is no tensor is handed on. One
    model is called plainly, because stacking one costs and gains nothing; but for the first time
    it is stacked, as it always was, so that what is trained today rounds as what lies in caches.

    Raises:
        RuntimeError: on calling, where `torch.vmap` cannot take the function: it draws from
            torch's generator, or branches on a number.
    """
    axes: tuple[Any, ...] | None = None

    def call(*inputs: object) -> Result:
        nonlocal axes
        if count == 1 and axes is not None:
            result: Result = tree_map_only(Tensor, lambda t: t[None], function(*_of(inputs, 0)))
            return result
        if axes is None:
            axes = tuple(tree_map(lambda part: 0 if isinstance(part, Tensor) else None, inputs))
        stacked: Result = vmap(function, in_dims=axes, randomness="error")(*inputs)
        return stacked

    return call


def one_by_one(function: Callable[..., Result], count: int) -> Callable[..., Result]:
    """The same, one model after another: for functions that `torch.vmap` cannot take."""

    def call(*inputs: object) -> Result:
        return stacked_results([function(*_of(inputs, model)) for model in range(count)])

    return call


def stacked_results(results: list[Result]) -> Result:
    """Results of one structure with their tensors (K, ...) stacked."""
    flat, structures = zip(*(tree_flatten(result) for result in results), strict=True)
    parts = [
        torch.stack(part) if isinstance(part[0], Tensor) else part[0]
        for part in zip(*flat, strict=True)
    ]
    stacked: Result = tree_unflatten(parts, structures[0])
    return stacked


def _of(inputs: tuple[object, ...], model: int) -> tuple[Any, ...]:
    return tuple(tree_map_only(Tensor, lambda t: t[model], inputs))
