"""Log-odds of the true class under a temperature, by the Taylor polynomial of the softmax."""

from __future__ import annotations

import torch
from torch import Tensor

from privaudit.reductions import by_block

_SURE = 10.0  # log-odds: networks on real data, trained to 100 %, have medians of 4 to 9


def taylor_odds(
    logits: Tensor, y: Tensor, rows: Tensor, temperature: float, *, order: int, margin: float
) -> Tensor:
    """Log p_y - log(1 - p_y) of the Taylor softmax with a soft margin.

    p_y = apx(z_y - m) / (apx(z_y - m) + Σ_{i≠y} apx(z_i)), apx(z) = Σ_{i≤n} zⁱ / i!, of
    z = logits / temperature: the appendix of Zarifzadeh et al. 2024 on confidence functions, after
    Banerjee et al. 2020, "Exploring alternatives to softmax function". A polynomial is no
    exponential: it matters what is added to all logits, and far below zero it rises again.

    Args:
        logits: (..., N, C), C ≥ 2.
        y: (N,) int64 labels.
        rows: (n,) int64, the examples asked for.
        temperature: above 0.
        order: n, even, so that apx is above 0 everywhere.
        margin: m, from 0 on.

    Returns:
        (..., n) float64.
    """

    def log_apx(z: Tensor) -> Tensor:
        total = torch.ones_like(z)
        for power in range(order, 0, -1):  # Horner's scheme
            total.mul_(z).div_(power).add_(1)
        return total.log_()

    def odds(z: Tensor, own: Tensor) -> Tensor:
        z /= temperature
        true = log_apx(z.gather(-1, own) - margin)
        return true[..., 0] - log_apx(z).scatter_(-1, own, -torch.inf).logsumexp(-1)

    return by_block(logits, y, rows, odds)


def temperature_unit(odds: Tensor) -> float:
    """By what temperatures are multiplied: 1, or more where networks are surer than most are.

    Networks whose logits are a hundred times as large as usual are asked at a hundred times the
    temperature.

    Args:
        odds: (K, n) float64, of the softmax at temperature 1; infinite ones, which no temperature
            changes, do not count.
    """
    finite = odds[odds.isfinite()]
    return max(1.0, float(finite.median()) / _SURE) if len(finite) else 1.0
