"""What a recipe's split cannot give, and which setting would: said before anything is trained."""

from __future__ import annotations

import privaudit


def without_population(split: privaudit.SplitOptions, *, held_out: bool = True) -> str | None:
    """Refuse a split that audits every example, where an attack compares with others.

    Args:
        split: the recipe's.
        held_out: validation and reference examples serve, too.
    """
    spare = held_out and (split.validation or split.reference)
    if split.protocol == "disjoint" or split.members is not None or spare:
        return None
    if not held_out:
        return (
            "compares with examples that are neither audited nor held out for validation or "
            "reference, and split.protocol halves audits all others: set split.members, so that "
            "some are left"
        )
    return (
        "compares with examples that are not audited, and split.protocol halves audits all: "
        "set split.members, so that some are left"
    )


def without_members(split: privaudit.SplitOptions, option: str) -> str | None:
    """Refuse a split in which no shadow trains on audited examples, where an option needs that."""
    if split.protocol == "halves":
        return None
    return f"{option} needs shadows that trained on audited examples: set split.protocol to halves"
