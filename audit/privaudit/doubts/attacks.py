"""Doubts about what an attack found, from its metrics alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from privaudit.doubts.doubt import Doubt
from privaudit.statistics.metric import ONE_VERDICT

_MOST = 0.9  # share of examples with one score from which on an attack says nothing
_MOST_OF_TWO = 0.99  # the same where the attack only says yes or no

_BELOW = (
    "the interval lies wholly below one half: members are told by being scored lower, and a leak "
    "in this direction is a leak. Membership may be inverted; unlearning, or a loss that "
    "overshoots (RelaxLoss), may leave members less sure than others; or non-members may be easier "
    "examples"
)


_SILENT = (
    "an attack that gives most examples the same score says nothing of who is a member, which is "
    "not the same as a network that tells nothing: give it other options, or leave it out"
)


ONE_VERDICT_SAYS = (
    "its threshold calls all examples members, or none: a defense near 100 % is then a threshold "
    "that does not fit, and no protection; look at AUC."
)
"""What is said of an attack of which `one_verdict` holds, after its label."""


def mute(metrics: Mapping[str, Any]) -> bool:
    """Whether an attack says nothing: all or most examples have one and the same score.

    More than nine in ten do, or more than 99 in 100 where there are only two scores.

    Args:
        metrics: as `privaudit.statistics.metrics.evaluate` makes them; those of older results do
            not tell, and count as saying something.
    """
    tie, distinct = metrics.get("largest_tie"), metrics.get("distinct_scores")
    if tie is None or distinct is None:
        return False
    return bool(tie > (_MOST_OF_TWO if distinct == 2 else _MOST))


def one_verdict(metrics: Mapping[str, Any]) -> bool:
    """Whether an attack calls more than 99 in 100 examples members, or non-members.

    Its accuracy is then that of guessing, however much its scores tell; older results do not say.
    """
    return bool((metrics.get("largest_verdict") or 0.0) > ONE_VERDICT)


def attacks_doubts(
    metrics: Mapping[str, Mapping[str, Any]], verdicts: Collection[str] = ()
) -> list[Doubt]:
    """What speaks against taking the numbers of all attacks on one network for a verdict.

    An attack whose scores are verdicts, 1 or 0, is alike for all examples where it is right, or
    wrong, about all. It says nothing then, and that it does is what its exact interval says; so it
    is a doubt only where no other attack speaks.

    Args:
        metrics: by the attack's label, as `privaudit.statistics.metrics.evaluate` makes them.
        verdicts: labels of the attacks whose scores are verdicts by design.
    """
    silent = {label for label, record in metrics.items() if mute(record)}
    spared = silent & set(verdicts) if silent != metrics.keys() else set()
    return [
        doubt
        for label, record in metrics.items()
        for doubt in attack_doubts(label, record)
        if doubt.name != "says_nothing" or label not in spared
    ]


def attack_doubts(label: str, metrics: Mapping[str, Any]) -> list[Doubt]:
    """What speaks against taking one attack's numbers for a verdict.

    Args:
        label: of the attack.
        metrics: as `privaudit.statistics.metrics.evaluate` makes them.
    """
    about = f"attack {label!r}"
    doubts = []
    if mute(metrics):
        share = (
            "all" if metrics["distinct_scores"] == 1 else f"{100 * metrics['largest_tie']:.1f} %"
        )
        doubts.append(Doubt("says_nothing", about, _SILENT, f"{share} of the scores are alike"))
    for name, words in (("auc", "AUC"), ("balanced_accuracy", "balanced accuracy")):
        interval = metrics.get(name)
        if isinstance(interval, Mapping) and interval["high"] < 0.5:
            numbers = "{value:.3f} [{low:.3f}, {high:.3f}]".format(**interval)
            doubts.append(Doubt("below_half", about, _BELOW, f"{words} {numbers}"))
            break
    return doubts
