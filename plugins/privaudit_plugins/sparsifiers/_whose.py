"""Whose examples a pruner looks at, and what that costs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

import privaudit

Whose = Literal["member", "validation", "reference"]


class Looks(privaudit.Sparsifier):
    """A sparsifier that chooses weights by looking at examples.

    Chosen on reference or validation examples, the choice costs members nothing, so that the ε
    of a differentially private training stands (Adamczewski & Park 2023; Huang et al. 2020).
    Chosen on members it is not paid for, and no ε is reported.
    """

    rows: Whose = Field(
        "member",
        description="examples to look at: the members, or the split's validation or reference "
        "examples, which leaves an ε that training promises in force",
    )

    def refusal(self, split: privaudit.SplitOptions) -> str | None:
        """That the split has no such examples."""
        if self.rows != "member" and not getattr(split, self.rows):
            return (
                f"looks at {self.rows} examples: set split.{self.rows} to more than 0, or rows to "
                f"another than {self.rows}"
            )
        return None
