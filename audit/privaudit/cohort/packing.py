"""Units of the journal: one model's state as named tensors, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan

import torch
from torch import Tensor
from torch.nn.functional import pad

from privaudit.cohort.weighed import Trained, Weighed

Unit = dict[str, Tensor]  # every tensor has a leading axis of 1


def pack_weights(name: str, weights: Weighed, model: int) -> Unit:
    """One of K models' weights, buffers and companion, under a name."""
    only = slice(model, model + 1)
    return (
        {f"{name}:flat": weights.flat[only], f"{name}:second": weights.second[only]}
        | {f"{name}:buffer:{n}": b[only] for n, b in weights.buffers.items()}
        | {f"{name}:second_buffer:{n}": b[only] for n, b in weights.second_buffers.items()}
    )


def unpack_weights(name: str, units: Sequence[Mapping[str, Tensor]]) -> Weighed:
    """The weights of as many models as there are units, on the host."""

    def cat(key: str) -> Tensor:
        return torch.cat([unit[key].cpu() for unit in units])

    def held(kind: str) -> dict[str, Tensor]:
        start = f"{name}:{kind}:"
        return {key.removeprefix(start): cat(key) for key in units[0] if key.startswith(start)}

    return Weighed(
        cat(f"{name}:flat"), held("buffer"), cat(f"{name}:second"), held("second_buffer")
    )


def pack(trained: Trained, model: int) -> Unit:
    """What a fit made of one of K models."""
    only = slice(model, model + 1)
    return (
        {"history": trained.history[only], "best_epoch": trained.best_epoch[only]}
        | pack_weights("last", trained.last, model)
        | pack_weights("best", trained.best, model)
    )


def unpack(units: Sequence[Mapping[str, Tensor]]) -> Trained:
    """What a fit made of as many models as there are units."""
    epochs = max(unit["history"].shape[1] for unit in units)
    history = [
        pad(unit["history"], (0, 0, 0, epochs - unit["history"].shape[1]), value=float("nan"))
        for unit in units
    ]
    return Trained(
        unpack_weights("last", units),
        unpack_weights("best", units),
        torch.cat(history),
        torch.cat([unit["best_epoch"] for unit in units]),
    )


def last_epochs(units: Sequence[Mapping[str, Tensor]]) -> tuple[float, float, float]:
    """Mean loss, training and validation accuracy of the last epoch that each model trained.

    NaN where units hold no history, and for the third without validation.
    """
    histories = [one for unit in units for one in unit.get("history", ())]
    # A model that has stopped has no accuracy; a loss may be NaN before that.
    ends = [one[~one[:, 1].isnan()][-1:] for one in histories]
    if not ends:
        return nan, nan, nan
    loss, accuracy, validation = torch.cat(ends).double().mean(0).tolist()
    return loss, accuracy, validation
