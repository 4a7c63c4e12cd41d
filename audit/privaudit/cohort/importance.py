"""Gradients of a loss over all of a model's examples, for importance scores."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad

from privaudit.api.plugin import Plugin
from privaudit.cohort.fits import Fits
from privaudit.networks.state import State
from privaudit.store.journal import digest

_ROWS = 500  # examples differentiated at once

Loss = Callable[[Tensor, Tensor], Tensor]


def mean_gradients(
    units: Fits, weights: State, loss: Loss, rows: list[Tensor], owner: tuple[Plugin, ...]
) -> Tensor:
    """Gradients (M, P) of the mean loss over each model's rows, dropout off.

    A unit of the journal like a fit, where the loss can be told apart from others: a GPU does
    not repeat gradients to the bit, and masks made from them must not change on resuming.
    Zeros in a plan that lacks a training.
    """
    if units.waits:
        return torch.zeros_like(weights.flat)
    common = _identity(units, loss, owner)
    result = []
    for m, chosen in enumerate(rows):
        own = weights[torch.tensor([m])]
        key = common and digest(common, own.flat, own.buffers, chosen)
        unit = units.journal.find(key) if key else None
        if unit is None:
            unit = {"gradient": _gradient(units, own, loss, chosen)}
            if key:
                units.journal.keep({key: unit})
        result.append(unit["gradient"])
    return torch.stack(result)


def _gradient(units: Fits, own: State, loss: Loss, rows: Tensor) -> Tensor:
    device = units.network.device
    own = own.to(device)
    buffers = {n: b[0] for n, b in own.buffers.items()}
    total = torch.zeros_like(own.flat[0])
    for part in torch.split(rows.to(device), _ROWS):
        x, y = units.data.plain(part), units.data.y[part]

        def objective(flat: Tensor, x: Tensor = x, y: Tensor = y) -> Tensor:
            return loss(units.network.forward(flat, buffers, x)[0], y)

        total += grad(objective)(own.flat[0]) * (len(part) / len(rows))
    return total.cpu()


def _identity(units: Fits, loss: Loss, owner: tuple[Plugin, ...]) -> str | None:
    """A key for the loss: its code and what it closes over; None where that has no content."""
    try:
        held = inspect.getclosurevars(loss).nonlocals
        # Two lambdas on one line share their source, and `lambda l, y, t=t: ...` binds by default.
        place = [list(p) for p in loss.__code__.co_positions()]
        given = list(loss.__defaults__ or ()), loss.__kwdefaults__ or {}
        code = inspect.getsource(loss)
        return digest("gradients", units.source, code, place, *given, {**held}, *owner)
    except (AttributeError, TypeError, OSError):
        return None
