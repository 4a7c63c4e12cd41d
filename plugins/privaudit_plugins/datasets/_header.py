"""Whether the first row of a table names its columns, and which column is which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from privaudit import DataError
from privaudit_plugins.datasets._cells import Cells
from privaudit_plugins.datasets._text import Record

_FEW = 1000  # names among which the nearest is looked for
_INDEX = "Unnamed: 0"  # what pandas calls an index that it has read as a column
ENDS = {"first": 0, "last": -1}


@dataclass(frozen=True)
class Columns:
    """Which column of a table is what.

    Attributes:
        path: the file, for messages.
        names: of all columns; those of a table without a header are numbers from 0.
        label: index of the label.
        numeric: indices of the numeric columns.
        categorical: indices of the columns to encode one-hot.
        index: index of a column without a name that may be pandas' index; None without.
    """

    path: Path
    names: Sequence[str]
    label: int
    numeric: Sequence[int]
    categorical: Sequence[int]
    index: int | None = None

    def mistake(self, record: Record, column: int, message: str) -> DataError:
        """An error that names file, line and column."""
        name = self.names[column]
        return DataError(f"{record.path}:{record.line}: column {name!r} {message}")


def names_columns(
    first: Sequence[Record], cells: Cells, label_column: str | int, said: bool | None
) -> bool:
    """Whether the first of some rows names the columns.

    Args:
        first: the first rows.
        cells: how cells are read.
        label_column: as a recipe has it: where the first row holds it, it names the columns.
        said: what the recipe says about it.

    Raises:
        DataError: this cannot be told, and no row may be lost.
    """
    head, rows = first[0], [record.cells for record in first[1:]]
    if said is not None:
        return said
    if isinstance(label_column, str) and label_column in head.cells and label_column not in ENDS:
        return True
    numbers = [cells.is_number(cell) for cell in head.cells]
    where = f"{head.path}:{head.line}: "
    if all(numbers):
        if len(numbers) > 2 and head.cells == [str(n) for n in range(len(numbers))]:
            raise DataError(
                f"{where}the first line counts 0 to {len(numbers) - 1}: set header: true if these "
                "are the names of the columns, or false if they are a row"
            )
        return False
    below = [
        [row[column] for row in rows if column < len(row) and not cells.is_missing(row[column])]
        for column in range(len(head.cells))
    ]
    texts = [n for n, cell in enumerate(head.cells) if not (numbers[n] or cells.is_missing(cell))]
    over_numbers = any(below[n] and all(map(cells.is_number, below[n])) for n in texts)
    again = any(head.cells[n] in below[n] for n in texts)
    unlike_names = any(numbers) or any(map(cells.is_missing, head.cells[1:]))
    if unlike_names and again and not over_numbers:
        return False  # it is like the rows below: its texts come again, its numbers over numbers
    if texts and not again and not any(numbers):
        return True
    shown = ", ".join(head.cells[:4]) + (", …" if len(head.cells) > 4 else "")
    raise DataError(
        f"{where}whether the first line ({shown}) names the columns cannot be told: set header: "
        "true if it does, or false if it is a row"
    )


def columns_of(
    head: Record,
    named: bool,
    label_column: str | int,
    categorical: Sequence[str | int],
    drop: Sequence[str | int],
) -> Columns:
    """Which column is what, from the first row.

    Raises:
        DataError: columns share a name, have none, or the recipe names one that is not there.
    """
    path, where = head.path, f"{head.path}:{head.line}"
    names = list(head.cells) if named else [str(number) for number in range(len(head.cells))]
    if len(names) == 1:
        raise DataError(
            f"{where}: one column only, {head.cells[0][:60]!r}: a table needs a label and a "
            "feature, separated by a comma or what `separator` names"
        )
    index = 0 if named and names[0] in ("", _INDEX) else None
    names = [_INDEX, *names[1:]] if index == 0 else names
    seen: set[str] = set()
    for number, name in enumerate(names):
        if not name:
            raise DataError(f"{where}: column {number} (from 0) has no name: name or drop it")
        if name in seen:
            raise DataError(f"{where}: two columns are named {name!r}")
        seen.add(name)
    dropped = {_find(path, names, column, "drop") for column in drop}
    label = _label(path, names, label_column, named)
    encoded = {_find(path, names, column, "categorical") for column in categorical}
    for option, chosen in (("categorical", encoded), ("drop", dropped)):
        if label in chosen:
            raise DataError(f"{path}: {option} names {names[label]!r}, which is the label column")
    if both := sorted(encoded & dropped):
        raise DataError(f"{path}: categorical and drop both name {names[both[0]]!r}")
    if index in dropped or index in encoded or index == label:
        index = None
    other = {label, *encoded, *dropped, index}
    numeric = [number for number in range(len(names)) if number not in other]
    if not numeric and not encoded:
        raise DataError(f"{path}: no column is left beside the label: a table needs a feature")
    return Columns(path, names, label, numeric, sorted(encoded), index)


def _label(path: Path, names: Sequence[str], column: str | int, named: bool) -> int:
    if isinstance(column, str) and column not in names:
        if column in ENDS:
            return ENDS[column] % len(names)
        if not named:
            raise DataError(
                f"{path}: its first line names no columns, so label_column cannot be {column!r}: "
                "set label_column: first, last, or a number from 0; or header: true if it does"
            )
    return _find(path, names, column, "label_column")


def _find(path: Path, names: Sequence[str], column: str | int, option: str) -> int:
    if isinstance(column, int):
        if not -len(names) <= column < len(names):
            raise DataError(
                f"{path}: {option} {column} is out of range: there are {len(names)} columns, "
                f"counted from 0"
            )
        return column % len(names)
    if column in names:
        return names.index(column)
    near = get_close_matches(column, names[:_FEW], n=1)
    shown = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
    hint = f"did you mean {near[0]!r}?" if near else f"its columns are {shown}"
    raise DataError(f"{path}: {option} names {column!r}, which is not a column; {hint}")
