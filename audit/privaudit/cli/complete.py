"""What a shell offers after TAB; torch is not imported, so that it answers at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path

from privaudit.readers.shipped import shipped_recipes

_GROUP = "privaudit"  # of entry points, as `api.hooks` has it, which would take longer to import
_RESULT = "result.json"
_MOST = 500  # entries of a folder that are looked at: a shell waits for the answer


def recipes(incomplete: str) -> list[str]:
    """Recipes that come with privaudit, by bare name, and recipes' files.

    Args:
        incomplete: what has been typed.
    """
    names = [name for name in shipped_recipes() if name.startswith(incomplete)]
    return _printable([*names, *_paths(incomplete, _is_recipe)])


def plugins(incomplete: str) -> list[str]:
    """What is installed, by the names of its entry points; none of it is imported.

    Args:
        incomplete: what has been typed.
    """
    names = sorted({entry_point.name for entry_point in metadata.entry_points(group=_GROUP)})
    return _printable(name for name in names if name.startswith(incomplete))


def attacks(incomplete: str) -> list[str]:
    """Attacks, after those that are named already, with commas between them.

    They are found by what sources declare. What is installed and does not tell its kind is offered,
    too: it may be one.

    Args:
        incomplete: what has been typed.
    """
    *named, start = incomplete.split(",")
    before = incomplete[: len(incomplete) - len(start)]
    names = sorted({*_attacks()} - {*named})
    return _printable(f"{before}{name}" for name in names if name.startswith(start))


def _attacks() -> Iterator[str]:
    from privaudit.api.declared import declared
    from privaudit.errors import PluginError

    for entry_point in metadata.entry_points(group=_GROUP):
        try:
            plugins = declared(entry_point)
        except PluginError:  # which the command itself will tell
            continue
        if plugins is None:
            yield entry_point.name
        else:
            yield from (plugin.name for plugin in plugins if plugin.kind == "attack")


def runs(incomplete: str) -> list[str]:
    """Folders of finished runs: in `runs`, and where the path that is typed leads.

    Args:
        incomplete: what has been typed.
    """
    usual = _paths("runs/", _is_run) if "runs/".startswith(incomplete) else ()
    return _printable(dict.fromkeys([*_paths(incomplete, _is_run), *usual]))


def _paths(incomplete: str, wanted: Callable[[Path], bool]) -> Iterator[str]:
    """What is wanted in the folder that a path leads to, spelled as the path is."""
    folder, _, start = incomplete.rpartition("/")
    prefix = incomplete[: len(incomplete) - len(start)]
    try:
        entries = sorted(os.listdir(folder or ("/" if prefix else ".")))  # noqa: PTH208
    except (OSError, ValueError):
        return
    for entry in [entry for entry in entries if entry.startswith(start)][:_MOST]:
        if wanted(Path(f"{prefix}{entry}")):
            yield f"{prefix}{entry}"


def _is_recipe(path: Path) -> bool:
    return path.suffix in (".yaml", ".yml") and path.is_file()


def _is_run(path: Path) -> bool:
    return (path / _RESULT).is_file()


def _printable(names: Iterable[str]) -> list[str]:
    """The names that a terminal shows as they are."""
    return [name for name in names if name.isprintable()]
