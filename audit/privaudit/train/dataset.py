"""Examples on the device, and the batches that models draw from them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from privaudit.api.boundary import written
from privaudit.api.plugin import Plugin
from privaudit.api.watch import Seal
from privaudit.keys import derive, fold, uniform
from privaudit.networks.layout import channels_last
from privaudit.train.on_host import OnHost
from privaudit.train.sparse import DENSE, SparseTable
from privaudit.values import Examples

logger = logging.getLogger(__name__)

_SMALL = 2**23  # numbers of a dataset that is kept normalised, too
_FLIP, _DOWN, _RIGHT = 101, 102, 103  # purposes of a step's key


class Moves(NamedTuple):
    """How examples (..., B) are augmented.

    Attributes:
        down: int64, pixels by which the window moves; None: it stays.
        right: likewise.
        flip: bool; None: no example.
    """

    down: Tensor | None
    right: Tensor | None
    flip: Tensor | None

    def at(self, step: int) -> Moves:
        """Of one step, where they are (K, S, B)."""
        return Moves(*(None if part is None else part[:, step] for part in self))


class DeviceDataset:
    """A dataset on the device, normalised and augmented batch by batch.

    Tokens stay the int64 indices that they are, whatever the dtype of numbers.

    Attributes:
        y: (N,) int64.
    """

    def __init__(self, examples: Examples, device: torch.device, dtype: torch.dtype) -> None:
        self.examples = examples
        self.dtype = dtype
        self.y = examples.y.to(device)
        self._mean = examples.mean.to(device, dtype)
        self._std = examples.std.to(device, dtype)
        augmentation = examples.augmentation
        self._image = image = len(examples.shape) == 3 and not examples.tokens
        self._flip = bool(augmentation and augmentation.flip and image)
        self._crop = augmentation.crop if augmentation and image else 0
        self._x: Tensor | OnHost
        self._windows: Tensor | OnHost
        try:
            self._place(examples.x.to(device))
        except torch.OutOfMemoryError:
            self._stay(device)
        if self._crop:
            self._channels = torch.arange(examples.x.shape[1], device=device)
        held = examples.x if isinstance(self._x, OnHost) else self._x
        every = {"x": held, "y": self.y, "normalised x": self._ready}
        every |= {"mean": self._mean, "std": self._std}
        self._seal = Seal({f"the dataset's {name}": tensor for name, tensor in every.items()})

    def _place(self, x: Tensor) -> None:
        """Keep the examples where they are, (N, ...)."""
        self._x = x
        self._ready = self._normalise(x).flatten(1) if x.numel() <= _SMALL else None
        if self._crop:
            self._windows = _windows(x, self._crop)

    def _stay(self, device: torch.device) -> None:
        """Keep the examples on the host, for the device has no room for them."""
        torch.cuda.empty_cache()
        logger.warning(
            "the examples do not fit into the memory of %s: they stay on the host, which is slower",
            device,
        )
        x = self.examples.x
        self._ready = None
        self._x = OnHost(x, device)
        if self._crop:
            self._windows = OnHost(_windows(x, self._crop), device)

    def plain(self, rows: Tensor) -> Tensor:
        """Normalised examples, or tokens, (*rows.shape, ...) as they are."""
        if self._ready is None:
            return self._arranged(self._normalise(self._x[rows]))
        chosen = self._ready.index_select(0, rows.flatten())
        return self._arranged(chosen.view(rows.shape + self.examples.x.shape[1:]))

    def check(self, plugins: Sequence[Plugin]) -> None:
        """See that the examples are what they were.

        Args:
            plugins: whose code has run meanwhile.

        Raises:
            DamageError: somebody has written into them.
        """
        if name := self._seal.broken():
            raise written(plugins, name)

    @cached_property
    def sparse(self) -> SparseTable | None:
        """The normalised examples as a sparse table, where most of their numbers are zero."""
        ready = self._ready
        if ready is None or ready.device.type != "cpu" or self.examples.tokens:
            return None
        if int(ready.count_nonzero()) > DENSE * ready.numel():
            return None
        return SparseTable(ready)

    def on(self, x: Tensor) -> DeviceDataset:
        """The same for other examples (n, ...) in the dataset's units; their labels are unknown."""
        y = torch.zeros(len(x), dtype=torch.int64)
        return DeviceDataset(
            replace(self.examples, x=x, y=y, names=None), self.y.device, self.dtype
        )

    def augmented(self, rows: Tensor, key: Tensor) -> Tensor:
        """Normalised examples (K, B, ...), flipped and cropped.

        Args:
            rows: (K, B) int64.
            key: (K,) int64: each model's own.
        """
        return self.moved(rows, self.moves(key, rows.shape[1]))

    def queried(self, rows: Tensor, query: int, key: Tensor) -> Tensor:
        """Normalised examples (K, B, ...) as an attacker asks for them the `query`-th time.

        First come those of Carlini et al. 2022: mirrored or not, times shifts by a pixel in two
        directions, as far as the dataset allows both; query 0 is the example itself. What is
        asked beyond them is drawn as in training.

        Args:
            rows: (K, B) int64.
            query: from 0.
            key: (K,) int64 that later queries are drawn with.
        """
        shifts = (0, -1, 1) if self._crop else (0,)
        fixed = list(product((False, True) if self._flip else (False,), shifts, shifts))
        if query >= len(fixed):
            return self.augmented(rows, key)
        flip, down, right = fixed[query]
        moves = Moves(
            torch.full_like(rows, self._crop + down) if self._crop else None,
            torch.full_like(rows, self._crop + right) if self._crop else None,
            torch.full_like(rows, flip, dtype=torch.bool),
        )
        return self.moved(rows, moves)

    def moves(self, key: Tensor, count: int) -> Moves:
        """How `count` examples of each key (...) are flipped and cropped."""
        down = right = flip = None
        if self._crop:
            shifts = 2 * self._crop + 1
            down = (uniform(fold(key, _DOWN), count) * shifts).long()
            right = (uniform(fold(key, _RIGHT), count) * shifts).long()
        if self._flip:
            flip = uniform(fold(key, _FLIP), count) < 0.5
        return Moves(down, right, flip)

    def moved(self, rows: Tensor, moves: Moves) -> Tensor:
        """Normalised examples (K, B, ...), flipped and cropped as it was drawn for rows (K, B)."""
        if moves.down is not None and moves.right is not None:
            down, right = moves.down[..., None], moves.right[..., None]
            x = self._windows[rows[..., None], self._channels, down, right]
        else:
            x = self._x[rows]
        if moves.flip is not None:
            x = torch.where(moves.flip[..., None, None, None], x.flip(-1), x)
        return self._arranged(self._normalise(x))

    @property
    def augments(self) -> bool:
        """Whether the dataset allows any augmentation."""
        return self._flip or self._crop > 0

    def _normalise(self, x: Tensor) -> Tensor:
        if self.examples.tokens:
            return x
        return x.to(self.dtype).sub(self._mean).div_(self._std)  # x may be the dataset itself

    def _arranged(self, x: Tensor) -> Tensor:
        of_one_model = x.ndim == 4 or (x.ndim == 5 and len(x) == 1)
        return channels_last(x) if self._image and of_one_model else x  # stacked: no quicker


def _windows(x: Tensor, crop: int) -> Tensor:
    """Every window (N, C, 2 crop + 1, 2 crop + 1, H, W) of images with a black border."""
    padded = pad(x, (crop, crop, crop, crop))  # black, as before normalisation
    return padded.unfold(2, x.shape[2], 1).unfold(3, x.shape[3], 1)


def epoch_order(rows: Tensor, seed: int, epoch: int, batch: int) -> Tensor:
    """One model's batches of an epoch: (ceil(n / batch), batch) rows, every one real.

    The last batch is filled up from the start of the same permutation, because padding with
    zero-weighted rows would enter BatchNorm statistics and batch-level losses.

    Args:
        rows: (n,) int64.
        seed: the model's own for this fit.
        epoch: from 0.
        batch: examples in a step.
    """
    generator = torch.Generator().manual_seed(derive(seed, "order", epoch))
    order = rows[torch.randperm(len(rows), generator=generator)]
    steps = -(-len(rows) // batch)
    times = -(-steps * batch // len(rows))
    return order.repeat(times)[: steps * batch].view(steps, batch)


def poisson_order(rows: Tensor, seed: int, epoch: int, batch: int) -> tuple[Tensor, Tensor]:
    """One model's batches of an epoch under Poisson sampling: rows, and which of them count.

    Each of n rows is in each of S = ceil(n / batch) batches by a coin of its own, with chance
    1 / S. Batches are padded to a size (S, cap) that a batch outgrows less than once in 10^12;
    one that does loses its last rows.

    Args:
        rows: (n,) int64.
        seed: the model's own for this fit.
        epoch: from 0.
        batch: examples in a step, about, on average.
    """
    from scipy.stats import binom  # slow to import, and seldom needed

    steps = -(-len(rows) // batch)
    cap = int(binom.isf(1e-12, len(rows), 1 / steps)) if steps > 1 else len(rows)
    generator = torch.Generator().manual_seed(derive(seed, "order", epoch))
    chosen = torch.rand(steps, len(rows), generator=generator) < 1 / steps
    first = chosen.int().argsort(dim=1, descending=True, stable=True)[:, :cap]
    return rows[first], chosen.gather(1, first)
