"""Lets an attack loose on the targets of a level, and measures how well it does."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from privaudit.api.needs import seen_by, versions_seen
from privaudit.api.plugin import Attack, Promise, usual_delta
from privaudit.errors import DataError, ShortageError
from privaudit.keys import derive
from privaudit.statistics.scored import evaluate_scored
from privaudit.values import AttackScores, Examples, Outputs, Role, Signals, Split

_REMEDIES = {
    "untold": "only the attack knows why it leaves them out",
    "shadows": "raise `shadows` (with split.protocol halves, each example is a member of one half "
    "of them and a non-member of the other)",
    "population": "leave some examples out of the audit, by a smaller split.members (and "
    "split.non_members with split.protocol disjoint)",
}


def signals_of(
    attack: Attack,
    examples: Examples,
    split: Split,
    outputs: Outputs,
    believed: Outputs,
    number: int,
    seed: int,
) -> Signals:
    """What an attacker of one target has, and no more than the attack asks for.

    Args:
        attack: says how many queries and noisy copies it uses.
        examples: the dataset.
        split: of one seed.
        outputs: of that seed's M models.
        believed: of the same models as the attacker would make them, for the shadows.
        number: which of the split's targets, from 0.
        seed: of the run.
    """
    target = int(split.targets[number])
    shadows = _places(split.shadows[number])
    return Signals(
        x=examples.x,
        y=examples.y,
        audited=split.audited[target],
        target=_asked(attack, outputs, examples.y)[target],
        shadows=_asked(attack, believed, examples.y)[shadows],
        shadow_role=_told(split, shadows),
        seed=derive(seed, "attack", target),
    )


def _told(split: Split, shadows: Tensor | slice) -> Tensor:
    """The roles (K, N) that an attacker learns from: where there are canaries, theirs alone.

    A threshold that is learned from ordinary examples calls all canaries members, or none, and a
    defense of 100 % is then nobody's merit. Ordinary members remain rows that a shadow knows.
    """
    role = split.role[shadows]
    if split.canary is None:
        return role
    ordinary = role.clone()
    ordinary[role == Role.MEMBER], ordinary[role == Role.NON_MEMBER] = Role.VALIDATION, Role.OUTSIDE
    return torch.where(split.canary, role, ordinary)


def measured(
    scores: AttackScores, split: Split, target: int, promise: Promise | None
) -> dict[str, Any]:
    """The metrics of an attack on one of a split's models, at the δ that is promised for it.

    Raises:
        ShortageError: it can score too few rows.
    """
    member = split.role[target] == Role.MEMBER
    delta = None if promise is None else promise.delta
    if delta is None:
        delta = usual_delta(int(member.sum()))
    return evaluate_scored(scores, member, split.audited[target], delta=delta, coins=split.coins)


def advised(label: str, error: ShortageError) -> DataError:
    """What an attack lacks, and what in a recipe would help."""
    return DataError(f"attack {label!r}: {error}: {_REMEDIES[error.lacking]}")


def _places(chosen: Tensor) -> Tensor | slice:
    """Where a row (M,) bool is true; as a slice if that is one stretch, which copies nothing."""
    places = chosen.nonzero()[:, 0]
    if len(places) and int(places[-1] - places[0]) == len(places) - 1:
        return slice(int(places[0]), int(places[-1]) + 1)
    return places


def _asked(attack: Attack, outputs: Outputs, y: Tensor) -> Outputs:
    """Only what the attack asks for, so that its neighbours do not change its answer."""
    noisy = None
    if attack.noise and outputs.noisy is not None:
        noisy = outputs.noisy[:, : attack.noise]
    norm = outputs.gradient_norm if "gradient_norm" in attack.signals else None
    versions = {n: _asked(attack, v, y) for n, v in versions_seen(attack, outputs).items()}
    shown = outputs.changed(
        noisy=noisy, gradient_norm=norm, versions=versions, queries=attack.queries
    )
    if shown.has_logits:
        shown = shown.changed(logits=shown.logits[:, : attack.queries])
    return seen_by(attack, shown, y)
