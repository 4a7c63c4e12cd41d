"""RMIA's temperature and its `a`, chosen where shadows are attacked by the other shadows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from privaudit_plugins.attacks._rmia_rows import Known, quality

TEMPERATURES = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0)
"""What `temperature: auto` chooses from, times `temperature_unit`."""
TENTHS = tuple(step / 10 for step in range(11))
"""What `a: tune` chooses from."""
UNTUNED = 2.0
"""The temperature where no shadow can be attacked by others, times `temperature_unit`."""

_TURNS = 8  # shadows that are attacked; the paper takes one to choose `a`
_SHADOWS = 32  # that attack them; more would not move the choice
_ROWS = 2048  # examples that it takes


def some_rows(count: int) -> Tensor:
    """Evenly spaced examples, (n,) int64: enough of `count` to choose by."""
    return torch.arange(min(count, _ROWS)) * count // min(count, _ROWS)


def best_options(
    odds: Callable[[float], Tensor],
    known: Known,
    temperatures: Sequence[float],
    guesses: Callable[[Tensor], Sequence[float]],
) -> tuple[float, float] | None:
    """The temperature and the `a` whose mean AUC is best when shadows are the target in turn.

    Nothing about the target enters. Of equals the first is taken.

    Args:
        odds: the shadows' log-odds (K, n) float64 at a temperature.
        known: about these K shadows and n audited examples.
        temperatures: to choose from.
        guesses: the values of `a` to choose from, of the shadows' log-odds.

    Returns:
        None where no shadow can be attacked by others.
    """
    kept = known.turns(min(_TURNS, len(known.inside)))
    best, chosen = -1.0, None
    for temperature in temperatures:
        shadows = odds(temperature)
        tried = guesses(shadows)
        ratios = known.ratios(shadows[: len(kept)], shadows, kept, tried)
        for a, ratio in zip(tried, ratios, strict=True):
            auc = quality(ratio, known)
            if auc is not None and auc > best:
                best, chosen = auc, (temperature, a)
    return chosen


def few_shadows(known: Known, columns: Tensor) -> Known:
    """The first shadows, as many as tuning takes, and the columns (n,) int64 that it takes."""
    return Known(
        known.inside[:_SHADOWS, columns],
        known.outside[:_SHADOWS, columns],
        known.tested[:_SHADOWS, columns],
        known.mode,
    )
