"""The search for noise that makes a classifier change its mind, for many answers at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad
from torch.nn.functional import one_hot

_LABEL = 10.0  # weight c2: what it costs when another label overtakes
_DISTORTION = tuple(0.1 * 10.0**k for k in range(7))  # weights c3, tried in turn
_STEP = 0.1  # length of each step, in logits
_DECIDED = 1e-5  # a classifier nearer to 1/2 than this is left alone

Guess = Callable[[Tensor], Tensor]


def disguised(logits: Tensor, guess: Guess, iterations: int) -> Tensor:
    """Logits (N, C) on which the classifier just changes its mind, as near as is found.

    Jia et al. 2019, MemGuard, algorithm 1: steps of fixed length down the gradient of
    |h(z)| + c2 max(0, max_{j≠l} z_j - z_l) + c3 ‖softmax(z) - s‖₁ until the classifier h has
    crossed 0 and the label l is the same; then again from the start with c3 ten times as large,
    until that finds nothing more. c2, c3 from 0.1 to 1e5 and the length of a step are those of
    the code published with the paper.

    Args:
        logits: (N, C); a row with NaN is left alone.
        guess: the classifier's logits (N,) of logits (N, C), each row for itself.
        iterations: most steps for each c3.

    Returns:
        The logits, unchanged where the classifier is undecided already or nothing is found.
    """
    found = logits.clone()
    sure = (guess(logits).sigmoid() - 0.5).abs() > _DECIDED
    rows = (sure & logits.isfinite().all(-1)).nonzero()[:, 0]
    for weight in _DISTORTION:
        moved, crossed = _search(logits[rows], guess, weight, iterations)
        rows = rows[crossed]
        found[rows] = moved
    return found


def _search(logits: Tensor, guess: Guess, weight: float, iterations: int) -> tuple[Tensor, Tensor]:
    """Of n answers the k on which the classifier crossed 0, (k, C), and which they are, (n,)."""
    found, crossed = (
        logits.clone(),
        torch.zeros(len(logits), dtype=torch.bool, device=logits.device),
    )
    rows, z = torch.arange(len(logits), device=logits.device), logits
    label, scores = logits.argmax(-1), logits.softmax(-1)
    member = guess(logits) > 0
    for _ in range(iterations + 1):
        if not len(rows):
            break
        gradient, now = grad(_loss, has_aux=True)(z, guess, label[rows], scores[rows], weight)
        done = ((now > 0) != member[rows]) & (z.argmax(-1) == label[rows])
        found[rows[done]] = z[done]
        crossed[rows[done]] = True
        rows = rows[~done]
        z = z[~done] - _STEP * _unit(gradient[~done])
    return found[crossed], crossed


def _loss(
    z: Tensor, guess: Guess, label: Tensor, scores: Tensor, weight: float
) -> tuple[Tensor, Tensor]:
    """What is minimised, summed over n answers (n, C), and the classifier's logits (n,)."""
    now = guess(z)
    chosen = one_hot(label, z.shape[-1]).bool()
    rival = z.masked_fill(chosen, -torch.inf).amax(-1)
    overtaken = (rival - z.masked_fill(~chosen, 0).sum(-1)).relu()
    distance = (z.softmax(-1) - scores).abs().sum()
    return now.abs().sum() + _LABEL * overtaken.sum() + weight * distance, now


def _unit(gradient: Tensor) -> Tensor:
    """Rows (n, C) of length 1, also those whose squares are too small for their type."""
    least = torch.finfo(gradient.dtype).tiny
    scaled = gradient / gradient.abs().amax(-1, keepdim=True).clamp(min=least)
    length: Tensor = scaled.norm(dim=-1, keepdim=True)
    return scaled / length.clamp(min=least)
