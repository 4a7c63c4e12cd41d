"""Where the time of a training step goes, by torch's profiler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu import engine
from benchmarks.gpu.devices import synchronize
from benchmarks.gpu.table import Cell
from privaudit import Examples

_SHOWN = 20


def top_kernels(
    row: Mapping[str, Cell], examples: Examples, device: torch.device, batch: int
) -> str:
    """The operations that take longest in two epochs of what a row of `fast` has timed."""
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    shown: list[str] = []

    def watched(work: Callable[[], None]) -> None:
        with profile(activities=activities) as seen:
            work()
            synchronize(device)
        by = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
        shown.append(
            seen.key_averages().table(sort_by=by, row_limit=_SHOWN, max_name_column_width=70)
        )

    few = len(examples) // batch // 5 * batch or len(examples)  # a fifth: profiles grow large
    engine.epoch_seconds(
        str(row["what"]),
        _first(examples, few),
        device,
        models=int(row["models"] or 1),
        batch=batch,
        rounds=1,
        precision=str(row["precision"]),
        compiled=bool(row["compiled"]),
        around=watched,
    )
    return shown[0]


def _first(examples: Examples, count: int) -> Examples:
    return replace(examples, x=examples.x[:count], y=examples.y[:count])
