"""What the attacker knows of how the target was made: same as its shadows, or something else."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from privaudit.api.plugin import Attack, Defense, Sparsifier
from privaudit.recipe.model import Entry, Recipe, Subject, combined

P = TypeVar("P", Sparsifier, Defense)


def shadow_subject(recipe: Recipe, subject: Subject, attack: Entry[Attack]) -> Subject:
    """How the shadows are made that an attack learns from, when a subject is its target.

    The subject itself, unless `shadow_sparsifier` or `shadow_defense` of the attack's entry, or
    else of the recipe, says that the attacker believes something else (Yuan & Zhang 2022).
    """
    sparsifier = attack.shadow_sparsifier or recipe.shadow_sparsifier
    defense = attack.shadow_defense or recipe.shadow_defense
    if sparsifier == "same" and defense == "same":
        return subject
    then = subject.then if sparsifier == "same" else None
    believed_sparsifier = _entry(
        tuple(entry for entry in recipe.sparsifiers if entry.then == then),
        subject.sparsifier if sparsifier == "same" else sparsifier,
        subject.sparsifier_label,
    )
    believed_defense = _entry(
        recipe.defenses,
        subject.defense if defense == "same" else defense,
        subject.defense_label,
    )
    training = combined(recipe.training, believed_sparsifier.training, believed_defense.training)
    believed_parts = believed_sparsifier.plugin, then, believed_defense.plugin, training
    if believed_parts == (subject.sparsifier, subject.then, subject.defense, subject.training):
        return subject
    return replace(
        subject,
        label=f"{subject.label}, believed {believed_sparsifier.title} + {believed_defense.title}",
        sparsifier=believed_sparsifier.plugin,
        defense=believed_defense.plugin,
        training=training,
        then=then,
    )


def _entry(entries: tuple[Entry[P], ...], believed: P, title: str) -> Entry[P]:
    """The recipe's entry of a plugin, with its training; a new one where it has none.

    Of several entries of one plugin the target's own counts.
    """
    same_plugin = [entry for entry in entries if entry.plugin == believed]
    mine = [entry for entry in same_plugin if entry.title == title]
    return next(iter(mine or same_plugin), Entry[P](plugin=believed))
