"""One model's training step as pure functions, under the hooks of a sparsifier and a defense."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy

import torch
from torch import Tensor, nn
from torch.func import grad, grad_and_value, vmap
from torch.nn.modules.batchnorm import _BatchNorm

from privaudit.api.plugin import Defense, Sparsifier, Step, Weights, overrides
from privaudit.errors import PluginError
from privaudit.keys import fold
from privaudit.networks.network import Buffers, Network

DROPOUT, _REFERENCE, LOSS, _NOISE, _COMPANION = range(5)  # purposes of a step's key

_NUMBERS = 2**26  # of single examples' gradients held at once


class Objective:
    """What one step of one model computes; the companion, where there is one, plays against it.

    Every function takes the model's weights (P,), its buffers, its batch and the companion's
    weights (Pc,) and buffers; Pc is 0 without a companion. A batch holds `x` (B, ...), `y` (B,),
    `key`, `epoch`, for a defense that asks `reference_x` and `reference_y`, and where batches
    differ in size `real` (B,) bool and `count`, how many examples they have on average; for
    gradients of single examples `free` (P,), 0 where a weight stays as it is.

    Attributes:
        shapes: whether the sparsifier's `penalty` and `project` have a say.
        penalises: whether it has a penalty and that is in force.
        projects: whether it has a projection and that is in force.
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
        self.shapes = sparsifier.during == "all" or not tuning
        self.penalises = self.shapes and overrides(sparsifier, "penalty")
        self.inputs = overrides(defense, "inputs")
        self.projects = self.shapes and overrides(sparsifier, "project")
        if defense.per_example:
            refuse_batch_norm(network.module, defense)
        elif defense.sampling == "poisson":
            raise PluginError(
                f"defense {defense.name!r} draws batches that differ in size, so it needs "
                'gradients of single examples: beside sampling = "poisson" set per_example = True'
            )

    def on(self, network: Network) -> Objective:
        """The same with flat weights in that network's order."""
        there = copy(self)
        there.network = network
        return there

    def objective(
        self,
        weights: Mapping[str, Tensor],
        buffers: Buffers,
        batch: Buffers,
        second: Tensor,
        second_buffers: Buffers,
    ) -> tuple[Tensor, Buffers, Tensor]:
        """Loss of one step, to be differentiated, buffers and number of right answers."""
        step, after = self._step(weights, buffers, batch, second, second_buffers)
        loss = self.defense.loss(step)
        if self.penalises:
            loss = loss + self.sparsifier.penalty(Weights(weights, self.network.module))
        return loss, after, (step.logits.argmax(-1) == batch["y"]).sum()

    def example_gradients(
        self,
        flat: Tensor,
        buffers: Buffers,
        batch: Buffers,
        second: Tensor,
        second_buffers: Buffers,
    ) -> tuple[Tensor, Buffers, Tensor, Tensor]:
        """Gradient (P,) by way of each example's own, buffers, loss and number of right answers."""

        def one(x: Tensor, y: Tensor, key: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            own = batch | {"x": x[None], "y": y[None], "key": key}

            def objective(flat: Tensor) -> tuple[Tensor, Tensor]:
                step, _ = self._step(flat, buffers, own, second, second_buffers)
                return self.defense.loss(step), step.logits

            gradient, (loss, logits) = grad_and_value(objective, has_aux=True)(flat)
            if "free" in batch:  # what cannot move takes no part in a clipped norm
                gradient = gradient * batch["free"]
            right = (logits.argmax(-1) == own["y"]).sum()
            return self.defense.example_gradient(gradient), loss.detach(), right

        x, y, key = batch["x"], batch["y"], batch["key"]
        rows = torch.arange(len(y), device=y.device)
        real = batch.get("real", torch.ones_like(y, dtype=torch.bool))
        some = max(1, _NUMBERS // max(1, len(flat)))
        parts = []
        for part in torch.split(rows, some):
            each, loss, right = vmap(one, randomness="error")(x[part], y[part], fold(key, part))
            there = real[part].to(each.dtype)
            parts.append((there @ each, (loss * there).sum(), (right * real[part]).sum()))
        total, loss, right = (torch.stack(each).sum(0) for each in zip(*parts, strict=True))
        count = batch.get("count", torch.full_like(loss, len(y)))
        total = self.defense.batch_gradient(total, count, fold(key, _NOISE))
        if self.penalises:
            total = total + grad(lambda w: self.sparsifier.penalty(self.weights(w)))(flat)
        return total, buffers, loss / real.sum().clamp(min=1), right

    def companion_objective(
        self,
        flat: Tensor,
        buffers: Buffers,
        batch: Buffers,
        second: Mapping[str, Tensor],
        second_buffers: Buffers,
    ) -> tuple[Tensor, Buffers]:
        """The companion's own loss, to be differentiated, and its buffers."""
        held = dict(second_buffers)
        step, _ = self._step(flat, buffers, batch, second, held)
        return self.defense.companion_loss(step), held

    def project(self, flat: Tensor, epoch: Tensor) -> Tensor:
        """Weights (P,) moved back to where the sparsifier lets them be."""
        return self.network.flatten(self.sparsifier.project(self.weights(flat), epoch), flat)

    def weights(self, flat: Tensor) -> Weights:
        """One model's named weights from its flat ones (P,)."""
        return Weights(self.network.views(flat), self.network.module)

    def _step(
        self,
        flat: Tensor | Mapping[str, Tensor],
        buffers: Buffers,
        batch: Buffers,
        second: Tensor | Mapping[str, Tensor],
        second_buffers: Buffers,
    ) -> tuple[Step, Buffers]:
        key, x = batch["key"], batch["x"]
        if self.inputs:
            x = self.defense.inputs(x, fold(key, LOSS))
        logits, after = self.network.forward(flat, buffers, x, key=fold(key, DROPOUT))
        reference = None
        if "reference_x" in batch:
            reference, _ = self.network.forward(
                flat, buffers, batch["reference_x"], key=fold(key, _REFERENCE)
            )
        step = Step(
            logits=logits,
            y=batch["y"],
            epoch=batch["epoch"],
            key=fold(key, LOSS),
            reference_logits=reference,
            reference_y=batch.get("reference_y"),
            companion=self._player(second, second_buffers, key) if self.companion else None,
        )
        return step, after

    def _player(
        self, second: Tensor | Mapping[str, Tensor], held: Buffers, key: Tensor
    ) -> Callable[..., Tensor]:
        companion = self.companion
        assert companion is not None

        def play(*inputs: Tensor) -> Tensor:
            answer, after = companion.forward(second, held, *inputs, key=fold(key, _COMPANION))
            held.update(after)
            return answer

        return play


def refuse_batch_norm(module: nn.Module, defense: Defense) -> None:
    """Gradients of single examples have no meaning where a batch shares statistics.

    Raises:
        PluginError: naming the layers.
    """
    layers = [n for n, m in module.named_modules() if isinstance(m, _BatchNorm)]
    if layers:
        shown = ", ".join(layers[:3]) + (f" and {len(layers) - 3} more" if len(layers) > 3 else "")
        raise PluginError(
            f"defense {defense.name!r} needs gradients of single examples, which BatchNorm "
            f"({shown}) mixes: choose a model without it, or give this one `norm: group`"
        )
