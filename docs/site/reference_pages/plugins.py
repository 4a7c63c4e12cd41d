"""The pages of the built-in plugins, one for each kind, from their classes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence

from privaudit.api.describe import Description, Option, describe
from privaudit.api.host import Provided, load_plugins
from privaudit.api.plugin import KINDS
from privaudit.recipe.build import LISTS
from reference_pages.examples import NEEDED
from reference_pages.markdown import code, joined, made_from, table
from reference_pages.recipe import linked

DISTRIBUTION = "privaudit"

_LISTED = {kind.kind: key for key, kind in LISTS.items()}


def pages() -> Iterator[tuple[str, str]]:
    """Each kind and its page."""
    ours = [one for one in load_plugins().provided if one.distribution == DISTRIBUTION]
    for kind in KINDS:
        yield kind.kind, _page(kind.kind, [one for one in ours if one.kind == kind.kind])


def _page(kind: str, plugins: Sequence[Provided]) -> str:
    summaries = ((f"[{code(one.name)}](#{one.name})", one.summary) for one in plugins)
    return joined(
        made_from(f"the classes of the built-in {kind}s"),
        f"# Built-in {kind}s",
        ["", *table((kind, "what it does"), summaries)],
        *(_section(one) for one in plugins),
    )


def _section(plugin: Provided) -> list[str]:
    """One plugin: what it does, whence it comes, what it needs, how it is named, its options."""
    about = describe(plugin.cls)
    text = inspect.cleandoc(plugin.cls.__doc__ or "")
    lines = ["", f"## {code(plugin.name)}", "", text]
    if about.paper:
        lines += ["", f"**Paper**: {about.paper.rstrip('.')}."]
    if about.deviations:
        lines += ["", "**Where it departs from the paper**", ""]
        lines += [f"- {sentence}" for sentence in about.deviations]
    if needs := _needs(about):
        lines += ["", f"**Needs of the engine**: {needs}."]
    lines += ["", f"**In a recipe**: {code(line(plugin, about.options))}", ""]
    if about.short:
        lines += [f"**In short**: {code(short_line(plugin))}", ""]
    if not about.options:
        return [*lines, "It has no options."]
    rows = ((code(o.name), linked(o.values, "../"), _default(o), o.meaning) for o in about.options)
    return lines + table(("option", "values", "default", "meaning"), rows)


def line(plugin: Provided, options: Sequence[Option]) -> str:
    """A line of a recipe that names it, with what must be given or its first option's default."""
    given = {o.name: _given(plugin, o.name) for o in options if o.default == "required"}
    if not given:
        told = [o for o in options if o.default != "null"][:1]
        given = {option.name: option.default for option in told}
    words = "".join(f", {name}: {value}" for name, value in given.items())
    entry = f"{{name: {plugin.name}{words}}}" if words else plugin.name
    key = _LISTED.get(plugin.kind)
    return f"{key}: [{entry}]" if key else f"{plugin.kind}: {entry}"


def short_line(plugin: Provided) -> str:
    """A line of a recipe that names it in its short form."""
    return f"{plugin.kind}: {plugin.name}:{_given(plugin, plugin.cls.short_form)}"


def _given(plugin: Provided, name: str) -> str:
    return NEEDED.get(f"{plugin.name}.{name}", NEEDED[name])


def _needs(about: Description) -> str:
    changed = {n: value for n, value in about.needs.items() if value != about.usual[n]}
    return ", ".join(f"{code(name)} {value}" for name, value in changed.items())


def _default(option: Option) -> str:
    return "required" if option.default == "required" else code(option.default)
