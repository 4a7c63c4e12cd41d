"""Part `fast`: seconds a model, by loop, way, number of models, precision and compiler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch

from benchmarks.gpu import engine, plain
from benchmarks.gpu.cards import card_named
from benchmarks.gpu.devices import chosen, described, emptied, name_of, peak_mib
from benchmarks.gpu.floors import step_size
from benchmarks.gpu.kernels import top_kernels
from benchmarks.gpu.material import BATCH, EPOCHS, MEMBERS, noise, precisions
from benchmarks.gpu.options import Options, TimeUp, time_limit
from benchmarks.gpu.table import Cell, Table, kept_rows
from privaudit import Examples
from privaudit_plugins.models.resnet20 import ResNet20

COLUMNS = (
    "what", "models", "precision", "compiled", "ms a step and model", "s a model",
    "times plain bf16", "bandwidth %", "arithmetic %", "peak MiB", "problem",
)  # fmt: skip
_ROW_LIMIT = 120  # seconds for one row; compiling a stack of 16 may take longer than it is worth
_PROFILE = 45  # seconds that are kept for it
STEPS = -(-MEMBERS // BATCH)
"""Steps of an epoch of the paper's schedule."""


@dataclass(frozen=True)
class Combination:
    """One row of the table.

    Attributes:
        what: a form of the plain loop, or a way.
        models: that share their steps.
        precision: of the products.
        compiled: by torch's compiler.
        seconds: takes nothing, gives those of an epoch of all models.
    """

    what: str
    models: int
    precision: str
    compiled: bool
    seconds: Callable[[], float]

    @property
    def key(self) -> dict[str, Cell]:
        """What tells the row from others."""
        names = ("what", "models", "precision", "compiled")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Size:
    """How much each row trains: the paper's epoch, or its miniature."""

    examples: Examples
    batch: int
    rounds: int
    models: tuple[int, ...]
    compiled: tuple[bool, ...]


def size(quick: bool) -> Size:
    """An epoch of the paper, or one of two small steps."""
    if quick:
        return Size(noise(16, 16), 8, 1, (1, 2), (False,))
    return Size(noise(MEMBERS), BATCH, 3, (1, 2, 4, 8, 16), (False, True))


def combinations(work: Size, device: torch.device) -> list[Combination]:
    """All rows, those first that say most should time run short."""
    loops = [
        Combination(
            form.name, 1, form.precision, form.compiled,
            partial(plain.epoch_seconds, form, work.examples, device, work.batch, work.rounds),
        )
        for form in plain.FORMS
        if form.compiled in work.compiled
    ]  # fmt: skip
    return loops + sorted(_by_ways(work, device), key=_importance)


def _by_ways(work: Size, device: torch.device) -> Iterator[Combination]:
    for way in engine.ways(work.examples):
        for models in work.models if way != "plain" else (1,):  # it shares nothing
            for precision in precisions():
                for compiled in work.compiled if way != "plain" else (False,):
                    seconds = partial(
                        engine.epoch_seconds, way, work.examples, device, models=models,
                        batch=work.batch, rounds=work.rounds, precision=precision,
                        compiled=compiled,
                    )  # fmt: skip
                    yield Combination(way, models, precision, compiled, seconds)


def _importance(row: Combination) -> tuple[int, int, int]:
    middling = row.models not in (1, 8)
    return (
        2 * row.compiled * (middling or row.precision != "bf16") + middling,
        ("bf16", "fp32", "tf32").index(row.precision),
        row.compiled,
    )


def fast(options: Options) -> Table:
    """Time everything there is; rows of an earlier call on the same device are kept."""
    device, work = chosen(options.device), size(options.quick)
    card = card_named(name_of(device))
    facts = described(device) | {
        "one epoch": f"{len(work.examples)} images in batches of {work.batch}",
        "s a model": f"extrapolated to {EPOCHS} epochs of {STEPS} steps",
        "floors of": "no known card" if card is None else f"{card.words}: {card.source}",
    }
    table = Table("fast", COLUMNS, kept_rows(options.out, "fast", facts), facts)
    done = [{n: row[n] for n in ("what", "models", "precision", "compiled")} for row in table.rows]
    rows = combinations(work, device)
    timer = _Timer(work, device, table)
    for number, row in enumerate(rows):
        if row.key in done:
            continue
        if options.left < _PROFILE + 10:
            table.notes.append(
                f"{len(rows) - number} of {len(rows)} rows are left out for want of time: "
                "the same command goes on"
            )
            break
        found = timer.row(row, min(_ROW_LIMIT, options.left - _PROFILE))
        if found is not None:
            table.rows.append(row.key | found)
            _compare(table)
            table.write(options.out)
    table.notes.append(_profile(work, device, table, options))
    return table


class _Timer:
    """Times rows, and sets them beside the floors of the card."""

    def __init__(self, work: Size, device: torch.device, table: Table) -> None:
        self.work, self.device, self.table = work, device, table
        self.card = card_named(name_of(device))
        network = ResNet20().build(work.examples.shape, len(work.examples.classes))
        x = torch.zeros(1, *work.examples.shape)
        self.floor = step_size(network, x, work.batch)

    def row(self, row: Combination, limit: float) -> dict[str, Cell] | None:
        """What a row is found to take; None where the part's own time ended it."""
        emptied(self.device)
        try:
            with time_limit(limit):
                seconds = row.seconds()
        except TimeUp:
            return {"problem": f"took over {_ROW_LIMIT} s"} if limit >= _ROW_LIMIT else None
        except Exception as error:  # the other rows are to be told all the same
            lines = str(error).strip().splitlines()
            return {"problem": f"{type(error).__name__}: {(lines or [''])[0][:100]}"}
        steps = -(-len(self.work.examples) // self.work.batch)
        step = seconds / steps / row.models
        found: dict[str, Cell] = {
            "ms a step and model": 1000 * step,
            "s a model": step * STEPS * EPOCHS,
            "peak MiB": peak_mib(self.device),
        }
        if self.card is not None:
            moved, computed = self.floor.seconds(self.card, row.precision)
            found |= {"bandwidth %": 100 * moved / step, "arithmetic %": 100 * computed / step}
        return found


def _compare(table: Table) -> None:
    """How many times as fast as the measure every row is."""
    measure = [row for row in table.rows if row["what"] == plain.MEASURE.name]
    base = measure[0].get("s a model") if measure else None
    for row in table.rows:
        taken = row.get("s a model")
        if isinstance(base, float) and isinstance(taken, float):
            row["times plain bf16"] = base / taken


def _profile(work: Size, device: torch.device, table: Table, options: Options) -> str:
    """Where the quickest of privaudit's rows spends its time, as a paragraph."""
    loops = {form.name for form in plain.FORMS}
    timed = [
        (seconds, row)
        for row in table.rows
        if isinstance(seconds := row.get("s a model"), float) and row["what"] not in loops
    ]
    if not timed or options.left < 5:
        return "no profile: nothing was timed, or no time is left"
    best = min(timed, key=lambda pair: pair[0])[1]
    try:
        with time_limit(options.left):
            kernels = top_kernels(best, work.examples, device, work.batch)
    except TimeUp:
        kernels = "no time is left"
    except Exception as error:  # a table without a profile is better than none
        kernels = f"{type(error).__name__}: {error}"
    names = ", ".join(f"{best[n]}" for n in ("what", "models", "precision", "compiled"))
    return f"Kernels of the quickest way ({names}), an epoch after the first:\n{kernels}"
