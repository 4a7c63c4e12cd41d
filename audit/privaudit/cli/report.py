"""`privaudit report`."""

from __future__ import annotations


def report() -> None:
    """Not written yet."""
    raise NotImplementedError
