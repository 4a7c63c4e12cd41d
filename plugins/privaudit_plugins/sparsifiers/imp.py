"""Iterative magnitude pruning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

import privaudit


class Epoch(BaseModel):
    """An epoch of the first training to rewind to, as in late rewinding."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epoch: int = Field(ge=0, description="how many epochs of the first training have passed")


class IterativeMagnitudePruning(privaudit.Sparsifier):
    """Train, prune the smallest weights, retrain what is left; every round is a level.

    Pruning is global over the weights of convolutions and linear layers: biases and BatchNorm
    stay. Each training is the whole schedule again; what is pruned stays zero. Gonon et al.
    audit and prune the weights of the best validation epoch (`rewind: best`) and go on from
    them; Frankle & Carbin 2019 prune and then restart from the initial weights (`initial`), and
    Frankle et al. 2020 from an early epoch of the first training (`epoch: k`).
    """

    paper: ClassVar[str] = "Gonon et al. 2023, sections 3.1 and 4; Frankle & Carbin 2019"
    name: Literal["imp"] = "imp"
    rounds: int = Field(24, ge=0, description="prunings, each followed by a training")
    amount: float = Field(0.2, gt=0, lt=1, description="share of the remaining weights pruned")
    rewind: Literal["best", "initial"] | Epoch = Field(
        "best", description="where training restarts: best, initial, or {epoch: k}"
    )
    keep_first: bool = Field(False, description="never prune the first layer")
    keep_last: bool = Field(False, description="never prune the last layer")

    def sparsify(self, cohort: privaudit.Cohort) -> Iterator[str]:
        """One level before any pruning, and one after each round."""
        for r in range(self.rounds + 1):
            cohort.fit()
            cohort.rewind("best")
            yield f"round {r}"
            if r == 0:
                cohort.mark_original()  # after its own level, which is no pruned one
            if r < self.rounds:
                weights = {n: w.abs() for n, w in cohort.weights.items() if w.ndim > 2}
                names = list(weights)[self.keep_first : len(weights) - self.keep_last]
                cohort.prune(keep=1 - self.amount, scores={n: weights[n] for n in names})
                if isinstance(self.rewind, Epoch):
                    cohort.rewind(self.rewind.epoch)
                elif self.rewind == "initial":
                    cohort.rewind("initial")


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [IterativeMagnitudePruning]
