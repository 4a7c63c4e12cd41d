"""What the models of a cohort answer: to the examples, their augmentations and noisy copies."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor

from privaudit.api.calls import responded
from privaudit.api.float32 import float32_products
from privaudit.api.plugin import overrides
from privaudit.cohort.gradient_norms import gradient_norms
from privaudit.cohort.trainable import Cohort
from privaudit.keys import derive, fold, normal
from privaudit.networks.answer import Answers
from privaudit.values import Outputs

_BLOCK = 1000  # examples answered at once; flips and crops are drawn by block: it must not change


@torch.no_grad()
def answers(
    cohort: Cohort,
    audited: Tensor,
    *,
    queries: int = 1,
    noise: int = 0,
    gradient_norm: bool = False,
    noise_scale: float = 1e-3,
    noise_unit: Tensor | float = 1.0,
) -> Outputs:
    """Ask every model of a cohort, through its defense's `respond`.

    All models see the same noise: the attacker draws it once. Differences of the size of the
    noise need exact float32, so TF32 is off.

    Args:
        cohort: M models.
        audited: (M, N) bool: each model's members and non-members, the rows of noisy copies.
        queries: Q, of which all but the first are augmented; 1 where the data has no
            augmentation.
        noise: D noisy copies of each example.
        gradient_norm: also the norm of each example's gradient.
        noise_scale: standard deviation of the noise, in units of normalised examples.
        noise_unit: what one such unit of the dataset is in the cohort's own: of a target that was
            normalised otherwise than its shadows, the dataset's deviation over the target's, so
            that all are asked about the same noisy examples.
    """
    models = cohort.states()
    data, network = cohort.data, cohort.network
    queries = queries if data.augments else 1
    count, classes = len(data.y), len(data.examples.classes)
    logits = torch.zeros((len(models), queries, count, classes), dtype=network.dtype)
    noisy = torch.full((len(models), noise, count, classes), torch.nan, dtype=network.dtype)
    ask_one = Answers(network)
    unit = torch.as_tensor(noise_unit, dtype=network.dtype, device=network.device)

    def ask(m: int, x: Tensor) -> Tensor:
        return ask_one(models[m], x).cpu()

    with exact():
        for b, start in enumerate(range(0, count, _BLOCK)):
            block = slice(start, start + _BLOCK)
            rows = torch.arange(count, device=network.device)[block]
            x = data.plain(rows)
            for q in range(queries):
                key = torch.tensor([derive(0, "query", q, b)], device=network.device)
                asked = x if q == 0 else data.augmented(rows[None], key)[0]
                for m in range(len(models)):
                    logits[m, q, block] = ask(m, asked)
            asked_rows = [a.nonzero()[:, 0] for a in audited[:, block]] if noise else []
            for d in range(noise):
                asked = x + noise_scale * unit * _noise(x, rows, d)
                for m, chosen in enumerate(asked_rows):
                    if len(chosen):
                        some = asked.index_select(0, chosen.to(network.device))
                        noisy[m, d, block].index_copy_(0, chosen, ask(m, some))
        norms = None
        if gradient_norm:
            norms = torch.stack(
                [
                    gradient_norms(network, state, kept, data)
                    for state, kept in zip(models, cohort.kept, strict=True)
                ]
            )
        logits, noisy = _responded(cohort, logits), _responded(cohort, noisy)
    return Outputs(logits, noisy if noise else None, norms, noise_scale)


def _noise(x: Tensor, rows: Tensor, copy: int) -> Tensor:
    """Standard normal numbers like x (B, ...), each example's by its row (B,) and the copy."""
    keys = fold(torch.tensor(derive(0, "noise", copy), device=x.device), rows)
    return normal(keys, *x.shape[1:], dtype=x.dtype)


def _responded(cohort: Cohort, logits: Tensor) -> Tensor:
    """What each model's defense lets through of its answers (M, Q, N, C); NaN stays NaN."""
    if not overrides(cohort.defense, "respond") or logits.numel() == 0:
        return logits
    answered = torch.stack(
        [
            torch.stack([responded(cohort.defense, one, companion) for one in answers_of_model])
            for answers_of_model, companion in zip(logits, cohort.companions(), strict=True)
        ]
    )
    return torch.where(logits.isnan(), logits, answered)


def exact() -> AbstractContextManager[None]:
    """Convolutions and matrix products without TF32."""
    return float32_products()
