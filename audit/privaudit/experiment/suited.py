"""Whether a recipe suits its data and the machine, told before anything is trained."""

from __future__ import annotations

from privaudit.errors import RecipeError
from privaudit.experiment.kept_kinds import answer_bytes
from privaudit.experiment.originals import asks_originals
from privaudit.readers.door import amount
from privaudit.recipe import Recipe
from privaudit.values import Examples


def check_memory(recipe: Recipe, examples: Examples, memory: int) -> None:
    """See that all models' answers of a level can be held at once, for attacks compare them.

    Raises:
        RecipeError: they cannot.
    """
    attacks = [attack for _, attack in recipe.attack_entries()]
    models = len(recipe.seeds) * (1 + recipe.shadows) * (2 if asks_originals(recipe) else 1)
    asked = max(a.queries for a in attacks) + max(a.noise for a in attacks)
    needed = models * len(examples) * answer_bytes(attacks, len(examples.classes))
    if needed > memory:
        raise RecipeError(
            f"the answers of {models:,} networks to {len(examples):,} examples, each asked {asked} "
            f"times, take {amount(needed)}, and {amount(memory)} may be used: "
            "lower shadows or seeds, choose attacks with fewer queries, or raise --memory"
        )


def check_augmentation(recipe: Recipe, examples: Examples) -> None:
    """See that the data can be augmented where an attack asks for it.

    Raises:
        RecipeError: it cannot.
    """
    for number, (label, attack) in enumerate(recipe.attack_entries()):
        if "augmentation" in attack.signals and examples.augmentation is None:
            raise RecipeError(
                f"attacks[{number}]: {label!r} asks for augmented copies, and dataset "
                f"{recipe.dataset.name!r} has no augmentation: use another attack or dataset"
            )
