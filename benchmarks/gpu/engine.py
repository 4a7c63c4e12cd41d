"""Epochs of models that train by one of privaudit's ways, timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from statistics import median

import torch
from torch import Tensor

from benchmarks.gpu.devices import synchronize
from benchmarks.gpu.material import cohort, everyone
from privaudit import Examples
from privaudit.networks.state import State
from privaudit.train.ways.chain_step import chain_of
from privaudit.train.ways.choose import WAYS


def ways(examples: Examples) -> tuple[str, ...]:
    """The names of those that take ResNet-20, the quickest first."""
    one = cohort(examples, everyone(1, examples), torch.device("cpu"), epochs=1)
    objective = one._fit(False, None, {}).objective
    chain = chain_of(objective, one.data, one.training)
    return tuple(name for name in WAYS if name != "chain" or chain is not None)


def epoch_seconds(
    way: str,
    examples: Examples,
    device: torch.device,
    *,
    models: int,
    batch: int,
    rounds: int,
    precision: str = "fp32",
    compiled: bool = False,
    around: Callable[[Callable[[], None]], None] = lambda work: work(),
) -> float:
    """Seconds of a pass of all models over the examples: the median of some, after a warm-up.

    Args:
        way: a name in `WAYS`, whatever the engine would choose itself.
        examples: every model trains on all of them.
        device: where.
        models: that share their steps.
        batch: examples in a step of each.
        rounds: passes that are timed; 0 times nothing.
        precision: of `Training`.
        compiled: `Training.compile`.
        around: calls the work that is given to it, and may watch it.
    """
    trained = cohort(
        examples,
        everyone(models, examples),
        device,
        epochs=1 + rounds,
        batch_size=batch,
        precision=precision,
        compile=compiled,
        stack=models,
    )
    fit = replace(trained._fit(False, None, {}), way=way)
    times: list[float] = []

    def on_epoch(epoch: int, history: Tensor, now: Callable[[], State]) -> None:
        synchronize(device)
        times.append(time.perf_counter())

    def work() -> None:
        fit.run(trained.data, on_epoch)

    around(work)
    taken = [b - a for a, b in pairwise(times)]
    return median(taken) if taken else 0.0
