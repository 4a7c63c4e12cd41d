"""Gradients of a loss over a model's examples, or at an input of ones, for importance scores."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable

import torch
from torch import Tensor

from privaudit.api.float32 import float32_products
from privaudit.api.plugin import Plugin
from privaudit.cohort.fits import Fits
from privaudit.keys import derive, seeded
from privaudit.networks.state import State
from privaudit.store.journal import digest
from privaudit.store.unit_file import like
from privaudit.train.objective import derivatives

_ROWS = 500  # examples differentiated at once

Loss = Callable[[Tensor, Tensor], Tensor]


def mean_gradients(
    fits: Fits, weights: State, loss: Loss, rows: list[Tensor], owner: tuple[Plugin, ...]
) -> Tensor:
    """Gradients (M, P) of the mean loss over each model's rows, dropout off.

    A unit of the journal like a fit, where the loss can be told apart from others: a GPU does
    not repeat gradients to the bit, and masks made from them must not change on resuming.
    Zeros in a plan that lacks a training.
    """
    if fits.waits:
        return torch.zeros_like(weights.flat)
    common = _identity(fits, loss, owner)
    result = []
    for m, chosen in enumerate(rows):
        state = weights[torch.tensor([m])]
        key = common and digest(common, state.flat, state.buffers, chosen)
        schema = like("importance", {"gradient": state.flat[0]})
        unit = fits.journal.find(key, schema) if key else None
        if unit is None:
            unit = {"gradient": _gradient(fits, state, loss, chosen)}
            if key:
                fits.journal.keep(schema.name, {key: unit})
        result.append(unit["gradient"])
    return torch.stack(result)


def gradients_at_ones(fits: Fits, weights: State, loss: Loss) -> Tensor:
    """Gradients (M, P), float64, of the loss of what each model answers to one input of ones.

    In float64 whatever the models' own precision: without signs, activations of a deep network
    grow beyond what float32 holds. Not kept in the journal, for pruners ask a hundred times.
    """
    result = torch.zeros_like(weights.flat, dtype=torch.float64)
    if fits.waits:
        return result
    network = copy.copy(fits.network.one_at_a_time())
    network.module, network.dtype = copy.deepcopy(network.module).double(), torch.float64
    examples = fits.data.examples
    kind = torch.int64 if examples.tokens else torch.float64
    count = network.batch or 1
    ones = torch.ones(count, *examples.shape, dtype=kind, device=network.device)
    y = torch.zeros(count, dtype=torch.int64, device=network.device)
    for m in range(len(result)):
        state = weights[torch.tensor([m])].to(network.device).one(0)
        buffers = {n: b.double() if b.is_floating_point() else b for n, b in state.buffers.items()}
        leaves = network.leaves(state.flat.double())
        with seeded(derive(0, "gradient"), network.device):
            logits, _ = network.forward(leaves, buffers, ones)
            value = loss(logits, y) / count
        result[m] = network.flatten(
            derivatives(value, leaves), torch.zeros_like(state.flat).double()
        )
    return result


@float32_products()
def _gradient(fits: Fits, state: State, loss: Loss, rows: Tensor) -> Tensor:
    """(P,) gradient of one model's mean loss."""
    network = fits.network.one_at_a_time()
    state = state.to(network.device).one(0)
    total = torch.zeros_like(state.flat)
    leaves = network.leaves(state.flat)
    for part in torch.split(rows.to(network.device), _ROWS):
        with seeded(derive(0, "gradient"), network.device):
            logits, _ = network.forward(leaves, state.buffers, fits.data.plain(part))
            value = loss(logits, fits.data.y[part])
        named = derivatives(value, leaves)
        total += network.flatten(named, torch.zeros_like(total)) * (len(part) / len(rows))
    return total.cpu()


def _identity(fits: Fits, loss: Loss, owner: tuple[Plugin, ...]) -> str | None:
    """A key for the loss: its code and what it closes over; None where that has no content."""
    try:
        held = inspect.getclosurevars(loss).nonlocals
        # Two lambdas on one line share their source, and `lambda l, y, t=t: ...` binds by default.
        place = [list(p) for p in loss.__code__.co_positions()]
        given = list(loss.__defaults__ or ()), loss.__kwdefaults__ or {}
        code = inspect.getsource(loss)
        return digest("gradients", fits.source, code, place, *given, {**held}, *owner)
    except (AttributeError, TypeError, OSError):
        return None
