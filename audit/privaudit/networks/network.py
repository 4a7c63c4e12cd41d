"""One architecture and how flat weights fill it, so that many models can share it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import copy
from math import prod

import torch
from torch import Tensor, nn
from torch.func import functional_call

from privaudit.errors import PluginError
from privaudit.keys import fold
from privaudit.networks.dropout import KeyedDropout, adapt
from privaudit.networks.low_precision import LowProducts
from privaudit.networks.state import Buffers


class Network:
    """The structure that M models share, and how P flat weights fill it.

    It can be called in two ways. As a pure function of weights and buffers it can be stacked and
    transformed by `torch.func`. Inhabited, its own module holds one model's weights and is called
    as its author would: every network can be, one model after another.

    Attributes:
        module: the structure; its own weights mean nothing.
        names: of the trained parameters, in the order of the flat weights.
        shapes: theirs.
        size: P.
        column_by_column: the matrix whose columns flat weights hold one after another, not its
            rows; None: none.
        inhabited: `forward` calls the module as it is, with weights that are the module's own
            parameters (`leaves`).
        batch: the only number of examples that it takes, where its author has fixed it.
        contiguous: it takes images only in the order of memory in which channels come first.
        in_place: the buffers that it is given may become those afterwards.
        products: the precision of matrix products and convolutions while it trains; None: that
            of its weights.
        writes: whether it changes what it is given, so that it has to be given copies; None
            until it has answered for the first time.
    """

    column_by_column: str | None = None
    inhabited: bool = False
    batch: int | None = None
    contiguous: bool = False
    in_place: bool = False
    products: torch.dtype | None = None
    writes: bool | None = None

    def __init__(self, module: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        self.module = adapt(module).to(device=device, dtype=dtype)
        trained = {n: p for n, p in module.named_parameters() if p.requires_grad}
        self.names = tuple(trained)
        self.shapes = tuple(tuple(p.shape) for p in trained.values())
        self.sizes = [prod(shape) for shape in self.shapes]
        self.size = sum(self.sizes)
        self.dtype = dtype
        self.device = device
        self._dropouts = [n for n, m in module.named_modules() if isinstance(m, KeyedDropout)]

    def turned(self, name: str) -> Network:
        """The same, but flat weights hold that matrix column by column.

        `there.flatten(here.views(flat), flat)` turns flat weights from here into flat weights
        there.
        """
        there = copy(self)
        there.column_by_column = name
        return there

    def to(self, device: torch.device) -> Network:
        """The same on a device, which its module moves to."""
        there = copy(self)
        there.module, there.device = self.module.to(device), device
        return there

    def one_at_a_time(self) -> Network:
        """The same structure, to be called inhabited."""
        other = copy(self)
        other.inhabited = True
        return other

    def working_in_place(self) -> Network:
        """The same structure, to be given buffers that nobody needs as they were."""
        other = copy(self)
        other.in_place = True
        return other

    def with_products(self, dtype: torch.dtype) -> Network:
        """The same structure, whose products are made in that precision while it trains."""
        other = copy(self)
        other.products = dtype
        return other

    def check_single_examples(self, whose: str) -> None:
        """See that gradients of single examples can be taken.

        Args:
            whose: what asks for them, for messages.

        Raises:
            PluginError: its author has fixed the size of batches.
        """
        if self.batch is not None:
            raise PluginError(
                f"{whose} needs gradients of single examples, and the network takes batches of "
                f"{self.batch} examples only: let it take batches of any size"
            )

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Named weights (..., *shape) that share memory with flat weights (..., P)."""
        parts = torch.split(flat, self.sizes, dim=-1)
        lead = flat.shape[:-1]
        return {
            n: p.reshape(lead + s[::-1]).mT if n == self.column_by_column else p.reshape(lead + s)
            for n, s, p in zip(self.names, self.shapes, parts, strict=True)
        }

    def flatten(self, named: Mapping[str, Tensor], otherwise: Tensor) -> Tensor:
        """Flat weights (..., P) from named ones; a name not given is taken from `otherwise`."""
        lead = otherwise.shape[:-1]
        parts = torch.split(otherwise, self.sizes, dim=-1)
        turned = self.column_by_column
        named = {n: w.mT if n == turned else w for n, w in named.items()}
        chosen = [
            named[n].to(otherwise).reshape((*lead, -1)) if n in named else part
            for n, part in zip(self.names, parts, strict=True)
        ]
        return torch.cat([otherwise[..., :0], *chosen], dim=-1)

    def leaves(self, weights: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights by name to differentiate by: the module's own parameters where it is inhabited.

        Args:
            weights: of one model, (P,) or (*shape) by name; of several, (K, *shape), where it is
                not inhabited.
        """
        named = self.views(weights) if isinstance(weights, Tensor) else weights
        if not self.inhabited:
            return {name: weight.detach().requires_grad_() for name, weight in named.items()}
        parameters = dict(self.module.named_parameters())
        for name, weight in named.items():
            parameters[name].data = weight.detach()
        return {name: parameters[name] for name in self.names}

    def forward(
        self,
        weights: Tensor | Mapping[str, Tensor],
        buffers: Buffers,
        *inputs: Tensor,
        key: Tensor | None = None,
    ) -> tuple[Tensor, Buffers]:
        """Logits (B, C) of one model and its buffers afterwards.

        Args:
            weights: (P,), or by name; inhabited, by name as `leaves` gives them.
            buffers: by name; not changed, unless it works in place.
            inputs: what the module takes: normalised examples (B, ...).
            key: for dropout, which also means that the network trains; None to answer.
        """
        self.module.train(key is not None)
        held = dict(buffers) if self.in_place else {n: b.clone() for n, b in buffers.items()}
        keys = [f"{name}.key" for name in self._dropouts] if key is not None else []
        if key is not None:
            held |= {name: fold(key, i) for i, name in enumerate(keys)}
        if self.contiguous:
            inputs = tuple(x.contiguous() for x in inputs)
        if self.writes:
            inputs = tuple(x.clone() for x in inputs)
        if self.inhabited:
            if isinstance(weights, Tensor):
                self.leaves(weights)
            with self._buffers_set(held) as after, self._precision(key):
                answer = self.module(*inputs)
        else:
            named = self.views(weights) if isinstance(weights, Tensor) else dict(weights)
            with self._precision(key):
                answer, after = functional_call(self.module, (named, held), inputs), held
        logits = logits_in(answer)
        if self.products is not None and key is not None:
            logits = logits.to(self.dtype)
            after = {n: b.to(buffers[n].dtype) if n in buffers else b for n, b in after.items()}
        # Keys are drawn anew next time.
        return logits, {**after, **{name: buffers[name] for name in keys}}

    def _precision(self, key: Tensor | None) -> AbstractContextManager[object]:
        """The precision of products, which answers and gradients outside training have whole."""
        if self.products is None or key is None:
            return nullcontext()
        return LowProducts(self.products, self.dtype)

    @contextmanager
    def _buffers_set(self, held: Buffers) -> Iterator[Buffers]:
        """The module with these buffers; those it has afterwards, once the block has ended."""
        after: Buffers = {}
        frozen = dict(self.module.named_parameters())
        owners = {}
        for name, value in held.items():
            if name in frozen:
                frozen[name].data = value
                after[name] = value
                continue
            path, _, attribute = name.rpartition(".")
            owners[name] = self.module.get_submodule(path), attribute
            owners[name][0]._buffers[attribute] = value
        yield after
        for name, (owner, attribute) in owners.items():
            reached = owner._buffers[attribute]
            assert reached is not None
            after[name] = reached.detach()


def logits_in(answer: object) -> Tensor:
    """The logits of what a network answers: itself, or what it holds under that name.

    Networks of Hugging Face's kind answer with an object or a mapping that has `logits`. What
    has none is handed on as it is, to be refused by name before anything is trained.
    """
    if isinstance(answer, Mapping):
        answer = answer.get("logits", answer)
    elif not isinstance(answer, Tensor):
        answer = getattr(answer, "logits", answer)
    return answer  # type: ignore[return-value]


def stack(modules: Sequence[nn.Module], dtype: torch.dtype) -> tuple[Tensor, Buffers]:
    """The weights (M, P) of M modules of one architecture, and their buffers (M, ...)."""
    flat = torch.stack(
        [
            torch.cat(
                [torch.zeros(0)]
                + [p.detach().reshape(-1) for p in m.parameters() if p.requires_grad]
            )
            for m in modules
        ]
    )
    held = [
        dict(m.named_buffers()) | {n: p for n, p in m.named_parameters() if not p.requires_grad}
        for m in modules
    ]
    buffers = {n: torch.stack([h[n].detach() for h in held]) for n in held[0]}
    return flat.to(dtype), {
        n: b.to(dtype) if b.is_floating_point() else b for n, b in buffers.items()
    }
