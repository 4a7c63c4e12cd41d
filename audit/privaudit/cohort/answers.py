"""What the models of a cohort answer: to the examples, their augmentations and noisy copies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from privaudit.api.calls import responded
from privaudit.api.float32 import float32_products
from privaudit.api.plugin import overrides
from privaudit.cohort.gradient_norms import gradient_norms
from privaudit.cohort.kept import Table, new_tables
from privaudit.cohort.trainable import Cohort
from privaudit.keys import derive, fold, normal, normal_on_host
from privaudit.networks.answer import Answers
from privaudit.reductions import reduced
from privaudit.values import Outputs

_BLOCK = 1000  # examples answered at once; flips and crops are drawn by block: it must not change
_IN_CACHE = 2**17  # numbers whose draws are made at once: each takes some thirty passes over them


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
    kinds: Mapping[str, int] | None = None,
) -> Outputs:
    """Ask every model of a cohort, through its defense's `respond`.

    All models see the same noise: the attacker draws it once. Differences of the size of the
    noise need exact float32, so TF32 is off.

    Args:
        cohort: M models.
        audited: (M, N) bool: each model's members and non-members, the rows of noisy copies.
        queries: Q, of which all but the first are augmented as `DeviceDataset.queried` says; 1
            where the data has no augmentation.
        noise: D noisy copies of each example.
        gradient_norm: also the norm of each example's gradient.
        noise_scale: standard deviation of the noise, in units of normalised examples.
        noise_unit: what one such unit of the dataset is in the cohort's own: of a target that was
            normalised otherwise than its shadows, the dataset's deviation over the target's, so
            that all are asked about the same noisy examples.
        kinds: reductions of which so many queries are kept, in place of the logits; None: logits.
    """
    models = cohort.states()
    data, network = cohort.data, cohort.network
    if not data.augments:
        queries, kinds = 1, None if kinds is None else dict.fromkeys(kinds, 1)
    count, classes = len(data.y), len(data.examples.classes)
    y = data.examples.y
    logits = None
    tables: dict[str, Table] = {}
    if kinds is None:
        logits = torch.zeros((len(models), queries, count, classes), dtype=network.dtype)
    else:
        queries = max(kinds.values())
        tables = new_tables(kinds, len(models), count)
    ends = torch.tensor([torch.inf, -torch.inf], dtype=torch.float64).repeat(len(models), 1)
    noisy = torch.full((len(models), noise, count, classes), torch.nan, dtype=network.dtype)
    ask_one, respond = Answers(network), _responding(cohort)
    unit = torch.as_tensor(noise_unit, dtype=network.dtype, device=network.device)

    def ask(m: int, x: Tensor) -> Tensor:
        return respond(m, ask_one(models[m], x).cpu())

    def keep(m: int, q: int, block: slice, answer: Tensor) -> None:
        if logits is not None:
            logits[m, q, block] = answer
            return
        ends[m, 0] = torch.minimum(ends[m, 0], answer.amin())
        ends[m, 1] = torch.maximum(ends[m, 1], answer.amax())
        every = torch.arange(len(answer))
        for name, table in tables.items():
            if q < table.shape[1]:
                table.write(m, q, block.start, reduced(name, answer, y[block], every))

    with exact():
        for b, start in enumerate(range(0, count, _BLOCK)):
            block = slice(start, start + _BLOCK)
            rows = torch.arange(count, device=network.device)[block]
            x = data.plain(rows)
            for q in range(queries):
                key = torch.tensor([derive(0, "query", q, b)], device=network.device)
                asked = x if q == 0 else data.queried(rows[None], q, key)[0]
                for m in range(len(models)):
                    keep(m, q, block, ask(m, asked))
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
    rest = (noisy if noise else None, norms, noise_scale)
    if logits is not None:
        return Outputs(logits, *rest, labels=y)
    names = ("noisy", "gradient_norm", "noise_scale")
    about = {"kept": tables, "extremes": ends, "classes": classes, "labels": y}
    return Outputs.without_logits(**dict(zip(names, rest, strict=True)), **about)


def _noise(x: Tensor, rows: Tensor, copy: int) -> Tensor:
    """Standard normal numbers like x (B, ...), each example's by its row (B,) and the copy."""
    keys = fold(torch.tensor(derive(0, "noise", copy), device=x.device), rows)
    if x.device.type != "cpu":
        return normal(keys, *x.shape[1:], dtype=x.dtype)
    parts = torch.split(keys, max(1, _IN_CACHE // x[0].numel()))
    return torch.cat([normal_on_host(part, *x.shape[1:], dtype=x.dtype) for part in parts])


def _responding(cohort: Cohort) -> Callable[[int, Tensor], Tensor]:
    """What a model's defense lets through of its answers (n, C), a block at a time."""
    if not overrides(cohort.defense, "respond"):
        return lambda m, logits: logits
    companions = cohort.companions()
    return lambda m, logits: responded(cohort.defense, logits, companions[m])


def exact() -> AbstractContextManager[None]:
    """Convolutions and matrix products without TF32."""
    return float32_products()
