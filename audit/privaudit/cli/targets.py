"""What a command puts out: on stdout or into a file, and whether it can, before any work."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from privaudit.errors import RecipeError, StoreError
from privaudit.messages import plain

if TYPE_CHECKING:
    from rich.console import Console

_SYSTEM = (("/", "dev"), ("/", "proc"), ("/", "sys"))
"""Where what looks like a file is a door to something else, and must not be replaced by one."""


def check_targets(targets: Mapping[str, Path | None], inputs: Iterable[Path] = ()) -> None:
    """Refuse files that cannot be written, that are one and the same, or that are read.

    Args:
        targets: by the option that names each; None is none.
        inputs: files, or folders, that the command reads.

    Raises:
        RecipeError: two options name one file, or one names what is read.
        StoreError: a file cannot be written.
    """
    from privaudit.readers.door import kind
    from privaudit.store.files import check_writable

    taken: dict[Path, str] = {path.resolve(): "what the command reads" for path in inputs}
    for option, path in targets.items():
        if path is None:
            continue
        place = path.resolve()
        if place in taken:
            raise RecipeError(plain(f"{option} {path}: is {taken[place]}, too: name another file"))
        taken[place] = f"the file of {option}"
        there = kind(path, StoreError)
        if path.absolute().parts[:2] in _SYSTEM:  # /dev/stdout may lead to a regular file
            there = "other"
        if there in ("folder", "other"):
            what = "a folder" if there == "folder" else "no regular file"
            raise StoreError(plain(f"{option} {path}: is {what}: name a file"))
        check_writable(path)


def deliver(text: str, output: Path | None, what: str) -> None:
    """Print a text, or write it whole or not at all.

    Args:
        text: in UTF-8 whatever the terminal speaks.
        output: the file; None prints.
        what: it is, for the line on stderr that says where it lies.

    Raises:
        StoreError: the file cannot be written.
    """
    data = text.encode()
    if output is None:
        typer.echo(data, nl=False)
        return
    from privaudit.store.files import write_whole

    write_whole(output, data)
    typer.echo(plain(f"{what} in {output}"), err=True)


def printed(show: Callable[[Console], None], output: Path | None, what: str) -> None:
    """Print something, or write into a file what would be printed, without its colours.

    Args:
        show: prints it.
        output: as `deliver` takes it, and so is `what`.
        what: see above.

    Raises:
        StoreError: the file cannot be written.
    """
    from rich.console import Console

    console = Console()
    if output is None:
        show(console)
        return
    text = io.StringIO()
    show(Console(file=text, width=console.width, color_system=None))
    deliver(text.getvalue(), output, what)
