"""What a program did to the pretend accelerator."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

_OURS = ("/privaudit/", "/privaudit_plugins/")
_NOT = ("/torch/", "/testing/pretend/")


class MixedError(RuntimeError):
    """Host and device tensors have met where CUDA would refuse."""


class Seen:
    """What a program did to the device; each count by operation and line.

    Attributes:
        waits: of the host for the device.
        uploads: from host to device.
        numbers: host tensors without axes that an operation took as a number.
        mixed: host and device tensors that met.
        launches: by operation alone.
        bytes: read and written by launches, if nothing is fused.
        strict: whether what is mixed raises.
    """

    def __init__(self, strict: bool) -> None:
        self.waits: Counter[tuple[str, str]] = Counter()
        self.uploads: Counter[tuple[str, str]] = Counter()
        self.numbers: Counter[tuple[str, str]] = Counter()
        self.mixed: Counter[tuple[str, str]] = Counter()
        self.launches: Counter[str] = Counter()
        self.bytes = 0
        self.strict = strict

    def table(self, most: int = 30) -> str:
        """All counts, the largest first."""
        lines = []
        for title in ("mixed", "waits", "uploads", "numbers"):
            found: Counter[tuple[str, str]] = getattr(self, title)
            lines.append(f"{title}: {found.total()}")
            lines += [f"  {n:7}  {op:32} {line}" for (op, line), n in found.most_common(most)]
        lines.append(f"launches: {self.launches.total()}, {self.bytes / 2**20:.1f} MiB moved")
        lines += [f"  {n:7}  {op}" for op, n in self.launches.most_common(most)]
        return "\n".join(lines)


class _Watch:
    """Who is told of what happens on the device."""

    seen = Seen(strict=True)


watch = _Watch()


def line() -> str:
    """The innermost line of privaudit's that is being run."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if any(part in name for part in _OURS) and not any(part in name for part in _NOT):
            short = name[max(name.rfind(part) for part in _OURS) + 1 :]
            return f"{short}:{frame.f_lineno}"
        frame = frame.f_back
    return "(a backward pass, or torch)"
