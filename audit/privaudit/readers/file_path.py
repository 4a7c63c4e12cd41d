"""Paths as a recipe has them, which may start from its own folder or from the current one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import GetCoreSchemaHandler, ValidationInfo, ValidatorFunctionWrapHandler
from pydantic_core import CoreSchema, core_schema

FOLDERS = "folders"
"""What the context of a validation calls the folders that relative paths may start from."""


class FilePath(str):
    """The path of a file or a folder, as a recipe has it, and where it may start from.

    It is the text that was written: where a folder lies is no part of a recipe's identity.
    `privaudit.readers.door` opens it like any other path. Use it as the type of an option:
    `path: privaudit.FilePath`.

    Attributes:
        folders: absolute folders that a relative path is looked for in, the first one first; the
            current folder where there are none.
    """

    folders: tuple[str, ...] = ()

    def __new__(cls, path: str | os.PathLike[str], folders: Sequence[str | Path] = ()) -> Self:
        """A path, as written, and the folders that it may start from."""
        made = super().__new__(cls, os.fspath(path))
        made.folders = tuple(dict.fromkeys(map(str, folders)))
        return made

    @property
    def folder(self) -> str | None:
        """The first of the folders in which there is something at this path; None if in none."""
        if self.anchored:
            return None
        return next((f for f in self.folders if _there(Path(f, self))), None)

    @property
    def found(self) -> Path:
        """Where it leads: into that folder; else into the last one, where nothing is either."""
        if self.anchored or not self.folders:
            return Path(self)
        return Path(self.folder or self.folders[-1], self)

    @property
    def anchored(self) -> bool:
        """Whether it starts from no folder: it is absolute, or begins with a home."""
        return Path(self).is_absolute() or self.startswith("~")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Anything that pydantic takes for a path; written as text."""
        return core_schema.with_info_wrap_validator_function(
            with_folders,
            handler.generate_schema(Path),
            serialization=core_schema.to_string_ser_schema(),
        )


def with_folders(value: Any, check: ValidatorFunctionWrapHandler, info: ValidationInfo) -> FilePath:
    """A checked path with the folders of the validation's context, or with those that it has."""
    folders = value.folders if isinstance(value, FilePath) else (info.context or {}).get(FOLDERS)
    return FilePath(check(value), folders or ())


def sought(path: str | Path) -> str:
    """Where a path that leads to nothing was looked for, for the end of a message.

    >>> sought(FilePath("x.csv", ["/recipes", "/home"]))
    'looked for in /recipes (a folder of the recipe) and in /home (a folder of the recipe)'
    """
    path = path if isinstance(path, FilePath) else FilePath(path)
    if path.anchored:
        return "check the path"
    folders, here = path.folders, str(Path.cwd())
    if not [folder for folder in folders if folder != here]:
        return "a relative path starts from the current folder"
    *before, last = [
        f"in {folder} ({'the current folder' if folder == here else 'a folder of the recipe'})"
        for folder in folders
    ]
    return "looked for " + (f"{', '.join(before)} and " if before else "") + last


def paths_in(value: Any) -> Iterator[FilePath]:
    """Every path among the options of a recipe."""
    if isinstance(value, FilePath):
        yield value
    elif isinstance(value, dict):
        yield from paths_in(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from paths_in(item)
    elif hasattr(type(value), "model_fields"):
        yield from paths_in([getattr(value, name, None) for name in type(value).model_fields])


def _there(path: Path) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:  # a character that no name may hold
        return False
