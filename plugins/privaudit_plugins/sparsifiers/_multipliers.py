"""The steps of ADMM that do not depend on what weights are drawn towards.

min f(W) + g(Z) with W = Z, where g is infinite for what the constraint does not allow (Boyd et al.
2011, Distributed optimization and statistical learning via ADMM, equations 3.5 to 3.7, the scaled
form). W are the weights, Z those that are allowed, U the scaled dual variable: a sparsifier
remembers Z, U and ρ for each weight W that takes part, by the names below. The step of W is
training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

import privaudit

_Z, _U = "Z of ", "U of "
RHO = "rho"


def begun(nearest: Mapping[str, Tensor], rho: float) -> dict[str, Tensor]:
    """What one model remembers at first.

    Args:
        nearest: Z by the names of W.
        rho: the penalty's factor.
    """
    like = next(iter(nearest.values()))
    return (
        {_Z + name: z for name, z in nearest.items()}
        | {_U + name: torch.zeros_like(z) for name, z in nearest.items()}
        | {RHO: like.new_tensor(rho)}
    )


def penalty(weights: privaudit.Weights) -> Tensor:
    """ρ/2·‖W − Z + U‖² of one model."""
    memory = weights.memory
    squares = [
        (weights[name] - memory[_Z + name] + memory[_U + name]).square().sum()
        for name in _taking_part(memory)
    ]
    return memory[RHO] / 2 * torch.stack(squares).sum()


def renewed(
    weights: privaudit.Weights,
    due: Tensor,
    project: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]],
    rho: Tensor,
) -> dict[str, Tensor]:
    """Z, U and ρ of one model after an epoch.

    As U is the dual variable over ρ, it is divided by what ρ is multiplied by (Boyd et al., section
    3.4.1).

    Args:
        weights: W, and what is remembered.
        due: scalar bool: this epoch's end is one of an update.
        project: gives the nearest weights that are allowed, of W + U by name.
        rho: ρ from then on.
    """
    memory = weights.memory
    names = _taking_part(memory)
    reached = {name: weights[name] + memory[_U + name] for name in names}
    nearest = project(reached)
    changed = {_Z + name: nearest[name] for name in names}
    shrinks = memory[RHO] / rho
    changed |= {_U + name: (reached[name] - nearest[name]) * shrinks for name in names}
    changed |= {RHO: rho}
    return {name: torch.where(due, new, memory[name]) for name, new in changed.items()}


def residual(cohort: privaudit.Cohort) -> Tensor:
    """(M,) ‖W − Z‖ / ‖W‖ of each model: how far it is from what the constraint allows."""
    weights, memory = cohort.weights, cohort.memory
    names = _taking_part(memory)
    apart = torch.cat([(weights[n] - memory[_Z + n]).flatten(1) for n in names], 1)
    every = torch.cat([weights[n].flatten(1) for n in names], 1)
    norms: list[Tensor] = [torch.linalg.vector_norm(part, dim=1) for part in (apart, every)]
    return norms[0] / norms[1]


def _taking_part(memory: Mapping[str, Tensor]) -> list[str]:
    return [name.removeprefix(_Z) for name in memory if name.startswith(_Z)]
