"""Fits in another process."""

from __future__ import annotations

from functools import lru_cache

import torch

from privaudit.cohort.batches import Batches
from privaudit.cohort.fit import Fit, Match, made
from privaudit.cohort.packing import Unit
from privaudit.cohort.workers import Shared, Tell


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


@lru_cache(maxsize=1)  # for the next call
def _batches(where: Shared, dtype: torch.dtype) -> Batches:
    return Batches(where.load(), torch.device("cpu"), dtype)
