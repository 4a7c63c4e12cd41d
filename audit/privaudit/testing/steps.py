"""Made-up steps of training, for one model and for two at once."""

from __future__ import annotations

from dataclasses import fields, replace

import torch
from torch import Tensor, nn
from torch.func import functional_call

from privaudit.api.plugin import Defense, Step
from privaudit.testing.material import C, generator

Weights = dict[str, Tensor]


def tiny_step(defense: Defense, seed: int = 0) -> Step:
    """A training step of 6 examples, with reference examples where the defense asks for them."""
    g = generator(seed)
    reference = defense.reference
    return Step(
        logits=torch.randn(6, C, generator=g),
        y=(torch.arange(6) + seed) % C,
        epoch=torch.tensor(1 + 4 * seed),
        key=torch.tensor(100 + seed),
        reference_logits=torch.randn(6, C, generator=g) if reference else None,
        reference_y=(torch.arange(6) + 1 + seed) % C if reference else None,
    )


def stacked(steps: list[Step]) -> dict[str, Tensor]:
    """Every tensor of several models' steps, by its field, on a first axis of models.

    The engine stacks them all: what a hook is given differs from model to model.
    """
    tensors: dict[str, list[Tensor]] = {}
    for step in steps:
        for field in fields(step):
            value = getattr(step, field.name)
            if isinstance(value, Tensor):
                tensors.setdefault(field.name, []).append(value)
    return {name: torch.stack(values) for name, values in tensors.items()}


def companion_weights(companion: nn.Module | None) -> Weights:
    """The weights of a second player by name; none where there is none."""
    return {} if companion is None else {n: p.detach() for n, p in companion.named_parameters()}


def playing(step: Step, companion: nn.Module | None, weights: Weights) -> Step:
    """The step with the companion as its second player, under the given weights."""
    if companion is None:
        return step
    return replace(step, companion=lambda *inputs: functional_call(companion, weights, inputs))
