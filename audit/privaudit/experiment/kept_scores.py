"""The scores of a level's attacks in the journal, so that no attack is made twice."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence, Set
from typing import Self

from pydantic import BaseModel
from torch import Tensor

from privaudit.answers import ORIGINAL
from privaudit.api.calls import checked_scores
from privaudit.api.needs import needed_answers, sees_logits, versions_seen
from privaudit.api.plugin import Attack
from privaudit.api.source import has_source
from privaudit.errors import PrivauditError
from privaudit.experiment.attack_job import AttackJob
from privaudit.experiment.context import RunContext
from privaudit.experiment.level import Level
from privaudit.store.journal import digest
from privaudit.store.score_units import pack_scores, score_schema, unpack_scores
from privaudit.store.units import Unit
from privaudit.values import AttackScores, Outputs

_FORMAT = 2  # raised when an attack would score differently from the same key
_PAUSE = 1.0  # seconds of work that may wait to be written, and that a kill costs


class KeptScores:
    """Scores of a level's jobs; those made in the block are all written at its end.

    Args:
        context: where and on what.
        level: the models under attack.
        believed: for each job, what the shadows answer.
        jobs: the attacks and their targets.
        coming: keys of scores that somebody else is making.

    Attributes:
        missing: numbers of the jobs whose scores are not kept, nor coming; of those that come to
            the same, as attackers do who believe what is true, the first.
        twins: for a missing job, the later ones that come to the same.
    """

    def __init__(
        self,
        context: RunContext,
        level: Level,
        believed: Sequence[Level],
        jobs: list[AttackJob],
        coming: Set[str] = frozenset(),
    ) -> None:
        self._journal, self._jobs = context.journal, jobs
        self._keys = _keys(context, level, believed, jobs)
        self._waiting: dict[str, Unit] = {}
        self._written = time.monotonic()
        first: dict[str, int] = {}
        self.missing: list[int] = []
        self.twins: dict[int, list[int]] = {}
        for number, key in enumerate(self._keys):
            if key in first:
                self.twins.setdefault(first[key], []).append(number)
            elif not (key and (key in coming or self._journal.has(key))):
                self.missing.append(number)
                if key:
                    first[key] = number
        self._journal.prepare(self._keys[n] for n in self.missing if self._keys[n])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._write()

    @property
    def keys(self) -> set[str]:
        """Of all the scores that can be kept."""
        return {key for key in self._keys if key}

    def find(self, number: int) -> AttackScores | None:
        """The scores of a job; None where they are damaged."""
        job = self._jobs[number]
        audited = job.split.audited[int(job.split.targets[job.target_number])]
        schema = score_schema(
            len(audited), lambda scores: checked_scores(job.attack, scores, audited)
        )
        unit = self._journal.find(self._keys[number], schema)
        return None if unit is None else unpack_scores(unit)

    def keep(
        self, number: int, scores: AttackScores | PrivauditError
    ) -> AttackScores | PrivauditError:
        """The same scores, once they are kept or wait for it; failures are tried again."""
        if self._keys[number] and isinstance(scores, AttackScores):
            self._waiting[self._keys[number]] = pack_scores(scores)
        if time.monotonic() - self._written > _PAUSE:
            self._write()
        return scores

    def _write(self) -> None:
        self._journal.keep("scores", self._waiting)
        self._waiting, self._written = {}, time.monotonic()


def _keys(
    context: RunContext, level: Level, believed: Sequence[Level], jobs: Sequence[AttackJob]
) -> list[str]:
    """A key for each job; "" where a change of the attack's code would not be noticed."""
    outputs = {id(one): one.outputs for one in (level, *believed)}
    hashed = {place: _OutputDigests(one, context.examples.y) for place, one in outputs.items()}
    told: dict[tuple[int, int], str] = {}
    keys = []
    for job, shadows in zip(jobs, believed, strict=True):
        if not _readable(job.attack):
            keys.append("")
            continue
        split, first = job.split, job.models.start
        target = int(split.targets[job.target_number])
        others = split.shadows[job.target_number].nonzero()[:, 0].tolist()
        place = job.seed_number, job.target_number
        if place not in told:
            signals = job.signals(context.examples, level.outputs, shadows.outputs)
            told[place] = digest(signals.audited, signals.shadow_role, signals.seed)
        answers = (
            hashed[id(level)].of(job.attack, [first + target]),
            hashed[id(shadows)].of(job.attack, [first + other for other in others]),
        )
        asked = context.examples_digest, told[place]
        keys.append(digest("scores", _FORMAT, job.attack, *asked, *answers))
    return keys


class _OutputDigests:
    """Digests of what M models answer, so that no attack needs to hash it anew.

    Args:
        outputs: of the models.
        y: (N,) int64 labels.
    """

    def __init__(self, outputs: Outputs, y: Tensor) -> None:
        self._outputs, self._y = outputs, y
        self._logits: list[list[str]] = []
        self._reduced: dict[tuple[str, int], list[str]] = {}
        self._noisy = [] if outputs.noisy is None else [_digests(n) for n in outputs.noisy]
        self._norm = [] if outputs.gradient_norm is None else _digests(outputs.gradient_norm)
        self._versions = {name: _OutputDigests(v, y) for name, v in outputs.versions.items()}

    def of(self, attack: Attack, models: Sequence[int]) -> str:
        """Of what an attack is told about some models, by their places.

        What it has declared is the same whether logits are kept for its neighbours or not.
        """
        if sees_logits(attack, self._outputs):
            self._logits = self._logits or [_digests(queries) for queries in self._outputs.logits]
            seen = [self._logits[m][: attack.queries] for m in models]
        else:
            names = needed_answers(attack)
            seen = [[n, *self._of_one(n, m)[: attack.queries]] for n in names for m in models]
        noisy = [self._noisy[m][: attack.noise] for m in models] if self._noisy else []
        norm = [self._norm[m] for m in models] if "gradient_norm" in attack.signals else []
        told = [self._outputs.noise_scale, seen, noisy, norm]
        for name in versions_seen(attack, self._outputs):
            told += [] if name == ORIGINAL else [name]
            told.append(self._versions[name].of(attack, models))
        return digest(*told)

    def _of_one(self, name: str, model: int) -> list[str]:
        """Of one kind of answer of one model, query by query; of what is not kept, nothing."""
        place = name, model
        if place not in self._reduced:
            there = self._outputs.has_logits or name in self._outputs.kept
            values = self._outputs[model].of(name, None, self._y) if there else ()
            self._reduced[place] = _digests(values)
        return self._reduced[place]


def _digests(tensors: Iterable[Tensor]) -> list[str]:
    return [digest(tensor) for tensor in tensors]


def _readable(part: object) -> bool:
    """Whether the code of a plugin, and of the plugins in its options, can be read."""
    if isinstance(part, BaseModel):
        return has_source(type(part)) and all(_readable(value) for _, value in part)
    if isinstance(part, dict):
        return all(map(_readable, part.values()))
    return all(map(_readable, part)) if isinstance(part, list | tuple) else True
