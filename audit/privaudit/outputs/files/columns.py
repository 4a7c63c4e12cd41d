"""Which column of a table is what, by its name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from privaudit.errors import DataError
from privaudit.messages import plain, show

SINGLE = {"label": "labels", "member": "members", "audited": "audited", "ids": "ids"}
"""Columns of one value for each row, and the array each makes."""

FAMILIES = {
    "logit": "logits",
    "logits": "logits",
    "p": "probabilities",
    "prob": "probabilities",
    "proba": "probabilities",
    "probability": "probabilities",
    "probabilities": "probabilities",
    "log_p": "log_probabilities",
    "log_prob": "log_probabilities",
    "log_probability": "log_probabilities",
    "log_probabilities": "log_probabilities",
    "margin": "margins",
    "margins": "margins",
}
"""How names of columns of answers begin, and the kind they say; _CLASS or a number follows."""

_ALSO = {
    "labels": "label",
    "members": "member",
    "label_ids": "label",
    "predictions": "logits",
}
"""Names that can mean nothing else, and what they are read as."""

_LIKELY = {
    "label": ("true_label", "target", "y", "y_true", "class", "truth", "ground_truth", "gt"),
    "member": (
        "is_member",
        "in_train",
        "in_training",
        "train",
        "membership",
        "is_train",
        "inside",
        "split",
    ),
}
"""Names that people give to the columns we need: too many meanings to take them unasked."""

_ANSWER = re.compile(
    rf"(?:shadow_?(?P<shadow>\d+)_)?(?:noisy_?(?P<noisy>\d+)_)?"
    rf"(?P<family>{'|'.join(sorted(FAMILIES, key=len, reverse=True))})"
    r"(?:_(?P<name>.+)|(?P<number>\d+))?"
)
_SHADOW_MEMBER = re.compile(r"shadow_?(\d+)_member")


@dataclass
class Roles:
    """What the columns of a table are.

    Attributes:
        single: by name in `SINGLE`, the column.
        kind: what the answers are.
        answers: columns of the target's answers, in the order of the classes.
        classes: what follows the family's name, in that order; empty where it is one column.
        noisy: the same of each noisy copy.
        shadows: the same of each shadow.
        shadow_members: the column of each shadow's membership.
        rest: columns that are none of these.
        said: what was decided.
    """

    single: dict[str, str] = field(default_factory=dict)
    kind: str = ""
    answers: list[str] = field(default_factory=list)
    classes: tuple[str, ...] = ()
    noisy: list[list[str]] = field(default_factory=list)
    shadows: list[list[str]] = field(default_factory=list)
    shadow_members: list[str] = field(default_factory=list)
    rest: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def numeric(self) -> set[str]:
        """Columns of numbers."""
        groups = [self.answers, *self.noisy, *self.shadows]
        return {name for group in groups for name in group}

    def words(self) -> list[str]:
        """Columns that may hold words: labels and flags."""
        return [*self.single.values(), *self.shadow_members]


def assign(
    path: object, names: Sequence[str], renamed: Mapping[str, str], needs_member: bool
) -> Roles:
    """Decide what each column is.

    Args:
        path: the file, for messages.
        names: of the columns, each once.
        renamed: from our names to the file's; a `*` in both stands for the classes.
        needs_member: whether the file itself says who is a member.

    Raises:
        DataError: a column that is needed is missing, two mean the same, or answers are incomplete.
    """
    known = _ours(path, names, renamed)
    roles = Roles()
    groups: dict[tuple[int, int], dict[str, str]] = {}
    kinds: dict[str, str] = {}
    for name, own in known.items():
        if own in SINGLE:
            _once(path, roles.single, own, name)
        elif match := _SHADOW_MEMBER.fullmatch(own):
            groups.setdefault((int(match[1]), -2), {})["member"] = name
        elif match := _ANSWER.fullmatch(own):
            copy = -1 if match["noisy"] is None else int(match["noisy"])
            network = -1 if match["shadow"] is None else int(match["shadow"])
            kinds.setdefault(FAMILIES[match["family"]], name)
            _once(
                path,
                groups.setdefault((network, copy), {}),
                match["name"] or match["number"] or "",
                name,
            )
        else:
            roles.rest.append(name)
    if lacking := _missing(roles, needs_member, (-1, -1) in groups):
        raise DataError(plain(f"{path}: {'; and '.join(lacking)}{_shown(names)}"))
    _check_audited(path, roles)
    if len(kinds) > 1:
        first, second = list(kinds.values())[:2]
        raise DataError(
            plain(f"{path}: {show(first)} and {show(second)} are two kinds of answers: keep one")
        )
    roles.kind = next(iter(kinds))
    _fill(path, roles, groups)
    return roles


def _ours(path: object, names: Sequence[str], renamed: Mapping[str, str]) -> dict[str, str]:
    """Each column, and what it is called here."""
    ours = {name: _usual(name) for name in names}
    said = {theirs for theirs in renamed.values() if "*" not in theirs}
    for own, theirs in renamed.items():
        if "*" in theirs:
            before, _, after = theirs.partition("*")
            found = [
                name
                for name in names
                if name not in said
                and name.startswith(before)
                and name.endswith(after)
                and len(name) > len(before) + len(after)
            ]
        else:
            found = [theirs] if theirs in names else []
        if not found:
            near = get_close_matches(theirs, names, n=1)
            hint = f"; did you mean {show(near[0])}?" if near else _shown(names)
            raise DataError(plain(f"{path}: --columns {own}={theirs}: no such column{hint}"))
        for name in found:
            middle = name
            if "*" in theirs:
                middle = name[len(before) : len(name) - len(after) if after else None]
            ours[name] = own.replace("*", middle)
    return ours


def _usual(name: str) -> str:
    """What a column of that name is called here: case means nothing but in names of classes."""
    lower = name.lower()
    match = _ANSWER.fullmatch(lower)
    if match and match["name"]:
        return lower[: match.start("name")] + name[match.start("name") :]
    return _ALSO.get(lower, lower)


def _once(path: object, into: dict[str, str], key: str, name: str) -> None:
    if key in into:
        raise DataError(
            plain(f"{path}: {show(into[key])} and {show(name)} mean the same: keep one of them")
        )
    into[key] = name


def _missing(roles: Roles, needs_member: bool, answered: bool) -> list[str]:
    """What no column is, and how to say which one is."""
    lacking = []
    for own in ["label", *(["member"] if needs_member else [])]:
        if own in roles.single:
            continue
        lower = {name.lower(): name for name in roles.rest}
        likely = [lower[name] for name in _LIKELY[own] if name in lower]
        near = likely or get_close_matches(own, roles.rest, n=1)
        remedy = (
            f"is it {show(near[0])}? Say --columns {own}={near[0]}"
            if near
            else (
                f"say which it is by --columns {own}=NAME"
                if own == "label"
                else "say which it is by --columns member=NAME, or give two files, --members and "
                "--non-members"
            )
        )
        lacking.append(f"there is no column {own!r}: {remedy}")
    if not answered:
        lacking.append(
            "no column holds answers: name them p_CLASS (probabilities), logit_CLASS, log_p_CLASS "
            "or margin, or say which they are by --columns 'p_*=YOURS_*'"
        )
    return lacking


def _check_audited(path: object, roles: Roles) -> None:
    if "audited" not in roles.single:
        near = get_close_matches("audited", [name.lower() for name in roles.rest], n=1, cutoff=0.8)
        if near:
            raise DataError(
                plain(
                    f"{path}: column {show(near[0])} may be 'audited': say --columns "
                    f"audited={near[0]}, or rename it"
                )
            )


def _fill(path: object, roles: Roles, groups: Mapping[tuple[int, int], Mapping[str, str]]) -> None:
    target = groups[-1, -1]
    order = list(target) if len(target) == 1 else _ordered(path, list(target), target)
    roles.answers = [target[name] for name in order]
    roles.classes = tuple(order) if len(order) > 1 else ()
    shadows = sorted({network for network, _ in groups if network >= 0})
    for network, copy in sorted(groups):
        if copy == -2 or (network, copy) == (-1, -1):
            continue
        columns = groups[network, copy]
        whose = f"shadow {network}" if network >= 0 else f"noisy copy {copy}"
        if set(columns) != set(order):
            lacking = sorted(set(order) ^ set(columns))
            raise DataError(
                plain(f"{path}: the answers of {whose} differ in class {show(lacking[0])}")
            )
        if network >= 0 and copy >= 0:
            raise DataError(
                f"{path}: noisy answers of shadows do not fit a table: use an .npz with "
                "shadow_noisy"
            )
        (roles.shadows if network >= 0 else roles.noisy).append([columns[name] for name in order])
    for network in shadows:
        own, said = groups.get((network, -1)), groups.get((network, -2))
        if own is None or said is None:
            lacks = "its answers" if own is None else f"shadow_{network}_member"
            raise DataError(f"{path}: shadow {network} lacks {lacks}")
        roles.shadow_members.append(said["member"])


def _ordered(path: object, names: Sequence[str], columns: Mapping[str, str]) -> list[str]:
    """By number where all are numbers, else as in the file."""
    if all(name.isdigit() for name in names):
        return sorted(names, key=int)
    if "" in names:
        raise DataError(
            plain(f"{path}: column {show(columns[''])} names no class, and others do: rename it")
        )
    return list(names)


def _shown(names: Sequence[str]) -> str:
    if not names:
        return ""
    return "; the columns are " + ", ".join(map(str, names[:8])) + (", …" if len(names) > 8 else "")
