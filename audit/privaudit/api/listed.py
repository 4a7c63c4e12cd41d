"""What a list of plugins says about each, whether it has been imported or not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint

from privaudit.api.declared import Declared
from privaudit.api.entry_points import origin
from privaudit.api.provided import Provided
from privaudit.api.source import module_digest


@dataclass(frozen=True)
class Listed:
    """A line of the list.

    Attributes:
        kind: of plugin; "" where only its import would tell.
        name: what recipes call it; where the kind is unknown, the entry point's name.
        summary: what it does.
        distribution: that brings it.
        version: of that distribution.
        source: SHA-256 of its source code; "" where the kind is unknown.
    """

    kind: str
    name: str
    summary: str
    distribution: str
    version: str
    source: str

    @classmethod
    def of(cls, plugin: Provided) -> Listed:
        """A plugin that has been imported."""
        return cls(
            plugin.kind,
            plugin.name,
            plugin.summary,
            plugin.distribution,
            plugin.version,
            plugin.source,
        )


def listed(entry_point: EntryPoint, tells: tuple[Declared, ...] | None) -> Iterator[Listed]:
    """What has not been imported.

    Args:
        entry_point: that names it.
        tells: what its source declares; None if nothing plainly.
    """
    if tells is None:
        yield Listed("", entry_point.name, "", *origin(entry_point), "")
        return
    for one in tells:
        source = module_digest(one.module, one.cls)
        yield Listed(one.kind, one.name, one.summary, *origin(entry_point), source)
