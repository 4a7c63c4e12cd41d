"""The numbers of two runs, pair by pair: how far they lie apart, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from privaudit.diff.joined import Pair
from privaudit.diff.values import ACCURACY, Cell, Network, Row
from privaudit.doubts.attacks import mute, one_verdict
from privaudit.report.differences import alike, by_example, compared
from privaudit.report.evidence import Attacked, Evidence
from privaudit.report.rows import Comparison
from privaudit.statistics import table
from privaudit.statistics.inference import Audit, Difference, difference
from privaudit.statistics.intervals import Estimate, clopper_pearson
from privaudit.statistics.metric import Metric

_SIDES = "AB"
_ONE_SEED = "one seed has no spread: more seeds would tell"
_ONE_SPLIT = "all seeds audit the same examples, whose luck no spread over seeds shows"
_NO_SPREAD = "it differs by the same in all seeds, so that there is no spread to judge by"


def attack_row(pair: Pair, a: Evidence, b: Evidence, metrics: Sequence[str]) -> Row:
    """One attack on one level, by each metric.

    Args:
        pair: which audits.
        a: evidence of A.
        b: evidence of B.
        metrics: names of `statistics.table`.

    Raises:
        StoreError: the scores of a run are damaged.
    """
    sides = Attacked(a, pair.a), Attacked(b, pair.b)
    cells = {m.name: _cell(m, *sides) for m in table.named(metrics)}
    return Row(*pair.key, pair.networks, cells, by_example(*sides))


def network_row(pairs: Sequence[Pair], a: Evidence, b: Evidence) -> Row:
    """The accuracy of the networks of one level on examples that they were not trained on.

    Which of them each network classifies rightly is not kept, so that the two of a pair count as
    independent, which is wider; and targets of one seed as audited on the same examples.

    Args:
        pairs: all that is joined of the level.
        a: evidence of A.
        b: evidence of B.

    Raises:
        StoreError: the scores of a run are damaged.
    """
    by_network = {
        network: (a.result.audits[first], b.result.audits[second])
        for pair in reversed(pairs)
        for network, first, second in zip(pair.networks, pair.a, pair.b, strict=True)
    }
    networks = tuple(sorted(by_network))
    values = [tuple(audit.test_accuracy for audit in by_network[n]) for n in networks]
    estimates = [
        tuple(
            _share(evidence, audit.test_accuracy, evidence.non_members(audit), audit.metrics)
            for evidence, audit in zip((a, b), by_network[network], strict=True)
        )
        for network in networks
    ]
    audits = [
        (Audit(*network, second), Audit(*network, first))
        for network, (first, second) in zip(networks, estimates, strict=True)
    ]
    value = fmean(second - first for first, second in values)
    subject, level, _ = pairs[0].key
    reason = ""
    found: Comparison | None = Comparison.of(
        difference(audits, shared=a.shared and b.shared), ACCURACY
    )
    if value == 0 and any(_same_networks(pair, a, b, len(networks)) for pair in pairs):
        over = difference(audits).over
        found = Comparison.of(Difference(0.0, 0.0, 0.0, 1.0, len(audits), over), ACCURACY)
    elif any(estimate.low == estimate.high for both in estimates for estimate in both):
        found, reason = _by_seeds(found, networks, a.shared or b.shared)
    first, second = zip(*values, strict=True)
    cell = Cell(first, second, value, found, reason and f"{ACCURACY} {reason}")
    return Row(subject, level, "", networks, {ACCURACY: cell})


def _by_seeds(
    found: Comparison | None, networks: Sequence[Network], shared: bool
) -> tuple[Comparison | None, str]:
    """A comparison of numbers without intervals, or why their spread over seeds is no test."""
    if len({seed for seed, _ in networks}) == 1:
        why = _ONE_SEED
    elif shared:
        why = _ONE_SPLIT
    elif found is None or (found.low == found.high and found.value != 0):
        why = _NO_SPREAD
    else:
        return found, ""
    return None, f"has no interval of its own, and {why}"


def _same_networks(pair: Pair, a: Evidence, b: Evidence, networks: int) -> bool:
    """Whether an attack that tells examples apart has scored all networks of both runs alike."""
    first, second = Attacked(a, pair.a), Attacked(b, pair.b)
    told = not any(mute(audit.metrics) for audit in first.results)
    return told and len(pair.networks) == networks and alike(first, second)


def _share(
    evidence: Evidence, accuracy: float, kept: int | None, metrics: Mapping[str, Any]
) -> Estimate:
    """With its interval, if it is known how many examples it is a share of."""
    count = kept if kept is not None else metrics.get("non_members")
    split = evidence.result.recipe.get("split")
    made_up = isinstance(split, Mapping) and split.get("canaries") is not None
    right = accuracy * count if count else 0.5
    if made_up or not count or abs(right - round(right)) > 1e-3 or not 0 <= accuracy <= 1:
        return Estimate(accuracy, accuracy, accuracy)
    return clopper_pearson(round(right), int(count))


def _cell(metric: Metric, a: Attacked, b: Attacked) -> Cell:
    sides = a, b
    first, second = ([_number(metric, audit.metrics) for audit in s.results] for s in sides)
    numbers = tuple(first), tuple(second)
    whys = {
        name: why for name, side in zip(_SIDES, sides, strict=True) if (why := _why(metric, side))
    }
    if whys:
        both = len(whys) == len(sides) and len(set(whys.values())) == 1
        reasons = [why if both else f"{name}: {why}" for name, why in whys.items()]
        return Cell(*numbers, None, reason="; ".join(dict.fromkeys(reasons)))
    pairs = zip(first, second, strict=True)
    value = fmean(here - there for there, here in pairs if here is not None and there is not None)
    found, reason = compared(metric, b, a), ""
    bare = not all(side.has_intervals(metric) for side in sides)
    if found is None or (bare and not alike(a, b)):
        networks = [(audit.seed, audit.target) for audit in a.results]
        found, reason = _by_seeds(found, networks, a.evidence.shared or b.evidence.shared)
    return Cell(*numbers, value, found, reason and f"{metric.name} {reason}")


def _number(metric: Metric, record: Mapping[str, Any]) -> float | None:
    value = metric.read(record)
    value = value["value"] if isinstance(value, Mapping) else value
    return None if value is None else float(value)


def _why(metric: Metric, side: Attacked) -> str:
    """Why a run cannot tell a metric; empty where it can."""
    records = [audit.metrics for audit in side.results]
    for record in records:
        if _number(metric, record) is None:
            try:
                return metric.why_unknown(record)
            except KeyError:  # of results that are older than what the reason tells
                return "it is not known"
    if all(map(mute, records)):
        return "the attack says nothing, as it gives all or most examples the same score"
    if metric.verdict and all(map(one_verdict, records)):
        return "the attack gives all or most examples one verdict, which tells nobody apart"
    return ""
