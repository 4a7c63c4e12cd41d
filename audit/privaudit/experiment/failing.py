"""What is kept of an error that ends one subject or attack and not the run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from traceback import clear_frames

from privaudit.api.blame import origin
from privaudit.api.plugin import Plugin
from privaudit.errors import PluginError, PrivauditError
from privaudit.store.failure import Failure, lines

logger = logging.getLogger(__name__)


class Warnings:
    """Tells of failures, each sentence once.

    The first waits until something else has gone well, for where nothing does it ends the run as
    an error of its own, and would be told twice.
    """

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._waiting: list[Failure] = []

    def failed(self, failure: Failure, well: bool) -> None:
        """Tell of one, or keep it for later where nothing has gone well yet."""
        if not self._told:
            self._waiting = [failure]
        elif failure.sentence not in self._told:
            logger.warning("%s", lines([failure])[0])
        self._told.add(failure.sentence)
        self.going_on(well)

    def going_on(self, well: bool) -> None:
        """Tell what has waited, if the run has more to tell."""
        while well and self._waiting:
            logger.warning("%s", lines([self._waiting.pop()])[0])


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
