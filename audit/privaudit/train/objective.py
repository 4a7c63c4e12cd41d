"""One model's training step as functions, under the hooks of a sparsifier and a defense."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy

import torch
from torch import Tensor
from torch.func import grad, grad_and_value, vmap

from privaudit.api.plugin import Defense, Sparsifier, Step, Weights, overrides
from privaudit.errors import PluginError
from privaudit.keys import fold
from privaudit.networks.network import Network
from privaudit.networks.state import Buffers
from privaudit.train.batch import Batch, CompanionBatch
from privaudit.train.batch_norm import refuse_batch_norm
from privaudit.train.returned import alike, first_memory, projected, remembered, scalar

_PURPOSES = DROPOUT, _REFERENCE, LOSS, _NOISE, _COMPANION = range(5)  # of a step's key

_NUMBERS = 2**26  # of single examples' gradients held at once


class Objective:
    """What one step of one model minimises; the companion, where there is one, plays against it.

    Every function takes the model's weights, its buffers, its batch (of one model), the companion's
    weights and buffers, which are empty without one, and what the sparsifier remembers.

    Attributes:
        shapes: whether the sparsifier's `penalty` and `project` have a say.
        penalises: whether it has a penalty and that is in force.
        projects: whether it has a projection and that is in force.
        remembers: whether it has a memory and that is in force.
        renews: whether it renews its memory after each epoch.
        inputs: whether the defense changes what the network sees.
    """

    def __init__(
        self,
        network: Network,
        sparsifier: Sparsifier,
        defense: Defense,
        companion: Network | None,
        tuning: bool = False,
    ) -> None:
        self.network = network
        self.defense = defense
        self.companion = companion
        self.sparsifier = sparsifier
        self.tuning = tuning
        self.shapes = sparsifier.during == "all" or not tuning
        self.penalises = self.shapes and overrides(sparsifier, "penalty")
        self.inputs = overrides(defense, "inputs")
        self.projects = self.shapes and overrides(sparsifier, "project")
        self.remembers = self.shapes and overrides(sparsifier, "memory")
        self.renews = self.remembers and overrides(sparsifier, "remember")
        if defense.per_example:
            refuse_batch_norm(network.module, defense)
        elif defense.sampling == "poisson":
            raise PluginError(
                f"defense {defense.name!r} draws batches that differ in size, so it needs "
                'gradients of single examples: beside sampling = "poisson" set per_example = True'
            )

    @property
    def reference(self) -> bool:
        """Whether a step needs answers to reference examples.

        A second network that learns afterwards is the only one to see them, unless the loss does.
        """
        seen = self.companion is not None or overrides(self.defense, "loss")
        return self.defense.reference and (seen or not overrides(self.defense, "companion"))

    def on(self, network: Network) -> Objective:
        """The same with flat weights in that network's order."""
        there = copy(self)
        there.network = network
        return there

    def in_precision(self, precision: str) -> Objective:
        """The same with the network's products as `Training.precision` says.

        A companion, small beside the network, keeps the precision of its weights.
        """
        low = precision == "bf16"
        return self.on(self.network.with_products(torch.bfloat16)) if low else self

    def to(self, device: torch.device) -> Objective:
        """The same on a device, which its networks move to."""
        there = self.on(self.network.to(device))
        if self.companion:
            there.companion = self.companion.to(device)
        return there

    def one_at_a_time(self) -> Objective:
        """The same for models that are trained one after another."""
        alone = self.on(self.network.one_at_a_time())
        if self.companion:
            alone.companion = self.companion.one_at_a_time()
        return alone

    def in_place(self) -> Objective:
        """The same where a step's buffers may be written into, and only one answer changes them."""
        return self if self.reference else self.on(self.network.working_in_place())

    def loss(
        self,
        weights: Mapping[str, Tensor],
        buffers: Buffers,
        batch: Batch,
        companion: Tensor,
        companion_buffers: Buffers,
        memory: Buffers,
    ) -> tuple[Tensor, Buffers, Tensor]:
        """Loss of one step, to be differentiated, buffers and number of correct answers."""
        step, after = self._step(weights, buffers, batch, companion, companion_buffers)
        loss = scalar(self.defense, "loss", self.defense.loss(step))
        if self.penalises:
            loss = loss + self.penalty(weights, memory)
        return loss, after, (step.logits.argmax(-1) == batch.y).sum()

    def example_gradients(
        self,
        flat: Tensor,
        buffers: Buffers,
        batch: Batch,
        companion: Tensor,
        companion_buffers: Buffers,
        memory: Buffers,
    ) -> tuple[Tensor, Buffers, Tensor, Tensor]:
        """Gradient (P,) by way of each example's own, buffers, loss and number of correct answers.

        Args:
            flat: (P,) weights.
            buffers: by name.
            batch: of one model.
            companion: (Pc,) weights.
            companion_buffers: by name.
            memory: by name.
        """

        def one(x: Tensor, y: Tensor, key: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            alone = batch._replace(x=x[None], y=y[None], key=key, keys=keys_of_purposes(key))
            return self._example_gradient(flat, buffers, alone, companion, companion_buffers)

        one_each = _looped(one) if self.network.inhabited else vmap(one, randomness="error")
        rows = torch.arange(len(batch.y), device=batch.y.device)
        real = torch.ones_like(batch.y, dtype=torch.bool) if batch.real is None else batch.real
        parts = []
        for part in torch.split(rows, max(1, _NUMBERS // max(1, len(flat)))):
            gradients, loss, correct = one_each(batch.x[part], batch.y[part], fold(batch.key, part))
            there = real[part].to(gradients.dtype)
            parts.append((there @ gradients, (loss * there).sum(), (correct * real[part]).sum()))
        total, loss, correct = (torch.stack(part).sum(0) for part in zip(*parts, strict=True))
        expected = batch.expected
        count = torch.full_like(loss, len(batch.y)) if expected is None else expected
        changed = self.defense.batch_gradient(total, count, batch.keys[_NOISE])
        total = alike(self.defense, "batch_gradient", changed, total)
        if self.penalises:
            total = total + grad(lambda w: self.penalty(self.network.views(w), memory))(flat)
        return total, buffers, loss / real.sum().clamp(min=1), correct

    def _example_gradient(
        self,
        flat: Tensor,
        buffers: Buffers,
        batch: Batch,
        companion: Tensor,
        companion_buffers: Buffers,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One example's gradient (P,) as the defense changes it, its loss, whether it is right."""

        def objective(weights: Tensor | Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
            step, _ = self._step(weights, buffers, batch, companion, companion_buffers)
            return scalar(self.defense, "loss", self.defense.loss(step)), step.logits

        if self.network.inhabited:
            leaves = self.network.leaves(flat)
            loss, logits = objective(leaves)
            named = derivatives(loss, leaves)
            gradient = self.network.flatten(named, torch.zeros_like(flat))
        else:
            gradient, (loss, logits) = grad_and_value(objective, has_aux=True)(flat)
        if batch.free is not None:  # what cannot move takes no part in a clipped norm
            gradient = gradient * batch.free
        correct = (logits.argmax(-1) == batch.y).sum()
        changed = self.defense.example_gradient(gradient)
        gradient = alike(self.defense, "example_gradient", changed, gradient)
        return gradient, loss.detach(), correct

    def companion_loss(
        self, batch: CompanionBatch, companion: Mapping[str, Tensor], companion_buffers: Buffers
    ) -> tuple[Tensor, Buffers]:
        """The companion's own loss, to be differentiated, and its buffers."""
        held = dict(companion_buffers)
        step = Step(
            logits=batch.logits,
            y=batch.y,
            epoch=batch.epoch,
            key=batch.keys[LOSS],
            reference_logits=batch.reference_logits,
            reference_y=batch.reference_y,
            companion=self._player(companion, held, batch.keys),
        )
        return scalar(self.defense, "companion_loss", self.defense.companion_loss(step)), held

    def penalty(self, weights: Mapping[str, Tensor], memory: Buffers) -> Tensor:
        """What the sparsifier adds to one model's loss."""
        given = Weights(weights, self.network.module, memory)
        return scalar(self.sparsifier, "penalty", self.sparsifier.penalty(given))

    def project(self, flat: Tensor, memory: Buffers, epoch: Tensor) -> tuple[Tensor, Buffers]:
        """Weights (P,) moved back to where the sparsifier lets them be, and its memory then."""
        weights = self.weights(flat, memory)
        moved = self.sparsifier.project(weights, epoch)
        changed, kept = projected(self.sparsifier, moved, weights)
        return self.network.flatten(changed, flat), {**memory, **kept}

    def start_memory(self, flat: Tensor) -> Buffers:
        """What the sparsifier remembers of one model (P,) before a fit."""
        weights = self.weights(flat, {})
        return first_memory(self.sparsifier, self.sparsifier.memory(weights), weights)

    def remember(self, flat: Tensor, memory: Buffers, epoch: Tensor) -> Buffers:
        """What the sparsifier remembers of one model (P,) after an epoch."""
        now = self.weights(flat, memory)
        return memory | remembered(self.sparsifier, self.sparsifier.remember(now, epoch), now)

    def weights(self, flat: Tensor, memory: Buffers) -> Weights:
        """One model's named weights from its flat ones (P,)."""
        return Weights(self.network.views(flat), self.network.module, memory)

    def _step(
        self,
        weights: Tensor | Mapping[str, Tensor],
        buffers: Buffers,
        batch: Batch,
        companion: Tensor | Mapping[str, Tensor],
        companion_buffers: Buffers,
    ) -> tuple[Step, Buffers]:
        keys, x = batch.keys, batch.x
        if self.inputs:
            x = alike(self.defense, "inputs", self.defense.inputs(x, keys[LOSS]), x)
        logits, after = self.network.forward(weights, buffers, x, key=keys[DROPOUT])
        reference = None
        if (others := batch.reference_x) is not None:
            reference, _ = self.network.forward(weights, buffers, others, key=keys[_REFERENCE])
        step = Step(
            logits=logits,
            y=batch.y,
            epoch=batch.epoch,
            key=keys[LOSS],
            reference_logits=reference,
            reference_y=batch.reference_y,
            companion=self._player(companion, companion_buffers, keys) if self.companion else None,
        )
        return step, after

    def _player(
        self, weights: Tensor | Mapping[str, Tensor], held: Buffers, keys: Tensor
    ) -> Callable[..., Tensor]:
        network = self.companion
        assert network is not None
        if isinstance(weights, Tensor):
            weights = network.leaves(weights) if network.inhabited else network.views(weights)

        def play(*inputs: Tensor) -> Tensor:
            answer, after = network.forward(weights, held, *inputs, key=keys[_COMPANION])
            held.update(after)
            return answer

        return play


def keys_of_purposes(key: Tensor) -> Tensor:
    """Keys (..., purposes) of what a step draws for, from the step's own (...)."""
    return fold(key[..., None], torch.arange(len(_PURPOSES), device=key.device))


def derivatives(value: Tensor, leaves: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The gradient of a scalar by those leaves that it depends on."""
    if not value.requires_grad:
        return {}
    parts = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
    return {name: part for name, part in zip(leaves, parts, strict=True) if part is not None}


def _looped(function: Callable[..., tuple[Tensor, ...]]) -> Callable[..., tuple[Tensor, ...]]:
    """A function of one example, for several, one after another."""

    def call(*inputs: Tensor) -> tuple[Tensor, ...]:
        results = [function(*one) for one in zip(*inputs, strict=True)]
        return tuple(torch.stack(part) for part in zip(*results, strict=True))

    return call
