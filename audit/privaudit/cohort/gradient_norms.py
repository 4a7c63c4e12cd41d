"""How much each example would move a trained network: the norm of its own gradient.

The cross-entropy is log(1 + exp(-φ)), φ the log-odds of the true class, so that its gradient is
that of φ times -1 / (1 + exp φ). The gradient of φ never vanishes, while that of the cross-entropy
loses in float32 all digits of 1 - p_y from φ = 17 on. So the two factors are taken apart, and their
product made in float64, where it is above 0 up to φ = 700.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from privaudit.keys import derive, seeded
from privaudit.networks.network import Network
from privaudit.networks.state import State
from privaudit.train.dataset import DeviceDataset
from privaudit.train.objective import derivatives

_NUMBERS = 2**24  # of per-example gradients held at once
_CLOSE = 1e-2  # relative, of norms that are the same but for rounding

_Norms = Callable[[Tensor, Tensor], Tensor]  # of examples (n, ...) and labels (n,), (n,)


def gradient_norms(network: Network, state: State, kept: Tensor, data: DeviceDataset) -> Tensor:
    """(N,) float64 norm of the gradient of the cross-entropy of each example, dropout off.

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
        def odds(flat: Tensor) -> Tensor:
            return _log_odds(network.forward(flat, state.buffers, x[None])[0], y)

        gradient, phi = grad_and_value(odds)(state.flat)
        return _of_loss(gradient * kept, phi)

    return vmap(one)


def _one_by_one(network: Network, state: State, kept: Tensor) -> _Norms:
    alone = network.one_at_a_time()

    @torch.enable_grad()
    def one(x: Tensor, y: Tensor) -> Tensor:
        leaves = alone.leaves(state.flat)
        phi = _log_odds(alone.forward(leaves, state.buffers, x[None])[0], y)
        gradient = alone.flatten(derivatives(phi, leaves), torch.zeros_like(state.flat))
        return _of_loss(gradient * kept, phi.detach())

    def several(x: Tensor, y: Tensor) -> Tensor:
        with seeded(derive(0, "answer"), network.device):
            return torch.stack([one(*pair) for pair in zip(x, y, strict=True)])

    return several


def _log_odds(logits: Tensor, y: Tensor) -> Tensor:
    """φ of one example: logits (1, C), a label ()."""
    true = y == torch.arange(logits.shape[-1], device=logits.device)
    others = torch.where(true, -torch.inf, logits[0]).logsumexp(-1)
    return torch.where(true, logits[0], 0.0).sum() - others


def _of_loss(gradient: Tensor, phi: Tensor) -> Tensor:
    """The norm of the cross-entropy's gradient, from that of φ (P,)."""
    norm: Tensor = gradient.norm().double() * torch.sigmoid(-phi.double())
    return norm
