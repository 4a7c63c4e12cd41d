"""The one way into a plugin: what its hooks raise, or break, is told in its author's words."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from privaudit.api.blame import (
    Blame,
    Guest,
    definition,
    find_blame,
    plugins_in,
    raised_by_engine,
)
from privaudit.api.plugin import Plugin
from privaudit.api.remedies import remedy_for
from privaudit.errors import PluginError, PrivauditError

_LONGEST = 200  # characters of what a plugin raised; the rest is for --debug
_ASIDE = 120  # the same, where the cause is known and said before
_COHORT = "privaudit.cohort"  # what it raises about an author's call lacks the author's line


@contextmanager
def guest(plugin: Guest, hook: str, *beside: Plugin) -> Iterator[None]:
    """Call a hook of a plugin: whatever it raises is told in its author's words.

    An author's own `PrivauditError`, memory that ran out, and who interrupts a run pass untouched.

    Args:
        plugin: whose hook it is.
        hook: the name of its method.
        beside: plugins that the hook may have the engine call, such as the model that a
            sparsifier trains; an error of theirs is theirs.

    Raises:
        PluginError: anything else.
    """
    try:
        yield
    except PluginError as error:
        if error.original or not raised_by_engine(error, _COHORT):
            raise
        raise _told(error, _blame(error, plugin, hook, *beside), "") from error
    except (PrivauditError, torch.OutOfMemoryError):
        raise
    except (Exception, SystemExit) as error:
        blame = _blame(error, plugin, hook, *beside)
        raise _told(error, blame, f"{type(error).__name__}: ") from error


@contextmanager
def guests(*plugins: Plugin) -> Iterator[None]:
    """Run engine code that calls hooks of several plugins, such as a fit.

    What none of them has a part in passes as it is, as does what `guest` lets pass.

    Raises:
        PluginError: what one of them raised, in its author's words.
    """
    try:
        yield
    except (PrivauditError, torch.OutOfMemoryError):
        raise
    except (Exception, SystemExit) as error:
        plugin_error = blamed(error, *plugins)
        if plugin_error is None:
            raise
        raise plugin_error from error


def blamed(error: BaseException, *plugins: Plugin) -> PluginError | None:
    """An error that was caught far from the hook that raised it, in its author's words.

    Args:
        error: with its traceback.
        plugins: that may have raised it.

    Returns:
        None where the traceback holds no frame of any of them.
    """
    blame = find_blame(error, plugins)
    return None if blame is None else _told(error, blame, f"{type(error).__name__}: ")


def broken(plugin: Plugin, hook: str, what: str) -> PluginError:
    """What a hook returned breaks its contract.

    Args:
        plugin: whose hook it is.
        hook: the name of its method.
        what: to be read after the hook, such as "gives NaN".
    """
    blame = definition(plugin, hook)
    remedy = remedy_for(plugin.kind, "", what)
    return PluginError(" ".join(filter(None, [f"{blame.place} {what}.", remedy])))


def _blame(error: BaseException, plugin: Guest, hook: str, *beside: Plugin) -> Blame:
    """Where an error of a plugin came from; of another plugin, if that was called meanwhile."""
    if isinstance(plugin, type):
        return Blame(plugin, hook)
    blame = find_blame(error, [plugin, *beside, *plugins_in(error)])
    if blame is None:
        return definition(plugin, hook)
    if blame.plugin is plugin and "." in blame.hook:  # a helper's name says less than the hook's
        return Blame(plugin, hook, blame.file, blame.line)
    return blame


def _told(error: BaseException, blame: Blame, kind: str) -> PluginError:
    """The error in its author's words: where, what, and what to do.

    Args:
        error: what was raised.
        blame: where.
        kind: to be read before what the error says: its type; empty for an error of ours.
    """
    try:
        said = next(filter(None, map(str.strip, str(error).splitlines())), "")
    except Exception:  # an exception's own __str__ may be broken
        said = ""
    happened = f"{kind}{said}".removesuffix(": ")
    remedy = remedy_for(blame.plugin.kind, blame.code, f"{kind}{error}", error)
    original = "".join(traceback.format_exception(error))
    if remedy and isinstance(error, RuntimeError):  # torch's words come last: it knows no hooks
        return PluginError(f"{blame.place}: {remedy} ({_shortened(happened, _ASIDE)})", original)
    shown = _shortened(happened, _LONGEST)
    if remedy:
        shown += f"{'' if shown.endswith(('.', '!', '?')) else '.'} {remedy}"
    return PluginError(f"{blame.place}: {shown}", original)


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}..."
