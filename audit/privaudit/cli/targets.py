"""Files that a command is to write: whether it can, before any work is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from privaudit.errors import RecipeError, StoreError
from privaudit.messages import plain


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
        if there in ("folder", "other"):
            what = "a folder" if there == "folder" else "no regular file"
            raise StoreError(plain(f"{option} {path}: is {what}: name a file"))
        check_writable(path)
