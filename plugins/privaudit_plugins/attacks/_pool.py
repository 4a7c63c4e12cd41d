"""What an attacker measures: on the target, and where membership is known to it, on the shadows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

import privaudit
from privaudit_plugins.attacks._rows import spread as spread
from privaudit_plugins.attacks._thresholds import best_threshold

Measure = Callable[[privaudit.Outputs, Tensor, str], Tensor]
"""From one model's outputs, n of its rows (n,) int64 and its name to (n, ...) float64."""


@dataclass(frozen=True)
class Pool:
    """What was measured on the members and non-members of all shadows.

    Attributes:
        value: (n, ...) float64.
        y: (n,) int64 labels.
        member: (n,) bool.
    """

    value: Tensor
    y: Tensor
    member: Tensor


def logits_of(outputs: privaudit.Outputs, rows: Tensor, whose: str) -> Tensor:
    """One model's answers (n, C) float64 to the examples themselves.

    Raises:
        PrivauditError: an answer is NaN or infinite.
    """
    return finite(outputs.logits[0, rows].double(), whose)


def finite(answers: Tensor, whose: str) -> Tensor:
    """The answers themselves.

    Raises:
        PrivauditError: one of them is NaN or infinite.
    """
    if not bool(torch.isfinite(answers).all()):
        raise privaudit.PrivauditError(
            f"{whose} answers NaN or infinity, most likely because its training diverged: "
            "lower the learning rate"
        )
    return answers


def on_target(signals: privaudit.Signals, measure: Measure) -> Tensor:
    """A measure of the audited examples, in their order."""
    return measure(signals.target, signals.audited.nonzero()[:, 0], "the target")


def on_shadows(signals: privaudit.Signals, measure: Measure) -> Pool | None:
    """A measure of every shadow's members and non-members; None where either are missing."""
    inside, outside = (
        signals.shadow_role == role for role in (privaudit.Role.MEMBER, privaudit.Role.NON_MEMBER)
    )
    if not (bool(inside.any()) and bool(outside.any())):
        return None
    value, y, member = [], [], []
    for k in range(len(signals.shadow_role)):
        rows = (inside[k] | outside[k]).nonzero()[:, 0]
        value.append(measure(signals.shadows[k], rows, f"shadow {k}"))
        y.append(signals.y[rows])
        member.append(inside[k, rows])
    return Pool(torch.cat(value), torch.cat(y), torch.cat(member))


def needed(attack: str, signals: privaudit.Signals, found: Pool | None) -> Pool:
    """The pool itself.

    Raises:
        PrivauditError: the attack cannot do without it, and there is none.
    """
    if found is None:
        raise privaudit.PrivauditError(
            f"{attack} learns from shadows' members and non-members, and there are "
            f"{int((signals.shadow_role == privaudit.Role.MEMBER).sum())} members and "
            f"{int((signals.shadow_role == privaudit.Role.NON_MEMBER).sum())} non-members of "
            f"{len(signals.shadow_role)} shadows: set `shadows` to 1 or more (with split.protocol "
            "halves, 2 or more)"
        )
    return found


def judged(signals: privaudit.Signals, measure: Measure) -> privaudit.AttackScores:
    """A measure, higher = likelier a member, as the score of the audited examples.

    The decision's threshold is the one of best balanced accuracy over all shadows; without
    shadows there is no decision.
    """
    score = spread(on_target(signals, measure), signals)
    found = on_shadows(signals, measure)
    if found is None:
        return privaudit.AttackScores(score)
    return privaudit.AttackScores(score, score >= best_threshold(found.value, found.member))
