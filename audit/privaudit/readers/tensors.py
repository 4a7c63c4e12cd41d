"""Tensors and metadata of a .safetensors file, which can run no code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from privaudit.readers.regular import regular

Unreadable = (OSError, SafetensorError)
"""What a file that cannot be read raises, here or where a tensor is taken from it."""


@contextmanager
def tensor_file(path: Path) -> Iterator[Any]:
    """A file as `safetensors.safe_open` gives it: tensors are read when they are asked for.

    Raises:
        OSError: it is no regular file, or the system refuses.
        SafetensorError: it is damaged, or holds something else.
    """
    with regular(path):  # safe_open would wait for a pipe's writer
        pass
    with safe_open(path, framework="pt") as file:
        yield file


def read_tensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """All tensors of a file by name, and its metadata.

    Raises:
        OSError: as `tensor_file`.
        SafetensorError: as `tensor_file`.
    """
    with tensor_file(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
