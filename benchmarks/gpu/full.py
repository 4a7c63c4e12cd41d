"""Part `full`: eight ResNet-20 for the whole of the paper's schedule, and how accurate they are."""

from __future__ import annotations

import time
from statistics import mean, stdev

import torch
from torch import Tensor

from benchmarks.gpu.devices import chosen, described, emptied, peak_mib
from benchmarks.gpu.material import EPOCHS, MEMBERS, VALIDATION, cohort, images
from benchmarks.gpu.options import Options, TimeUp, time_limit
from benchmarks.gpu.table import Table
from privaudit import Role
from privaudit.cohort import Journal
from privaudit.events import EpochDone, Event, FitStarted

COLUMNS = ("model", "seed", "train %", "test %")
PUBLISHED = (
    "Published: 91.25 % (He et al. 2016, table 6: ResNet-20 trained on 45,000 to 50,000 of "
    "CIFAR-10's own images). Here it is {members:,} images{lossy}: expect several points less."
)
_KEPT = 40  # seconds for answers and the table


def roles(models: int, count: int, members: int, validation: int) -> Tensor:
    """Roles (M, N): every model draws its own members; all that is left tests it."""
    role = torch.full((models, count), Role.NON_MEMBER, dtype=torch.uint8)
    for model in range(models):
        order = torch.randperm(count, generator=torch.Generator().manual_seed(model))
        role[model, order[:members]] = Role.MEMBER
        role[model, order[members : members + validation]] = Role.VALIDATION
    return role


class _Progress:
    """What the engine tells: where a fit began, and how long its epochs take."""

    def __init__(self) -> None:
        self.found, self.epochs = 0, 0
        self.last: EpochDone | None = None
        self.times: list[float] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, FitStarted):
            self.found = event.found
        if isinstance(event, EpochDone):
            self.last = event
            self.times.append(time.perf_counter())

    def model_epoch_seconds(self) -> float | None:
        """Of one model's epoch; None before the third."""
        if self.last is None or len(self.times) < 3:
            return None
        return (self.times[-1] - self.times[1]) / (len(self.times) - 2) / self.last.models


def full(options: Options) -> Table:
    """Train as long as there is time; whoever calls again goes on with what is kept."""
    device, examples = chosen(options.device), images(options)
    models, members, validation = 8, MEMBERS, VALIDATION
    training: dict[str, object] = {"precision": "bf16" if device.type == "cuda" else "fp32"}
    if options.quick:
        models, members, validation = 2, 64, 16
        training |= {"epochs": 2, "batch_size": 32, "milestones": (1,)}
    if members + validation >= len(examples):
        raise ValueError(f"{len(examples)} images are too few: name CIFAR-10's folder by --data")
    facts = described(device) | {
        "images": f"{len(examples):,}, {members:,} for each model",
        "training": str(training),
    }
    table = Table("full", COLUMNS, facts=facts)
    told = _Progress()
    role = roles(models, len(examples), members, validation)
    trained = cohort(
        examples,
        role,
        device,
        journal=Journal(options.out / "cache" / "units"),
        on_event=told,
        **training,
    )
    emptied(device)
    started = time.perf_counter()
    try:
        with time_limit(options.left - _KEPT):
            trained.fit()
    except TimeUp:
        table.notes.append(_unfinished(told, models))
        return table
    seconds = time.perf_counter() - started
    table.notes.append(_how_long(told, models, seconds, peak_mib(device)))
    logits = trained.logits()
    _accuracies(table, logits, examples.y, role == Role.MEMBER, "train %")
    _accuracies(table, logits, examples.y, role == Role.NON_MEMBER, "test %")
    tested = [float(row["test %"] or 0) for row in table.rows]
    table.notes.append(f"test accuracy {mean(tested):.2f} ± {stdev(tested):.2f} %")
    lossy = " of lossy JPEG" if options.data else ""
    if options.data is None:
        table.notes.append("These are scikit-learn's digits: nothing published compares with them.")
    else:
        table.notes.append(PUBLISHED.format(members=members, lossy=lossy))
    return table


def _accuracies(table: Table, logits: Tensor, y: Tensor, chosen_rows: Tensor, column: str) -> None:
    right = logits.argmax(-1) == y
    for model, rows in enumerate(chosen_rows):
        if len(table.rows) <= model:
            table.rows.append({"model": model, "seed": model})
        table.rows[model][column] = 100 * float(right[model, rows].double().mean())


def _unfinished(told: _Progress, models: int) -> str:
    epoch = "before the first epoch was over"
    if told.last is not None:
        epoch = f"after epoch {told.last.epoch} of {told.last.epochs} of {told.last.models} models"
    each = told.model_epoch_seconds()
    rate = "" if each is None else f", at {each * EPOCHS:.1f} s a model of {EPOCHS} epochs"
    return (
        f"Time was up {epoch}{rate}; {told.found} of {models} models were found finished. "
        "The same command goes on with what is kept."
    )


def _how_long(told: _Progress, models: int, seconds: float, peak: float | None) -> str:
    if told.found == models:
        return "all models were found finished: remove cache/units to time them again"
    new = models - told.found
    memory = "" if peak is None else f", peak {peak:,.0f} MiB"
    return f"{seconds:.1f} s for {new} models, {seconds / new:.2f} s a model{memory}"
