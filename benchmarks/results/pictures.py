"""Figures of the benchmarks, drawn from the tables of benchmarks/README.md and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks.results.record import checked
from benchmarks.results.sources import ROOT
from privaudit.errors import StoreError
from privaudit.figures.figure import NEUTRAL, Axis, Figure, Series
from privaudit.figures.svg import svg
from privaudit.store.files import write_many

FOLDER = ROOT / "benchmarks"
_PROMISED = 0.95


@dataclass(frozen=True)
class Cells:
    """A table of the page.

    Attributes:
        heads: headings, the first column's among them.
        rows: cells as they are written, by the first one.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(text: str) -> dict[str, Cells]:
    """Every table of a Markdown page, by the line of text before it."""
    found: dict[str, Cells] = {}
    before, lines = "", list[str]()
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            lines.append(line)
            continue
        if len(lines) > 2:
            cells = [tuple(cell.strip() for cell in one[1:-1].split("|")) for one in lines]
            found[before] = Cells(cells[0], tuple(cells[2:]))
        lines = []
        before = line.strip() or before
    return found


def coverage(every: Mapping[str, Cells]) -> Figure:
    """How often a 95 % interval holds the truth: every cell, by the number of seeds."""
    series = []
    for number, (label, starts) in enumerate(_COVERED):
        values = [
            (int(head.split()[0]), float(cell) / 100)
            for start in starts
            for cells in _starting(every, start)
            for row in cells.rows
            for head, cell in zip(cells.heads[1:], row[1:], strict=True)
            if cell
        ]
        shift = 1.05 ** (number - 1)  # so that the groups stand beside each other
        x, y = tuple(seeds * shift for seeds, _ in values), tuple(share for _, share in values)
        series.append(Series(f"{label}: {len(values)} cells", "points", x, y, colour=number))
        seeds = sorted({seeds for seeds, _ in values})
        middle = tuple(median(share for s, share in values if s == one) for one in seeds)
        series.append(
            Series("", "line", tuple(one * shift for one in seeds), middle, colour=number)
        )
    ends = (0.9, 18.0)
    promised = Series("promised", "line", ends, (_PROMISED,) * 2, colour=NEUTRAL, dashed=True)
    shown = [share for one in series if one.mark == "points" for share in one.y]
    return Figure(
        "calibration",
        "How often a 95 % interval holds the truth",
        f"{len(shown)} simulated settings by the number of seeds: intervals hold the truth in "
        f"{100 * min(shown):.1f} to {100 * max(shown):.1f} % of the simulations.",
        Axis("seeds (1, 2, 3, 5, 10 and 16)", "log", *ends),
        Axis("interval holds the truth (%)", low=0.92, high=1.005, percent=True),
        (promised, *series),
        notes=("Lines join the medians of each group's cells.",),
    )


_COVERED = (
    ("AUC", ("The AUC over several audits", "The same (")),
    ("accuracy and TPR", ("Other numbers over several audits",)),
    ("paired differences", ("Paired differences of rows",)),
)
"""Groups of tables, by how the lines before them begin."""


def shadows(every: Mapping[str, Cells]) -> Figure:
    """What RMIA and LiRA find by the number of shadows, on three kinds of data."""
    (cells,) = _starting(every, "python -m benchmarks.rmia ")
    series, told = [], []
    for number, networks in enumerate(_NETWORKS):
        rows = [row for row in cells.rows if row[0] == networks]
        for attack, column, dashed, thin in _ATTACKS:
            place = cells.heads.index(column)
            shares = {int(row[1]): row[place].partition(", ")[2] for row in rows}
            known = {count: float(share) / 100 for count, share in shares.items() if share}
            x, y = tuple(map(float, known)), tuple(known.values())
            label = f"{networks}: {attack}"
            line = Series(
                label, "line", x, y, colour=number, dashed=dashed, thin=thin, hollow=dashed
            )
            series += [line, *([replace(line, label="", mark="points")] if thin else [])]
            numbers = [f"{100 * share:.1f} % with {count}" for count, share in known.items()]
            told.append(f"{label} {', '.join(numbers)}")
    return Figure(
        "shadows",
        "Members found at 1 % false alarms, by the number of shadows",
        f"{'; '.join(told)}.",
        Axis("shadows", "log", 1.8, 36.0),
        Axis("members found at 1 % false alarms (%)", low=0.0, percent=True),
        tuple(reversed(series)),
        notes=("Means over eight targets. LiRA needs two shadows on either side.",),
    )


_NETWORKS = ("Location-30, 1,500", "CIFAR-10, 2,000, CNN", "digits, 150 members")
_ATTACKS = (
    ("RMIA", "default", False, False),
    ("LiRA, one variance for all", "LiRA, global", True, False),
    ("LiRA, a variance for each", "LiRA, per example", True, True),
)
"""Name, column, whether dashed, whether thin."""

PICTURES: Mapping[str, Callable[[Mapping[str, Cells]], Figure]] = {
    "coverage.svg": coverage,
    "shadows.svg": shadows,
}
"""What draws each file."""


def drawn(folder: Path = FOLDER) -> dict[str, bytes]:
    """The content of every figure, by the name of its file.

    Raises:
        StoreError: the page lacks a table, or a figure is too large.
    """
    every = tables((folder / "README.md").read_text())
    return {
        name: checked(svg(draw(every), caption=True).encode() + b"\n", name)
        for name, draw in PICTURES.items()
    }


def write_pictures(folder: Path = FOLDER) -> list[str]:
    """Draw all of them; the names of their files.

    Raises:
        StoreError: as `drawn`, or they cannot be written.
    """
    figures = drawn(folder)
    write_many([(folder / name, content) for name, content in figures.items()], mode=0o644)
    return list(figures)


def _starting(every: Mapping[str, Cells], start: str) -> Sequence[Cells]:
    """The tables that follow a line which begins so.

    Raises:
        StoreError: there is none.
    """
    found = [cells for line, cells in every.items() if line.startswith(start)]
    if not found:
        raise StoreError(f"benchmarks/README.md has no table below {start!r}: restore it")
    return found
