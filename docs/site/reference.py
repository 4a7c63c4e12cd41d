"""`python docs/site/reference.py`: write the pages, or say which are not as the code has it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from reference_pages import pages
from reference_pages.markdown import COMMAND

FOLDER = Path(__file__).parents[1] / "reference"


def main(arguments: list[str] | None = None, folder: Path = FOLDER) -> int:
    """Write the pages; or with `--check` only compare them, and answer 1 where one differs."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--check", action="store_true", help="say which pages differ; write none")
    check = parser.parse_args(arguments).check
    wanted = pages()
    problems = differing(wanted, folder)
    if not check:
        for path, text in wanted.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        problems = differing(wanted, folder)  # of files that nothing makes
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def differing(wanted: Mapping[str, str], folder: Path) -> list[str]:
    """One line for each page that is missing, another than wanted, or made by nothing.

    Args:
        wanted: every page's text by its path.
        folder: where they lie.
    """
    found = {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*.md"))
    }
    lines = [
        f"docs/reference/{path} {'differs from the code' if path in found else 'is missing'}: "
        f"run `{COMMAND}`"
        for path, text in wanted.items()
        if found.get(path) != text
    ]
    unmade = [path for path in found if path not in wanted]
    return lines + [f"docs/reference/{path} is made from nothing: remove it" for path in unmade]


if __name__ == "__main__":
    sys.exit(main())
