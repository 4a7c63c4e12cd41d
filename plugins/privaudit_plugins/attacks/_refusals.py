"""What a recipe's split cannot give, and which setting would: said before anything is trained."""

from __future__ import annotations

import privaudit


def without_population(split: privaudit.SplitOptions) -> str | None:
    """Refuse a split that audits every example, where an attack compares with others."""
    spare = split.members is not None or split.validation or split.reference
    if split.protocol == "disjoint" or spare:
        return None
    return (
        "compares with examples that are not audited, and split.protocol halves audits all: "
        "set split.members, so that some are left"
    )


def without_members(split: privaudit.SplitOptions, option: str) -> str | None:
    """Refuse a split in which no shadow trains on audited examples, where an option needs that."""
    if split.protocol == "halves":
        return None
    return f"{option} needs shadows that trained on audited examples: set split.protocol to halves"
