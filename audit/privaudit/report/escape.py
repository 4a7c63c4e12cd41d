"""Words from recipes, labels and class names, made harmless where they are to be printed."""

from __future__ import annotations

import re

_MARKDOWN = re.compile(r"([\\`*|~$\[\]]|(?<!\w)_|_(?!\w))")
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\N{REPLACEMENT CHARACTER}": "?",  # no LaTeX font has it
    # A row that starts with [ or * would be read as an argument of the \\ before it.
    "[": "{[}",
    "*": "{*}",
} | {char: f"\\{char}" for char in "&%$#_{}"}


def plain(text: str) -> str:
    r"""One line without anything that a terminal obeys: no escapes, no bidirectional overrides.

    >>> plain("a\tb"), plain("\x1b[31mred"), plain("user\u202egpj")
    ('a b', '�[31mred', 'user�gpj')
    """
    return "".join(
        char if char.isprintable() else " " if char.isspace() else "\N{REPLACEMENT CHARACTER}"
        for char in text
    )


def markdown(text: str) -> str:
    r"""Text for a cell of a Markdown table: no new cells, no code, links, formulas or HTML.

    >>> markdown("a|b `c` <img> shadow_mlp")
    'a\\|b \\`c\\` &lt;img&gt; shadow_mlp'
    """
    text = plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", text)


def latex(text: str) -> str:
    r"""Text for a cell of a LaTeX table: no commands, no comments, no new cells.

    >>> latex("90% & \\input{x}_1")
    '90\\% \\& \\textbackslash{}input\\{x\\}\\_1'
    """
    return "".join(_LATEX.get(char, char) for char in plain(text))


def spreadsheet(text: str) -> str:
    """Text for a CSV cell that a spreadsheet shows and does not compute (OWASP, CSV injection).

    >>> spreadsheet("=1+1"), spreadsheet("-3"), spreadsheet("round 3")
    ("'=1+1", '-3', 'round 3')
    """
    text = plain(text)
    number = re.fullmatch(r"[+-]?\d+(\.\d+)?", text)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) and not number else text


_FORMULA = ("=", "+", "-", "@", "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}",
            "\N{FULLWIDTH HYPHEN-MINUS}", "\N{FULLWIDTH COMMERCIAL AT}")  # fmt: skip
