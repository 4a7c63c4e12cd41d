"""What it costs to answer one example: multiply-adds, counted, and seconds, measured."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn

from privaudit.channels import compact
from privaudit.experiment.checkpoint import Program
from privaudit.experiment.context import RunContext
from privaudit.experiment.level import Level
from privaudit.networks.multiply_adds import multiply_adds
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


def askable(network: nn.Module, x: Tensor, batch: int) -> tuple[Tensor, int]:
    """Examples as a network takes them, and how many at once.

    It may take images in the usual order of memory only, and batches of one size only.

    Args:
        network: in evaluation mode.
        x: (n, ...) normalised examples.
        batch: the size that it was trained with.
    """
    repeated = x[torch.arange(batch, device=x.device) % len(x)]
    ways = ((x, 1), (x.contiguous(), 1), (repeated, batch), (repeated.contiguous(), batch))
    with torch.no_grad():
        for examples, count in ways:
            try:
                network(examples[:count])
            except Exception:  # the network's code may raise anything
                continue
            return examples, count
    return x, 1


def costs(context: RunContext, level: Level) -> list[list[Cost]]:
    """For each seed, what each of its targets costs once what is all zero has been cut away.

    Time is measured on the first target of a seed and stands for all of them. A program that
    was trained elsewhere hides its weights: nothing is known of it.
    """
    rows = torch.arange(min(_BATCH, len(context.examples)))
    examples = DeviceDataset(context.examples.take(rows), context.device, torch.float32)

    def cost(model: int, first: Cost | None) -> Cost:
        network = compact(filled(level.network, _weights_of(level, model)))
        network = network.to(context.device)
        x = examples.plain(rows.to(context.device))
        if not context.examples.tokens:
            x = x.to(next(network.parameters()).dtype)
        x, count = askable(network, x, context.recipe.training.batch_size)
        work = multiply_adds(network, x[:count]) // count
        x = x if count == 1 else x[:count]
        return Cost(work, first.seconds if first else seconds_per_example(network, x, work, count))

    costs_by_seed: list[list[Cost]] = []
    for s, split in enumerate(context.ensemble.splits):
        costs_by_seed.append([])
        for model in context.ensemble.models(s)[split.targets].tolist():
            first = costs_by_seed[-1][0] if costs_by_seed[-1] else None
            hidden = isinstance(level.network, Program)
            costs_by_seed[-1].append(Cost() if hidden else cost(model, first))
    return costs_by_seed


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


def seconds_per_example(network: nn.Module, x: Tensor, work: int, least: int = 1) -> float:
    """How long one example takes in a batch: the median of five, after one to warm up.

    The batch is of 256 examples; on a CPU, of no more than a billion multiply-adds answer.

    Args:
        network: in evaluation mode.
        x: (N, ...) normalised examples on the network's device.
        work: multiply-adds of one example.
        least: examples that a batch must have.
    """
    most = _BATCH if x.is_cuda else min(_BATCH, _WORK // max(1, work))
    x = x[: max(least, most)]
    taken = []
    with torch.inference_mode():
        for _ in range(1 + _TIMES):
            started = time.perf_counter()
            network(x)
            if x.is_cuda:
                torch.cuda.synchronize(x.device)
            taken.append(time.perf_counter() - started)
    return median(taken[1:]) / len(x)


def _weights_of(level: Level, model: int) -> dict[str, Tensor]:
    """All that the state dict of one model of a level holds, on the host."""
    if level.given is None:
        return {name: w[model] for name, w in level.weights.items()}
    cohort = level.given.cohort
    return {name: w[0].cpu() for name, w in (cohort.weights | cohort.buffers).items()}
