"""How an attack scores members and non-members: two histograms on one axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from privaudit.errors import StoreError
from privaudit.figures.chosen import attack_labels, strongest
from privaudit.figures.examples import Level, kept, picked
from privaudit.figures.figure import Axis, Figure, Series
from privaudit.report.doubtful import doubt_lines
from privaudit.report.escape import plain
from privaudit.report.evidence import Audited
from privaudit.store.result import RunResult

_BINS = 40
_CUT = 0.005  # of all scores on either side, the outermost bins hold all beyond


def scores(
    results: Sequence[RunResult], *, attack: str | None = None, level: str | None = None
) -> list[Figure]:
    """What share of members, and of non-members, has which score; of one level of each run.

    The networks of the level are taken together, each score as it is.

    Args:
        results: the runs.
        attack: its label; None: the strongest.
        level: SUBJECT or SUBJECT/LEVEL; None: the one that the attack tells most about.

    Raises:
        RecipeError: no run has that attack or level.
        StoreError: a run has not kept its scores, or they are damaged.
    """
    attack_labels(results, attack)
    label = strongest(results) if attack is None else attack
    return [
        _figure(place, label, kept(place, label, run)[1], doubt_lines([run.result], plain))
        for place, run in picked(results, label, level)
    ]


def _figure(level: Level, attack: str, audits: Sequence[Audited], doubts: Sequence[str]) -> Figure:
    values = np.concatenate([audited.values.scores for audited in audits])
    members = np.concatenate([audited.values.members for audited in audits])
    edges = bins(values)
    if edges is None:
        raise StoreError(
            f"{plain(level.run)}: {plain(attack)} gives {plain(level.name)} no finite score, which "
            "has no histogram"
        )
    middles = tuple(((edges[1:] + edges[:-1]) / 2).tolist())
    sides = {
        "members": _shares(values[members], edges),
        "non-members": _shares(values[~members], edges),
    }
    series = tuple(
        Series(f"{name} ({count})", "bars", middles, shares, colour=number, hollow=bool(number))
        for number, ((name, shares), count) in enumerate(
            zip(sides.items(), (int(members.sum()), int((~members).sum())), strict=True)
        )
    )
    beyond = int(((values < edges[0]) | (values > edges[-1])).sum())
    notes = []
    if len(audits) > 1:
        notes.append(
            f"The scores of {len(audits)} networks together, each as it is: networks need not "
            "score on one scale."
        )
    if beyond:
        notes.append(f"The outermost bars hold {beyond} scores that lie beyond the axis, too.")
    higher = sum(audited.values.roc.auc().value for audited in audits) / len(audits)
    return Figure(
        "scores",
        f"Scores of {attack} on {level.name}",
        f"Histograms of the scores that {attack} gives members and non-members of {level.name}. "
        f"A member scores above a non-member in {100 * higher:.1f} % of pairs; at 50 % the two "
        "say nothing.",
        Axis(f"score of {plain(attack)}, higher: likelier a member"),
        Axis("share of the side (%)", low=0.0, percent=True),
        series[::-1],
        notes=(*notes, *doubts),
    )


def bins(values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Edges of bars for scores of any kind; None where no score is finite.

    The rarest half per cent of scores on either side does not widen the axis.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    low, high = np.quantile(finite, [_CUT, 1 - _CUT])
    if not low < high:
        low, high = finite.min(), finite.max()
    if not low < high:
        room = max(abs(float(low)), 1.0) / 2
        low, high = low - room, high + room
    edges: NDArray[np.float64] = np.linspace(low, high, _BINS + 1)
    return edges


def _shares(values: NDArray[np.float64], edges: NDArray[np.float64]) -> tuple[float, ...]:
    """Of all values; what lies beyond the edges is in the outermost bars."""
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return tuple((counts / max(len(values), 1)).tolist())
