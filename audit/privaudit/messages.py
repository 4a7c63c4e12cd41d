"""How messages say things: values, places and names that are not known, each in one line."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

Place = tuple[str | int, ...]
"""Where in a recipe something stands, as keys and indices from the top."""

_FEW = 12  # so many valid names are listed; more would bury the message


def spell(path: Place) -> str:
    """A path as people write it.

    >>> spell(("attacks", 1, "rounds"))
    'attacks[1].rounds'
    """
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def plain(text: str) -> str:
    r"""The text on one line, with what is not printable spelled out.

    >>> plain("two\nlines")
    'two\\nlines'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def show(value: object) -> str:
    """A value as the recipe would spell it, cut to a readable length."""
    words = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return words[value]
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def unknown(what: str, name: str, valid: Iterable[str]) -> str:
    """An unknown name, with the nearest valid one and, if they are few, all of them.

    >>> unknown("attack", "los", ["loss", "shadow_mlp"])
    "unknown attack 'los'; did you mean 'loss'? There are: loss, shadow_mlp"
    """
    names = sorted(valid)
    text = f"unknown {what} {show(name)}"
    if near := get_close_matches(name, names, n=1):
        text += f"; did you mean {near[0]!r}?"
    elif names:
        text += "."
    return f"{text} There are: {', '.join(names)}" if 0 < len(names) <= _FEW else text
