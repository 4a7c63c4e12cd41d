"""What is kept of an error that ends one subject or attack and not the run."""

from __future__ import annotations

from collections.abc import Sequence
from traceback import clear_frames

from privaudit.api.blame import origin
from privaudit.api.plugin import Plugin
from privaudit.errors import PluginError, PrivauditError


def attributed(error: PrivauditError, plugins: Sequence[Plugin]) -> str:
    """What went wrong, and in whose code: only a `PluginError` says so itself.

    Args:
        error: what was raised.
        plugins: that had a part in it.
    """
    if isinstance(error, PluginError):
        return str(error)
    who = " + ".join(f"{p.kind} {p.name!r} of {origin(type(p))}" for p in plugins)
    return f"{who}: {error}"


def without_frames(error: PrivauditError) -> PrivauditError:
    """The same error, whose traceback no longer holds the networks of a subject that failed."""
    link: BaseException | None = error
    while link is not None:
        clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__
    return error
