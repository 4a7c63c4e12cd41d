"""What can be kept of an answer in place of its logits: a number or three for each example.

All of it is found in float64, some examples at a time: the answers of 256 models to 50,000 examples
are half a gigabyte in float32, and are never copied whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

_NUMBERS = 2**20  # float64 numbers worked on at once: 8 MB
_AT = "@"  # between `log_odds` and a temperature

Measure = Callable[[Tensor, Tensor], Tensor]
"""Of logits (..., n, C), a float64 copy, and labels (..., n, 1)."""


@dataclass(frozen=True)
class Reduction:
    """One kind of what is kept.

    Attributes:
        measure: gives it, (..., n, *last).
        dtype: in which it is kept.
        last: the axes behind the examples'.
    """

    measure: Measure
    dtype: torch.dtype
    last: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Bytes for one example."""
        return self.dtype.itemsize * (self.last[0] if self.last else 1)


def _log_odds(z: Tensor, own: Tensor) -> Tensor:
    true = z.gather(-1, own)[..., 0]
    others = z.scatter_(-1, own, -torch.inf).logsumexp(-1)
    endless = (true == torch.inf) | (others == torch.inf)
    return (true - others).masked_fill(endless, torch.nan)


def _tempered(temperature: float) -> Measure:
    def odds(z: Tensor, own: Tensor) -> Tensor:
        z /= temperature
        true = z.gather(-1, own)
        return true[..., 0] - z.scatter_(-1, own, -torch.inf).logsumexp(-1)

    return odds


def _label_probability(z: Tensor, own: Tensor) -> Tensor:
    return z.softmax(-1).gather(-1, own)[..., 0]


def _predicted(z: Tensor, own: Tensor) -> Tensor:
    return torch.where(z.amax(-1).isfinite(), z.argmax(-1), -1)


def _top(z: Tensor, own: Tensor) -> Tensor:
    best = z.softmax(-1).topk(min(3, z.shape[-1]), dim=-1).values
    return torch.nn.functional.pad(best, (0, 3 - best.shape[-1]))


REDUCTIONS: dict[str, Reduction] = {
    "log_odds": Reduction(_log_odds, torch.float64),
    "label_probability": Reduction(_label_probability, torch.float32),
    "predicted": Reduction(_predicted, torch.int16),
    "top": Reduction(_top, torch.float64, (3,)),
}
"""By name: φ = log p_y - log Σ_{i≠y} p_i; p_y; the likeliest class, -1 where the largest logit is
NaN or infinite; the three largest probabilities, falling, with zeros where there are two classes.
"""


def log_odds_at(temperature: float) -> str:
    """The name of the log-odds of the softmax of logits / temperature."""
    return f"log_odds{_AT}{float(temperature)!r}"


def reduction(name: str) -> Reduction | None:
    """What a name stands for; None where there is no such reduction."""
    word, _, number = name.partition(_AT)
    if word == "log_odds" and number:
        try:
            temperature = float(number)
        except ValueError:
            return None
        return Reduction(_tempered(temperature), torch.float64) if temperature > 0 else None
    return REDUCTIONS.get(name)


def reduced(name: str, logits: Tensor, y: Tensor, rows: Tensor) -> Tensor:
    """A reduction (..., n, *last) of logits (..., N, C) to rows (n,) int64 with labels y (N,)."""
    kind = reduction(name)
    assert kind is not None  # `Outputs.of` has looked
    return by_block(logits, y, rows, kind.measure, kind.dtype, kind.last)


def log_odds(logits: Tensor, y: Tensor, rows: Tensor) -> Tensor:
    """φ = log p_y - log Σ_{i≠y} p_i = z_y - log Σ_{i≠y} exp z_i.

    Carlini et al. 2022, "Membership inference attacks from first principles", logit scaling in
    its stable form. Nothing is clipped: φ is finite wherever z_y and the largest other logit
    are, however sure the model. A logit of -inf is the logarithm of a probability of 0, as random
    forests give them; where p_y is 0, φ is -inf, and where it is 1, φ is +inf.

    Args:
        logits: (..., N, C), C ≥ 2.
        y: (N,) int64 labels.
        rows: (n,) int64, the examples asked for.

    Returns:
        (..., n) float64; NaN where a logit is NaN or +inf, or all are -inf.
    """
    return by_block(logits, y, rows, _log_odds)


def softmax_odds(logits: Tensor, y: Tensor, rows: Tensor, temperature: float) -> Tensor:
    """Log p_y - log(1 - p_y) of the softmax of logits / temperature.

    Args:
        logits: (..., N, C), C ≥ 2.
        y: (N,) int64 labels.
        rows: (n,) int64, the examples asked for.
        temperature: above 0.

    Returns:
        (..., n) float64, finite wherever the logits are.
    """
    return by_block(logits, y, rows, _tempered(temperature))


def blocks(count: int, numbers: int) -> Iterator[slice]:
    """Slices of `count` examples with `numbers` numbers each that fit the cache better."""
    step = max(1, _NUMBERS // max(1, numbers))
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def by_block(
    logits: Tensor,
    y: Tensor,
    rows: Tensor,
    measure: Measure,
    dtype: torch.dtype = torch.float64,
    last: tuple[int, ...] = (),
) -> Tensor:
    """A measure of logits (..., n, C), as float64 copies, and labels (..., n, 1)."""
    models, classes = logits.shape[:-2], logits.shape[-1]
    found = torch.empty((*models, len(rows), *last), dtype=dtype)
    for block in blocks(len(rows), models.numel() * classes):
        some = rows[block]
        z = logits[..., some, :].to(torch.float64, copy=True)
        measured = measure(z, y[some, None].expand(*z.shape[:-1], 1))
        found.narrow(len(models), block.start, len(some)).copy_(measured)
    return found
