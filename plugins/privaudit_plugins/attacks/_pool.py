"""What an attacker measures: on the target, and where membership is known to it, on the shadows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

import privaudit
from privaudit_plugins.attacks._phi import finite_ends
from privaudit_plugins.attacks._rows import spread as spread
from privaudit_plugins.attacks._thresholds import best_threshold

Measure = Callable[[privaudit.Outputs, Tensor, str], Tensor]
"""From one model's outputs, n of its rows (n,) int64 and its name to (n, ...) float64."""


@dataclass(frozen=True)
class Pool:
    """What was measured on the members and non-members of all shadows.

    Attributes:
        value: (n, ...) float64.
        y: (n,) int64 labels, or none.
        member: (n,) bool.
    """

    value: Tensor
    y: Tensor
    member: Tensor


def logits_of(outputs: privaudit.Outputs, rows: Tensor, whose: str) -> Tensor:
    """One model's answers (n, C) float64 to the examples themselves.

    A logit of -inf is the logarithm of a probability of 0, and an answer like any other.

    Raises:
        PrivauditError: an answer is NaN or +inf, or -inf for every class.
    """
    logits = outputs.logits[0, rows].double()
    finite(logits.amax(-1), whose)
    return logits


def odds_of(outputs: privaudit.Outputs, rows: Tensor, y: Tensor, whose: str) -> Tensor:
    """One model's log-odds φ of the true classes (n,) float64, ±inf where a probability is 0.

    Args:
        outputs: of the model.
        rows: (n,) int64, the examples asked for.
        y: (N,) int64 labels.
        whose: the model's name.

    Raises:
        PrivauditError: as `logits_of`.
    """
    return checked_odds(outputs.of("log_odds", rows, y)[0], whose)


def odds_of_all(signals: privaudit.Signals, rows: Tensor) -> Tensor:
    """The target's φ, then the shadows', of every query, (1 + K, Q, n) float64, all finite.

    Args:
        signals: of an attack.
        rows: (n,) int64, the examples asked for.

    Raises:
        PrivauditError: a model's φ is NaN: it answers NaN or infinity.
    """
    target = signals.target.of("log_odds", rows, signals.y)
    phi = torch.empty((1 + len(signals.shadow_role), *target.shape), dtype=target.dtype)
    phi[0] = checked_odds(target, "the target")
    for k in range(len(phi) - 1):  # one by one: all of them are never held twice
        answers = signals.shadows[k].of("log_odds", rows, signals.y)
        phi[1 + k] = checked_odds(answers, f"shadow {k}")
    return finite_ends(phi)[0]


def predictions_of(outputs: privaudit.Outputs, rows: Tensor, y: Tensor, whose: str) -> Tensor:
    """One model's likeliest classes (Q, n) int16.

    Args:
        outputs: of the model.
        rows: (n,) int64, the examples asked for.
        y: (N,) int64 labels.
        whose: the model's name.

    Raises:
        PrivauditError: a largest logit is NaN or infinite.
    """
    predicted = outputs.of("predicted", rows, y)
    if bool((predicted < 0).any()):
        finite(predicted.double().where(predicted >= 0, torch.nan), whose)
    return predicted


def checked_odds(phi: Tensor, whose: str) -> Tensor:
    """The log-odds themselves.

    Raises:
        PrivauditError: one of them is NaN, as an answer is NaN or +inf, or -inf for every class.
    """
    if bool(phi.isnan().any()):
        finite(phi, whose)
    return phi


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


def on_shadows(signals: privaudit.Signals, measure: Measure, labels: bool = True) -> Pool | None:
    """A measure of every shadow's members and non-members; None where either are missing.

    Args:
        signals: of the attack.
        measure: of one model.
        labels: False leaves them out of the pool, which takes half of its memory.
    """
    role = signals.shadow_role
    inside = role == privaudit.Role.MEMBER
    asked = inside | (role == privaudit.Role.NON_MEMBER)
    count = int(asked.sum())
    if not 0 < int(inside.sum()) < count:
        return None
    value, filled = torch.empty(0), 0
    for k, which in enumerate(asked):
        rows = which.nonzero()[:, 0]
        found = measure(signals.shadows[k], rows, f"shadow {k}")
        if k == 0:  # all of them are never held twice
            value = torch.empty((count, *found.shape[1:]), dtype=found.dtype)
        value[filled : filled + len(rows)] = found
        filled += len(rows)
    y = signals.y.expand(asked.shape)[asked] if labels else signals.y[:0]
    return Pool(value, y, inside[asked])


def needed(attack: str, signals: privaudit.Signals, found: Pool | None) -> Pool:
    """The pool itself.

    Raises:
        ShortageError: the attack cannot do without it, and there is none.
    """
    if found is None:
        raise privaudit.ShortageError(
            f"{attack} learns from shadows' members and non-members, and there are "
            f"{int((signals.shadow_role == privaudit.Role.MEMBER).sum())} members and "
            f"{int((signals.shadow_role == privaudit.Role.NON_MEMBER).sum())} non-members of "
            f"{len(signals.shadow_role)} shadows"
        )
    return found


def judged(signals: privaudit.Signals, measure: Measure) -> privaudit.AttackScores:
    """A measure, higher = likelier a member, as the score of the audited examples.

    The decision's threshold is the one of best balanced accuracy over all shadows; without
    shadows there is no decision. Infinite measures are placed as in `finite_ends`.
    """
    values, pool = measured(signals, measure, labels=False)
    score = spread(values, signals)
    if pool is None:
        return privaudit.AttackScores(score)
    return privaudit.AttackScores(score, score >= best_threshold(pool.value, pool.member))


def measured(
    signals: privaudit.Signals, measure: Measure, labels: bool = True
) -> tuple[Tensor, Pool | None]:
    """A measure of the audited examples and of the shadows', all of it finite (`finite_ends`)."""
    values, pool = on_target(signals, measure), on_shadows(signals, measure, labels)
    if pool is None:
        return finite_ends(values)[0], None
    values, of_shadows = finite_ends(values, pool.value)
    return values, replace(pool, value=of_shadows)
