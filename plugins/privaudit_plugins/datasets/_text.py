"""Tables of text, plain or compressed: their lines, what separates cells, and the records."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path

from privaudit import DataError
from privaudit.readers.compressed import decompressed

ROW = 250  # bytes that a row takes by itself
_LONGEST_LINE = 1 << 26  # characters; more than a million columns take
_SAMPLE = 50  # lines that tell what separates cells
_MOST_SAMPLED = 1 << 22  # characters of them
_COMMENTS = ("|", "#")  # what a line before the table begins with: those of UCI, and of NumPy
_DECIMALS = re.compile(r"\d,\d")

BLANKS = "blanks"
SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", BLANKS: BLANKS}
"""What may stand between cells, by the name that a recipe calls it."""


@dataclass(frozen=True)
class Source:
    """One file of rows, and the file of their labels where they have one of their own."""

    rows: Path
    labels: Path | None = None


@dataclass(frozen=True)
class Record:
    """One row of a table.

    Attributes:
        path: the file that it stands in.
        line: on which it starts, from 1.
        cells: without blanks around them.
    """

    path: Path
    line: int
    cells: list[str]


def records(source: Source, separator: str | None, encoding: str) -> Iterator[Record]:
    """The rows of a source, the label last where it stands in another file.

    Blank lines are left out, and so are comments before the first row.

    Args:
        source: the files.
        separator: one of the names in `SEPARATORS`; None to go by the first lines.
        encoding: of the text.

    Raises:
        DataError: with file and line.
    """
    rows = _of_file(source.rows, separator, encoding)
    if source.labels is None:
        yield from rows
        return
    labels = _of_file(source.labels, BLANKS, encoding)
    for row, label in zip_longest(rows, labels):
        if row is None or label is None:
            more, fewer = (source.labels, source.rows) if row is None else (
                source.rows, source.labels,
            )  # fmt: skip
            raise DataError(f"{more} has more rows than {fewer}: each row needs its label")
        if len(label.cells) != 1:
            raise DataError(
                f"{label.path}:{label.line}: {len(label.cells)} cells, where one label should be"
            )
        yield Record(row.path, row.line, [*row.cells, *label.cells])


def _of_file(path: Path, separator: str | None, encoding: str) -> Iterator[Record]:
    number, between = 0, "comma"
    try:
        with decompressed(path, ROW) as file:
            text = io.TextIOWrapper(file, encoding=_CODECS[encoding], newline="")
            lines = _lines(path, text)
            first = _sample(path, lines)
            between = separator or separator_of(path, [line for _, line in first])
            for record in _SPLITTERS[between](path, _chained(first, lines)):
                number = record.line
                yield record
    except csv.Error as error:
        raise DataError(f"{path}:{number + 1}: not {between}-separated text ({error})") from error
    except UnicodeError as error:
        raise DataError(
            f"{path}: not UTF-8 text after line {number}: save it as CSV in UTF-8, or set "
            "encoding: latin-1, or utf-16, where it is"
            if encoding == "utf-8"
            else f"{path}: not {encoding} text after line {number}: set another encoding"
        ) from error


_CODECS = {"utf-8": "utf-8-sig", "latin-1": "cp1252", "utf-16": "utf-16"}
"""By the name in recipes: Windows writes its own latin-1, which has more characters."""


def _lines(path: Path, text: io.TextIOWrapper) -> Iterator[tuple[int, str]]:
    """The lines of a file with their numbers, as long as they may be."""
    number = 0
    while line := text.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE:
            raise DataError(
                f"{path}:{number}: is longer than {_LONGEST_LINE:,} characters: no line of a table"
            )
        yield number, line


def _sample(path: Path, lines: Iterator[tuple[int, str]]) -> list[tuple[int, str]]:
    """The first lines, without the comments before them."""
    sample: list[tuple[int, str]] = []
    size = 0
    for number, line in lines:
        text = line.strip()
        if number == 1 and text.lower().startswith("@relation"):
            raise DataError(f"{path}:1: an ARFF file: save it as CSV")
        if not sample and (not text or _is_comment(text)):
            continue
        sample.append((number, line))
        size += len(line)
        if len(sample) == _SAMPLE or size > _MOST_SAMPLED:
            break
    return sample


def _is_comment(text: str) -> bool:
    """Whether a line before the table is none of its rows: it is marked, and has no cells."""
    return text.startswith(_COMMENTS) and not re.search(r"[,;\t]", text)


def _chained(
    first: Sequence[tuple[int, str]], lines: Iterator[tuple[int, str]]
) -> Iterator[tuple[int, str]]:
    yield from first
    yield from lines


def separator_of(path: Path, lines: Sequence[str]) -> str:
    """What separates the cells of these lines: what cuts all of them into equally many.

    A comma counts first, but not where all commas are those of decimals; blanks count last.
    """
    cut = [name for name in SEPARATORS if name != BLANKS and _cuts(SEPARATORS[name], lines)]
    if path.name.lower().endswith((".tsv", ".tab", ".tsv.gz")) and "tab" in cut:
        return "tab"
    if "comma" in cut and len(cut) > 1:
        rest = "".join(_DECIMALS.sub("", line) for line in lines)
        cut.remove("comma") if "," not in rest else None
    if cut:
        return cut[0]
    blanks = {len(line.split()) for line in lines if line.strip()}
    no_commas = not any(re.search(r"[,;\t|]", line) for line in lines)
    return BLANKS if len(blanks) == 1 and max(blanks) > 1 and no_commas else "comma"


def _cuts(separator: str, lines: Sequence[str]) -> bool:
    try:
        counts = {
            len(cells)
            for cells in csv.reader(lines, delimiter=separator, skipinitialspace=True)
            if cells
        }
    except csv.Error:
        return False
    return len(counts) == 1 and max(counts) > 1


def _split_by(separator: str) -> Callable[[Path, Iterator[tuple[int, str]]], Iterator[Record]]:
    def split(path: Path, lines: Iterator[tuple[int, str]]) -> Iterator[Record]:
        before = 0  # the number of the last line that was read

        def texts() -> Iterator[str]:
            nonlocal before
            for number, line in lines:
                before = number
                yield line

        reader = csv.reader(texts(), delimiter=separator, skipinitialspace=True, strict=True)
        read = 0
        for cells in reader:
            start, read = before - (reader.line_num - read) + 1, reader.line_num
            if cells:  # one in quotes may hold line breaks: the first of its lines counts
                yield Record(path, start, [cell.strip() for cell in cells])

    return split


def _by_blanks(path: Path, lines: Iterator[tuple[int, str]]) -> Iterator[Record]:
    for number, line in lines:
        if cells := [cell.strip('"') for cell in line.split()]:
            yield Record(path, number, cells)


_SPLITTERS = {
    name: _by_blanks if name == BLANKS else _split_by(text) for name, text in SEPARATORS.items()
}


def peeked(rows: Iterator[Record], count: int) -> tuple[list[Record], Iterator[Record]]:
    """The first rows, and all rows."""
    first = list(islice(rows, count))

    def every() -> Iterator[Record]:
        yield from first
        yield from rows

    return first, every()
