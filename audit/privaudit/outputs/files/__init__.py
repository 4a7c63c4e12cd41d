"""Outputs from the files that people have, as arguments of `audit_outputs`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from privaudit.errors import DataError, RecipeError
from privaudit.messages import plain, show
from privaudit.outputs.files.archives import read_archive, read_arrays
from privaudit.outputs.files.columns import Roles, assign
from privaudit.outputs.files.delimited import read_delimited
from privaudit.outputs.files.naming import by_name
from privaudit.outputs.files.parquet import read_parquet
from privaudit.outputs.files.part import Part, joined
from privaudit.outputs.files.records import read_records
from privaudit.outputs.files.table import Array, Reader, truths

__all__ = ["FORMATS", "parse_columns", "read_files"]

_TABLES: Mapping[str, Reader] = {
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".txt": read_delimited,
    ".jsonl": read_records,
    ".ndjson": read_records,
    ".json": read_records,
    ".parquet": read_parquet,
}
_COMPRESSED = (".gz", ".xz", ".bz2")

FORMATS = ".npz, .npy, " + ", ".join(_TABLES)
"""Endings of files that are read; those of text also with one of `_COMPRESSED` behind."""


def read_files(
    files: Sequence[Path],
    *,
    members: Sequence[Path] = (),
    non_members: Sequence[Path] = (),
    population: Sequence[Path] = (),
    columns: Mapping[str, str] | None = None,
    kind: str | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """Read outputs, whatever the files are.

    Args:
        files: that say themselves who is a member; several tables one after another, or .npy
            files of one array each.
        members: files of members.
        non_members: files of non-members.
        population: files of examples that nobody was trained on and that are not audited.
        columns: from our names of columns to those of tables.
        kind: what answers called logits are, if something else.

    Returns:
        Arguments of `audit_outputs`, and a sentence for everything that was decided.

    Raises:
        DataError: one line that begins with the file: it cannot be read or understood.
        RecipeError: the files do not say who is a member.
    """
    if bool(members) != bool(non_members):
        given, lacking = ("--members", "--non-members")[:: 1 if members else -1]
        raise RecipeError(f"{given} is given without {lacking}: an attack is measured on both")
    if not files and not members:
        raise RecipeError(
            f"give a file of outputs ({FORMATS}), or two by --members and --non-members"
        )
    renamed = columns or {}
    parts = _parts(files, renamed, kind, needs_member=True)
    for paths, member, audited in (
        (members, True, True),
        (non_members, False, True),
        (population, False, False),
    ):
        own = _parts(paths, renamed, kind, needs_member=False)
        parts += [part.flagged(member, audited) for part in own]
    whole = joined(parts)
    arrays = {**whole.arrays, "kind": whole.kind}
    if whole.table:
        name = ", ".join(part.name for part in parts)
        arrays["labels"] = by_name(name, np.asarray(arrays["labels"]), whole.classes)
    if whole.classes:
        arrays["classes"] = whole.classes
    return arrays, list(whole.said)


def parse_columns(texts: Sequence[str]) -> dict[str, str]:
    """What `--columns OURS=THEIRS[,OURS=THEIRS...]` says.

    >>> parse_columns(["label=target,member=in_train", "p_*=score_*"])
    {'label': 'target', 'member': 'in_train', 'p_*': 'score_*'}

    Raises:
        RecipeError: with every mistake.
    """
    columns: dict[str, str] = {}
    mistakes = []
    for text in (one.strip() for whole in texts for one in whole.split(",")):
        own, equals, theirs = text.partition("=")
        if not (own and equals and theirs):
            mistakes.append(f"--columns {text}: write it as OURS=THEIRS, such as label=target")
        elif own.count("*") != theirs.count("*") or own.count("*") > 1:
            mistakes.append(f"--columns {text}: both sides have one *, for the class, or none")
        elif own in columns:
            mistakes.append(f"--columns {text}: {own} is said twice")
        else:
            columns[own] = theirs
    if mistakes:
        raise RecipeError(*map(plain, mistakes))
    return columns


def _parts(
    paths: Sequence[Path], renamed: Mapping[str, str], kind: str | None, needs_member: bool
) -> list[Part]:
    """One part a file, and one of all .npy files together."""
    single = [path for path in paths if path.suffix.lower() == ".npy"]
    parts = [read_arrays(single, kind, needs_member)] if single else []
    for path in paths:
        if path in single:
            continue
        ending = _ending(path)
        if ending == ".npz":
            parts.append(read_archive(path, kind, needs_member))
        elif ending in _TABLES:
            parts.append(_table(path, _TABLES[ending], renamed, kind, needs_member))
        else:
            raise DataError(
                plain(f"{path}: ends in {show(ending)}, and outputs are read from {FORMATS}")
            )
    return parts


def _ending(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if len(suffixes) > 1 and suffixes[-1] in _COMPRESSED:
        return suffixes[0]
    return suffixes[-1] if suffixes else ""


def _table(
    path: Path, reader: Reader, renamed: Mapping[str, str], kind: str | None, needs_member: bool
) -> Part:
    found: list[Roles] = []

    def choose(names: Sequence[str]) -> tuple[set[str], set[str]]:
        found.append(assign(path, names, renamed, needs_member))
        return found[0].numeric(), set(found[0].words())

    columns, said = reader(path, choose)
    roles = found[0]
    if kind and roles.kind not in ("logits", kind):
        raise DataError(
            f"{path}: its columns say {roles.kind}, which --kind {kind} contradicts: leave --kind "
            "out, or call them otherwise, such as --columns 'logit_*=p_*'"
        )
    flag = partial(_flags, path, columns)
    arrays: dict[str, Any] = {
        "logits": _side_by_side(columns, roles.answers),
        "labels": columns[roles.single["label"]],
    }
    for own, name in (("member", "members"), ("audited", "audited")):
        if own in roles.single:
            arrays[name] = flag(roles.single[own])
    if "ids" in roles.single:
        arrays["ids"] = columns[roles.single["ids"]]
    if roles.noisy:
        arrays["noisy"] = np.stack([_side_by_side(columns, names) for names in roles.noisy])
    if roles.shadows:
        arrays["shadow_logits"] = np.stack([_side_by_side(columns, n) for n in roles.shadows])
        arrays["shadow_members"] = np.stack([flag(name) for name in roles.shadow_members])
    if roles.rest:
        shown = ", ".join(name or "one without a name" for name in roles.rest[:6]) + (
            ", …" if len(roles.rest) > 6 else ""
        )
        said.append(plain(f"columns not used: {shown}"))
    return Part(str(path), kind or roles.kind, arrays, roles.classes, tuple(said), table=True)


def _side_by_side(columns: Mapping[str, Array], names: Sequence[str]) -> Array:
    if len(names) == 1:
        return columns[names[0]]
    return np.stack([columns[name] for name in names], axis=1)


def _flags(path: Path, columns: Mapping[str, Array], name: str) -> Array:
    return truths(columns[name], path, name)
