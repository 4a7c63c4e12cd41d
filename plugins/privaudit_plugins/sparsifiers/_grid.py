"""The evenly spaced values that weights are rounded to, for one model."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

_CANDIDATES = 100  # spacings that are tried


def on_grid(weight: Tensor, bits: int, scale: Literal["channel", "layer"]) -> Tensor:
    """A weight (channels, ...) rounded to the nearest of 2^bits - 1 values, zero among them.

    The largest weight of a channel, or of the layer, is the outermost value (Jacob et al. 2018,
    section 2.1, with zero as the zero point); the same values as `quantize` has.
    """
    outermost = 2 ** (bits - 1) - 1
    rows = weight.flatten(1) if scale == "channel" else weight.flatten()[None]
    peak = rows.abs().amax(1, keepdim=True)
    spacing = torch.where(peak > 0, peak, 1.0) / outermost
    rounded: Tensor = (rows / spacing).round().clamp(-outermost, outermost) * spacing
    return rounded.view_as(weight)


def off_zero(weight: Tensor, spacing: Tensor, bits: int) -> Tensor:
    """A weight rounded to the nearest of 2^bits values ±q, ±2q, ... of spacing q; zero is none."""
    steps = (weight.abs() / spacing).round().clamp(1, 2 ** (bits - 1))
    return torch.where(weight < 0, -steps, steps) * spacing


def best_spacing(values: Tensor, bits: int) -> Tensor:
    """The spacing q of `off_zero` whose squared error over values (n,) is smallest.

    Tried are evenly spaced ones up to that which makes the largest value the outermost; the best
    is moved to the least-squares spacing of the values' own steps, which errs no more.
    """
    most = 2 ** (bits - 1)
    peak = values.abs().amax() if values.numel() else values.new_zeros(())
    if peak == 0:
        return torch.ones_like(peak)
    widest = peak / most * 1.5
    tried = [widest * (number + 1) / _CANDIDATES for number in range(_CANDIDATES)]
    errors = [(values - off_zero(values, q, bits)).square().sum() for q in tried]
    best = tried[int(torch.stack(errors).argmin())]
    steps = off_zero(values, best, bits) / best
    nearest: Tensor = (values * steps).sum() / steps.square().sum()
    return nearest
