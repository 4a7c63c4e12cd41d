"""What the page is made of: plain values, one class for each thing that the template can write.

Nothing in them is HTML but a plot's drawing, which is our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

Tone = Literal["bad", "open", "plain"]


@dataclass(frozen=True)
class Sentences:
    """One paragraph for each sentence.

    Attributes:
        lines: the sentences.
        lead: whether they are what the reader came for.
    """

    kind: ClassVar[str] = "sentences"
    lines: tuple[str, ...]
    lead: bool = False


@dataclass(frozen=True)
class Points:
    """A list under a heading.

    Attributes:
        heading: above it.
        items: what it is about, which may be empty, and what there is to say.
    """

    kind: ClassVar[str] = "points"
    heading: str
    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Table:
    """Numbers under their headings.

    Attributes:
        caption: what they are.
        heads: of all columns; the first says what a row is called.
        rows: the cells, as many in each as there are heads.
        words: how many columns from the left hold words, not numbers.
    """

    kind: ClassVar[str] = "table"
    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.heads) for row in self.rows), self.caption


@dataclass(frozen=True)
class Plot:
    """A drawing, in words and in numbers, too.

    Attributes:
        title: what it shows.
        alternative: the same in a sentence, for who cannot see it.
        drawing: SVG of our own making.
        notes: sentences below it.
        table: the numbers behind it.
    """

    kind: ClassVar[str] = "plot"
    title: str
    alternative: str
    drawing: str
    notes: tuple[str, ...]
    table: Table


@dataclass(frozen=True)
class Source:
    """Lines as they are, such as a recipe's.

    Attributes:
        lines: without their ends.
    """

    kind: ClassVar[str] = "source"
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Folded:
    """What is shown when somebody asks for it.

    Attributes:
        summary: what it is.
        blocks: what is in it.
    """

    kind: ClassVar[str] = "folded"
    summary: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Card:
    """One question that a reader comes with, and its answer.

    Attributes:
        question: the heading.
        answer: in a word or two; empty where it takes sentences.
        tone: of that answer: bad news, an open question, or neither.
        lines: the answer in sentences.
        more: name of the section that goes on; empty where none does.
        wide: whether it is the first thing to read.
    """

    question: str
    lines: tuple[str, ...]
    answer: str = ""
    tone: Tone = "plain"
    more: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Cards:
    """Answers side by side, where there is room.

    Attributes:
        cards: in the order of reading.
    """

    kind: ClassVar[str] = "cards"
    cards: tuple[Card, ...]


Block = Sentences | Points | Table | Plot | Source | Folded | Cards


@dataclass(frozen=True)
class Section:
    """One view of the runs.

    Attributes:
        name: to link to it.
        title: its heading.
        blocks: what is in it.
    """

    name: str
    title: str
    blocks: tuple[Block, ...]
