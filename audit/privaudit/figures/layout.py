"""Where everything of a drawing lies, in pixels, before a line is drawn: nothing meets anything.

The plot takes what its words leave: ticks and labels beside it, the legend below in rows, never
on the data. Where the words take too much, the whole becomes higher.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from privaudit.figures.figure import Figure, Series, Zone
from privaudit.figures.scale import Span, spans
from privaudit.figures.words import width as text_width
from privaudit.figures.words import wrapped

SIZE = 11.0
"""Of the font, in pixels: 8 points where 320 pixels are a column of 3.3 inches."""

LINE = 14.0
"""From one line of text to the next."""

GAP = 6.0
SAMPLE = 22.0
"""How wide a legend's sample is."""

_LEAST = 0.65  # of the height that was asked for, the plot keeps
_LABEL_LINES = 3


@dataclass(frozen=True)
class Text:
    """Words at a place.

    Attributes:
        text: one line.
        x: where its anchor lies.
        y: its baseline; of upright text, where it is turned.
        anchor: start, middle or end.
        kind: tick, label, legend, title or note.
        upright: whether it reads from below to above.
    """

    text: str
    x: float
    y: float
    anchor: str
    kind: str
    upright: bool = False

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of what it covers, as wide as is estimated."""
        long = text_width(self.text, SIZE)
        back = {"start": 0.0, "middle": long / 2, "end": long}[self.anchor]
        rise, fall = 0.75 * SIZE, 0.2 * SIZE
        if self.upright:
            return self.x - rise, self.y - long + back, self.x + fall, self.y + back
        return self.x - back, self.y - rise, self.x - back + long, self.y + fall


@dataclass(frozen=True)
class Sample:
    """What stands before a legend's words: at (x, y), the middle of its left end."""

    of: Series | Zone
    x: float
    y: float


@dataclass(frozen=True)
class Layout:
    """A figure in place.

    Attributes:
        width: of the whole.
        height: of the whole.
        left: of the plot, as the next three.
        top: upper end.
        right: end.
        bottom: lower end.
        x: the horizontal axis.
        y: the vertical axis.
        x_ticks: on it.
        y_ticks: on it.
        texts: all words.
        samples: of the legend.
    """

    width: float
    height: float
    left: float
    top: float
    right: float
    bottom: float
    x: Span
    y: Span
    x_ticks: tuple[float, ...]
    y_ticks: tuple[float, ...]
    texts: tuple[Text, ...]
    samples: tuple[Sample, ...]

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the plot lies."""
        return (
            self.left + self.x.at(x) * (self.right - self.left),
            self.bottom - self.y.at(y) * (self.bottom - self.top),
        )


def laid_out(figure: Figure, width: float, height: float, *, caption: bool = False) -> Layout:
    """Find a place for everything.

    Args:
        figure: what is drawn.
        width: of the whole.
        height: of the whole, or more where its words need it.
        caption: whether title and notes are part of it.
    """
    x, y = spans(figure)
    title = wrapped(figure.title, width - 2 * GAP, SIZE * 1.1) if caption else []
    notes = [
        line
        for note in (figure.notes if caption else ())
        for line in wrapped(note, width - 2 * GAP, SIZE)
    ]
    rows = _rows(figure, width - 2 * GAP)
    x_label = wrapped(figure.x.label, width * 0.6, SIZE, _LABEL_LINES)
    top = GAP + SIZE / 2 + len(title) * LINE + (GAP if title else 0)
    below = LINE * (1 + len(x_label)) + 2 * GAP
    legend_height = sum(LINE * _lines(row) for row in rows) + (GAP if rows else 0)
    note_height = len(notes) * LINE + (GAP if notes else 0)
    words = top + below + legend_height
    height = max(height, words + height * _LEAST) + note_height
    bottom = height - below - legend_height - note_height
    y_ticks = y.ticks(int((bottom - top) / 34))
    y_label = wrapped(figure.y.label, (bottom - top) * 0.95, SIZE, _LABEL_LINES)
    widest = max(text_width(y.text(tick, y_ticks), SIZE) for tick in y_ticks)
    left = GAP + LINE * len(y_label) + GAP / 2 + widest + GAP
    right = width - GAP - SIZE
    x_ticks = _apart(x, x.ticks(int((right - left) / 46)), right - left)
    shell = Layout(width, height, left, top, right, bottom, x, y, (), (), (), ())
    texts = [
        *_column(title, width / 2, GAP + SIZE, "middle", "title"),
        *(_tick_below(shell, tick, x_ticks) for tick in x_ticks),
        *(_tick_beside(shell, tick, y_ticks) for tick in y_ticks),
        *_column(x_label, (left + right) / 2, bottom + 2 * LINE + GAP / 2, "middle", "label"),
        *(
            Text(line, GAP + SIZE + number * LINE, (top + bottom) / 2, "middle", "label", True)
            for number, line in enumerate(y_label)
        ),
        *_column(notes, GAP, height - note_height + GAP + SIZE / 2, "start", "note"),
    ]
    samples, entries = _legend(rows, bottom + below + SIZE)
    return replace(
        shell,
        x_ticks=tuple(x_ticks),
        y_ticks=tuple(y_ticks),
        texts=(*texts, *entries),
        samples=tuple(samples),
    )


@dataclass(frozen=True)
class _Entry:
    of: Series | Zone
    lines: list[str]

    @property
    def width(self) -> float:
        return SAMPLE + 3 * GAP + max(text_width(line, SIZE) for line in self.lines)


def _rows(figure: Figure, room: float) -> list[list[_Entry]]:
    """The legend's entries, what lies in front first, side by side where they fit."""
    named = (one for one in reversed(figure.series) if one.label)
    every: list[Series | Zone] = [*named, *figure.zones]
    entries = [
        _Entry(one, wrapped(one.label, room - SAMPLE - 3 * GAP, SIZE, _LABEL_LINES))
        for one in every
    ]
    rows: list[list[_Entry]] = []
    for entry in (entry for entry in entries if entry.lines):
        if rows and sum(other.width for other in rows[-1]) + entry.width <= room:
            rows[-1].append(entry)
        else:
            rows.append([entry])
    return rows


def _legend(rows: list[list[_Entry]], line: float) -> tuple[list[Sample], list[Text]]:
    """Samples and words, the first row's baseline at `line`."""
    samples, texts = [], []
    for row in rows:
        at = GAP
        for entry in row:
            samples.append(Sample(entry.of, at, line - 0.35 * SIZE))
            texts += _column(entry.lines, at + SAMPLE + GAP, line, "start", "legend")
            at += entry.width
        line += LINE * _lines(row)
    return samples, texts


def _lines(row: list[_Entry]) -> int:
    return max(len(entry.lines) for entry in row)


def _column(lines: list[str], x: float, y: float, anchor: str, kind: str) -> list[Text]:
    return [Text(line, x, y + n * LINE, anchor, kind) for n, line in enumerate(lines)]


def _tick_beside(shell: Layout, tick: float, ticks: list[float]) -> Text:
    """A tick's number, to the left of the plot."""
    y = shell.place(shell.x.low, tick)[1] + 0.35 * SIZE
    return Text(shell.y.text(tick, ticks), shell.left - GAP, y, "end", "tick")


def _tick_below(shell: Layout, tick: float, ticks: list[float]) -> Text:
    """A tick's number, moved in from the right edge of the whole where it would be cut."""
    text = shell.x.text(tick, ticks)
    half = text_width(text, SIZE) / 2
    x = min(shell.place(tick, shell.y.low)[0], shell.width - half)
    return Text(text, x, shell.bottom + LINE + GAP / 3, "middle", "tick")


def _apart(span: Span, ticks: list[float], room: float) -> list[float]:
    """The ticks without those whose numbers would meet the last that is kept, from the right."""
    kept: list[float] = []
    for tick in reversed(ticks):
        middle = span.at(tick) * room
        half = text_width(span.text(tick, ticks), SIZE) / 2
        if kept:
            other = span.at(kept[-1]) * room - text_width(span.text(kept[-1], ticks), SIZE) / 2
            if middle + half + GAP > other:
                continue
        kept.append(tick)
    return kept[::-1]
