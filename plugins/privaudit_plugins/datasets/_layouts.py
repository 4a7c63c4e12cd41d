"""The layouts in which well-known tables are passed around: which files, which columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from privaudit import DataError
from privaudit.readers.door import exists, kind
from privaudit_plugins.datasets._csv import Reading
from privaudit_plugins.datasets._text import BLANKS, Source

LayoutName = Literal[
    "adult", "bank", "german", "german_numeric", "har", "location30", "purchase100", "texas100"
]

_SUFFIXES = ("", ".gz", ".xz", ".bz2")


@dataclass(frozen=True)
class Layout:
    """How a well-known table comes from where it is published.

    Attributes:
        source: where it is published.
        files: names of its files in their folder; with a second name, that of the file of labels.
        together: whether the files are parts of one table, not one table in several versions.
        reading: how they are read.
    """

    source: str
    files: tuple[tuple[str, ...], ...]
    reading: Reading
    together: bool = True


_ADULT = (
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation",
    "relationship", "race", "sex", "capital-gain", "capital-loss", "hours-per-week",
    "native-country", "income",
)  # fmt: skip
_ADULT_TEXTS = (
    "workclass", "education", "marital-status", "occupation", "relationship", "race", "sex",
    "native-country",
)  # fmt: skip
_BANK_TEXTS = (
    "job", "marital", "education", "default", "housing", "loan", "contact", "month", "day_of_week",
    "poutcome",
)  # fmt: skip
_GERMAN = (
    "status", "duration", "credit_history", "purpose", "amount", "savings", "employment",
    "installment_rate", "personal_status", "other_debtors", "residence", "property", "age",
    "other_installments", "housing", "credits", "job", "liable", "telephone", "foreign_worker",
    "risk",
)  # fmt: skip
_GERMAN_TEXTS = (
    "status", "credit_history", "purpose", "savings", "employment", "personal_status",
    "other_debtors", "property", "other_installments", "housing", "job", "telephone",
    "foreign_worker",
)  # fmt: skip
_SHOKRI = "https://github.com/privacytrustlab/datasets"
_UCI = "https://archive.ics.uci.edu/dataset"

LAYOUTS: Mapping[str, Layout] = {
    "adult": Layout(
        f"{_UCI}/2/adult",
        (("adult.data",), ("adult.test",)),
        Reading(
            "income", _ADULT_TEXTS, header=False, separator="comma", names=_ADULT, label_end="."
        ),
    ),
    "bank": Layout(
        f"{_UCI}/222/bank+marketing",
        (
            ("bank-full.csv",),
            ("bank-additional-full.csv",),
            ("bank.csv",),
            ("bank-additional.csv",),
        ),
        Reading("y", _BANK_TEXTS, some=True, header=True, separator="semicolon"),
        together=False,
    ),
    "german": Layout(
        f"{_UCI}/144/statlog+german+credit+data",
        (("german.data",),),
        Reading("risk", _GERMAN_TEXTS, header=False, separator=BLANKS, names=_GERMAN),
    ),
    "german_numeric": Layout(
        f"{_UCI}/144/statlog+german+credit+data",
        (("german.data-numeric",),),
        Reading("last", header=False, separator=BLANKS),
    ),
    "har": Layout(
        f"{_UCI}/240/human+activity+recognition+using+smartphones",
        (("train/X_train.txt", "train/y_train.txt"), ("test/X_test.txt", "test/y_test.txt")),
        Reading("last", header=False, separator=BLANKS),
    ),
    "location30": Layout(
        f"{_SHOKRI} (dataset_location)",
        (("bangkok",),),
        Reading("first", header=False, separator="comma"),
    ),
    "purchase100": Layout(
        f"{_SHOKRI} (dataset_purchase)",
        (("dataset_purchase",),),
        Reading("first", header=False, separator="comma"),
    ),
    "texas100": Layout(
        f"{_SHOKRI} (dataset_texas)",
        (("feats", "labels"), ("100/feats", "100/labels"), ("texas/100/feats", "texas/100/labels")),
        Reading("last", header=False, separator="comma"),
        together=False,
    ),
}
"""What is told apart by a name: nothing in the code below knows any of them."""


def layout_files(path: Path, name: str) -> list[Source]:
    """The files of a layout.

    Args:
        path: their folder, or one of them where it holds its labels, too.
        name: of the layout.

    Raises:
        DataError: they are not there.
    """
    layout = LAYOUTS[name]
    if kind(path) != "folder":
        if len(layout.files[0]) > 1:
            shown = " and ".join(layout.files[0])
            raise DataError(f"{path}: layout: {name} needs the folder that holds {shown}")
        return [Source(path)]
    found = []
    for names in layout.files:
        files = [file for each in names if (file := _present(path, each))]
        if len(files) == len(names):
            found.append(Source(*files))
    if not found:
        wanted = ", or ".join(" with ".join(names) for names in layout.files)
        raise DataError(
            f"{path}: layout: {name} needs a folder that holds {wanted}, published at "
            f"{layout.source}"
        )
    return found if layout.together else found[:1]


def is_named(path: Path, name: str) -> bool:
    """Whether a file is called like one of a layout that is a table by itself."""
    return any(len(names) == 1 and path.name.startswith(names[0]) for names in LAYOUTS[name].files)


def _present(folder: Path, name: str) -> Path | None:
    return next((p for end in _SUFFIXES if exists(p := folder / f"{name}{end}")), None)
