"""What cannot be done with tokens, refused before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from privaudit.api.plugin import Defense, Model, Plugin, overrides
from privaudit.errors import PrivauditError, RecipeError
from privaudit.experiment.checkpoint import first_line
from privaudit.keys import seeded
from privaudit.recipe import Recipe
from privaudit.values import Examples


def check_tokens(recipe: Recipe, examples: Examples) -> None:
    """Refuse plugins that calculate with examples, and a network without an embedding.

    Nothing is wrong where the examples are numbers.

    Args:
        recipe: the question.
        examples: all that its networks are trained on and asked about.

    Raises:
        RecipeError: every such plugin of the recipe, one line each.
    """
    if not examples.tokens:
        return
    dataset = recipe.dataset.name
    problems = [
        *_noisy_attacks(recipe, dataset),
        *_changed_inputs(recipe, dataset),
        *_unembedded(recipe.model, dataset, examples),
    ]
    if problems:
        raise RecipeError(*problems)


def _noisy_attacks(recipe: Recipe, dataset: str) -> Iterator[str]:
    for number, entry in enumerate(recipe.attacks):
        if entry.plugin.noise > 0:
            yield (
                f"attacks[{number}]: {entry.plugin.name!r} asks about examples with noise added, "
                f"and dataset {dataset!r} holds tokens, to which none can be added: leave it out, "
                "or use an attack that asks about the examples themselves"
            )


def _changed_inputs(recipe: Recipe, dataset: str) -> Iterator[str]:
    for path, plugin in _named_plugins(recipe):
        if isinstance(plugin, Defense) and overrides(plugin, "inputs"):
            yield (
                f"{path}: {plugin.name!r} calculates with the examples before the network sees "
                f"them, and dataset {dataset!r} holds tokens, which are indices: leave it out, or "
                "use a defense that changes the loss or the answers"
            )


def _named_plugins(recipe: Recipe) -> Iterator[tuple[str, Plugin]]:
    """All that trains a network, with its path in the recipe."""
    named: dict[str, object] = {"shadow_defense": recipe.shadow_defense}
    for key in ("sparsifiers", "defenses"):
        for number, entry in enumerate(getattr(recipe, key)):
            named[f"{key}[{number}]"] = entry.plugin
    for number, entry in enumerate(recipe.attacks):
        named[f"attacks[{number}].shadow_defense"] = entry.shadow_defense
    for path, plugin in named.items():
        yield from _with_options(path, plugin)


def _with_options(path: str, value: object) -> Iterator[tuple[str, Plugin]]:
    """A plugin, and those that its options name."""
    if isinstance(value, Plugin):
        yield path, value
        for option in type(value).model_fields:
            yield from _with_options(f"{path}.{option}", getattr(value, option))


def _unembedded(model: Model, dataset: str, examples: Examples) -> Iterator[str]:
    """What is wrong with a network that does not answer the first and the largest token.

    It is asked on the CPU: on a GPU an index too large would end the process.
    """
    largest = int(examples.x.max())
    row = int((examples.x == largest).flatten(1).any(1).nonzero()[0])
    with seeded(0):
        network = model.build(examples.shape, len(examples.classes)).eval()
    try:
        with torch.no_grad():
            network(examples.x[[0, row]])
    except PrivauditError:
        raise
    except Exception as error:  # whatever a network's code or torch raises
        yield (
            f"model: {model.name!r} cannot answer the tokens of dataset {dataset!r}, 0 to "
            f"{largest}: tokens need a network with an embedding of at least {largest + 1} rows; "
            f"if they are quantities, have the dataset give float32 ({first_line(error)})"
        )
