"""Training curves: loss and accuracy of the audited networks after each epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from privaudit.errors import StoreError
from privaudit.figures.examples import Level, picked
from privaudit.figures.figure import Axis, Figure, Series
from privaudit.report.doubtful import doubt_lines
from privaudit.report.escape import plain
from privaudit.store.result import RunResult
from privaudit.store.scores import EPOCHS, RunArrays

_ACCURACIES = ("training", "validation")


def curves(results: Sequence[RunResult], *, level: str | None = None) -> list[Figure]:
    """Loss, and accuracy, after each epoch of the last fit of one level of each run.

    Args:
        results: the runs.
        level: SUBJECT or SUBJECT/LEVEL; None: the one that the strongest attack tells most about.

    Raises:
        RecipeError: no run has that level.
        StoreError: a run has not kept its epochs, or they are damaged.
    """
    figures = []
    for place, evidence in picked(results, None, level):
        history = _history(evidence.result, place)  # (3, A, E)
        notes = doubt_lines([evidence.result], plain)
        figures += [_loss(place, history[0], notes), _accuracy(place, history[1:], notes)]
    return figures


def _history(result: RunResult, level: Level) -> NDArray[np.float64]:
    """(3, A, E) of the level's A networks, NaN behind the end of the shorter ones."""
    arrays = RunArrays(result.folder)
    first: dict[tuple[int, int], int] = {}
    for number, audit in enumerate(result.audits):
        if (audit.subject, audit.level) == (level.subject, level.level):
            first.setdefault((audit.seed, audit.target), number)
    needed = {f"{name}_{number}" for name in EPOCHS[:2] for number in first.values()}
    if not needed <= arrays.names:
        raise StoreError(
            f"{plain(level.run)}: training curves of {plain(level.name)} cannot be drawn, as the "
            "run has not kept its epochs: an older privaudit made it, the networks were given, or "
            "they are controls; otherwise run its recipe again in a new folder, which trains "
            "nothing anew"
        )
    kept = {
        (kind, row): arrays.read(f"{name}_{number}").astype(np.float64)
        for kind, name in enumerate(EPOCHS)
        for row, number in enumerate(first.values())
        if f"{name}_{number}" in arrays.names
    }
    filled = np.full((len(EPOCHS), len(first), max(map(len, kept.values()))), np.nan)
    for (kind, row), values in kept.items():
        filled[kind, row, : len(values)] = values
    return filled


def _loss(level: Level, loss: NDArray[np.float64], notes: Sequence[str]) -> Figure:
    series = _curve("training loss", loss, 0, dashed=False)
    ends = _ends(loss)
    return Figure(
        "curves",
        f"Training loss of {level.name}",
        f"The training loss of {level.name} after each epoch, {_networks(loss)}: {ends}.",
        Axis("epoch"),
        Axis("training loss"),
        tuple(series),
        notes=(*_told(loss), *notes),
    )


def _accuracy(level: Level, shares: NDArray[np.float64], notes: Sequence[str]) -> Figure:
    named = [
        (name, values, number)
        for number, (name, values) in enumerate(
            zip(("training", "validation"), shares, strict=True)
        )
        if np.isfinite(values).any()
    ]
    series = [
        one
        for name, values, number in reversed(named)
        for one in _curve(f"{name} accuracy", values, number, dashed=bool(number))
    ]
    told = "; ".join(f"{name} {_ends(100 * values, ' %')}" for name, values, _ in named)
    return Figure(
        "curves",
        f"Training accuracy of {level.name}",
        f"Accuracy of {level.name} after each epoch, {_networks(shares[0])}: {told}.",
        Axis("epoch"),
        Axis("accuracy (%)", percent=True),
        tuple(series),
        notes=(*_told(shares[0]), *notes),
    )


def _curve(name: str, values: NDArray[np.float64], colour: int, *, dashed: bool) -> list[Series]:
    """The mean over networks that still train, and each of several networks behind it."""
    kept = np.isfinite(values).any(0)
    epochs = np.flatnonzero(kept) + 1
    x = tuple(epochs.astype(float).tolist())
    shown = np.where(np.isfinite(values[:, kept]), values[:, kept], np.nan)
    mean = tuple(np.nanmean(shown, 0).tolist()) if len(x) else ()
    thin = [
        Series("", "line", x, tuple(row.tolist()), colour=colour, thin=True)
        for row in (shown if len(values) > 1 else ())
    ]
    return [*thin, Series(name, "line", x, mean, colour=colour, dashed=dashed)]


def _networks(values: NDArray[np.float64]) -> str:
    return "one network" if len(values) == 1 else f"the mean of {len(values)} networks"


def _told(values: NDArray[np.float64]) -> list[str]:
    told = [
        "Of the last fit before this level was reached; training loss and accuracy are those of "
        "each epoch's batches, before the step that each brings."
    ]
    if len(values) > 1:
        told.append(
            f"Thin: each of {len(values)} networks; thick: the mean of those that still train."
        )
    return told


def _ends(values: NDArray[np.float64], unit: str = "") -> str:
    """Where the mean begins and ends."""
    finite = values[:, np.isfinite(values).any(0)]
    if not finite.size:
        return "it is not known"
    first, last = (float(np.nanmean(finite[:, epoch])) for epoch in (0, -1))
    return f"from {first:.3g}{unit} to {last:.3g}{unit} in {finite.shape[1]} epochs"
