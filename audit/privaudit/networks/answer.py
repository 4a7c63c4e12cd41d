"""Asking models for their logits: the one way, one model after another, in large batches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor

from privaudit.keys import derive, seeded
from privaudit.networks.layout import channels_last
from privaudit.networks.network import Network, logits_in
from privaudit.networks.state import State
from privaudit.networks.vmapped import over_models

logger = logging.getLogger(__name__)

_ROWS = 2000  # examples answered at once


class Answers:
    """Calls a network's module with one model's weights after another's, in evaluation.

    The places of weights and buffers are looked up once and not on every call, which takes as
    long as a small network's answers to a thousand examples. A network that draws random numbers
    even in evaluation draws the same ones for every question.

    Args:
        network: the structure.
        keyed: False leaves a network that draws as it is, to find out that it does.
    """

    def __init__(self, network: Network, keyed: bool = True) -> None:
        self._network = network
        self._module = network.module
        self._parameters = dict(network.module.named_parameters())
        first: dict[int, str] = {}  # a buffer that several layers share has one name
        self._buffers = [
            (owner, attribute, first.setdefault(id(buffer), f"{path}.{attribute}".lstrip(".")))
            for path, owner in network.module.named_modules()
            for attribute, buffer in owner._buffers.items()
            if buffer is not None
        ]
        self._draws = None if keyed else False
        self._at_once = _ROWS  # fewer, once the memory has turned out to be too small

    @property
    def any_size(self) -> bool:
        """Whether the network takes batches of any size."""
        return self._network.batch is None

    @property
    def draws(self) -> bool:
        """Whether the network has drawn random numbers, as far as it was asked."""
        return bool(self._draws)

    @torch.no_grad()
    def __call__(self, state: State, x: Tensor) -> Tensor:
        """Logits (B, C) of one model, its state without a leading axis, to examples (B, ...)."""
        if self._network.contiguous:
            x = x.contiguous()
        elif x.ndim == 4 and x.is_floating_point():
            x = channels_last(x)  # choosing rows, for one, has undone it
        first = self._network.writes is None
        given = x
        if first or self._network.writes:
            x = x.clone(memory_format=torch.preserve_format)
        self._module.eval()
        with self._inhabited(state), self._seeded() as before:
            size = self._network.batch
            answer = logits_in(self._module(x)) if size is None else self._in_parts(x, size)
            if before is not None:
                self._draws = not torch.equal(before, torch.get_rng_state())
        if first:
            self._network.writes = not torch.equal(given, x)
        return answer

    def to_rows(self, state: State, examples: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        """Logits (n, C) of one model to the examples of rows (n,) int64, in large batches.

        Args:
            state: of the model, without a leading axis.
            examples: gives those of some rows (b,), normalised, (b, ...).
            rows: which.
        """
        waiting, answered = list(torch.split(rows, self._at_once)), []
        while waiting:
            answer = self._fitting(state, examples, waiting[0])
            if answer is not None:
                answered.append(answer)
                del waiting[0]
                continue
            torch.cuda.empty_cache()
            self._at_once = -(-len(waiting[0]) // 2)
            logger.info("the device's memory is short: %d examples at once", self._at_once)
            waiting = list(torch.split(torch.cat(waiting), self._at_once))
        return torch.cat(answered)

    def _fitting(
        self, state: State, examples: Callable[[Tensor], Tensor], rows: Tensor
    ) -> Tensor | None:
        """Logits, or None where the examples are too many; what they took is free again then."""
        try:
            return self(state, examples(rows))
        except torch.OutOfMemoryError:
            if len(rows) < 2:
                raise
            return None

    def _in_parts(self, x: Tensor, size: int) -> Tensor:
        """Answers of a network that takes batches of one size only; the last is filled up."""
        parts = [logits_in(self._module(_filled(part, size))) for part in torch.split(x, size)]
        return torch.cat(parts)[: len(x)]

    @contextmanager
    def _seeded(self) -> Iterator[Tensor | None]:
        """Under a seed, where the network draws or that is not decided; gives the state before."""
        decided = self._draws is not None
        context = seeded(derive(0, "answer")) if self._draws is not False else nullcontext()
        with context:
            yield None if decided else torch.get_rng_state()

    @contextmanager
    def _inhabited(self, state: State) -> Iterator[None]:
        """The module with one model's weights and buffers; with its own again afterwards."""
        named = {**state.buffers, **self._network.views(state.flat)}
        weights = {name: p.data for name, p in self._parameters.items()}
        buffers = [owner._buffers[attribute] for owner, attribute, _ in self._buffers]
        try:
            for name, parameter in self._parameters.items():
                parameter.data = named[name]
            for owner, attribute, name in self._buffers:
                owner._buffers[attribute] = named[name].clone()
            yield
        finally:
            for name, parameter in self._parameters.items():
                parameter.data = weights[name]
            for (owner, attribute, _), buffer in zip(self._buffers, buffers, strict=True):
                owner._buffers[attribute] = buffer


@torch.no_grad()
def stacked_answers(network: Network, state: State, x: Tensor) -> Tensor:
    """Logits (K, B, C) of K models to examples of their own, (K, B, ...), few enough to be quick.

    For networks that can be stacked; the same numbers as `Answers` gives, but for rounding.
    """
    ask = over_models(lambda f, b, x: network.forward(f, b, x)[0], len(state.flat))
    return ask(state.flat, state.buffers, x)


def each_to_its_own(
    ask: Answers, together: Callable[[State, Tensor], Tensor] | None, state: State, x: Tensor
) -> Tensor:
    """Logits (K, B, C) of K models to examples of their own, (K, B, ...), at once if they can be.

    Args:
        ask: one after another.
        together: at once, for networks that can be stacked.
        state: of K models.
        x: their examples.
    """
    if together and len(state.flat) > 1 and ask.any_size:
        return together(state, x)
    return torch.stack([ask(state.one(k), x[k]) for k in range(len(state.flat))])


def _filled(x: Tensor, size: int) -> Tensor:
    """Examples (B, ...) repeated until there are `size` of them."""
    if len(x) == size:
        return x
    return x[torch.arange(size, device=x.device) % len(x)]
