"""What attacks on given outputs have found, and whether a gate holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit.doubts.doubt import Doubt, check_accepted, lines, still_open
from privaudit.errors import RecipeError
from privaudit.gate import Verdict, judge, parse_gate
from privaudit.messages import show
from privaudit.outputs.arrays import Answers


@dataclass(frozen=True)
class OutputAudit:
    """What one attack found in given outputs, about A audited rows in their order.

    Attributes:
        scores: (A,) float64, higher = likelier a member; NaN for rows that the attack cannot
            score, as they lack the shadows for it.
        metrics: as `privaudit.statistics.metrics.evaluate` makes them, of the rows that have a
            score; `left_out` and `scored_offline` say how many and which have none, or one that
            is made without shadows that were trained on them.
        decision: (A,) bool, the attacker's own verdict, or None where it gives none.
    """

    scores: NDArray[np.float64]
    metrics: dict[str, Any]
    decision: NDArray[np.bool_] | None


def accuracy_of(answers: Answers) -> tuple[float, float]:
    """The shares of audited members and non-members whose label the target puts first."""
    right = answers.logits[0].argmax(-1) == answers.labels
    inside, outside = (answers.audited & side for side in (answers.members, ~answers.members))
    return float(right[inside].double().mean()), float(right[outside].double().mean())


def accuracy_sentence(accuracy: tuple[float, float]) -> str:
    """How often the network is right, which its owner knows: another number is a warning."""
    inside, outside = (f"{100 * share:.1f} %" for share in accuracy)
    return f"The network is right about {inside} of the members, {outside} of the non-members."


class OutputAudits(dict[str, OutputAudit]):
    """What each attack found, by its label or else its name.

    Attributes:
        doubts: what speaks against taking these numbers for a verdict. A number that stands
            beside an open doubt must not be called safe.
        read: how what was given was understood, where that is not plain: one sentence each.
        confidence: of every interval.
        left_out: of all attacks, if none were named, those that the arrays do not allow, and why.
        accuracy: the shares of the audited members and non-members that the network classifies as
            they are labelled.
    """

    def __init__(
        self,
        audits: Mapping[str, OutputAudit],
        doubts: Sequence[Doubt],
        read: Sequence[str] = (),
        left_out: Sequence[str] = (),
        confidence: float = 0.95,
        accuracy: tuple[float, float] = (nan, nan),
    ) -> None:
        super().__init__(audits)
        self.doubts, self.read, self.left_out = tuple(doubts), tuple(read), tuple(left_out)
        self.confidence, self.accuracy = confidence, accuracy

    def __str__(self) -> str:
        """A line for each attack, the network's accuracy, and what is in doubt."""
        attacks = [
            f"{label}: AUC {auc['value']:.3f} [{auc['low']:.3f}, {auc['high']:.3f}]"
            for label, audit in self.items()
            if (auc := audit.metrics["auc"])
        ]
        return "\n".join([*attacks, self.accuracy_sentence(), *lines(self.doubts)])

    def accuracy_sentence(self) -> str:
        """How often the network is right, which its owner knows: another number is a warning."""
        return accuracy_sentence(self.accuracy)

    def verdict(self, gate: str, accept_doubts: Sequence[str] = ()) -> Verdict:
        """Whether a gate such as "auc<0.6" holds, by every attack: `passed`, `told`, `sentence()`.

        Args:
            gate: as `privaudit audit --gate` takes it.
            accept_doubts: names of doubts that do not count.

        Raises:
            RecipeError: the gate, or the name of a doubt, is wrong.
        """
        if not isinstance(gate, str):
            raise RecipeError(
                f"a gate is a text such as 'auc<0.6', one at a time: got {show(gate)}"
            )
        opened = still_open(self.doubts, check_accepted(accept_doubts))
        metrics = {label: audit.metrics for label, audit in self.items()}
        return judge(parse_gate(gate), metrics, opened, self.confidence)
