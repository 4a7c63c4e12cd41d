"""What the models of a cohort answer: to the examples, their augmentations and noisy copies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.func import grad, vmap
from torch.nn.functional import cross_entropy

from privaudit.api.plugin import overrides
from privaudit.cohort.trainable import Cohort
from privaudit.keys import derive
from privaudit.networks.network import Network
from privaudit.networks.state import State
from privaudit.values import Outputs

_BLOCK = 1000  # examples answered at once; noise is drawn block by block, so it must not change
_NUMBERS = 2**24  # of per-example gradients held at once


@torch.no_grad()
def answers(
    cohort: Cohort,
    audited: Tensor,
    *,
    queries: int = 1,
    noise: int = 0,
    gradient_norm: bool = False,
    noise_scale: float = 1e-3,
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
    """
    models = cohort.each()
    data, network = cohort.data, cohort.network
    queries = queries if data.augments else 1
    count, classes = len(data.y), len(data.examples.classes)
    logits = torch.zeros((len(models), queries, count, classes), dtype=network.dtype)
    noisy = torch.full((len(models), noise, count, classes), torch.nan, dtype=network.dtype)
    buffers = [{n: b[0] for n, b in model.buffers.items()} for model in models]
    asker = Asker(network)

    def ask(m: int, x: Tensor) -> Tensor:
        return asker(models[m].flat[0], buffers[m], x).cpu()

    with _exact():
        for b, start in enumerate(range(0, count, _BLOCK)):
            block = slice(start, start + _BLOCK)
            rows = torch.arange(count, device=network.device)[block]
            x = data.plain(rows)
            for q in range(queries):
                key = torch.tensor([derive(0, "query", q, b)], device=network.device)
                asked = x if q == 0 else data.augmented(rows[None], key)[0]
                for m in range(len(models)):
                    logits[m, q, block] = ask(m, asked)
            own = [a.nonzero()[:, 0] for a in audited[:, block]] if noise else []
            for d in range(noise):
                asked = x + noise_scale * _noise(x, derive(0, "noise", d, b))
                for m, chosen in enumerate(own):
                    if len(chosen):
                        some = asked.index_select(0, chosen.to(network.device))
                        noisy[m, d, block].index_copy_(0, chosen, ask(m, some))
        norms = None
        if gradient_norm:
            norms = torch.stack(
                [_norms(cohort, m, k) for m, k in zip(models, cohort.kept, strict=True)]
            )
    logits, noisy = _responded(cohort, logits), _responded(cohort, noisy)
    return Outputs(logits, noisy if noise else None, norms, noise_scale)


def _noise(x: Tensor, seed: int) -> Tensor:
    generator = torch.Generator(x.device).manual_seed(seed)
    return torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)


def _responded(cohort: Cohort, logits: Tensor) -> Tensor:
    """What each model's defense lets through of its answers (M, Q, N, C); NaN stays NaN."""
    if not overrides(cohort.defense, "respond") or logits.numel() == 0:
        return logits
    answered = torch.stack(
        [
            torch.stack([cohort.defense.respond(one, companion) for one in own])
            for own, companion in zip(logits, cohort.companions(), strict=True)
        ]
    )
    return torch.where(logits.isnan(), logits, answered)


def _norms(cohort: Cohort, model: State, kept: Tensor) -> Tensor:
    """(N,) norm of the gradient of the cross-entropy of each example, dropout off.

    What is pruned is no part of the network, so only the weights kept, (P,) bool, count.
    """
    network, data = cohort.network, cohort.data
    flat, there = model.flat[0], kept.to(network.device)
    buffers = {n: b[0] for n, b in model.buffers.items()}

    def one(x: Tensor, y: Tensor) -> Tensor:
        def loss(flat: Tensor) -> Tensor:
            return cross_entropy(network.forward(flat, buffers, x[None])[0], y[None])

        norm: Tensor = (grad(loss)(flat) * there).norm()
        return norm

    rows = torch.arange(len(data.y), device=network.device)
    size = max(1, _NUMBERS // network.size)
    return torch.cat([vmap(one)(data.plain(r), data.y[r]) for r in torch.split(rows, size)]).cpu()


@contextmanager
def _exact() -> Iterator[None]:
    """Convolutions and matrix products without TF32."""
    flags = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = flags


class Asker:
    """Calls a network's module with one model's weights after another's, in evaluation.

    What `Network.forward` answers, but the places of the weights are looked up once and not on
    every call, which takes as long as a small network's answers to a thousand examples.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._module = network.module.eval()
        first: dict[int, str] = {}  # a tensor that several layers share has one name
        self._places: list[tuple[dict[str, Tensor], str, str]] = []
        for prefix, layer in self._module.named_modules():
            for held in (layer._parameters, layer._buffers):
                for own, tensor in held.items():
                    if tensor is not None:
                        name = first.setdefault(id(tensor), f"{prefix}.{own}" if prefix else own)
                        self._places.append((held, own, name))

    def __call__(self, flat: Tensor, buffers: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Logits (B, C) of the model with weights (P,) and its buffers, by name; not changed."""
        named = self._network.views(flat) | {n: b.clone() for n, b in buffers.items()}
        before = [held[own] for held, own, _ in self._places]
        try:
            for held, own, name in self._places:
                held[own] = named[name]
            logits: Tensor = self._module(x)
        finally:
            for (held, own, _), tensor in zip(self._places, before, strict=True):
                held[own] = tensor
        return logits
