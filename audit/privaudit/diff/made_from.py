"""What two runs were made from and by, side by side."""

from __future__ import annotations

from privaudit.diff.values import Change, Section
from privaudit.report.leaves import differing, facts, leaves, value_at
from privaudit.store.result import RunResult

_DATA: Section = "data"
_FACTS: tuple[Section, ...] = ("data", "versions", "device", "plugins")


def changes(a: RunResult, b: RunResult) -> tuple[list[Change], list[str]]:
    """What differs, and sentences on what cannot be told.

    Raises:
        StoreError: a recipe is damaged.
    """
    recipes = leaves(a.recipe), leaves(b.recipe)
    found = [
        Change("recipe", path, *(value_at(recipe, path) for recipe in recipes))
        for path in differing(recipes)
    ]
    untold = []
    both = facts(a), facts(b)
    for section in _FACTS:
        known = [{p[1:]: v for p, v in table.items() if p[0] == section} for table in both]
        lacking = [name for name, table in zip("AB", known, strict=True) if not table]
        if lacking:
            untold.append(_untold(section, lacking))
            continue
        found += [
            Change(section, path, *(value_at(table, path) for table in known))
            for path in differing(known)
        ]
    return found, untold


def _untold(section: Section, lacking: list[str]) -> str:
    kept = "a manifest that can be read" if section == _DATA else "a record of them"
    return (
        f"Whether the {section} differ cannot be told, because {' and '.join(lacking)} "
        f"{'have' if len(lacking) > 1 else 'has'} not kept {kept}: run the recipe again"
    )
