"""Counting the multiply-adds that a network takes for an example."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode


def multiply_adds(network: nn.Module, x: Tensor, zeros: bool = False) -> int:
    """Multiply-adds for the examples x in convolutions and matrix products, zeros left out.

    A layer costs the products that it computes, less the share that its zero weights have in
    them: a pruned weight costs nothing, whether or not a machine can make use of that, and a
    circulant block costs as much as the matrix that it is applied as. A layer that keeps its
    weights in a `ParameterList` holds factors of a matrix: each of their nonzero weights counts
    once for every place of the output, be it a pixel or a token, although convolutions may
    multiply the factors out first. Products without a layer's own weights, as in attention,
    count in full, and so do those of a module that also holds other modules; every matrix of a
    recurrent layer counts once for every step of the sequence. Normalisation,
    activations and biases are not counted.

    Args:
        network: in evaluation mode.
        x: (B, ...) normalised examples; one, as a rule.
        zeros: count weights that are zero, too.
    """
    layers = {name: layer for name, layer in network.named_modules() if _weights(layer)}
    places = dict.fromkeys(layers, 0)
    flops: dict[str | None, int] = defaultdict(int)  # by layer; None: outside of them

    def entering(name: str) -> Callable[[nn.Module, Any], None]:
        def enter(layer: nn.Module, inputs: Any) -> None:
            counter.layer = name

        return enter

    def counting(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def count(layer: nn.Module, inputs: Any, output: Any) -> None:
            counter.layer = None
            output = output[0] if isinstance(output, tuple) else output
            convolves = hasattr(layer, "kernel_size")
            places[name] += prod(output.shape[2:] if convolves else output.shape[1:-1])

        return count

    counter = _Counter(flops)
    hooks = [layer.register_forward_pre_hook(entering(name)) for name, layer in layers.items()]
    hooks += [layer.register_forward_hook(counting(name)) for name, layer in layers.items()]
    try:
        with torch.no_grad(), _spelled_out(), counter:
            network(x)
    finally:
        for hook in hooks:
            hook.remove()
    total = sum(flops.values()) // 2
    for name, layer in layers.items():
        weights = _weights(layer)
        size = sum(weight.numel() for weight in weights)
        nonzero = size if zeros else sum(int((weight != 0).sum()) for weight in weights)
        computed = flops[name] // 2
        total -= computed
        if isinstance(layer, nn.RNNBase) or any(layer.children()):
            total += places[name] * nonzero
        else:
            total += computed * nonzero // size
    return total


@contextmanager
def _spelled_out() -> Iterator[None]:
    """Attention by its products, not by one operation that hides them."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Floating-point operations by torch's own formulas, added up for the layer that is called.

    `torch.utils.flop_counter.FlopCounterMode` does the same, but starts torch's compiler, which
    takes longer than a small network's training.
    """

    def __init__(self, flops: dict[str | None, int]) -> None:
        from torch.utils.flop_counter import flop_registry  # imports triton, where there is one

        super().__init__()  # type: ignore[no-untyped-call]
        self._formulas = flop_registry
        self.layer: str | None = None
        self._flops = flops

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # it is what starts the compiler

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count one operation, or those that it is made of."""
        kwargs = kwargs or {}
        formula = self._formulas.get(func._overloadpacket)
        if formula is None:
            with self:
                made_of = func.decompose(*args, **kwargs)
            if made_of is not NotImplemented:
                return made_of
        result = func(*args, **kwargs)
        if formula is not None:
            self._flops[self.layer] += int(formula(*args, **kwargs, out_val=result))
        return result


def _weights(layer: nn.Module) -> list[Tensor]:
    """The weights of two and more axes of a layer that holds no other layers."""
    if isinstance(layer, nn.ParameterList):
        return []
    if not all(isinstance(child, nn.ParameterList) for child in layer.children()):
        return []
    return [weight for weight in layer.parameters() if weight.ndim > 1]
