"""What a run could not do, while it did the rest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Failure:
    """A subject, or an attack on one, of which a run has nothing to tell.

    Attributes:
        subject: label of the subject.
        sentence: what went wrong, and in whose code.
        level: label of the level; empty where the subject itself failed.
        attack: label of the attack; empty likewise.
        seed: of the target that the attack failed on; None where it failed before.
        target: that target's number, likewise.
        original: the traceback of what a plugin raised; not kept on disk.
    """

    subject: str
    sentence: str
    level: str = ""
    attack: str = ""
    seed: int | None = None
    target: int | None = None
    original: str = field(default="", compare=False, repr=False)

    def record(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {key: value for key, value in asdict(self).items() if key != "original"}

    @property
    def about(self) -> str:
        """What is missing, such as "attack 'loss' on imp / round 1, seed 0, target 0"."""
        level = f" / {self.level}" if self.level else ""
        network = "" if self.seed is None else f", seed {self.seed}, target {self.target}"
        attack = f"attack {self.attack!r} on " if self.attack else ""
        return f"{attack}{self.subject}{level}{network}"


def lines(failures: Iterable[Failure]) -> list[str]:
    """One line for each thing that went wrong, with all that is missing for it."""
    by_sentence: dict[str, list[str]] = {}
    for failure in failures:
        by_sentence.setdefault(failure.sentence, []).append(failure.about)
    return [f"failed: {_several(about)}: {sentence}" for sentence, about in by_sentence.items()]


def _several(about: list[str]) -> str:
    more = len(about) - 2
    return "; ".join(about[:2]) + (f"; and {more} more" if more > 0 else "")
