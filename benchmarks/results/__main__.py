"""Pages about what recipes found: made from runs, and checked against today's code.

    python -m benchmarks.results write RUN...       pages of finished runs, and the index
    python -m benchmarks.results check              which pages are older than the arithmetic
    python -m benchmarks.results index              the index anew, after findings were written
    python -m benchmarks.results pictures           the figures of benchmarks/README.md

See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path

from privaudit.errors import PrivauditError, RecipeError


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.results",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    write = commands.add_parser("write", help="make the pages of finished runs")
    write.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run's folder")
    write.add_argument("--commit", default="", help="that made them, where they do not know it")
    write.add_argument(
        "--date", type=_day, metavar="YYYY-MM-DD", help="where result.json is a copy"
    )
    write.add_argument(
        "--elsewhere", action="store_true", help="another machine than this one made them"
    )
    check = commands.add_parser("check", help="say which pages are older than today's code")
    check.add_argument("names", nargs="*", metavar="NAME", help="of recipes; all if none is given")
    commands.add_parser("index", help="make the table in recipes/README.md")
    commands.add_parser("pictures", help="draw the figures of benchmarks/README.md")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is asked; 1 if a page is not of today's code, 2 if something cannot be done."""
    asked = parsed(arguments)
    try:
        return _COMMANDS[asked.command](asked)
    except PrivauditError as error:
        print(error, file=sys.stderr)
        return 2


def _day(text: str) -> str:
    """A date as YYYY-MM-DD."""
    try:
        known = date.fromisoformat(text).isoformat() == text
    except ValueError:
        known = False
    if not known:
        raise argparse.ArgumentTypeError(f"{text!r} is no date: write it as YYYY-MM-DD")
    return text


def _write(asked: argparse.Namespace) -> int:
    from benchmarks.results.measured import Told, measured
    from benchmarks.results.pages import Pages

    pages, told = Pages(), Told(asked.commit, asked.date or "", asked.elsewhere)
    for folder in asked.runs:
        record, figures = measured(folder, told)
        pages.write(record, figures)
        print(f"recipes/results/{record.name}.md: table {record.table}, figures: {len(figures)}")
    pages.write_index()
    return 0


def _check(asked: argparse.Namespace) -> int:
    from benchmarks.results.check import check
    from benchmarks.results.pages import Pages
    from benchmarks.results.sources import here
    from privaudit.messages import unknown

    pages, sources = Pages(), here()
    for name in asked.names:
        if name not in pages.names():
            raise RecipeError(unknown("page", name, pages.names()))
    verdicts = [check(pages, name, sources) for name in asked.names or pages.names()]
    for verdict in verdicts:
        print(f"{verdict.name}: {verdict.why}")
        for remark in verdict.remarks:
            print(f"  {remark}")
    return int(not all(verdict.good for verdict in verdicts))


def _index(asked: argparse.Namespace) -> int:
    from benchmarks.results.pages import Pages

    Pages().write_index()
    return 0


def _pictures(asked: argparse.Namespace) -> int:
    from benchmarks.results.pictures import write_pictures

    for path in write_pictures():
        print(path)
    return 0


_COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "write": _write,
    "check": _check,
    "index": _index,
    "pictures": _pictures,
}

if __name__ == "__main__":
    sys.exit(main())
