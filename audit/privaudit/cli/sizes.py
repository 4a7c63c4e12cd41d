"""Bytes as a person reads and writes them."""

from __future__ import annotations

import math
import re

_DECIMAL = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_BINARY = {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_UNITS = _DECIMAL | _BINARY | {letter: _DECIMAL[f"{letter}b"] for letter in "kmgt"}


def bytes_in(text: str) -> int:
    """The bytes of a size such as "10GB", "500 MiB" or "0".

    Raises:
        ValueError: it is none.

    >>> bytes_in("10GB"), bytes_in("1.5 MiB"), bytes_in("0")
    (10000000000, 1572864, 0)
    """
    matched = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,6})?)\s*([A-Za-z]*)\s*", text, re.ASCII)
    if matched is None or matched[2].lower() not in _UNITS:
        raise ValueError(f"{text!r} is no size: write 10GB, 500MB, 2GiB or 0")
    return math.floor(float(matched[1]) * _UNITS[matched[2].lower()])


def shown(size: float) -> str:
    """Bytes in the unit that fits them.

    >>> shown(0), shown(999), shown(85_300_000), shown(12e9)
    ('0 B', '999 B', '85.3 MB', '12.0 GB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
