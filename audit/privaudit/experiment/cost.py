"""What it costs to answer one example: multiply-adds, counted, and seconds, measured."""

from __future__ import annotations

import copy
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from privaudit.channels import compact
from privaudit.experiment.checkpoint import Program
from privaudit.experiment.context import RunContext
from privaudit.experiment.level import Level
from privaudit.train.dataset import DeviceDataset

_BATCH = 256
_TIMES = 5
_WORK = 2**30  # multiply-adds of a measured batch on a CPU: well below a second


@dataclass(frozen=True)
class Cost:
    """What answering one example takes.

    Attributes:
        multiply_adds: as `multiply_adds` counts them.
        seconds: as `seconds_per_example` measures them.
    """

    multiply_adds: int | None = None
    seconds: float | None = None


def costs(context: RunContext, level: Level) -> list[list[Cost]]:
    """For each seed, what each of its targets costs once what is all zero has been cut away.

    Time is measured on the first target of a seed and stands for all of them. A program that
    was trained elsewhere hides its weights: nothing is known of it.
    """
    rows = torch.arange(min(_BATCH, len(context.examples)))
    examples = DeviceDataset(context.examples.take(rows), context.device, torch.float32)

    def cost(model: int, known: Cost | None) -> Cost:
        network = compact(filled(level.network, _weights_of(context, level, model)))
        network = network.to(context.device)
        x = examples.plain(rows.to(context.device))
        if not context.examples.tokens:
            x = x.to(next(network.parameters()).dtype)
        work = multiply_adds(network, x[:1])
        return Cost(work, known.seconds if known else seconds_per_example(network, x, work))

    found: list[list[Cost]] = []
    for s, split in enumerate(context.ensemble.splits):
        found.append([])
        for model in context.ensemble.models(s)[split.targets].tolist():
            known = found[-1][0] if found[-1] else None
            hidden = isinstance(level.network, Program)
            found[-1].append(Cost() if hidden else cost(model, known))
    return found


def filled(structure: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """A network of its own with one model's weights, (*shape) by name, ready to answer.

    Args:
        structure: what the models of a cohort share; it is left as it is.
        weights: all that its state dict holds.

    Raises:
        ValueError: they are not.
        RuntimeError: one has another shape.
    """
    network = copy.deepcopy(structure)
    missing, strange = network.load_state_dict(dict(weights), strict=False)
    missing = sorted(own_names(network).intersection(missing))
    if missing or strange:
        raise ValueError(f"weights that are missing: {missing}, and that are not known: {strange}")
    return network.eval()


def own_names(network: nn.Module) -> set[str]:
    """Names in a state dict, of a weight with several names the first alone."""
    named = [*network.named_parameters(), *network.named_buffers()]
    return {name for name, _ in named} & network.state_dict().keys()


def multiply_adds(network: nn.Module, x: Tensor) -> int:
    """Multiply-adds for one example in convolutions and matrix products, zeros left out.

    A layer costs the products that it computes, less the share that its zero weights have in
    them: a pruned weight costs nothing, whether or not a machine can make use of that, and a
    circulant block costs as much as the matrix that it is applied as. A layer that keeps its
    weights in a `ParameterList` holds factors of a matrix: each of their nonzero weights counts
    once for every place of the output, be it a pixel or a token, although convolutions may
    multiply the factors out first. Products without a layer's own weights, as in attention,
    count in full, and so do those of a module that also holds other modules. Normalisation,
    activations and biases are not counted.

    Args:
        network: in evaluation mode.
        x: (1, ...) one normalised example.
    """
    layers = {name: layer for name, layer in network.named_modules() if _weights(layer)}
    places = dict.fromkeys(layers, 0)
    flops: dict[str | None, int] = defaultdict(int)  # by layer; None: outside of them

    def entering(name: str) -> Callable[[nn.Module, Any], None]:
        def enter(layer: nn.Module, inputs: Any) -> None:
            counter.layer = name

        return enter

    def counting(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def count(layer: nn.Module, inputs: Any, output: Tensor) -> None:
            counter.layer = None
            convolves = hasattr(layer, "kernel_size")
            places[name] += prod(output.shape[2:] if convolves else output.shape[1:-1])

        return count

    counter = _Counter(flops)
    hooks = [layer.register_forward_pre_hook(entering(name)) for name, layer in layers.items()]
    hooks += [layer.register_forward_hook(counting(name)) for name, layer in layers.items()]
    try:
        with torch.no_grad(), counter:
            network(x)
    finally:
        for hook in hooks:
            hook.remove()
    total = sum(flops.values()) // 2
    for name, layer in layers.items():
        weights = _weights(layer)
        nonzero = sum(int((weight != 0).sum()) for weight in weights)
        computed = flops[name] // 2
        total -= computed
        if any(layer.children()):
            total += places[name] * nonzero
        else:
            total += computed * nonzero // sum(weight.numel() for weight in weights)
    return total


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


def seconds_per_example(network: nn.Module, x: Tensor, work: int) -> float:
    """How long one example takes in a batch: the median of five, after one to warm up.

    The batch is of 256 examples; on a CPU, of no more than a billion multiply-adds answer.

    Args:
        network: in evaluation mode.
        x: (N, ...) normalised examples on the network's device.
        work: multiply-adds of one example.
    """
    most = _BATCH if x.is_cuda else min(_BATCH, _WORK // max(1, work))
    x = x[: max(1, most)]
    taken = []
    with torch.inference_mode():
        for _ in range(1 + _TIMES):
            started = time.perf_counter()
            network(x)
            if x.is_cuda:
                torch.cuda.synchronize(x.device)
            taken.append(time.perf_counter() - started)
    return median(taken[1:]) / len(x)


def _weights(layer: nn.Module) -> list[Tensor]:
    """The weights of two and more axes of a layer that holds no other layers."""
    if isinstance(layer, nn.ParameterList):
        return []
    if not all(isinstance(child, nn.ParameterList) for child in layer.children()):
        return []
    return [weight for weight in layer.parameters() if weight.ndim > 1]


def _weights_of(context: RunContext, level: Level, model: int) -> dict[str, Tensor]:
    """All that the state dict of one model of a level holds, on the host."""
    if context.given is None:
        return {name: w[model] for name, w in level.weights.items()}
    cohort = context.given.cohort
    return {name: w[0].cpu() for name, w in (cohort.weights | cohort.buffers).items()}
