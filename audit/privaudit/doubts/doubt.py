"""A doubt: something seen in the numbers of an audit that could turn its verdict round."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from privaudit.errors import RecipeError
from privaudit.messages import plain, unknown

DOUBTS = {
    "below_half": "an attack tells members by scoring them lower",
    "bounded_answers": "a trained network answers with numbers from 0 to 1 alone",
    "chance": "a network is no better than guessing on the examples that it was trained on",
    "promise": "an attack proves a larger epsilon than the defense promises",
    "says_nothing": "an attack gives all or most examples the same score",
    "shadow_counts": "how many shadows hold an example tells whether the target does",
    "shadows_at_chance": "shadows are no better than guessing on their members, and the target is",
}
"""What can be doubted, by the name that `--accept-doubt` takes."""


@dataclass(frozen=True)
class Doubt:
    """One reason not to believe a verdict yet.

    Attributes:
        name: its kind, a key of `DOUBTS`.
        about: what it is about: "target", "shadow 3", "attack 'rmia'".
        sentence: what was seen, what it may come from, and what to do, in one line.
    """

    name: str
    about: str
    sentence: str

    def __post_init__(self) -> None:
        assert self.name in DOUBTS, self.name

    def line(self) -> str:
        """For people: the name to accept it by, and the sentence.

        >>> Doubt("below_half", "attack 'loss'", "AUC 0.1 lies below one half").line()
        "doubt below_half (attack 'loss'): AUC 0.1 lies below one half"
        """
        return plain(f"doubt {self.name} ({self.about}): {self.sentence}")


def known(name: str) -> str:
    """The name of a doubt that there is.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in DOUBTS:
        raise ValueError(unknown("doubt", name, DOUBTS))
    return name


def check_accepted(names: Iterable[str]) -> tuple[str, ...]:
    """The names of doubts that the user accepts, each once.

    Raises:
        RecipeError: there is no doubt of that name; one line for each.
    """
    names = tuple(dict.fromkeys(names))
    wrong = [f"--accept-doubt: {unknown('doubt', n, DOUBTS)}" for n in names if n not in DOUBTS]
    if wrong:
        raise RecipeError(*map(plain, wrong))
    return names


def still_open(doubts: Iterable[Doubt], accepted: Sequence[str]) -> tuple[Doubt, ...]:
    """The doubts that nobody has accepted."""
    return tuple(doubt for doubt in doubts if doubt.name not in accepted)
