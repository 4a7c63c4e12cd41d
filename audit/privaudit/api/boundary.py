"""The one way into a plugin: what its hooks raise, or break, is told in its author's words."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch

from privaudit.api.blame import (
    Blame,
    Guest,
    definition,
    find_blame,
    origin,
    plugins_in,
    raised_by_engine,
)
from privaudit.api.interrupt import words_of
from privaudit.api.plugin import Plugin
from privaudit.api.remedies import remedy_for
from privaudit.api.world import own_world
from privaudit.errors import DamageError, PluginError, PrivauditError

_LONGEST = 200  # characters of what a plugin raised; the rest is for --debug
_OURS = 500  # the same of an error of the engine, whose end says what to do
_ASIDE = 120  # the same, where the cause is known and said before
_KEPT = 100_000  # characters of a traceback that --debug shows
_ERRORS = "privaudit.errors"
_COHORT = "privaudit.cohort"  # what it raises about an author's call lacks the author's line
# And so does what it raises about an author's values, or about answers that nobody declared.
_VALUES = ("privaudit.values", "privaudit.answers")


@contextmanager
def guest(plugin: Guest, hook: str, *beside: Plugin) -> Iterator[None]:
    """Call a hook of a plugin: whatever it raises is told in its author's words.

    What it changes in the process is put back. An author's own `PrivauditError`, memory that ran
    out, and who interrupts a run pass untouched.

    Args:
        plugin: whose hook it is.
        hook: the name of its method.
        beside: plugins that the hook may have the engine call, such as the model that a
            sparsifier trains; an error of theirs is theirs.

    Raises:
        PluginError: anything else.
    """
    try:
        with own_world(_whose(plugin, hook)):
            yield
    except PluginError as error:
        if _ours(error) and (error.original or not raised_by_engine(error, _COHORT)):
            raise
        raise _told(error, _blame(error, plugin, hook, *beside), "") from error
    except (KeyboardInterrupt, torch.OutOfMemoryError):
        raise
    except BaseException as error:
        if _abandoned(error):
            raise
        own = isinstance(error, PrivauditError) and _ours(error)
        if own and not raised_by_engine(error, _VALUES):
            raise
        blame = _blame(error, plugin, hook, *beside)
        raise _told(error, blame, "" if own else f"{type(error).__name__}: ") from error


@contextmanager
def guests(*plugins: Plugin) -> Iterator[None]:
    """Run engine code that calls hooks of several plugins, such as a fit.

    What none of them has a part in passes as it is, as does what `guest` lets pass.

    Raises:
        PluginError: what one of them raised, in its author's words.
    """
    try:
        with own_world(_whose(plugins[-1], "training") if plugins else ""):
            yield
    except (KeyboardInterrupt, torch.OutOfMemoryError):
        raise
    except BaseException as error:
        if _abandoned(error):
            raise
        if isinstance(error, PrivauditError) and _ours(error):
            raise
        plugin_error = blamed(error, *plugins)
        if plugin_error is None:
            raise
        raise plugin_error from error


def _abandoned(error: BaseException) -> bool:
    """Whether nothing was raised: Python puts away a hook that an interrupt never let begin.

    What a hook raises, even where it is this, has a frame of the hook in its traceback.
    """
    frames = error.__traceback__
    return isinstance(error, GeneratorExit) and (frames is None or frames.tb_next is None)


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


def _ours(error: BaseException) -> bool:
    """Whether an error is one of the engine's own, and says something.

    A subclass that an author has made may have no words, another exit code, and no way into
    another process.
    """
    return type(error).__module__ == _ERRORS and bool(_said(error).strip())


def _said(error: BaseException) -> str:
    """What an error says; nothing where its own `__str__` is broken."""
    return (words_of(error) or "")[:_KEPT]


def _whose(plugin: Guest, hook: str) -> str:
    """What is told of a plugin that changes what all share."""
    if isinstance(plugin, type):
        return f"{plugin.kind} {plugin.__name__}: {hook}"
    return f"{plugin.kind} {plugin.name!r}: {hook}"


def damage(plugin: Plugin, hook: str, what: str) -> DamageError:
    """A hook has written into what everybody shares, and there is no copy to put back.

    Args:
        plugin: whose hook it is.
        hook: the name of its method.
        what: it has written into.
    """
    return DamageError(
        f"{definition(plugin, hook).place} writes into {what}, which all share: work on a copy, "
        f"{what}.clone(). The run ends here, for nothing after it could be believed; what was "
        "finished before is kept"
    )


def written(plugins: Sequence[Plugin], what: str) -> DamageError:
    """One of several plugins has written into what everybody shares.

    Args:
        plugins: whose code has run.
        what: it has written into.
    """
    names = " or ".join(f"{p.kind} {p.name!r} of {origin(type(p))}" for p in plugins if p.name)
    return DamageError(
        f"code of {names} writes into {what}, which all models share: work on a copy. The run "
        "ends here, for nothing after it could be believed; what was finished before is kept"
    )


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
        return replace(blame, hook=hook)
    return blame


def _told(error: BaseException, blame: Blame, kind: str) -> PluginError:
    """The error in its author's words: where, what, and what to do.

    Args:
        error: what was raised.
        blame: where.
        kind: to be read before what the error says: its type; empty for an error of ours.
    """
    words = _said(error)
    said = next(filter(None, map(str.strip, words.splitlines())), "")
    happened = f"{kind}{said}".removesuffix(": ")
    codes = (blame.code, *blame.callers)
    remedies = (remedy_for(blame.plugin.kind, code, f"{kind}{words}", error) for code in codes)
    remedy = next(filter(None, remedies), "")
    original = "".join(traceback.format_exception(error))[-_KEPT:]
    if remedy and isinstance(error, RuntimeError):  # torch's words come last: it knows no hooks
        return PluginError(f"{blame.place}: {remedy} ({_shortened(happened, _ASIDE)})", original)
    shown = _shortened(happened, _LONGEST if kind else _OURS)
    if remedy:
        shown += f"{'' if shown.endswith(('.', '!', '?')) else '.'} {remedy}"
    return PluginError(f"{blame.place}: {shown}", original)


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}..."
