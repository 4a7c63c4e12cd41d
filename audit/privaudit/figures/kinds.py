"""The kinds of plots: a new one is an entry here, and a function that makes its values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from privaudit.errors import RecipeError
from privaudit.figures.curves import curves
from privaudit.figures.density import density
from privaudit.figures.figure import Figure
from privaudit.figures.roc import roc
from privaudit.figures.scores import scores
from privaudit.figures.tradeoff import tradeoff
from privaudit.messages import unknown
from privaudit.report.rows import Row
from privaudit.store.result import RunResult


@dataclass(frozen=True)
class Kind:
    """How one kind is made.

    Attributes:
        build: from runs, and what may be chosen, to figures.
        choices: what may be chosen: attack, level, metric.
        compares: whether it is made of the report's rows.
    """

    build: Callable[..., list[Figure]]
    choices: frozenset[str]
    compares: bool = False


KINDS: Mapping[str, Kind] = {
    "roc": Kind(roc, frozenset({"attack", "level"})),
    "tradeoff": Kind(tradeoff, frozenset({"attack", "metric"}), compares=True),
    "density": Kind(density, frozenset({"attack", "metric"}), compares=True),
    "scores": Kind(scores, frozenset({"attack", "level"})),
    "curves": Kind(curves, frozenset({"level"})),
}
"""By name, in the order of help texts."""


def figure(
    results: Sequence[RunResult],
    kind: str,
    *,
    attack: str | None = None,
    level: str | None = None,
    metric: str | None = None,
    rows: Sequence[Row] | None = None,
) -> list[Figure]:
    """The figures of one kind: their values, to be drawn by `svg`, `pgfplots` or `picture`.

    Args:
        results: the runs.
        kind: one of `KINDS`.
        attack: label of one; None: the strongest (of a ROC: all).
        level: SUBJECT or SUBJECT/LEVEL, for plots of one level; None: the most exposed.
        metric: name of one, for plots of all levels.
        rows: what `report.compare` makes of the runs, where that is known already.

    Raises:
        RecipeError: there is no such kind, it has no such choice, or nothing has that name.
        StoreError: a run does not hold what the plot is made of.
    """
    if kind not in KINDS:
        raise RecipeError(unknown("kind of plot", kind, KINDS))
    chosen: dict[str, Any] = {"attack": attack, "level": level, "metric": metric}
    given = {name: value for name, value in chosen.items() if value is not None}
    for name in given.keys() - KINDS[kind].choices:
        fit = ", ".join(other for other, made in KINDS.items() if name in made.choices)
        raise RecipeError(f"--{name} is for plots of the kind {fit}, not {kind}: leave it out")
    if KINDS[kind].compares:
        given["rows"] = rows
    figures = KINDS[kind].build(results, **given)
    if not figures:
        raise RecipeError(f"there is nothing to plot: {kind} finds no network with that attack")
    return figures
