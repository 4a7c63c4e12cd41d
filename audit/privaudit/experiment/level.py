"""The models of a subject at one level, and what they answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from privaudit.api.plugin import Promise
from privaudit.cohort.kept import joined_outputs
from privaudit.errors import PluginError
from privaudit.experiment.context import RunContext
from privaudit.experiment.target import ExternalTarget
from privaudit.values import Outputs

DENSE = 0.999  # a network with a smaller share of nonzero parameters is sparse


@dataclass(frozen=True)
class Level:
    """The M models of a subject at one level, and what they answer.

    Attributes:
        label: the sparsifier's name for it.
        outputs: of all models.
        density: (M,) nonzero parameters over the dense network's.
        nonzero: (M,) nonzero parameters.
        weights: (M, ...) by name, all that a state dict holds; empty with a given target.
        network: the structure that the weights fill; its own weights mean nothing.
        notes: (M,) by name: what the sparsifier and the defense have noted about the models.
        stack: how many models shared a step of their training.
        promise: of differential privacy, about the members of every model.
        history: (M, E, 3) loss, training and validation accuracy after each epoch of the last
            fit, as `Trained` has it; None where it is not known of all models.
        given: the target of every seed, where it was trained elsewhere.
    """

    label: str
    outputs: Outputs
    density: Tensor
    nonzero: Tensor
    weights: dict[str, Tensor]
    network: nn.Module
    notes: dict[str, Tensor] = field(default_factory=dict)
    stack: int = 1
    promise: Promise | None = None
    history: Tensor | None = None
    given: ExternalTarget | None = None


def joined(parts: Sequence[Level]) -> Level:
    """Of several cohorts that reached one level, the level of all their models.

    Raises:
        PluginError: they reached different levels.
    """
    if len({part.label for part in parts}) > 1:
        names = ", ".join(repr(part.label) for part in parts)
        raise PluginError(f"a sparsifier's cohorts reached different levels: {names}")
    return Level(
        parts[0].label,
        joined_outputs([part.outputs for part in parts]),
        torch.cat([p.density for p in parts]),
        torch.cat([p.nonzero for p in parts]),
        {n: torch.cat([p.weights[n] for p in parts]) for n in parts[0].weights},
        parts[0].network,
        {n: torch.cat([p.notes[n] for p in parts]) for n in parts[0].notes},
        max(p.stack for p in parts),
        _weakest([p.promise for p in parts]),
        _histories([p.history for p in parts]),
    )


def _histories(parts: Sequence[Tensor | None]) -> Tensor | None:
    """Of all models; None where some have none, or trained for another number of epochs."""
    known = [part for part in parts if part is not None]
    alike = len({part.shape[1] for part in known}) == 1
    return torch.cat(known) if alike and len(known) == len(parts) else None


def _weakest(promises: Sequence[Promise | None]) -> Promise | None:
    """The promise that holds for all; none where one lacks it."""
    present = [promise for promise in promises if promise is not None]
    return max(present, key=lambda p: p.epsilon) if len(present) == len(promises) else None


def beside(context: RunContext, target: ExternalTarget, shadows: Level | None) -> Level:
    """A level of the shadows, completed by the given target: the same for every seed."""
    density, nonzero = torch.tensor([[target.density], [target.nonzero]], dtype=torch.float64)
    label = "" if shadows is None else shadows.label
    network = target.cohort.network.module
    both = Level(label, context.given_outputs, density, nonzero, {}, network)
    if shadows is not None:
        both = joined([both, shadows])
    order = torch.zeros(len(context.ensemble.seeds), dtype=torch.int64)
    order[context.trained] = 1 + torch.arange(len(context.trained))
    density, nonzero = both.density[order], both.nonzero[order]
    answers = both.outputs[order]
    return Level(label, answers, density, nonzero, {}, network, stack=both.stack, given=target)
