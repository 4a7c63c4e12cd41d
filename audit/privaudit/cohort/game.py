"""One model's training step as pure functions, under the hooks of a sparsifier and a defense.

`over_models` turns each function of one model into one of K stacked models.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.func import grad, grad_and_value, vmap
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_map_only

from privaudit.cohort.network import Buffers, Network
from privaudit.errors import PluginError
from privaudit.keys import fold
from privaudit.plugin import Defense, Sparsifier, Step, Weights, overrides

_DROPOUT, _REFERENCE, _LOSS, _NOISE, _COMPANION = range(5)  # purposes of a step's key

Result = TypeVar("Result")


def over_models(function: Callable[..., Result], count: int) -> Callable[..., Result]:
    """A function of one model's tensors, for `count` models stacked on a leading axis.

    One model is called plainly, because stacking one costs and gains nothing; but its first call
    is stacked, so that what cannot be stacked is refused whatever the count.

    Raises:
        PluginError: on calling, where the function draws from torch's generator.
    """
    stacked = vmap(function, randomness="error")
    tried = False

    def call(*inputs: object) -> Result:
        nonlocal tried
        if tried and count == 1:
            first = [tree_map_only(Tensor, lambda t: t[0], i) for i in inputs]
            result: Result = tree_map_only(Tensor, lambda t: t[None], function(*first))
            return result
        try:
            result = stacked(*inputs)
        except RuntimeError as error:
            if "randomness" not in str(error):
                raise
            raise PluginError(
                "the network, or a hook of the sparsifier or defense, draws random numbers from "
                "torch's shared generator: use nn.Dropout, not its function, and in hooks "
                "privaudit.keys with the step's key"
            ) from error
        tried = True
        return result

    return call


class Game:
    """What one step of one model computes; the companion, where there is one, plays against it.

    Every function takes the model's weights (P,), its buffers, its batch and the companion's
    weights (Pc,) and buffers; Pc is 0 without a companion. A batch holds `x` (B, ...), `y` (B,),
    `key`, `epoch`, and for a defense that asks `reference_x` and `reference_y`.
    """

    def __init__(
        self,
        network: Network,
        sparsifier: Sparsifier,
        defense: Defense,
        companion: Network | None,
    ) -> None:
        self.network = network
        self.defense = defense
        self.companion = companion
        self.sparsifier = sparsifier
        self._penalty = overrides(sparsifier, "penalty")
        self.projects = overrides(sparsifier, "project")
        if defense.per_example:
            refuse_batch_norm(network.module, defense)

    def gradient(
        self,
        flat: Tensor,
        buffers: Buffers,
        batch: Buffers,
        second: Tensor,
        second_buffers: Buffers,
    ) -> tuple[Tensor, Buffers, Tensor, Tensor]:
        """Gradient (P,), buffers, loss and number of right answers of one step."""
        if self.defense.per_example:
            return self._private_gradient(flat, buffers, batch, second, second_buffers)

        def objective(flat: Tensor) -> tuple[Tensor, tuple[Tensor, Buffers]]:
            step, after = self._step(flat, buffers, batch, second, second_buffers)
            loss = self.defense.loss(step)
            if self._penalty:
                loss = loss + self.sparsifier.penalty(self.weights(flat))
            return loss, (step.logits, after)

        gradient, (loss, (logits, after)) = grad_and_value(objective, has_aux=True)(flat)
        return gradient, after, loss.detach(), (logits.argmax(-1) == batch["y"]).sum()

    def _private_gradient(
        self,
        flat: Tensor,
        buffers: Buffers,
        batch: Buffers,
        second: Tensor,
        second_buffers: Buffers,
    ) -> tuple[Tensor, Buffers, Tensor, Tensor]:
        def one(x: Tensor, y: Tensor, key: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            own = batch | {"x": x[None], "y": y[None], "key": key}

            def objective(flat: Tensor) -> tuple[Tensor, Tensor]:
                step, _ = self._step(flat, buffers, own, second, second_buffers)
                return self.defense.loss(step), step.logits

            gradient, (loss, logits) = grad_and_value(objective, has_aux=True)(flat)
            right = (logits.argmax(-1) == own["y"]).sum()
            return self.defense.example_gradient(gradient), loss.detach(), right

        x, y, key = batch["x"], batch["y"], batch["key"]
        rows = torch.arange(len(y), device=y.device)
        gradients, losses, right = vmap(one, randomness="error")(x, y, fold(key, rows))
        count = torch.full_like(losses[0], len(y))
        total = self.defense.batch_gradient(gradients.sum(0), count, fold(key, _NOISE))
        if self._penalty:
            total = total + grad(lambda w: self.sparsifier.penalty(self.weights(w)))(flat)
        return total, buffers, losses.mean(), right.sum()

    def companion_gradient(
        self,
        flat: Tensor,
        buffers: Buffers,
        batch: Buffers,
        second: Tensor,
        second_buffers: Buffers,
    ) -> tuple[Tensor, Buffers]:
        """Gradient (Pc,) of the companion's own loss, and its buffers."""

        def objective(second: Tensor) -> tuple[Tensor, Buffers]:
            held = dict(second_buffers)
            step, _ = self._step(flat, buffers, batch, second, held)
            return self.defense.companion_loss(step), held

        gradient, after = grad(objective, has_aux=True)(second)
        return gradient, after

    def project(self, flat: Tensor, epoch: Tensor) -> Tensor:
        """Weights (P,) moved back to where the sparsifier lets them be."""
        return self.network.flatten(self.sparsifier.project(self.weights(flat), epoch), flat)

    def weights(self, flat: Tensor) -> Weights:
        """One model's named weights from its flat ones (P,)."""
        return Weights(self.network.views(flat), self.network.module)

    def _step(
        self,
        flat: Tensor,
        buffers: Buffers,
        batch: Buffers,
        second: Tensor,
        second_buffers: Buffers,
    ) -> tuple[Step, Buffers]:
        key = batch["key"]
        logits, after = self.network.forward(flat, buffers, batch["x"], key=fold(key, _DROPOUT))
        reference = None
        if "reference_x" in batch:
            reference, _ = self.network.forward(
                flat, buffers, batch["reference_x"], key=fold(key, _REFERENCE)
            )
        step = Step(
            logits=logits,
            y=batch["y"],
            epoch=batch["epoch"],
            key=fold(key, _LOSS),
            reference_logits=reference,
            reference_y=batch.get("reference_y"),
            companion=self._player(second, second_buffers, key) if self.companion else None,
        )
        return step, after

    def _player(self, second: Tensor, held: Buffers, key: Tensor) -> Callable[..., Tensor]:
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
            f"({shown}) mixes: choose a model without it, or with GroupNorm"
        )
