"""A first look at outputs, in seconds and without shadows: an estimate, and no audit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, Literal

import torch

from privaudit.doubts.doubt import Doubt, check_accepted, in_doubt, still_open
from privaudit.errors import DataError, RecipeError
from privaudit.outputs.arrays import read_answers
from privaudit.outputs.convert import places
from privaudit.outputs.doubts import doubts_about
from privaudit.outputs.found import accuracy_of
from privaudit.outputs.originals import NAMES
from privaudit.outputs.prepare import prepared
from privaudit.reductions import log_odds
from privaudit.statistics.tail import Tail, loss_tail

__all__ = ["QuickLook", "quick_look"]

_ARRAYS = {*signature(read_answers).parameters, *NAMES} - {"kind"}
"""What the outputs may consist of, as an audit takes it."""


@dataclass(frozen=True)
class QuickLook:
    """What the highest losses of one network tell. There is no third answer: it cannot assure.

    Attributes:
        tail: how much higher the losses of non-members reach.
        told: "leaks", or "cannot be told".
        reason: why.
        doubts: what speaks against believing it, accepted or not.
        read: how what was given was understood, where that is not plain.
        shadows: how many networks of the attacker's were given, which it does not use.
        confidence: of the intervals, and of "leaks".
        accuracy: the shares of the audited members and non-members that the network classifies as
            they are labelled.
    """

    tail: Tail
    told: Literal["leaks", "cannot be told"]
    reason: str
    doubts: tuple[Doubt, ...]
    read: tuple[str, ...]
    shadows: int
    confidence: float
    accuracy: tuple[float, float]


def quick_look(
    logits: Any,
    labels: Any,
    members: Any,
    *,
    kind: str = "logits",
    classes: Sequence[str] = (),
    confidence: float = 0.95,
    accept_doubts: Sequence[str] = (),
    **arrays: Any,
) -> QuickLook:
    """Estimate how vulnerable a network is, by the high losses that its members lack.

    `privaudit.statistics.tail` says how, and after whom. Losses are ranked by the log-odds of the
    label, which falls as the loss rises and never rounds.

    Args:
        logits: (N, C) or (Q, N, C), what the network answers; query 0 is the example itself.
        labels: (N,).
        members: (N,) bool, who was in the training data.
        kind: what the answers are, as `privaudit.audit_outputs` takes it.
        classes: names of the classes, in the order of the answers.
        confidence: of the intervals; "leaks" is said where so empty a tail has a chance below one
            minus it.
        accept_doubts: names of doubts that do not count.
        **arrays: the others that `privaudit.audit_outputs` takes; shadows serve to find doubts.

    Raises:
        RecipeError: an argument is wrong.
        DataError: an array has the wrong shape or kind, or holds what cannot be audited.
    """
    if not 0 < confidence < 1:
        raise RecipeError(f"confidence must be between 0 and 1, such as 0.95 (got {confidence})")
    accepted = check_accepted(accept_doubts)
    if wrong := sorted(arrays.keys() - _ARRAYS):
        raise RecipeError(f"quick_look takes no {', '.join(wrong)}")
    given = dict.fromkeys(_ARRAYS) | arrays
    given |= {"logits": logits, "labels": labels, "members": members}
    given["ids"] = places(given["ids"])
    scale = given.pop("noise_scale")
    made, read = prepared(given, kind, classes)
    for name in NAMES:
        made.pop(name)
    answers = read_answers(**made, kind=kind, noise_scale=scale)
    rows = torch.nonzero(answers.audited)[:, 0]
    odds = log_odds(answers.logits[0], answers.labels, rows)
    if bool(odds.isnan().any()):
        row = int(rows[odds.isnan().nonzero()[0, 0]])
        raise DataError(f"{kind}: row {row} has no loss: its numbers are not finite")
    tail = loss_tail(-odds.numpy(), answers.members[rows].numpy(), confidence=confidence)
    doubts = tuple(doubts_about(answers))
    told, reason = _told(tail, still_open(doubts, accepted), confidence)
    return QuickLook(
        tail,
        told,
        reason,
        doubts,
        tuple(read),
        len(answers.shadow_members),
        confidence,
        accuracy_of(answers),
    )


def _told(
    tail: Tail, opened: Sequence[Doubt], confidence: float
) -> tuple[Literal["leaks", "cannot be told"], str]:
    chance = f"{tail.p_value:.2g}" if tail.p_value >= 1e-12 else "less than 1e-12"
    if tail.p_value >= 1 - confidence:
        return "cannot be told", (
            f"non-members' losses do not surely reach higher than members' (p = {chance}), which "
            "a network that leaks may show as well"
        )
    if opened:
        names = tuple(dict.fromkeys(doubt.name for doubt in opened))
        return "cannot be told", f"the outputs are {in_doubt(names)}"
    return "leaks", f"losses that nothing ties to membership would do this with p = {chance}"
