"""What the process does with memory: how much there is, and what happens to what is freed."""

from __future__ import annotations

import ctypes
import os
import platform
from contextlib import suppress
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_LARGE = 2**30


def keep_freed_memory() -> bool:
    """Have glibc keep what is freed, for programs that allocate the same tensors at every step.

    By default it hands every large tensor back to the kernel and faults it in again, which costs
    convolutions on a CPU up to a third of their time. For a program of its own only: it changes
    the whole process.

    Returns:
        Whether it took effect: False where the C library is another.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        return bool(libc.mallopt(_MMAP_THRESHOLD, _LARGE)) and bool(
            libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        )
    return False


def free_memory() -> int:
    """Bytes of the host's memory that could be had without swapping, or half of all of it."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return 8 * 2**30  # where the system does not tell
