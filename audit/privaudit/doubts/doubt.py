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
    "duplicate_network": "two networks answer alike to the last digits, as a target among its own "
    "shadows does",
    "duplicate_rows": "examples stand among members and non-members at once",
    "inverted": "a network answers its own members worse than others",
    "kind": "numbers look like something else than what they are said to be, such as probabilities "
    "given as logits",
    "labels": "a network fits the labels of its own members no better than by guessing, or far "
    "better if classes were renamed",
    "misasked": "a given target is far more right on its members if it is asked in another way",
    "order": "rows, queries or membership of a network seem to be in another order than the "
    "others'",
    "promise": "an attack proves a larger epsilon than the defense promises",
    "rounded": "numbers were rounded, cut off or filled in, so that many examples come to the same",
    "says_nothing": "an attack gives all or most examples the same score, which is not protection",
    "shadow_counts": "how many shadows hold an example tells whether the target does",
    "shift": "members are easier or harder than non-members to networks that saw neither",
    "shadows_at_chance": "shadows are no better than guessing on their members, and the target is",
    "unrelated": "a given target seems to be made from another network than the dense one that is "
    "named",
    "unlike": "a network's log-odds or accuracy on its members are too far from the others' to be "
    "compared",
}
"""What can be doubted, by the name that `--accept-doubt` takes."""

_SHOWN = 4  # cases of one doubt that are named in a line


@dataclass(frozen=True)
class Doubt:
    """One reason not to believe a verdict yet.

    Attributes:
        name: its kind, a key of `DOUBTS`.
        about: what it is about: "target", "shadow 3", "attack 'rmia'".
        sentence: what was seen, what it may come from, and what to do, in one line.
        seen: numbers of this case alone, where the sentence is the same for several.
    """

    name: str
    about: str
    sentence: str
    seen: str = ""

    def __post_init__(self) -> None:
        assert self.name in DOUBTS, self.name

    def line(self) -> str:
        """For people: the name to accept it by, and the sentence."""
        return lines([self])[0]


def lines(doubts: Iterable[Doubt]) -> list[str]:
    """For people: one line for each name and sentence, with all that it is about.

    >>> twice = [Doubt("below_half", f"attack {n}", "lies low", f"AUC 0.{n}") for n in (1, 2)]
    >>> lines(twice)
    ['doubt below_half (attack 1: AUC 0.1; attack 2: AUC 0.2): lies low']
    """
    subjects: dict[tuple[str, str], list[str]] = {}
    for doubt in doubts:
        about = f"{doubt.about}: {doubt.seen}" if doubt.seen else doubt.about
        subjects.setdefault((doubt.name, doubt.sentence), []).append(about)
    return [
        plain(f"doubt {name} ({_listed(dict.fromkeys(about))}): {sentence}")
        for (name, sentence), about in subjects.items()
    ]


def _listed(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    first = list(names)
    more = len(first) - _SHOWN
    return "; ".join(first[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


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


def acceptance(names: Iterable[str]) -> str:
    """The options that accept doubts.

    >>> acceptance(["kind", "order"])
    '--accept-doubt kind --accept-doubt order'
    """
    return " ".join(f"--accept-doubt {name}" for name in names)


def in_doubt(names: Sequence[str]) -> str:
    """What keeps a run's numbers from telling, and what to do, for a sentence to end in."""
    known = ", ".join(names)
    return f"in doubt ({known}): look into it, or accept it by {acceptance(names)}"


def still_open(doubts: Iterable[Doubt], accepted: Sequence[str]) -> tuple[Doubt, ...]:
    """The doubts that nobody has accepted."""
    return tuple(doubt for doubt in doubts if doubt.name not in accepted)
