"""The one pluggy hook, under which every plugin, built-in or a stranger's, is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from privaudit.api.plugin import Plugin

GROUP = "privaudit"  # the entry-point group, and pluggy's project name

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def privaudit_provide() -> list[type[Plugin]]:  # type: ignore[empty-body]
    """Return the plugin classes this module provides."""
