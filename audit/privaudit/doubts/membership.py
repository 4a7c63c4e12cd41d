"""Whether networks' answers fit who is said to have been in their training data."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from privaudit.doubts.doubt import Doubt
from privaudit.doubts.networks import ERROR, Networks, named, ranks
from privaudit.statistics.midranks import midranks

_ABSENT = 2.3  # standard deviations above one half below which membership shows no sign
_OF_TARGET = 1e-3  # error where the target alone lies below its shadows


@dataclass(frozen=True)
class _Area:
    """AUC of a network's answers against its membership, its deviation, and how far from 1/2.

    All are NaN where members or non-members are lacking.

    Attributes:
        value: from 0 to 1.
        deviation: DeLong's.
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
    plain, *others = [
        [_area(score[k], networks.members[k]) for k in range(count)] for score in scores
    ]
    areas = others[0] if others else plain
    level = -ndtri(ERROR / count / len(scores))
    wrong = [
        k
        for k in range(count)
        if plain[k].z < -level or (areas[k].z < -level and plain[k].z < _ABSENT)
    ]
    words = (
        "members are answered worse than others, so that they are told: membership seems to be "
        "inverted; or the network was made to, by unlearning or a loss that overshoots; or "
        "non-members are easier examples"
    )
    doubts = [
        Doubt("inverted", named(k), words, f"AUC {min(plain[k].value, areas[k].value):.2f}")
        for k in wrong
    ]
    mute = [k for k in range(count) if k not in wrong and max(plain[k].z, areas[k].z) < _ABSENT]
    rest = [k for k in range(count) if k not in wrong and k not in mute]
    return [
        *doubts,
        *(_exchanged(networks, scores[-1], mute) or _absent(plain, areas, mute, not wrong)),
        *_weak(areas, rest),
    ]


def _weak(areas: list[_Area], some: list[int]) -> list[Doubt]:
    """Networks whose membership shows less than half as clearly as the others' does."""
    if len(areas) < 3:
        return []
    words = (
        "far less shows of who the members are than in the other networks: the membership of some "
        "examples seems to be wrong or in another order, or this was trained in another way than "
        "the others"
    )
    return [
        Doubt("order", named(k), words, f"AUC {areas[k].value:.2f}, usually {usual:.2f}")
        for k in some
        if (usual := _usual(areas, k)) - 0.5 > 2 * (areas[k].value - 0.5) and _below(areas, k)
    ]


def _usual(areas: list[_Area], k: int) -> float:
    """The median AUC of the shadows, but for one network."""
    others = [area.value for i, area in enumerate(areas) if i not in (0, k) and area.z == area.z]
    return float(np.median(others)) if others else np.nan


def _absent(plain: list[_Area], areas: list[_Area], mute: list[int], upright: bool) -> list[Doubt]:
    """Networks without a sign of their membership, though the others have one."""
    if len(areas) < 3:
        return []
    lost = [k for k in mute if _below(areas, k)]
    if upright and _shadows_below(areas, areas[0]) and _shadows_below(plain, areas[0]):
        lost = list(range(1, len(areas)))
    words = (
        "nothing shows of who the members are, while it does in the other networks: membership "
        "seems to be in another order than the answers, or this was trained in another way than "
        "the others"
    )
    return [Doubt("order", named(k), words, f"AUC {areas[k].value:.2f}") for k in lost]


def _exchanged(networks: Networks, score: NDArray[np.float64], mute: list[int]) -> list[Doubt]:
    """Networks that answer as if trained on another's members, or on theirs in another order."""
    count, orders = len(networks), _orders(networks)
    strict = -ndtri(ERROR / max(1, len(mute)) / (count + len(orders)))
    words = (
        "the answers fit the members of another network and not their own: networks and their "
        "membership seem to stand in different orders"
    )
    moved = "the answers fit membership {}: bring both into one order"
    doubts = []
    for k in mute:
        others = [networks.members[k][order] for order in orders.values()]
        signs = mann_whitney(score[k], np.concatenate([networks.members, others]))
        signs[[0, k]] = 0  # of the target's members the shadows know nothing
        best = int(signs.argmax())
        if signs[best] <= strict:
            continue
        if best < count:
            doubts.append(Doubt("order", named(k), words, f"those of {named(best)}"))
        else:
            name = list(orders)[best - count]
            doubts.append(Doubt("order", named(k), moved.format(name)))
    return doubts


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
    spread = min(values.std(ddof=1), np.median(np.abs(values - middle)) / ndtri(0.75))
    noise = float(np.median([area.deviation for area in others]))
    blur = sqrt(areas[k].deviation ** 2 + max(0.0, spread**2 - noise**2) + noise**2 / len(others))
    # Of the target alone, which everything is about, a false alarm in a thousand audits is little.
    level = -ndtri(ERROR / len(others) if k else _OF_TARGET)
    return bool(middle - areas[k].value > level * blur)


def _shadows_below(areas: list[_Area], target: _Area) -> bool:
    """Whether the target's members show and next to nothing of all the shadows' does."""
    shadows = np.array([area.value for area in areas[1:] if area.z == area.z])
    if len(shadows) == 0:
        return False
    blur = sqrt(target.deviation**2 + shadows.var() / len(shadows))
    little = shadows.mean() - 0.5 < (target.value - 0.5) / 4
    return bool(little and target.value - shadows.mean() > -ndtri(ERROR) * blur)


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
    rank = midranks(value)
    area = (rank[inside].sum() - ins * (ins + 1) / 2) / (ins * outs)
    above = (rank[inside] - midranks(value[inside])) / outs
    below = (rank[~inside] - midranks(value[~inside])) / ins
    deviation = sqrt(above.var(ddof=1) / ins + below.var(ddof=1) / outs)
    return _Area(float(area), deviation, float(mann_whitney(score, members[None])[0]))


def mann_whitney(score: NDArray[np.float64], members: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(J,): z of the Mann-Whitney test of one score (N,) against memberships (J, N); 0 if none."""
    some = ~np.isnan(score)
    inside = members[:, some].astype(np.float64)
    rank = midranks(score[some])
    count, ins = len(rank), inside.sum(1)
    if count < 2:
        return np.zeros(len(members))
    variance = ins * (count - ins) / count * rank.var(ddof=1)
    away = inside @ rank - ins * (count + 1) / 2
    z = np.zeros(len(members))
    np.divide(away, np.sqrt(variance), out=z, where=variance > 0)
    return z
