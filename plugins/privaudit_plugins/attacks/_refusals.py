"""What a recipe's split cannot give, and which setting would: said before anything is trained."""

from __future__ import annotations

from math import comb

import privaudit

_MOST_LOST = 0.07
"""Of examples by coin, expected; an audit holds with a tenth, which chance should not exceed."""


def without_population(split: privaudit.SplitOptions, *, held_out: bool = True) -> str | None:
    """Refuse a split that audits every example, where an attack compares with others.

    Args:
        split: the recipe's.
        held_out: validation and reference examples serve, too.
    """
    spare = held_out and (split.validation or split.reference)
    counted = split.members is not None and split.members >= 1
    if split.protocol == "disjoint" or counted or spare:
        return None
    which = "examples that are not audited"
    audits = f"split.protocol {split.protocol} audits all"
    if not held_out:
        which = "examples that are neither audited nor held out for validation or reference"
        audits += " others"
    setting = "set split.members" + " to a count" * (split.protocol == "coin")
    return f"compares with {which}, and {audits}: {setting}, so that some are left"


def without_members(split: privaudit.SplitOptions, option: str) -> str | None:
    """Refuse a split in which no shadow trains on audited examples, where an option needs that."""
    if split.protocol != "disjoint":
        return None
    return (
        f"{option} needs shadows that trained on audited examples: set split.protocol to halves "
        "or coin"
    )


def without_shadows(
    split: privaudit.SplitOptions, shadows: int, *, inside: int = 0, outside: int = 1
) -> str | None:
    """Refuse shadows by coin that would leave too many examples without as many as they need.

    Args:
        split: the recipe's.
        shadows: how many there are.
        inside: how many an example needs that were trained on it.
        outside: how many it needs that were not.
    """
    if split.protocol != "coin":
        return None
    chance = split.chance
    lost = _below(inside, shadows, chance) + _below(outside, shadows, 1 - chance)
    if lost <= _MOST_LOST:
        return None
    enough = shadows
    while _below(inside, enough, chance) + _below(outside, enough, 1 - chance) > _MOST_LOST:
        enough += 1
    return (
        f"could not score {lost:.0%} of the examples: drawn by coin with the chance {chance:g}, "
        f"{shadows} shadows leave so many without {max(inside, outside)} that did or did not "
        f"train on them: set shadows to {enough} or more"
    )


def _below(least: int, shadows: int, chance: float) -> float:
    """The chance that fewer than so many of the shadows come up, each with a chance."""
    return sum(
        comb(shadows, k) * chance**k * (1 - chance) ** (shadows - k)
        for k in range(min(least, shadows + 1))
    )
