"""What kind of network a file holds, by its content: names of such files tell little."""

from __future__ import annotations

import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Literal

from privaudit.readers.budget import check
from privaudit.readers.door import opened

SavedKind = Literal["safetensors", "state_dict", "TorchScript", "torch.export", "pointer", "other"]
"""Weights alone (`safetensors`, and `state_dict` for what torch.save writes), or a program.

A `pointer` is what Git keeps in the place of a large file; `other` is none of these.
"""

_MARKS: tuple[tuple[str, SavedKind], ...] = (
    ("archive_format", "torch.export"),
    ("serialized_exported_program.json", "torch.export"),  # before torch 2.8
    ("/constants.pkl", "TorchScript"),
    ("data.pkl", "state_dict"),
)
_POINTER = b"version https://git-lfs"
_PICKLE = b"\x80"  # the first byte of what torch.save wrote before torch 1.6
_LONGEST = 100 << 20  # bytes of a safetensors header, as its own library has it


def saved_kind(path: Path) -> SavedKind:
    """What kind of network a file holds.

    Raises:
        DataError: it cannot be read, or unfolds to more than there is memory for.
    """
    with opened(path) as file:
        head = file.read(64)
        with suppress(zipfile.BadZipFile, ValueError, NotImplementedError):
            entries = zipfile.ZipFile(file).infolist()
            check(path, sum(entry.file_size for entry in entries), "what it holds")
            names = [entry.filename for entry in entries]
            for mark, kind in _MARKS:
                if any(name.endswith(mark) for name in names):
                    return kind
            return "other"
    if head.startswith(_POINTER):
        return "pointer"
    if int.from_bytes(head[:8], "little") <= _LONGEST and head[8:9] == b"{":
        return "safetensors"
    return "state_dict" if head.startswith(_PICKLE) else "other"
