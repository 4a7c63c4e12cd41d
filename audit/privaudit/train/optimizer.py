"""One optimiser for the stacked weights of K models, which may stop at different times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from privaudit.optimizers import Parts, Rule


class Optimizer:
    """Moves weights by a rule; a model that is not active keeps weights and memory.

    Where the rule allows it, a layer may add its gradient to the momentum by itself, as part of
    the product that the gradient comes from: large weights are then passed by less often.

    Attributes:
        keep: the share of a momentum that stays when a layer adds its gradient to it.

    Args:
        like: the weights by parameter, (K, *shape) each.
        rule: how they move.
    """

    def __init__(self, like: Mapping[str, Tensor], rule: Rule) -> None:
        self.keep = rule.folding or 0.0
        self._rule = rule
        self._slots = rule.init(list(like.values()))
        self._numbers = {name: number for number, name in enumerate(like)}
        self._folded: set[int] = set()
        self._open = False

    def begin(self, active: Tensor | None) -> None:
        """A step begins; `active` is the one that `step` will be given."""
        self._folded.clear()
        self._open = self._rule.folding is not None and active is None

    def take(self, name: str) -> Tensor | None:
        """A parameter's momentum (K, *shape), to become `keep` times itself plus the gradient.

        Whoever takes it hands `step` no gradient of that parameter. None: it is not to be had,
        and the gradient has to go to `step`.
        """
        if not self._open:
            return None
        self._folded.add(self._numbers[name])
        return self._slots[0][self._numbers[name]]

    def step(
        self,
        weights: Parts,
        gradients: Sequence[Tensor | None],
        lr: float,
        trainable: Parts | None = None,
        active: Tensor | None = None,
    ) -> None:
        """Move the weights in place.

        Args:
            weights: (K, *shape) each.
            gradients: theirs, beyond what was added to a momentum taken; None: nothing. Not
                changed, because two may share memory.
            lr: learning rate.
            trainable: theirs, 0 where a weight must stay bit for bit; None: all move.
            active: (K,) bool: models that are still training; None: all.
        """
        before = None
        if active is not None:
            before = [part.clone() for part in self._all(weights)]  # the rule may replace them
        self._rule.update(weights, gradients, self._slots, lr, trainable, self._folded)
        self._folded.clear()
        if before is not None and active is not None:
            for now, then in zip(self._all(weights), before, strict=True):
                now.copy_(torch.where(active.view(-1, *[1] * (now.ndim - 1)), now, then))

    def memory(self) -> dict[str, Tensor]:
        """What it remembers, (K, ...) by name, and how that lies in memory.

        Products that add to a momentum may round differently where it lies differently.
        """
        held: dict[str, Tensor] = {}
        for number, slot in enumerate(self._slots):
            for name, place in self._numbers.items():
                tensor = slot[place]
                strides = tensor.stride()
                order = sorted(range(tensor.ndim), key=strides.__getitem__, reverse=True)
                held[f"slot:{number}:{name}"] = tensor
                held[f"order:{number}:{name}"] = torch.tensor([order] * len(tensor))
        return held

    def restore(self, held: Mapping[str, Tensor]) -> None:
        """Remember what `memory` gave, on the device, lying as it lay."""
        for number, slot in enumerate(self._slots):
            for name, place in self._numbers.items():
                order = held[f"order:{number}:{name}"][0].tolist()
                back = [order.index(axis) for axis in range(len(order))]
                saved = held[f"slot:{number}:{name}"].to(slot[place])
                saved = saved.permute(order).contiguous().permute(back)
                if saved.stride() == slot[place].stride():
                    slot[place].copy_(saved)  # somebody may hold it
                else:
                    slot[place] = saved

    def _all(self, weights: Parts) -> list[Tensor]:
        return [*weights, *(tensor for slot in self._slots for tensor in slot)]
