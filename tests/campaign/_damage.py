"""What can happen to a file that was written: one function each."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

Damage = Callable[[Path, Path, random.Random], object]
"""Gets the file, the same file of another run, and what to draw from."""


def gone(path: Path) -> None:
    """Remove a file or a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _cut(share: float) -> Damage:
    def damage(path: Path, other: Path, draw: random.Random) -> None:
        os.truncate(path, int(path.stat().st_size * share))

    return damage


def _flipped(path: Path, other: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def _zeros(path: Path, other: Path, draw: random.Random) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _noise(path: Path, other: Path, draw: random.Random) -> None:
    path.write_bytes(draw.randbytes(path.stat().st_size))


def _longer(path: Path, other: Path, draw: random.Random) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def _folder(path: Path, other: Path, draw: random.Random) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside").write_text("x")


def _pipe(path: Path, other: Path, draw: random.Random) -> None:
    gone(path)
    os.mkfifo(path)


def _dangling(path: Path, other: Path, draw: random.Random) -> None:
    gone(path)
    path.symlink_to(path.parent / "nowhere")


def _loop(path: Path, other: Path, draw: random.Random) -> None:
    gone(path)
    path.symlink_to(path)


def _huge(path: Path, other: Path, draw: random.Random) -> None:
    os.truncate(path, 20 * 2**30)


def _other(path: Path, other: Path, draw: random.Random) -> None:
    gone(path)
    if other.is_dir():
        shutil.copytree(other, path)
    else:
        shutil.copy(other, path)


def _file(path: Path, other: Path, draw: random.Random) -> None:
    gone(path)
    path.write_text("x")


DAMAGES: dict[str, Damage] = {
    "empty": _cut(0),
    "cut early": _cut(0.1),
    "cut late": _cut(0.97),
    "a bit flipped": _flipped,
    "another bit flipped": _flipped,
    "zeros": _zeros,
    "noise": _noise,
    "longer": _longer,
    "huge": _huge,
    "that of another run": _other,
    "a folder": _folder,
    "a pipe": _pipe,
    "a dangling link": _dangling,
    "a link to itself": _loop,
    "missing": lambda path, other, draw: gone(path),
}
"""Of files."""

OF_FOLDERS: dict[str, Damage] = {
    "a file": _file,
    "a pipe": _pipe,
    "a dangling link": _dangling,
    "a link to itself": _loop,
    "missing": lambda path, other, draw: gone(path),
    "that of another run": _other,
}
