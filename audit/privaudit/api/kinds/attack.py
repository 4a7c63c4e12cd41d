"""Attacks: what tells members from non-members."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from privaudit.api.kinds.base import Plugin
from privaudit.api.split_options import SplitOptions
from privaudit.values import AttackScores, Outputs, Signals


class Attack(Plugin):
    """Tells members from non-members.

    On a CPU several targets are attacked at once, each in a process of one thread; a class that
    such a process cannot import stays in this one.

    Attributes:
        queries: how many augmented versions of each example are asked; 1 is the example itself.
        noise: how many noisy copies of each example are asked.
        noise_optional: whether it scores without noisy copies, too, where somebody brings answers
            that have none (`privaudit audit`); `Outputs.noisy` is then None. A run always asks.
        signals: what else is needed: "gradient_norm"; "original", the answers of the dense network
            from which each was made sparse; "versions", these and the answers at every level that
            was reached before (`Outputs.versions`); "x", the examples themselves; or
            "augmentation", data whose augmented queries differ from the example.
        answers: what it needs of an answer, so that no more is kept: "logits", or names of
            `privaudit.reductions.REDUCTIONS` such as "log_odds", "label_probability", "predicted"
            and "top". Where all attacks of a run do with less than logits, the answers to 200,000
            examples of 100 classes take 8 bytes an example, not 400.
        shadows: how many shadow models it needs at least.
        verdicts: whether its scores are verdicts, 1 or 0, by design, so that equal scores of all
            examples are no sign of a failure.
    """

    kind: ClassVar[str] = "attack"
    queries: ClassVar[int] = 1
    noise: ClassVar[int] = 0
    noise_optional: ClassVar[bool] = False
    signals: ClassVar[frozenset[str]] = frozenset()
    answers: ClassVar[tuple[str, ...]] = ("logits",)
    shadows: ClassVar[int] = 0
    verdicts: ClassVar[bool] = False

    def refusal(self, split: SplitOptions, shadows: int) -> str | None:
        """Why a recipe's split cannot serve this attack, and which setting would; None if it can.

        Asked before anything is trained; what only the data can tell, `score` has to refuse.

        Args:
            split: the recipe's.
            shadows: how many there are for each target.
        """
        return None

    def needed_answers(self) -> tuple[str, ...]:
        """What it needs of an answer, where its options decide that; else `answers`."""
        return self.answers

    def answers_suffice(self, outputs: Outputs, rows: Tensor) -> bool:
        """Whether it can do with what it has declared, now that models have answered.

        If not, they are asked again, and their logits are kept.

        Args:
            outputs: of M models, reduced to what attacks have declared.
            rows: (n,) int64, the examples that are audited.
        """
        return True

    def score(self, signals: Signals) -> AttackScores:
        """Score every example from what the attacker has.

        Called for one target after another; the signals are shared between attacks, perhaps
        between processes: look at them and work on copies. They lie in memory as they come.

        Rows that lack the shadows for a score are told by `AttackScores.left_out`; where none can
        be scored, raise a `ShortageError` that says what is missing: the engine knows whether a
        recipe or arrays can mend it.

        What breaks: `signals.target.logits.amax(-1)`, for outputs have an axis of queries first:
        scores would be (Q, N). Right is `signals.target.logits[0].amax(-1)`, (N,). An attack that
        declares `answers` reads `signals.target.log_odds[0]` and so on; what it has not declared
        is not there.
        """
        raise NotImplementedError

    def score_all(self, signals: Sequence[Signals]) -> list[AttackScores]:
        """Score several targets at once: what `score` gives for each of them, in their order.

        Only an attack that is quicker together has one, as one that trains networks is by
        `privaudit.learning`. The engine then calls it with as many targets as fit, and where it
        fails, `score` with each of them alone, so that one target's failure is no other's. A
        target's scores must not depend on the others.
        """
        return [self.score(one) for one in signals]
