"""Sections as one HTML page, by the one template that all pages share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib import resources

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup, escape

from privaudit.page.blocks import Section
from privaudit.report.escape import plain

_CODE = re.compile(r"`([^`]+)`")


def written(
    title: str, sections: Sequence[Section], *, subtitle: Sequence[str] = (), footer: str = ""
) -> str:
    """A page that opens offline, without a script or a request.

    Args:
        title: its heading.
        sections: what it holds.
        subtitle: lines below the heading.
        footer: a sentence at the end.
    """
    names = {section.name: section.title for section in sections}
    return _template().render(
        title=title, subtitle=subtitle, sections=sections, names=names, footer=footer
    )


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_one_line,
    )
    environment.filters["coded"] = _coded
    text = resources.files("privaudit.page").joinpath("page.html.jinja").read_text("utf-8")
    return environment.from_string(text)


def _one_line(value: object) -> object:
    """What the template writes: no word carries what a browser, an editor or a terminal obeys."""
    return plain(value) if type(value) is str else value


def _coded(text: str) -> Markup:
    """A sentence whose `keys of recipes` look like what they are; all else in it stays text."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(plain(text)))))
