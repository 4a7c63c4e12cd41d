"""The pluggy hooks of a module, by which plugins and listeners are found, ours or a stranger's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from privaudit.api.plugin import Plugin
    from privaudit.events import Event

GROUP = "privaudit"  # the entry-point group, and pluggy's project name
LISTEN = "privaudit_event"

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def privaudit_provide() -> list[type[Plugin]]:  # type: ignore[empty-body]
    """Return the plugin classes this module provides."""


@hookspec
def privaudit_event(event: Event) -> None:
    """Hear what a run tells: each event of `privaudit.events`, in order, in the run's process."""
