"""Audits what a network has already answered: arrays in, metrics with intervals out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from privaudit.api.calls import scored
from privaudit.api.host import Plugins, load_plugins
from privaudit.api.plugin import Attack
from privaudit.doubts.attacks import attack_doubts
from privaudit.doubts.doubt import Doubt, lines
from privaudit.errors import DataError, PluginError, PrivauditError, RecipeError
from privaudit.keys import derive
from privaudit.messages import show
from privaudit.outputs.arrays import Answers, read_answers
from privaudit.outputs.doubts import doubts_about
from privaudit.outputs.entries import attack_entries, check_needs
from privaudit.statistics.metrics import evaluate
from privaudit.values import AttackScores, Outputs, Role, Signals

__all__ = ["OutputAudit", "OutputAudits", "audit_outputs"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OutputAudit:
    """What one attack found in given outputs, about A audited rows in their order.

    Attributes:
        scores: (A,) float64, higher = likelier a member.
        metrics: as `privaudit.statistics.metrics.evaluate` makes them.
        decision: (A,) bool, the attacker's own verdict, or None where it gives none.
    """

    scores: NDArray[np.float64]
    metrics: dict[str, Any]
    decision: NDArray[np.bool_] | None


class OutputAudits(dict[str, OutputAudit]):
    """What each attack found, by its label or else its name.

    Attributes:
        doubts: what speaks against taking these numbers for a verdict. A number that stands
            beside an open doubt must not be called safe.
    """

    def __init__(self, audits: Mapping[str, OutputAudit], doubts: Sequence[Doubt]) -> None:
        super().__init__(audits)
        self.doubts = tuple(doubts)


def audit_outputs(
    logits: Any,
    labels: Any,
    members: Any,
    attacks: Sequence[str | Mapping[str, Any] | Attack],
    *,
    shadow_logits: Any = None,
    shadow_members: Any = None,
    audited: Any = None,
    x: Any = None,
    kind: str = "logits",
    seed: int = 0,
    confidence: float = 0.95,
    plugins: Plugins | None = None,
    quiet: bool = False,
) -> OutputAudits:
    """Attack a network by what it, and perhaps shadow networks, answer about N examples.

    Arrays may be NumPy's, torch's on any device, or lists. Everything is checked before the first
    attack runs. Half-precision logits are attacked in float32, which holds them exactly.

    Args:
        logits: (N, C), or (Q, N, C) with query 0 the examples themselves and the rest
            augmentations of them, which attacks that combine queries use as well. They are what
            `kind` says, and so are `shadow_logits`.
        labels: (N,) whole numbers from 0 to C - 1.
        members: (N,) bool: who was in the training data.
        attacks: names, mappings of options with a name and perhaps a label, or plugins.
        shadow_logits: (K, N, C), or (K, Q, N, C), of K networks that the attacker trained.
        shadow_members: (K, N) bool: what they were trained on.
        audited: (N,) bool; the other rows are the population, whose membership is ignored.
            All rows if not given.
        x: (N, ...) the examples themselves, for attacks that look at them.
        kind: what the networks answer. "logits": numbers whose softmax are probabilities.
            "log_probabilities": their natural logarithms, -inf for a probability of 0.
            "probabilities": from 0 to 1, each row summing to 1. "margins": of a network with two
            classes the log-odds of class 1, positive where it predicts class 1, as (N,) or (N, 1),
            (Q, N, 1) with queries, and (K, N), (K, N, 1) or (K, Q, N, 1) of shadows; of a network
            with more classes the log-odds of the true class, with all labels 1.
        seed: of the attacks' own randomness.
        confidence: of every interval, two-sided.
        plugins: those installed, if not given.
        quiet: log no doubt: the caller shows them.

    Returns:
        What each attack found, by its label or else its name, in the order of `attacks`; and the
        doubts about it, each of which is logged as a warning, too, unless `quiet`.

    Raises:
        RecipeError: an attack is not known, an option is wrong, two attacks share a label, or an
            attack needs what was not given; every such mistake, one line each.
        DataError: an array has the wrong shape or kind, or holds what cannot be audited.
        PluginError: an attack breaks its contract.
    """
    if not 0 < confidence < 1:
        raise RecipeError(f"confidence must be between 0 and 1, such as 0.95 (got {confidence})")
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise RecipeError(f"seed must be a whole number from 0 on (got {show(seed)})")
    entries = attack_entries(attacks, plugins or load_plugins())
    answers = read_answers(logits, labels, members, shadow_logits, shadow_members, audited, x, kind)
    check_needs(entries, answers)
    doubts = doubts_about(answers)
    signals = _signals(answers, seed)
    inside = answers.members[answers.audited].numpy()
    audits = {}
    for label, attack in entries:
        scores = _scored(label, attack, signals)
        score = scores.score[answers.audited].detach().double().numpy()
        decision = None if scores.decision is None else scores.decision[answers.audited].numpy()
        metrics = evaluate(score, inside, decision, confidence=confidence)
        audits[label] = OutputAudit(score, metrics, decision)
        doubts += attack_doubts(label, metrics)
    for line in [] if quiet else lines(doubts):
        logger.warning("%s", line)
    return OutputAudits(audits, doubts)


def _signals(answers: Answers, seed: int) -> Signals:
    """What an attacker has: all of it but the target's membership."""
    member, non_member = (
        torch.tensor(role, dtype=torch.uint8) for role in (Role.MEMBER, Role.NON_MEMBER)
    )
    role = torch.where(answers.shadow_members, member, non_member)
    # As in a recipe: what nobody was trained on is the population of the shadows as well.
    role[:, ~answers.audited & ~answers.shadow_members.any(0)] = Role.OUTSIDE
    return Signals(
        x=answers.x,
        y=answers.labels,
        audited=answers.audited,
        target=Outputs(answers.logits),
        shadows=Outputs(answers.shadow_logits),
        shadow_role=role,
        seed=derive(seed, "attack", 0),
    )


def _scored(label: str, attack: Attack, signals: Signals) -> AttackScores:
    try:
        return scored(attack, signals)
    except PluginError:
        raise
    except PrivauditError as error:
        # All that an attack may find fault with here is what the caller gave; its advice is for
        # recipes.
        raise DataError(
            f"attack {label!r}: {error} (with arrays: the shadows are those of shadow_logits, "
            "the population the rows that `audited` leaves out)"
        ) from error
