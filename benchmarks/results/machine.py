"""The machine at hand, by what matters to speed and to nobody's privacy: no name, no path."""

from __future__ import annotations

import os
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def here() -> dict[str, str | int]:
    """Processor, cores and memory of this machine; what cannot be found out is not there."""
    known: dict[str, str | int | None] = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "memory": _memory(),
    }
    return {name: value for name, value in known.items() if value is not None}


def _processor() -> str | None:
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        return None
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), None)


def _memory() -> str | None:
    try:
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None
    return f"{pages / 2**30:.0f} GiB"
