"""The dense baseline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

import privaudit


class Dense(privaudit.Sparsifier):
    """Train once and prune nothing: what the others are compared with."""

    name: Literal["dense"] = "dense"
    weights: Literal["best", "last"] = Field(
        "best", description="audit each model's best validation epoch, or its last"
    )

    def sparsify(self, cohort: privaudit.Cohort) -> Iterator[str]:
        """One level: the trained network."""
        cohort.fit()
        if self.weights == "best":
            cohort.rewind("best")
        yield ""


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [Dense]
