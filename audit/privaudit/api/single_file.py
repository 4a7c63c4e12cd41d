"""Plugins in one file, without packaging: read once, and known by one name in every process."""

from __future__ import annotations

import re
import sys
import traceback
from contextlib import redirect_stdout
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import ModuleType

from privaudit.api.interrupt import in_a_line, is_interrupt, no_sudden_exit
from privaudit.api.source import SOURCE
from privaudit.api.world import own_world
from privaudit.errors import PluginError
from privaudit.messages import plain
from privaudit.readers.door import content, kind, located

MAX_BYTES = 1 << 24


@dataclass(frozen=True)
class OneFile:
    """A file of plugins, as it was when it was read.

    Attributes:
        path: where it lies, absolute.
        source: what it holds; other processes run this, even if the file has changed since.
    """

    path: Path
    source: bytes

    @classmethod
    def read(cls, path: str | Path) -> OneFile:
        """Read a file.

        Args:
            path: from the current folder, if it is relative.

        Raises:
            PluginError: it is not there, cannot be read, or is no Python.
        """
        absolute = located(path, PluginError)
        if absolute.suffix != ".py":
            raise PluginError(f"{absolute} does not end in .py: a plugin is a Python file")
        if kind(absolute, PluginError) == "nothing":
            raise PluginError(plain(f"{absolute}: there is no such file"))
        return cls(absolute, content(absolute, MAX_BYTES, PluginError, "plugin"))

    @property
    def module_name(self) -> str:
        """The same wherever the same file with the same content is loaded."""
        digest = sha256(str(self.path).encode() + b"\0" + self.source).hexdigest()[:16]
        stem = re.sub(r"\W", "_", self.path.stem)
        return f"privaudit_file_{stem}_{digest}"

    def load(self) -> ModuleType:
        """The file's module, loaded if this process has not done so yet.

        Raises:
            PluginError: it fails, with the line where.
        """
        name = self.module_name
        if name in sys.modules:
            return sys.modules[name]
        module = ModuleType(name)
        module.__file__ = str(self.path)
        setattr(module, SOURCE, self.source)
        sys.modules[name] = module  # before it runs: dataclasses and pydantic look it up
        try:
            with own_world(str(self.path)), redirect_stdout(sys.stderr), no_sudden_exit():
                exec(compile(self.source, str(self.path), "exec"), vars(module))
        except BaseException as error:
            sys.modules.pop(name, None)
            if is_interrupt(error):
                raise
            original = "".join(traceback.format_exception(error))
            raise PluginError(failure(error, str(self.path)), original) from error
        return module


def failure(error: BaseException, file: str) -> str:
    """Where in a file that was loaded an error arose, and what it says, on one line."""
    line = 0
    if isinstance(error, SyntaxError) and error.filename == file:
        line = error.lineno or 0
    for frame, number in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename == file:
            line = number
    where = f"{file}:{line}" if line else file
    if isinstance(error, SyntaxError):
        return " ".join(f"{where}: {type(error).__name__}: {error.msg}".split())
    return f"{where}: {in_a_line(error)}"
