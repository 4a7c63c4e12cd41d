"""How wide text is, estimated, and where it breaks: drawings know no fonts."""

from __future__ import annotations

from unicodedata import east_asian_width

from privaudit.report.escape import plain

_NARROW, _WIDE = frozenset("iljtfrI.,:;|'!()[]/\\ `"), frozenset("mwMW@%\N{EM DASH}")
_MARKS = "\N{HORIZONTAL ELLIPSIS}"


def width(text: str, size: float) -> float:
    """How wide text is at most, in the font size's unit, in a sans-serif font of the usual width.

    >>> width("mm", 10) > width("ii", 10)
    True
    """
    return size * sum(map(_em, text))


def wrapped(text: str, room: float, size: float, most: int = 0) -> list[str]:
    """Text in lines no wider than there is room, a word that is too long cut in two.

    Args:
        text: on one line; what is not printable is replaced.
        room: how wide a line may be.
        size: of the font.
        most: how many lines there may be; the last then ends in an ellipsis. 0: any number.
    """
    lines = [""]
    for word in plain(text).split():
        trial = f"{lines[-1]} {word}".strip()
        if width(trial, size) <= room:
            lines[-1] = trial
            continue
        lines += [""] if lines[-1] else []
        for char in word:
            if lines[-1] and width(lines[-1] + char, size) > room:
                lines.append("")
            lines[-1] += char
    if most and len(lines) > most:
        last = lines[most - 1]
        while last and width(last + _MARKS, size) > room:
            last = last[:-1]
        lines = [*lines[: most - 1], last + _MARKS]
    return [line for line in lines if line]


def _em(char: str) -> float:
    if char in _NARROW:
        return 0.36
    if char in _WIDE:
        return 0.96
    if east_asian_width(char) in "WF":
        return 1.05
    return 0.74 if char.isupper() else 0.64
