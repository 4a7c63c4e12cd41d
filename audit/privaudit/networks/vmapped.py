"""Functions of one model turned into functions of K stacked models."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import Tensor
from torch.func import vmap
from torch.utils._pytree import tree_map_only

from privaudit.errors import PluginError

Result = TypeVar("Result")


def over_models(function: Callable[..., Result], count: int) -> Callable[..., Result]:
    """A function of one model's tensors, for `count` models stacked on a leading axis.

    One model is called plainly, because stacking one costs and gains nothing; but its first call
    is stacked, so that what cannot be stacked is refused whatever the count.

    Raises:
        PluginError: on calling, where the function draws from torch's generator.
    """
    stacked = vmap(function, randomness="error")
    tried = False

    def call(*inputs: object) -> Result:
        nonlocal tried
        if tried and count == 1:
            first = [tree_map_only(Tensor, lambda t: t[0], i) for i in inputs]
            result: Result = tree_map_only(Tensor, lambda t: t[None], function(*first))
            return result
        try:
            result = stacked(*inputs)
        except RuntimeError as error:
            if "randomness" not in str(error):
                raise
            raise PluginError(
                "the network, or a hook of the sparsifier or defense, draws random numbers from "
                "torch's shared generator: use nn.Dropout, not its function, and in hooks "
                "privaudit.keys with the step's key"
            ) from error
        tried = True
        return result

    return call
