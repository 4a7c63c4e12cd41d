"""What runs are called side by side: those of one name by what differs between them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from privaudit.report.escape import plain
from privaudit.report.leaves import (
    Leaves,
    Path,
    differing,
    facts,
    leaves,
    shortened,
    spelled,
    text_at,
)
from privaudit.store.result import RunResult

_FEW = 3  # leaves that a name tells, unless it takes more to tell the runs apart


def run_names(results: Sequence[RunResult]) -> list[str]:
    """A name for each run, no two alike.

    Runs that share theirs are told apart by the leaves of their recipes that differ, such as
    "digits epochs=8"; where those are equal by data, versions, device or plugins; else by their
    folders, and by a number only where there is nothing else.
    """
    names = [result.name for result in results]
    for alike in _groups([plain(name) for name in names]):
        for index, words in zip(alike, _words([results[i] for i in alike]), strict=True):
            names[index] = " ".join([names[index], *words])
    while groups := _groups([plain(name) for name in names]):
        for alike in groups:
            for number, index in enumerate(alike, 1):
                names[index] = f"{names[index]} #{number}"
    return names


def _words(runs: Sequence[RunResult]) -> list[tuple[str, ...]]:
    """What is said of each run after the name that they share."""
    words: list[tuple[str, ...]] = [()] * len(runs)
    for tables in (_recipes, _facts, _folders):
        for alike in _groups(words):
            found = tables([runs[index] for index in alike])
            more = _told([_plain(table, numbers=tables is _recipes) for table in found])
            for index, told in zip(alike, more, strict=True):
                words[index] += told
    return words


def _groups(names: Sequence[Hashable]) -> list[list[int]]:
    """The numbers of those that are alike, where there are several."""
    groups: dict[Hashable, list[int]] = {}
    for index, name in enumerate(names):
        groups.setdefault(name, []).append(index)
    return [alike for alike in groups.values() if len(alike) > 1]


def _recipes(runs: Sequence[RunResult]) -> list[Leaves]:
    return [
        {path: value for path, value in leaves(run.recipe).items() if path != ("name",)}
        for run in runs
    ]


def _facts(runs: Sequence[RunResult]) -> list[Leaves]:
    return [facts(run) for run in runs]


def _folders(runs: Sequence[RunResult]) -> list[Leaves]:
    """The shortest ends of the folders' paths that are not all alike."""
    parts = [() if run.folder is None else run.folder.absolute().parts for run in runs]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        ends = ["/".join(own[-depth:]) for own in parts]
        if len(set(ends)) > 1 and len(set(ends)) == len(set(parts)):
            return [{("folder",): end} if end else {} for end in ends]
    return [{}] * len(runs)


def _plain(table: Leaves, numbers: bool) -> dict[Path, str]:
    """As it is read in the end, so that what looks alike counts as alike."""
    return {
        tuple(map(plain, path)): plain(spelled(value, numbers)) for path, value in table.items()
    }


def _told(tables: Sequence[Leaves]) -> list[tuple[str, ...]]:
    paths = differing(tables)
    everywhere = [path for path in paths if all(path in table for table in tables)]
    chosen = _chosen(tables, paths, everywhere)
    columns = []
    for path in chosen:
        key = _key(path, [other for table in tables for other in table])
        texts = [table.get(path, text_at(table, path)) for table in tables]
        short = shortened(texts)
        columns.append([f"{key}={short[text]}" for text in texts])
    more = len({*everywhere} - {*chosen})  # others come with a plugin that differs
    if more:
        columns.append([f"and {more} more"] * len(tables))
    return [*zip(*columns, strict=True)] if columns else [()] * len(tables)


def _chosen(
    tables: Sequence[Leaves], paths: Sequence[Path], everywhere: Sequence[Path]
) -> list[Path]:
    """The leaves to tell: those that tell all apart, and further ones up to a few, in order.

    Leaves that every run has come first.
    """

    def classes(of: Sequence[Path]) -> int:
        return len({tuple(text_at(table, path) for path in of) for table in tables})

    candidates = [*everywhere, *(path for path in paths if path not in everywhere)]
    chosen: list[Path] = []
    apart = classes(paths)
    while classes(chosen) < apart:
        chosen.append(max(candidates, key=lambda path: classes([*chosen, path])))
    chosen += [path for path in everywhere if path not in chosen][: max(_FEW - len(chosen), 0)]
    return [path for path in paths if path in chosen]


def _key(path: Path, others: Sequence[Path]) -> str:
    """The shortest end of a path that no other leaf has, unless that one lies deeper.

    >>> _key(("training", "lr"), [("training", "lr"), ("attacks", "mlp", "lr")])
    'lr'
    >>> _key(("attacks", "mlp", "lr"), [("training", "lr"), ("attacks", "mlp", "lr")])
    'mlp.lr'
    """
    near = [other for other in others if other != path and len(other) <= len(path)]
    ends = (path[-count:] for count in range(1, len(path)))
    for end in ends:
        if not any(other[-len(end) :] == end for other in near):
            return ".".join(end)
    return ".".join(path)
