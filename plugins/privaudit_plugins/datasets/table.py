"""Anyone's own table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from torch import Tensor

import privaudit
from privaudit.readers.npz import named_examples
from privaudit_plugins.datasets._classes import ClassName, classes_of
from privaudit_plugins.datasets._csv import Reading, Rows, read_table
from privaudit_plugins.datasets._labelled import existing, existing_file, features_of
from privaudit_plugins.datasets._layouts import LAYOUTS, LayoutName, is_named, layout_files
from privaudit_plugins.datasets._tables import mean_and_std
from privaudit_plugins.datasets._text import BLANKS, SEPARATORS, Source

_OF_LAYOUTS = ("label_column", "categorical", "header", "separator", "decimal", "encoding")
_OF_TEXT = (*_OF_LAYOUTS, "drop", "missing")
_LATER = ("header", "separator", "decimal", "encoding", "missing", "drop", "classes", "layout")

_NAMES = {text: name for name, text in SEPARATORS.items()} | {" ": BLANKS}


def _called(separator: object) -> object:
    """What a separator is called, where a recipe shows it instead."""
    return _NAMES.get(separator, separator) if isinstance(separator, str) else separator


class Table(privaudit.Dataset):
    """Rows of features with a label, from a text file (CSV, TSV, …; .gz, .xz, .bz2) or .npz.

    Features come in the order of the file, then columns of 0 and 1 that say where a number was
    missing, then those encoded one-hot. Categories, means and deviations are learned from all rows,
    members and non-members alike, so that the numbers tell nothing about who is which; columns of
    0 and 1 made here stay as they are.
    In an .npz file x may have more axes, as series (N, T, D) have; the last one holds the features.
    Whole numbers are numbers here: for tokens, and for images, there is the dataset `arrays`.
    """

    name: Literal["table"] = "table"
    path: privaudit.FilePath = Field(
        description="a text file, or .npz with x (N, D), or of more axes, and y (N), or the other "
        "names of the dataset `arrays`; with `layout`, also the folder of its files"
    )
    layout: LayoutName | None = Field(
        None, description="a well-known table as it is published, with all that its files leave out"
    )
    label_column: str | int = Field(
        "label", description="of a text file: name, first, last, or index from 0 (-1: the last)"
    )
    categorical: tuple[str | int, ...] = Field(
        (),
        description="columns of a text file to encode one-hot, by name or index; all others must "
        "be numbers, true or false",
    )
    drop: tuple[str | int, ...] = Field(
        (), description="columns of a text file to leave out, by name or index"
    )
    header: bool | None = Field(
        None,
        description="whether the first line names the columns; told by the first hundred lines if "
        "not given, and refused where they leave it open",
    )
    separator: Annotated[
        Literal["comma", "semicolon", "tab", "pipe", "blanks"] | None,
        BeforeValidator(_called),
    ] = Field(None, description="what stands between cells; told by the first lines if not given")
    decimal: Literal[".", ","] = Field(".", description="what stands in numbers")
    encoding: Literal["utf-8", "latin-1", "utf-16"] = Field(
        "utf-8", description="of a text file; latin-1 is that of Windows, too"
    )
    missing: Literal["refuse", "drop", "value"] | None = Field(
        None,
        description="of cells that are empty, ?, NA, N/A, NaN or null: refuse them, drop their "
        "rows, or take them for a value: the column's mean, and a column that says where it was "
        "missing, or a category ?; if not given, refuse, but ? and the like are categories",
    )
    classes: tuple[ClassName, ...] = Field(
        (),
        description="names of the classes in order, some of which may have no rows; every label "
        "there is, in natural order, if not given",
    )
    standardize: bool = Field(
        True, description="give each numeric column mean 0 and deviation 1 over all rows"
    )

    @model_validator(mode="after")
    def _layout_alone(self) -> Self:
        said = [name for name in _OF_LAYOUTS if name in self.model_fields_set]
        if self.layout is not None and said:
            raise ValueError(f"layout: {self.layout} says this itself: leave out {', '.join(said)}")
        return self

    @model_serializer(mode="wrap")
    def _without_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What is not said is not written, as before it could be said."""
        data: dict[str, Any] = dump(self)
        fields = type(self).model_fields
        unsaid = [name for name in _LATER if getattr(self, name) == fields[name].default]
        return {key: value for key, value in data.items() if key not in unsaid}

    def load(self, root: Path) -> privaudit.Examples:
        """Features (N, D), or (N, ..., D) from an .npz file of more axes.

        Raises:
            DataError: the file is missing or cannot be used; the message names file and row.
        """
        path = existing(self.path) if self.layout else existing_file(self.path)
        if path.suffix.lower() == ".npz":
            self._refuse_options_of_text(path)
            raw, labels, names = named_examples(path)
            x, mean, std = features_of(raw, self.standardize)
        else:
            sources = layout_files(path, self.layout) if self.layout else [Source(path)]
            rows = self._rows(path, sources)
            labels, names = rows.labels, rows.places
            x, mean, std = self._columns(rows)
        y, classes = classes_of(path, labels, names, self.classes)
        return privaudit.Examples(x=x, y=y, classes=classes, mean=mean, std=std, names=names)

    def _rows(self, path: Path, sources: list[Source]) -> Rows:
        try:
            return read_table(sources, self._reading())
        except privaudit.DataError as error:
            known = [name for name in LAYOUTS if self.layout is None and is_named(path, name)]
            if not known:
                raise
            more = f"; layout: {known[0]} reads such a file as it is published"
            raise privaudit.DataError(f"{error}{more}") from error

    def _reading(self) -> Reading:
        if self.layout is not None:
            return replace(LAYOUTS[self.layout].reading, missing=self.missing, drop=self.drop)
        return Reading(**{name: getattr(self, name) for name in _OF_TEXT})

    def _refuse_options_of_text(self, path: Path) -> None:
        said = [n for n in (*_OF_TEXT[1:], "layout") if getattr(self, n) != _default(n)]
        if said:
            raise privaudit.DataError(f"{path}: {said[0]} is for text files: leave it out")

    def _columns(self, rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
        """Columns (N, D), and their mean and deviation (D,): 0 and 1 for those of 0 and 1."""
        numeric = rows.numbers.shape[1]
        columns = numeric + rows.encoded.shape[1]
        mean, std = torch.zeros(columns), torch.ones(columns)
        if self.standardize and numeric:
            mean[:numeric], std[:numeric] = mean_and_std(rows.numbers)
        return torch.from_numpy(np.hstack([rows.numbers, rows.encoded])), mean, std


def _default(option: str) -> object:
    return Table.model_fields[option].default


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [Table]
