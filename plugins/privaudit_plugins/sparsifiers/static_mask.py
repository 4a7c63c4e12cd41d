"""Static sparse training: a mask that the recipe gives, in force from the start."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

import privaudit

Row = Annotated[tuple[float, ...], Field(min_length=1)]
Matrix = Annotated[tuple[Row, ...], Field(min_length=1)]


class StaticMask(privaudit.Sparsifier):
    """The weights that a recipe names, from the values it gives them; what is 0 stays 0.

    For a sparse network that is known from elsewhere: how far a pruner stays from it, and what
    the known one tells, can then be seen in one report. Each matrix stands in the upper left
    corner of its layer, and what lies beyond is 0, so that a narrow network can be written into
    a wide one. Weights that are not named are trained from their own beginning.
    """

    paper: ClassVar[str] = (
        "Zhang & Papyan 2024, Sparsest models elude pruning: an exposé of pruning's current "
        "capabilities: their combinatorial search trains masks so"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "The search itself is left out: the mask is what a search has found.",
        "A paper's weights begin at random; here a recipe may give the beginning as well, for "
        "the sparsest networks reach their accuracy from few beginnings.",
    )
    name: Literal["static_mask"] = "static_mask"
    weights: Annotated[dict[str, Row | Matrix], Field(min_length=1)] = Field(
        description="by the name of a weight matrix or bias, such as hidden1.weight, its values: "
        "0 is pruned"
    )
    start: Literal["given", "random"] = Field(
        "given", description="train from the values given, or from each network's own beginning"
    )

    @model_validator(mode="after")
    def _are_matrices(self) -> Self:
        wrong = []
        for name, values in self.weights.items():
            rows = [row for row in values if isinstance(row, tuple)]
            numbers = [n for row in rows for n in row] if rows else values
            if rows and len({len(row) for row in rows}) > 1:
                wrong.append(f"{name}: every row needs as many numbers as the first")
            elif not all(isinstance(n, float) and isfinite(n) for n in numbers):
                wrong.append(f"{name}: needs finite numbers")
            elif rows and not any(numbers):
                wrong.append(f"{name}: nothing of it stays: a network without it answers nothing")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def prepare(self, module: nn.Module) -> nn.Module:
        """The module as it is, once it has room for all that is given.

        Raises:
            RecipeError: it has no such weights, or smaller ones; all that is wrong at once.
        """
        known = {name: tuple(weight.shape) for name, weight in module.named_parameters()}
        wrong = []
        for name, values in self.weights.items():
            given = tuple(torch.tensor(values).shape)
            if name not in known:
                wrong.append(
                    f"static_mask: weights: this network has no {name!r}: it has {', '.join(known)}"
                )
            elif len(given) != len(known[name]):
                wrong.append(
                    f"static_mask: weights: {name} has shape {known[name]}: give it "
                    f"{'a list of numbers' if len(known[name]) == 1 else 'rows of numbers'}"
                    if len(known[name]) < 3
                    else f"static_mask: weights: {name} has shape {known[name]}: only matrices and "
                    "biases can be given"
                )
            elif any(own > room for own, room in zip(given, known[name], strict=True)):
                wrong.append(
                    f"static_mask: weights: {name} has shape {known[name]}, too small for the "
                    f"{given} given: use a wider network"
                )
        if wrong:
            raise privaudit.RecipeError(*wrong)
        return module

    def sparsify(self, cohort: privaudit.Cohort) -> Iterator[str]:
        """One level: trained with the mask."""
        weights = cohort.weights
        filled = {name: self._filled(name, weights[name]) for name in self.weights}
        cohort.prune_where({name: values == 0 for name, values in filled.items()})
        if self.start == "given":
            cohort.set(filled)
        cohort.fit()
        cohort.rewind("best")
        yield ""

    def _filled(self, name: str, weight: Tensor) -> Tensor:
        """The values given, in the upper left corner of zeros like a weight (M, *shape)."""
        values = torch.tensor(self.weights[name], dtype=weight.dtype)
        filled = torch.zeros_like(weight)
        filled[(slice(None), *(slice(size) for size in values.shape))] = values
        return filled


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [StaticMask]
