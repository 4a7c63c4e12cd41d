"""Answers of small networks to digits, for audits of arrays: a target and shadows in pairs."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

AUDITED, ROWS, PAIRS = 600, 900, 4


@cache
def _trained() -> dict[str, NDArray[Any]]:
    x, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    x, y = x[:ROWS] / 16, y[:ROWS].copy()
    wrong = rng.random(ROWS) < 0.1  # labels to learn by heart
    y[wrong] = rng.integers(0, 10, int(wrong.sum()))
    half = rng.random((1 + PAIRS, ROWS)) < 0.5
    inside = np.concatenate([half, ~half[1:]])
    inside[:, AUDITED:] = False
    return {
        "logits": _answers(torch.tensor(x).float(), torch.tensor(y), torch.tensor(inside)),
        "labels": y,
        "inside": inside,
    }


def _answers(x: torch.Tensor, y: torch.Tensor, inside: torch.Tensor) -> NDArray[np.float32]:
    """Logits (M, N, 10) of M networks with 40 hidden units, trained side by side."""
    torch.manual_seed(0)
    count = len(inside)
    weights = [
        (torch.randn(count, rows, columns) / rows**0.5).requires_grad_()
        for rows, columns in ((65, 40), (41, 10))
    ]
    adam = torch.optim.Adam(weights, 2e-2)

    def forward(every: torch.Tensor) -> torch.Tensor:
        for depth, weight in enumerate(weights):
            wide = every.expand(count, *every.shape[-2:])
            every = torch.cat([wide, torch.ones(*wide.shape[:-1], 1)], dim=-1) @ weight
            every = every.relu() if depth == 0 else every
        return every

    share = inside[:, :AUDITED] / inside.sum(1, keepdim=True)
    for _ in range(80):
        adam.zero_grad()
        logits = forward(x[:AUDITED])
        labels = y[:AUDITED].expand(count, -1)
        losses = cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
        (losses.view(count, -1) * share).sum().backward()  # type: ignore[no-untyped-call]
        adam.step()
    return np.asarray(forward(x).detach().numpy())


def field_arrays() -> dict[str, Any]:
    """Arguments of `audit_outputs` that are as they should be; each call gives them anew."""
    trained = {name: array.copy() for name, array in _trained().items()}
    return {
        "logits": trained["logits"][0],
        "labels": trained["labels"],
        "members": trained["inside"][0],
        "audited": np.arange(ROWS) < AUDITED,
        "shadow_logits": trained["logits"][1:],
        "shadow_members": trained["inside"][1:],
    }
