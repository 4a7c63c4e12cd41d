"""Which plugin an entry of a recipe names, or what is wrong with the name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from privaudit.api.plugin import KINDS, Plugin
from privaudit.messages import unknown

if TYPE_CHECKING:
    from privaudit.api.host import Plugins

P = TypeVar("P", bound=Plugin)


def called(
    plugins: Plugins, kind: type[P], name: str, options: Mapping[str, Any]
) -> tuple[type[P] | None, Mapping[str, Any], str]:
    """The class of this name, the options it is given, and what is wrong with the name.

    `NAME:VALUE` fills the option that the plugin has for it, its `short_form`.
    """
    find = plugins.find
    if (chosen := find(kind.kind, name)) is not None:
        return cast("type[P]", chosen), options, ""
    base, colon, value = name.partition(":")
    chosen = find(kind.kind, base) if colon else None
    if chosen is None:
        return None, options, _not_installed(plugins, kind, base)
    short = chosen.short_form
    if not short:
        problem = f"{base!r} takes nothing behind a colon: write {{name: {base}, OPTION: VALUE}}"
    elif not value:
        problem = f"{name!r} ends in a colon: write {base}:{short.upper()}"
    elif short in options:
        problem = f"{name!r} says {short}, which is given once more as an option: leave one out"
    else:
        return cast("type[P]", chosen), {**options, "name": base, short: value}, ""
    return None, options, problem


def _not_installed(plugins: Plugins, kind: type[Plugin], name: str) -> str:
    for other in KINDS:
        if plugins.find(other.kind, name) is not None:
            return f"{name!r} names another kind of plugin: {other.kind}, not {kind.kind}"
    text = unknown(kind.kind, name, plugins.names(kind.kind))
    problems = plugins.known_problems
    meant = [problem for problem in problems if problem.name == name]
    if "did you mean" not in text and not meant:
        text += "; one in a file of its own is brought by --plugin FILE, or plugins: [FILE]"
    broken = "; ".join(map(str, meant or ([] if "did you mean" in text else problems)))
    return f"{text} (what could not be loaded: {broken})" if broken else text
