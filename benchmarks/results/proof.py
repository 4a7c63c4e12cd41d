"""Whether a commit holds the plugins that a run used, by the digests that the run recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256

from benchmarks.results.counted import homes, modules, with_imports
from benchmarks.results.sources import PLUGINS, Sources
from privaudit.errors import StoreError


def check_plugins(used: Iterable[Mapping[str, str]], sources: Sources, commit: str) -> None:
    """Compare what a run recorded of its built-in plugins with the sources of a commit.

    Args:
        used: kind, name and `source` of each, as `api.source.source_digest` makes it.
        sources: of the commit.
        commit: its name.

    Raises:
        StoreError: one of them is another there.
    """
    files = modules(sources, PLUGINS)
    for plugin in used:
        there = {_recorded(files, module) for module in homes(files, plugin["name"])}
        if plugin["source"] not in there:
            raise StoreError(
                f"commit {commit} does not hold the {plugin['kind']} {plugin['name']} that the run "
                "used: name the commit that made it by --commit"
            )


def _recorded(files: Mapping[str, str], module: str) -> str:
    """A module's digest as runs record it: of its text, then of all that it imports."""
    imported = sorted(with_imports(files, module) - {module})
    state = sha256(files[module].encode())
    for other in imported:
        state.update(files[other].encode())
    return state.hexdigest()
