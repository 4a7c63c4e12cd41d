"""Whether a recipe suits its data and the machine, told before anything is trained."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from privaudit.api.calls import labels
from privaudit.errors import PrivauditError, RecipeError
from privaudit.experiment.context import RunContext
from privaudit.experiment.forecast import check_seal, sealed_examples
from privaudit.experiment.kept_kinds import answer_bytes
from privaudit.experiment.versions import asks_originals, asks_versions
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
    needed = models * _answer_bytes(recipe, examples)
    if needed > memory:
        raise RecipeError(
            f"the answers of {models:,} networks to {len(examples):,} examples, each asked {asked} "
            f"times, take {amount(needed)}, and {amount(memory)} may be used: "
            "lower shadows or seeds, choose attacks with fewer queries, or raise --memory"
        )


def check_versions(context: RunContext) -> None:
    """See that all levels' answers can be held at once, where an attack asks for every level.

    Raises:
        RecipeError: they cannot.
        DamageError: a script has written into the examples.
    """
    recipe = context.recipe
    if not asks_versions(recipe):
        return
    silent = replace(context, on_event=lambda event: None, workers=None)
    seal, models = sealed_examples(context), len(recipe.seeds) * (1 + recipe.shadows)
    for subject in recipe.subjects():
        cohort = silent.cohort(subject, context.trained[:1], plan=True)
        levels = 1  # the original
        with suppress(PrivauditError):  # what is wrong with a script is told when it runs
            for _ in labels(subject.sparsifier, cohort, subject.defense, recipe.model):
                levels += 1
        check_seal(context, subject, seal)
        needed = levels * models * _answer_bytes(recipe, context.examples)
        if needed > context.memory:
            raise RecipeError(
                f"the answers of {models:,} networks to {len(context.examples):,} examples at "
                f"{levels:,} levels of {subject.label} take {amount(needed)}, and "
                f"{amount(context.memory)} may be used: lower shadows or seeds, ask for fewer "
                "levels, leave out the attacks that ask for all of them, or raise --memory"
            )


def _answer_bytes(recipe: Recipe, examples: Examples) -> int:
    """Bytes of one network's answers to all examples."""
    attacks = [attack for _, attack in recipe.attack_entries()]
    return len(examples) * answer_bytes(attacks, len(examples.classes))


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
