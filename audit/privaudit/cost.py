"""What it costs to answer one example: multiply-adds, counted, and seconds, measured."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils.flop_counter import FlopCounterMode

from privaudit.checkpoint import Program
from privaudit.cohort.batches import Batches
from privaudit.levels import Level, Workplace

try:
    from privaudit.channels import compact
except ModuleNotFoundError:  # TEMPORARY until channels.py lands

    def compact(module: nn.Module) -> nn.Module:
        return module


_BATCH = 256
_TIMES = 5
# Multiply-adds of a measured batch, so that large networks do not take minutes on a CPU.
_WORK = {"cpu": 2**32, "cuda": 2**40}


@dataclass(frozen=True)
class Cost:
    """What answering one example takes.

    Attributes:
        multiply_adds: as `multiply_adds` counts them.
        seconds: as `seconds_per_example` measures them.
    """

    multiply_adds: int | None = None
    seconds: float | None = None


def costs(place: Workplace, level: Level) -> list[list[Cost]]:
    """For each seed, what each of its targets costs once what is all zero has been cut away.

    Time is measured on the first target of a seed and stands for all of them. A program that
    was trained elsewhere hides its weights: nothing is known of it.
    """
    rows = torch.arange(min(_BATCH, len(place.examples)))
    dtype = torch.float64 if place.recipe.training.precision == "fp64" else torch.float32
    x = Batches(place.examples.take(rows), place.device, dtype).plain(rows.to(place.device))

    def cost(model: int, known: Cost | None) -> Cost:
        network = compact(filled(level.network, _weights_of(place, level, model)))
        network = network.to(place.device)
        work = multiply_adds(network, x[:1])
        return Cost(work, known.seconds if known else seconds_per_example(network, x, work))

    found: list[list[Cost]] = []
    for s, split in enumerate(place.ensemble.splits):
        found.append([])
        for model in place.ensemble.models(s)[split.targets].tolist():
            known = found[-1][0] if found[-1] else None
            hidden = isinstance(level.network, Program)
            found[-1].append(Cost() if hidden else cost(model, known))
    return found


def filled(structure: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """A network of its own with one model's weights, (*shape) by name, ready to answer.

    Args:
        structure: what the models of a cohort share; it is left as it is.
        weights: all that its state dict holds.
    """
    network = copy.deepcopy(structure)
    network.load_state_dict(dict(weights))
    return network.eval()


def multiply_adds(network: nn.Module, x: Tensor) -> int:
    """Multiply-adds for one example in convolutions and matrix products.

    In every layer that holds weights, each weight that is not zero counts once for every place
    of the output: every pixel, every token. So a pruned weight costs nothing, whether or not a
    machine can make use of that, and a layer whose weights are factors of a matrix costs what
    its factors cost one after another, although it may multiply them out first. Products of
    what is not a weight, as in attention, count in full, and so does a weight of a module that
    also holds other modules. Normalisation, activations and biases are not counted.

    Args:
        network: in evaluation mode.
        x: (1, ...) one normalised example.
    """
    layers = {name: layer for name, layer in network.named_modules() if _weights(layer)}
    places = dict.fromkeys(layers, 0)

    def counting(name: str, layer: nn.Module) -> Any:
        def count(module: nn.Module, inputs: Any, output: Tensor) -> None:
            places[name] += _places(layer, output)

        return layer.register_forward_hook(count)

    hooks = [counting(name, layer) for name, layer in layers.items()]
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(x)
    finally:
        for hook in hooks:
            hook.remove()
    flops = {name: sum(each.values()) for name, each in counter.get_flop_counts().items()}
    root = type(network).__name__  # what the counter puts before every name
    dense = {n: int(flops.get(f"{root}.{n}" if n else root, 0)) // 2 for n in layers}
    total = int(flops.get("Global", 0)) // 2 - sum(dense.values())
    for name, layer in layers.items():
        if dense[name]:  # else its weights are looked up or added
            total += places[name] * sum(int((w != 0).sum()) for w in _weights(layer))
    return total


def seconds_per_example(network: nn.Module, x: Tensor, work: int) -> float:
    """How long one example takes in a batch: the median of five, after one to warm up.

    The batch is of 256 examples, or of as many as four billion multiply-adds answer on a CPU.

    Args:
        network: in evaluation mode.
        x: (N, ...) normalised examples on the network's device.
        work: multiply-adds of one example.
    """
    most = _WORK.get(x.device.type, _WORK["cpu"]) // max(1, work)
    x = x[: max(1, min(_BATCH, most))]
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
    """The weights of two and more axes that a layer of no other layers multiplies by."""
    if isinstance(layer, nn.ParameterList | nn.ParameterDict):
        return []
    inner = list(layer.children())
    if not all(isinstance(child, nn.ParameterList | nn.ParameterDict) for child in inner):
        return []
    return [weight for weight in layer.parameters() if weight.ndim > 1]


def _places(layer: nn.Module, output: Tensor) -> int:
    """How many times a layer's weights are applied to one example."""
    convolves = isinstance(layer, _ConvNd) or hasattr(layer, "kernel_size")
    return prod(output.shape[2:] if convolves else output.shape[1:-1])


def _weights_of(place: Workplace, level: Level, model: int) -> dict[str, Tensor]:
    """All that the state dict of one model of a level holds, on the host."""
    if place.given is None:
        return {name: w[model] for name, w in level.weights.items()}
    cohort = place.given.cohort
    return {name: w[0].cpu() for name, w in (cohort.weights | cohort.buffers).items()}
