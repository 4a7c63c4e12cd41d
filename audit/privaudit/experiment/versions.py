"""The other versions of a level's networks: their dense originals, and the levels before."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from privaudit.answers import ORIGINAL, VERSIONS
from privaudit.api.plugin import Attack
from privaudit.cohort import Cohort
from privaudit.cohort.models import Snapshot
from privaudit.experiment.context import RunContext, asked
from privaudit.experiment.level import Level
from privaudit.experiment.originals import finished_by_defense
from privaudit.recipe import Recipe, Subject
from privaudit.values import Outputs


def asks_versions(recipe: Recipe) -> bool:
    """Whether an attack needs what networks answered at the levels before.

    A given target has one level, whatever its shadows went through.
    """
    asks = any(VERSIONS in attack.signals for _, attack in recipe.attack_entries())
    return asks and recipe.target is None


def asks_originals(recipe: Recipe) -> bool:
    """Whether originals are asked: an attack needs them, or one is given and audited itself."""
    given = recipe.target is not None and recipe.target.dense is not None
    return given or any(
        {ORIGINAL, VERSIONS} & attack.signals for _, attack in recipe.attack_entries()
    )


class Versions:
    """What one cohort's models answer in their other versions; each is asked once for all levels.

    Originals stand behind the same defense as the sparse networks. Answers of earlier levels are
    held only where an attack asks for them.
    """

    def __init__(self, context: RunContext, subject: Subject, models: Tensor) -> None:
        self._context, self._subject, self._models = context, subject, models
        self._originals_wanted = asks_originals(context.recipe)
        self._levels_wanted = asks_versions(context.recipe)
        self._original: tuple[Snapshot, Outputs] | None = None
        self._before: dict[str, tuple[Snapshot, Outputs]] = {}

    def beside(self, cohort: Cohort, level: Level) -> Level:
        """The level that a cohort has reached, with the other versions of its networks."""
        original = cohort.original if self._originals_wanted else None
        versions = {}
        if original is not None:
            versions[ORIGINAL] = self._answers_of(cohort, original)
        for label, (snapshot, outputs) in self._before.items():
            if snapshot is not original:  # a level that was the original counts once
                versions[f"level {label}"] = outputs
        if self._levels_wanted:
            self._before[level.label] = cohort.snapshot, level.outputs
        return replace(level, outputs=level.outputs.changed(versions=versions))

    def _answers_of(self, cohort: Cohort, original: Snapshot) -> Outputs:
        if self._original is None or self._original[0] is not original:
            dense = cohort.fork()
            dense.return_to(original)
            dense = finished_by_defense(self._context, self._subject, dense)
            audited = self._context.ensemble.audited[self._models]
            self._original = original, asked(dense, audited, self._context.recipe)
        return self._original[1]


def left_out(attack: Attack, subject: Subject, level: Level, shadows: Level) -> str:
    """Why an attack that needs other versions is not made on a level; "" where it is.

    Args:
        attack: any.
        subject: under audit.
        level: of it.
        shadows: what the attacker's shadows answer.

    Returns:
        A sentence.
    """
    why = _lacking(attack, level, shadows)
    what = f"{subject.label} / {level.label}" if level.label else subject.label
    return why and f"attack {attack.name!r} is left out for {what}: {why}"


def _lacking(attack: Attack, level: Level, shadows: Level) -> str:
    asks = attack.signals & {ORIGINAL, VERSIONS}
    theirs, believed = level.outputs.versions, shadows.outputs.versions
    if not asks or (ORIGINAL in theirs and ORIGINAL in believed and VERSIONS not in asks):
        return ""
    if VERSIONS in asks and theirs and theirs.keys() == believed.keys():
        return ""
    if level.given is not None and level.given.original is not None:
        return (
            "its shadows have no dense originals; name in sparsifiers what made the target sparse, "
            "or set shadows: 0"
        )
    if level.given is not None:
        return "it is the dense original itself"
    if VERSIONS in asks and theirs:
        return "the attacker believes in shadows that have not reached the same levels"
    if VERSIONS in asks:
        return "no level was reached before it, and it has no dense original"
    if ORIGINAL in theirs:
        return "the attacker believes in shadows that have no dense originals"
    return "it was not made sparse from a dense network that was trained before"
