"""Whether networks' answers fit who is said to have been in their training data."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from privaudit.doubts.doubt import Doubt
from privaudit.doubts.networks import ERROR, Networks, named, ranks

_ABSENT = 2.3  # standard deviations above one half below which membership shows no sign
_OF_TARGET = 1e-3  # error where the target alone lies below its shadows


@dataclass(frozen=True)
class _Area:
    """AUC of a network's answers against its membership, its deviation, and how far from 1/2.

    Attributes:
        value: from 0 to 1.
        deviation: DeLong's.
            NaN, as the others, where members or non-members are lacking.
        z: in standard deviations of the Mann-Whitney test with ties, which does not fail where
            all members lie on one side.
    """

    value: float
    deviation: float
    z: float


def membership_doubts(networks: Networks) -> list[Doubt]:
    """Networks whose members are told the wrong way round, or not at all where the others' are.

    The signal is the log-odds of the true class, by rank; where shadows allow it, minus the mean
    of what the other shadows answer, since some examples are easy for all (Watson et al. 2022,
    difficulty calibration). Each test has an error of `ERROR` over all networks of an audit.
    """
    count = len(networks)
    scores = [np.where(networks.known, networks.odds, np.nan)]
    if count > 2:
        scores.append(_calibrated(networks))
    areas = [[_area(score[k], networks.members[k]) for k in range(count)] for score in scores]
    level = norm.isf(ERROR / count / len(areas))
    inverted = [k for k in range(count) if any(some[k].z < -level for some in areas)]
    doubts = []
    if inverted:
        worst = min((some[k] for some in areas for k in inverted), key=lambda area: area.z)
        words = (
            f"its members are told by being answered worse than others (AUC {worst.value:.2f}): "
            "membership seems to be inverted; or the network was made to, by unlearning or a loss "
            "that overshoots; or non-members are easier examples"
        )
        doubts.append(Doubt("inverted", named(inverted), words))
    rest = [k for k in range(count) if k not in inverted]
    return doubts + _absent(networks, scores[-1], areas[-1], rest)


def _absent(
    networks: Networks, score: NDArray[np.float64], areas: list[_Area], rest: list[int]
) -> list[Doubt]:
    """Networks without a sign of their membership, though others have one, or another fits."""
    count = len(networks)
    mute = [k for k in rest if areas[k].z < _ABSENT]
    if doubt := _exchanged(networks, score, mute):
        return [doubt]
    if count < 3:
        return []
    lost = [k for k in mute if _below(areas, k)]
    if len(rest) == count and _shadows_below(areas):
        lost = list(range(1, count))
    if not lost:
        return []
    silent = np.nanmean([areas[k].value for k in lost])
    told = np.nanmean([areas[k].value for k in range(count) if k not in lost])
    words = (
        f"nothing shows of who the members are (AUC {silent:.2f}), while it does in the other "
        f"networks (AUC {told:.2f}): membership seems to be in another order than the answers, or "
        "this was trained in another way than the others"
    )
    return [Doubt("order", named(lost), words)]


def _exchanged(networks: Networks, score: NDArray[np.float64], mute: list[int]) -> Doubt | None:
    """Networks that answer as if trained on another's members, or on theirs in another order."""
    count = len(networks)
    strict = norm.isf(ERROR / max(1, len(mute)) / (count + 4))
    for k in mute:
        for j in range(1, count):  # who the target's members are no shadow's attacker knows
            if j != k and _area(score[k], networks.members[j]).z > strict:
                words = (
                    f"its answers fit the members of {named([j])} and not its own: networks and "
                    "their membership seem to stand in different orders"
                )
                return Doubt("order", named([k]), words)
    for name, order in _orders(networks).items():
        fits = [k for k in mute if _area(score[k], networks.members[k][order]).z > strict]
        if fits:
            words = f"the answers fit membership {name}: bring both into one order"
            return Doubt("order", named(fits), words)
    return None


def _orders(networks: Networks) -> dict[str, NDArray[np.int64]]:
    """Orders in which rows are mixed up most easily, by name; of the audited rows alone."""
    rows, everything = np.flatnonzero(networks.known[0]), np.arange(len(networks.labels))
    orders = {
        "in reversed order": rows[::-1],
        "one row later": np.roll(rows, 1),
        "one row earlier": np.roll(rows, -1),
        "sorted by label": rows[np.argsort(networks.labels[rows], kind="stable")],
    }
    changed = {name: everything.copy() for name in orders}
    for name, order in orders.items():
        changed[name][rows] = order
    return changed


def _below(areas: list[_Area], k: int) -> bool:
    """Whether a network's AUC lies far below the other shadows', also as far as those differ."""
    others = [area for i, area in enumerate(areas) if i not in (0, k) and area.z == area.z]
    if len(others) < 2:
        return False
    values = np.array([area.value for area in others])
    middle = float(np.median(values))
    spread = min(values.std(ddof=1), np.median(np.abs(values - middle)) / norm.ppf(0.75))
    noise = float(np.median([area.deviation for area in others]))
    blur = sqrt(areas[k].deviation ** 2 + max(0.0, spread**2 - noise**2) + noise**2 / len(others))
    # Of the target alone, which everything is about, a false alarm in a thousand audits is little.
    level = norm.isf(ERROR / len(others) if k else _OF_TARGET)
    return bool(middle - areas[k].value > level * blur)


def _shadows_below(areas: list[_Area]) -> bool:
    """Whether the target's members show and next to nothing of all the shadows' does."""
    shadows = np.array([area.value for area in areas[1:] if area.z == area.z])
    if len(shadows) == 0:
        return False
    blur = sqrt(areas[0].deviation ** 2 + shadows.var() / len(shadows))
    shown = areas[0].value - 0.5
    little = shadows.mean() - 0.5 < shown / 4
    return bool(little and areas[0].value - shadows.mean() > norm.isf(ERROR) * blur)


def _calibrated(networks: Networks) -> NDArray[np.float64]:
    """(M, N): each network's ranks minus the mean of the other shadows'; NaN where not known."""
    place = ranks(networks.odds)
    total, shadows = place[1:].sum(0), len(place) - 1
    mean = np.concatenate([total[None] / shadows, (total - place[1:]) / (shadows - 1)])
    return np.where(networks.known, place - mean, np.nan)


def _area(score: NDArray[np.float64], members: NDArray[np.bool_]) -> _Area:
    """Of the rows whose score is not NaN; the deviation by midranks."""
    some = ~np.isnan(score)
    value, inside = score[some], members[some]
    ins, outs = int(inside.sum()), int((~inside).sum())
    if min(ins, outs) < 2:
        return _Area(np.nan, np.nan, np.nan)  # compares as neither above nor below anything
    rank = rankdata(value)
    area = (rank[inside].sum() - ins * (ins + 1) / 2) / (ins * outs)
    above = (rank[inside] - rankdata(value[inside])) / outs
    below = (rank[~inside] - rankdata(value[~inside])) / ins
    deviation = sqrt(above.var(ddof=1) / ins + below.var(ddof=1) / outs)
    null = sqrt(rank.var(ddof=1) / (ins + outs) * (ins + outs) ** 2 / (ins * outs)) / (ins + outs)
    return _Area(float(area), deviation, float((area - 0.5) / null) if null > 0 else 0.0)
