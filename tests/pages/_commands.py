"""Console blocks, read as a shell reads them: lines joined, comments cut, `*` filled in."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

V = TypeVar("V")
_STAR = re.compile(r"[\w./-]*\*[\w./*-]*")
_EXIT = re.compile(r"#\s*exits with (\d+)\s*$")


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        words: as the shell gives them to the program, but with `*` as it stands.
        code: the exit code that the page says it has; 0 where it says nothing.
    """

    words: tuple[str, ...]
    code: int = 0

    @property
    def text(self) -> str:
        """The words, as tables name them."""
        return " ".join(self.words)

    def filled(self) -> list[str]:
        """The words with the files that a `*` stands for, in the current folder."""
        return [
            filled
            for word in self.words
            for filled in (sorted(map(str, Path().glob(word))) if _STAR.fullmatch(word) else [word])
        ]


def commands(text: str) -> list[Command]:
    """The commands of a console block, in order.

    Raises:
        ValueError: a line cannot be read, or asks for more of a shell than `&&`.
    """
    found: list[Command] = []
    waiting = ""
    for line in text.splitlines():
        waiting += line
        if line.endswith("\\"):
            waiting = waiting[:-1] + " "
            continue
        lexer = shlex.shlex(waiting, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError:  # a quotation that goes on in the next line
            waiting += "\n"
            continue
        code = int(told[1]) if (told := _EXIT.search(waiting)) else 0
        waiting = ""
        found += _split(words, code)
    if waiting:
        raise ValueError(f"the quotation in {waiting.splitlines()[0]!r} does not end")
    return found


def _split(words: list[str], code: int) -> list[Command]:
    """Commands between `&&`; the exit code is that of the last."""
    parts: list[list[str]] = [[]]
    for word in words:
        if word == "&&":
            parts.append([])
        elif word and not set(word) - set("();<>|&"):
            raise ValueError(f"{word!r} is more than these tests take of a shell")
        else:
            parts[-1].append(word)
    last = len(parts) - 1
    return [Command(tuple(p), code if i == last else 0) for i, p in enumerate(parts) if p]


def entry(table: Mapping[str, V], text: str) -> V | None:
    """What a table says of a command or block: the longest entry by which it begins."""
    keys = [key for key in table if text.startswith(key)]
    return table[max(keys, key=len)] if keys else None
