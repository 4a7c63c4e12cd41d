"""A recipe, and where and by what it was run, as leaves: one value at the end of each path."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

from privaudit.errors import StoreError
from privaudit.store.manifest import read_manifest
from privaudit.store.result import RunResult

Path = tuple[str, ...]

Leaves = Mapping[Path, Any]

_DEEPEST = 24  # levels of a recipe; those that people write have six
_BARE = re.compile(r"[\w./:+@~%-]+")
_LONGEST = 24  # characters of a value in a run's name


class Gap(Enum):
    """What stands for a leaf that a run does not have."""

    ABSENT = "absent"
    GIVEN = "given"
    """It has not this leaf, but others below its path."""


def leaves(recipe: Mapping[str, Any]) -> dict[Path, Any]:
    """The leaves of a recipe, in its order.

    What a plugin is called stands at the path of its entry, its options below; a list of plugins
    is a leaf by itself, of their titles, and each has its own below its title, so that an entry is
    compared with the one of its title wherever that stands.

    >>> leaves({"model": {"name": "mlp", "hidden": [64]}, "attacks": [{"name": "loss"}]})
    {('model',): 'mlp', ('model', 'hidden'): [64], ('attacks',): ['loss']}

    Raises:
        StoreError: it is nested deeper than any recipe.
    """
    return dict(_below((), recipe))


def facts(run: RunResult) -> dict[Path, Any]:
    """What a run was made from and by beside its recipe, by section: data, versions, ....

    Of a run without a manifest, or with a damaged one, no data is known.
    """
    there = run.environment
    known = data_of(run)
    for section, names in (("versions", _VERSIONS), ("device", _DEVICE)):
        known |= {(section, name): there[name] for name in names if _is_word(there.get(name))}
    plugins = there.get("plugins")
    for plugin in plugins if isinstance(plugins, list) else ():
        if isinstance(plugin, Mapping):
            title = tuple(str(plugin.get(key, "")) for key in ("kind", "name"))
            own = {key: plugin[key] for key in _PLUGIN if _is_word(plugin.get(key))}
            known |= {("plugins", *title, key): value for key, value in own.items()}
    return known


def _is_word(value: object) -> bool:
    """Whether it is what a run writes there; a damaged one may hold anything."""
    return isinstance(value, str | int) and value != ""


_VERSIONS = ("privaudit", "git", "torch", "python")
_DEVICE = ("device", "threads", "processes")
_PLUGIN = ("distribution", "version", "source")


def value_at(table: Leaves, path: Path) -> Any:
    """The leaf there, or the `Gap` in its place."""
    if path in table:
        return table[path]
    below = any(other[: len(path)] == path for other in table)
    return Gap.GIVEN if below else Gap.ABSENT


def differing(tables: Sequence[Leaves]) -> list[Path]:
    """The paths at which the tables do not all hold the same, in the order of the tables."""
    paths = dict.fromkeys(path for table in tables for path in table)
    return [path for path in paths if len({text_at(table, path) for table in tables}) > 1]


def text_at(table: Leaves, path: Path) -> str:
    """The leaf there as text."""
    return spelled(value_at(table, path))


def spelled(value: object, numbers: bool = True) -> str:
    """A value as a recipe has it, on one line; words that are safe stand without quotes.

    Args:
        value: of a leaf, or a `Gap` in its place.
        numbers: whether it might be a number, from which a word must be told: a version, or a
            checksum, never is.

    >>> [spelled(value) for value in ("cpu", "two words", "true", 0.1, [0, 1], None)]
    ['cpu', '"two words"', '"true"', '0.1', '[0, 1]', 'null']
    """
    if isinstance(value, Gap):
        return value.value
    if isinstance(value, str) and _BARE.fullmatch(value) and not (numbers and _literal(value)):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return f"[{', '.join(map(spelled, value))}]"
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def shortened(texts: Sequence[str], longest: int = _LONGEST) -> dict[str, str]:
    """Each text cut to a readable length, by the text; those that differ stay apart.

    >>> shortened(["digits", "/data/of/a/hospital/one", "/data/of/a/hospital/two"]).values()
    dict_values(['digits', '...one', '...two'])
    """
    distinct = list(dict.fromkeys(texts))
    long = [text for text in distinct if len(text) > longest]
    heads = {text: f"{text[: longest - 3]}..." for text in long}
    start = len(_prefix(long))
    middles = {text: f"...{text[start : start + longest - 3]}" for text in long}
    for cut in (heads, middles):
        short = {text: cut.get(text, text) for text in distinct}
        if len(set(short.values())) == len(distinct):
            return short
    numbers = {text: f"{text[: longest - 7]}...({n})" for n, text in enumerate(long, 1)}
    return {text: numbers.get(text, text) for text in distinct}


def _prefix(texts: Sequence[str]) -> str:
    if len(texts) < 2:
        return ""
    first, last = min(texts), max(texts)
    return next((first[:n] for n, c in enumerate(first) if last[n : n + 1] != c), first)


def _literal(text: str) -> bool:
    """Whether it would be something else than a word without quotes."""
    if text in ("null", "true", "false", *(gap.value for gap in Gap)):
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


def _below(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    if len(path) > _DEEPEST:
        raise StoreError(
            f"a recipe is nested deeper than {_DEEPEST} levels, at {'.'.join(path[:3])}: "
            "its result is damaged; run it again"
        )
    if isinstance(value, Mapping) and value:
        named = path != () and isinstance(value.get("name"), str)
        if named:
            yield path, value["name"]
        for key, inner in value.items():
            if not (named and key == "name"):
                yield from _below((*path, str(key)), inner)
    elif isinstance(value, list) and value and all(map(_is_entry, value)):
        titles: list[str] = []
        for entry in value:
            title = str(entry.get("label") or entry["name"])
            titles.append(f"{title} ({titles.count(title) + 1})" if title in titles else title)
        yield path, titles
        for title, entry in zip(titles, value, strict=True):
            options = {k: v for k, v in entry.items() if k not in ("name", "label")}
            if entry.get("label"):
                yield (*path, title, "name"), entry["name"]
            for key, inner in options.items():
                yield from _below((*path, title, str(key)), inner)
    else:
        yield path, _shallow(value, path)


def _shallow(value: Any, path: Path) -> Any:
    """A leaf: no mapping, and no list that is nested deeper than any option."""
    for item in value if isinstance(value, list) else ():
        if isinstance(item, list | dict):
            for _ in _below((*path, ""), item):
                pass
    return value


def data_of(run: RunResult) -> dict[Path, Any]:
    """Checksums of the data that a run had; empty where it has not kept them."""
    return {("data", name): digest for name, digest in _digests(run).items()}


def _is_entry(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("name"), str)


def _digests(run: RunResult) -> Mapping[str, str]:
    try:
        manifest = None if run.folder is None else read_manifest(run.folder)
    except StoreError:
        return {}
    data = {} if manifest is None else manifest.about.get("data")
    known = data if isinstance(data, Mapping) else {}
    return {name: digest for name, digest in known.items() if isinstance(digest, str)}
