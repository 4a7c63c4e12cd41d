"""Units of the journal: one model's state as named tensors, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan

import torch
from torch import Tensor
from torch.nn.functional import pad

from privaudit.networks.state import State, Trained
from privaudit.store.unit_file import Schema, like

Unit = dict[str, Tensor]  # every tensor has a leading axis of 1; "second" is the companion


def pack_weights(name: str, weights: State, model: int) -> Unit:
    """One of K models' weights and all that goes with them, under a name."""
    return named_state(name, weights[model : model + 1])


def named_state(name: str, weights: State) -> dict[str, Tensor]:
    """K models' weights, buffers, companions and memory, (K, ...) each, under a name."""
    return (
        {f"{name}:flat": weights.flat, f"{name}:second": weights.companion}
        | {f"{name}:buffer:{n}": b for n, b in weights.buffers.items()}
        | {f"{name}:second_buffer:{n}": b for n, b in weights.companion_buffers.items()}
        | {f"{name}:memory:{n}": t for n, t in weights.memory.items()}
    )


def unpack_weights(name: str, units: Sequence[Mapping[str, Tensor]]) -> State:
    """The weights of as many models as there are units, on the host."""
    names = [name if f"{name}:flat" in unit else "last" for unit in units]

    def cat(key: str) -> Tensor:
        parts = [unit[f"{state}:{key}"] for state, unit in zip(names, units, strict=True)]
        return torch.cat([part.cpu() for part in parts])

    def tensors_of(kind: str) -> dict[str, Tensor]:
        start = f"{names[0]}:{kind}:"
        keys = [key.removeprefix(start) for key in units[0] if key.startswith(start)]
        return {key: cat(f"{kind}:{key}") for key in keys}

    named = [tensors_of(kind) for kind in ("buffer", "second_buffer", "memory")]
    return State(cat("flat"), named[0], cat("second"), *named[1:])


def pack(trained: Trained, model: int) -> Unit:
    """What a fit made of one of K models; its best state only where it is not the last."""
    only = slice(model, model + 1)
    unit = {"history": trained.history[only], "best_epoch": trained.best_epoch[only]}
    last = pack_weights("last", trained.last, model)
    best = pack_weights("best", trained.best, model)
    if all(map(torch.equal, last.values(), best.values())):
        return unit | last
    return unit | last | best


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


def fit_schema(start: State, epochs: int) -> Schema:
    """What a unit of a fit holds, for models that start from this state."""
    history = torch.empty((1, epochs, 3), dtype=torch.float64, device="meta")
    best_epoch = torch.empty(1, dtype=torch.int64, device="meta")
    required = {"history": history, "best_epoch": best_epoch} | pack_weights("last", start, 0)
    return like("fit", required, pack_weights("best", start, 0))


def matched_schema(start: State, levels: int) -> Schema:
    """What a unit of matched states holds, one for each of some levels."""
    states = [pack_weights(str(level), start, 0) for level in range(levels)]
    return like("matched", {name: t for state in states for name, t in state.items()})


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
