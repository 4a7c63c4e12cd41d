"""Levels by how much stays: one density, or a list."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

import privaudit

Share = Annotated[float, Field(gt=0, lt=1)]


class ByDensity(privaudit.Sparsifier):
    """A sparsifier that makes a level of each density."""

    density: Share | Annotated[tuple[Share, ...], Field(min_length=1)] = Field(
        0.5, description="share of the candidates that stays; a list: one level for each"
    )

    @property
    def densities(self) -> tuple[float, ...]:
        """One for each level."""
        return (self.density,) if isinstance(self.density, float) else self.density

    @model_validator(mode="after")
    def _levels_differ(self) -> Self:
        if len({label(density) for density in self.densities}) < len(self.densities):
            raise ValueError("every density of the list needs to be another")
        return self


def label(density: float) -> str:
    """What the level of a density is called."""
    return f"density {density:g}"
