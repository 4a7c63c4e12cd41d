"""How much each example would move a trained network: the norm of its own gradient."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad, vmap
from torch.nn.functional import cross_entropy

from privaudit.keys import derive, seeded
from privaudit.networks.network import Network
from privaudit.networks.state import State
from privaudit.train.dataset import DeviceDataset
from privaudit.train.objective import derivatives

_NUMBERS = 2**24  # of per-example gradients held at once
_CLOSE = 1e-2  # relative, of norms that are the same but for rounding

_Norms = Callable[[Tensor, Tensor], Tensor]  # of examples (n, ...) and labels (n,), (n,)


def gradient_norms(network: Network, state: State, kept: Tensor, data: DeviceDataset) -> Tensor:
    """(N,) norm of the gradient of the cross-entropy of each example, dropout off.

    What is pruned is no part of the network, so only the weights kept count. Examples are taken
    at once where `torch.vmap` can take the network, else one after another.

    Args:
        network: the structure.
        state: one model's, without a leading axis.
        kept: (P,) bool.
        data: the examples.
    """
    network.check_single_examples("an attack")
    kept = kept.to(network.device)
    rows = torch.arange(len(data.y), device=network.device)
    few, labels = data.plain(rows[:2]), data.y[rows[:2]]
    slow, quick = _one_by_one(network, state, kept), _at_once(network, state, kept)
    norms = quick if _same(quick, slow, few, labels) else slow
    parts = torch.split(rows, max(1, _NUMBERS // max(1, network.size)))
    return torch.cat([norms(data.plain(part), data.y[part]) for part in parts]).cpu()


def _same(quick: _Norms, slow: _Norms, x: Tensor, y: Tensor) -> bool:
    try:
        with warnings.catch_warnings():  # what torch says of functions that it stacks slowly
            warnings.simplefilter("error")
            norms = quick(x, y)
        return torch.allclose(norms, slow(x, y), rtol=_CLOSE, atol=1e-6)
    except (RuntimeError, Warning):  # where torch cannot stack a function, or not quickly
        return False


def _at_once(network: Network, state: State, kept: Tensor) -> _Norms:
    def one(x: Tensor, y: Tensor) -> Tensor:
        def loss(flat: Tensor) -> Tensor:
            return cross_entropy(network.forward(flat, state.buffers, x[None])[0], y[None])

        norm: Tensor = (grad(loss)(state.flat) * kept).norm()
        return norm

    return vmap(one)


def _one_by_one(network: Network, state: State, kept: Tensor) -> _Norms:
    alone = network.one_at_a_time()

    @torch.enable_grad()
    def one(x: Tensor, y: Tensor) -> Tensor:
        leaves = alone.leaves(state.flat)
        loss = cross_entropy(alone.forward(leaves, state.buffers, x[None])[0], y[None])
        named = derivatives(loss, leaves)
        norm: Tensor = (alone.flatten(named, torch.zeros_like(state.flat)) * kept).norm()
        return norm

    def several(x: Tensor, y: Tensor) -> Tensor:
        with seeded(derive(0, "answer"), network.device):
            return torch.stack([one(*pair) for pair in zip(x, y, strict=True)])

    return several
