"""Classes from labels, and what only looks like classes: numbers to predict, names of rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from privaudit import DataError
from privaudit_plugins.datasets._tables import natural_order, numbers_of, spelt

ClassName = Annotated[str, Field(coerce_numbers_to_str=True)]
"""A recipe may call classes by numbers."""

_FEW = 20  # so many classes may be of any kind
_MANY = 50  # whole numbers from so many classes on should be codes, which lie close together
_SPREAD = 10
_SHOWN = 3
_LIST = "or list the classes in `classes` if they are"


def classes_of(
    path: Path, labels: Sequence[str], names: Sequence[str], classes: Sequence[str] = ()
) -> tuple[Tensor, tuple[str, ...]]:
    """The labels as (N,) int64, and the names of the 2 or more classes.

    Args:
        path: the file, for messages.
        labels: N texts; numbers of equal value are one class, however they are written.
        names: of the N rows, for messages.
        classes: their names in order, some of which may have no rows; if not given, those that
            there are, in natural order.

    Raises:
        DataError: there is one class only, a label is none of the classes, or the labels do not
            look like classes.
    """
    texts = spelt(labels)
    counts = Counter(texts)
    if classes:
        wanted = spelt(classes)
        if numbers_of(labels) is None or numbers_of(classes) is None:
            texts, wanted, counts = list(labels), list(classes), Counter(labels)
        _check_listed(path, texts, names, wanted)
        order = {name: number for number, name in enumerate(wanted)}
        return torch.tensor([order[text] for text in texts]), tuple(wanted)
    if len(counts) == 1:
        raise DataError(f"{path}: every label is {texts[0]!r}: an audit needs at least 2 classes")
    check_names(path, list(counts))
    _check_kind(path, texts, counts)
    names = natural_order(counts)
    index = {name: number for number, name in enumerate(names)}
    return torch.tensor([index[text] for text in texts]), tuple(names)


def _check_listed(
    path: Path, labels: Sequence[str], names: Sequence[str], classes: Sequence[str]
) -> None:
    known = set(classes)
    if len(known) < len(classes):
        twice = next(name for name, count in Counter(classes).items() if count > 1)
        raise DataError(f"{path}: classes names {twice!r} twice")
    if len(classes) < 2:
        raise DataError(f"{path}: classes names one class: an audit needs at least 2")
    for name, label in zip(names, labels, strict=True):
        if label not in known:
            raise DataError(
                f"{path}: {name} has the label {label!r}, which is none of `classes`: add it "
                "there, or drop the row"
            )


def check_names(path: Path, names: Sequence[str]) -> None:
    """See that no two classes are one that is spelled in two ways.

    Single characters may differ by their case, as letters do that are to be read.

    Raises:
        DataError: two are.
    """
    first: dict[str, str] = {}
    for name in sorted(names):
        key = " ".join(name.replace("_", " ").replace("-", " ").strip(" .'\"").casefold().split())
        other = first.setdefault(key if len(name) > 1 and _worded(key) else name, name)
        if other != name:
            raise DataError(
                f"{path}: the classes {other!r} and {name!r} look like one that is spelled in two "
                f"ways: spell it in one, {_LIST} two"
            )


def _worded(text: str) -> bool:
    """Whether it has a letter; -1 and 1 are no two spellings of one number."""
    return any(character.isalpha() for character in text)


def _check_kind(path: Path, labels: Sequence[str], counts: Counter[str]) -> None:
    """See that labels are no numbers to predict, and no names of rows."""
    values, several = numbers_of(list(counts)), len(counts)
    if several <= _FEW:
        return
    shown = ", ".join(list(counts)[:_SHOWN])
    begin = f"{path}: the labels have {several:,} different values in {len(labels):,} rows"
    if values is not None and not all(value.is_integer() for value in values):
        raise DataError(
            f"{begin} ({shown}, …), which are numbers to predict (regression) and not classes: "
            f"take other labels (label_column), cut these into classes, {_LIST}"
        )
    if several * 2 > len(labels):
        raise DataError(
            f"{begin} ({shown}, …): they tell rows apart, as an identifier or a number to predict "
            f"does, and are not classes: take other labels (label_column), {_LIST}"
        )
    if values is not None and several > _MANY and max(values) - min(values) > _SPREAD * several:
        raise DataError(
            f"{begin}, from {min(values):g} to {max(values):g}, which are numbers to predict "
            f"(regression) and not classes: take other labels (label_column), {_LIST}"
        )
