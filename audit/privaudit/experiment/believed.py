"""The shadows of each attack: of the subject itself, or of what the attacker believes it to be."""

from __future__ import annotations

import logging
from dataclasses import replace
from logging import INFO, WARNING

from privaudit.answers import ORIGINAL
from privaudit.api.plugin import Attack
from privaudit.errors import PrivauditError, contained
from privaudit.events import BelievedDone, BelievedStarted
from privaudit.experiment.context import RunContext
from privaudit.experiment.level import Level
from privaudit.experiment.levels import levels
from privaudit.experiment.versions import left_out
from privaudit.recipe import Entry, Subject
from privaudit.recipe.knowledge import shadow_subject

logger = logging.getLogger(__name__)


class BelievedShadows:
    """Shadows that attackers train, made once for all subjects and attacks that share a belief.

    Attributes:
        left_out: a sentence for each attack that does not suit a level.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self.left_out: list[str] = []
        self._levels: dict[str, list[Level] | PrivauditError] = {}
        self._reached: dict[str, list[Level]] = {}
        recipe = context.recipe
        pairs = [(subject, entry) for subject in recipe.subjects() for entry in recipe.attacks]
        believed = ((shadow_subject(recipe, *pair), pair[0]) for pair in pairs)
        self._wanted = {_alike(other) for other, subject in believed if other is not subject}

    def reached(self, subject: Subject, level: Level) -> None:
        """Take note of what a subject's own models answer, if attackers of others believe it."""
        if _alike(subject) in self._wanted:
            self._reached.setdefault(_alike(subject), []).append(level)

    def complete(self, subject: Subject) -> None:
        """A subject has reached all its levels: whoever believes it need not make them again."""
        if levels_of_all := self._reached.pop(_alike(subject), None):
            self._levels.setdefault(_alike(subject), levels_of_all)

    def of_all(
        self, subject: Subject, level: Level
    ) -> tuple[list[Entry[Attack]], list[Level], dict[str, PrivauditError]]:
        """The attacks that can be made, the shadows of each, and why the others cannot, by title.

        Raises:
            PrivauditError: nothing can go on.
        """
        entries, shadows, errors = [], [], {}
        for entry in self._context.recipe.attacks:
            try:
                believed = self.of(subject, entry, level)
                if why := left_out(entry.plugin, subject, level, believed):
                    itself = level.given is not None and level.label == ORIGINAL
                    logger.log(INFO if itself else WARNING, "%s", why)
                    self.left_out.append(why)
                    continue
                shadows.append(believed)
                entries.append(entry)
            except PrivauditError as error:
                if not contained(error):
                    raise
                errors[entry.title] = error
        return entries, shadows, errors

    def of(self, subject: Subject, entry: Entry[Attack], level: Level) -> Level:
        """What the shadows answer: the level itself, or that of what the attacker believes.

        A believed sparsifier's level is the one of the same label, else its last.
        """
        believed = shadow_subject(self._context.recipe, subject, entry)
        if believed is subject:
            return level
        key = _alike(believed)
        if key not in self._levels:
            self._context.on_event(BelievedStarted(believed.label.rpartition(", believed ")[2]))
            try:
                made = levels(self._context, believed)
                self._levels[key] = [replace(one, weights={}) for one in made]
            except PrivauditError as error:
                self._levels[key] = error
            self._context.on_event(BelievedDone())
        shadows = self._levels[key]
        if isinstance(shadows, PrivauditError):
            raise shadows
        return next((made for made in shadows if made.label == level.label), shadows[-1])


def _alike(subject: Subject) -> str:
    """What two subjects have in common whose models are the same."""
    return "\n".join(
        part.model_dump_json(serialize_as_any=True)
        for part in (subject.sparsifier, subject.then, subject.defense, subject.training)
        if part is not None
    )
