"""Fits in another process."""

from __future__ import annotations

import torch

from privaudit.cohort.batches import Batches
from privaudit.cohort.fit import Fit, Match, made
from privaudit.cohort.packing import Unit
from privaudit.cohort.workers import Shared, Tell

_held: tuple[Shared, torch.dtype, Batches] | None = None  # by this process, for the next call


def made_there(
    tell: Tell, where: Shared, dtype: torch.dtype, fit: Fit, match: Match | None
) -> list[Unit]:
    """What `made` gives; tells about every epoch its number and its history, a list."""
    return made(
        fit,
        match,
        _batches(where, dtype),
        lambda epoch, history: tell((epoch, history.tolist())),
    )


def _batches(where: Shared, dtype: torch.dtype) -> Batches:
    global _held
    if _held is None or _held[:2] != (where, dtype):
        _held = where, dtype, Batches(where.load(), torch.device("cpu"), dtype)
    return _held[2]
