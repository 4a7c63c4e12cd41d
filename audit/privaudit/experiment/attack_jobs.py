"""Attacks on one target after another, here or in other processes that share the answers."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from torch import Tensor

from privaudit.api.calls import scored
from privaudit.api.plugin import Attack
from privaudit.errors import ShortageError
from privaudit.experiment.attacking import advised, signals_of
from privaudit.experiment.context import RunContext
from privaudit.experiment.level import Level
from privaudit.jobs.local import Call, SharedExamples, Tell
from privaudit.jobs.shared import SharedTensors, share_tensors
from privaudit.values import AttackScores, Examples, Outputs, Split

logger = logging.getLogger(__name__)

_MOST_SHARED = 2**30  # bytes of answers from which writing them down costs more than it gains


@dataclass(frozen=True)
class SharedOutputs:
    """What models answer, in files for as long as `shared_outputs` is open."""

    tensors: SharedTensors
    noise_scale: float

    def load(self) -> Outputs:
        """The answers, mapped into memory."""
        return Outputs(**self.tensors.load(), noise_scale=self.noise_scale)


@contextmanager
def shared_outputs(outputs: Outputs) -> Iterator[SharedOutputs]:
    """Answers for other processes, until the block ends."""
    tensors = {f.name: getattr(outputs, f.name) for f in fields(outputs)}
    tensors = {name: t for name, t in tensors.items() if isinstance(t, Tensor)}
    with tempfile.TemporaryDirectory(prefix="privaudit-") as folder:
        yield SharedOutputs(share_tensors(tensors, Path(folder)), outputs.noise_scale)


@dataclass(frozen=True)
class AttackJob:
    """One attack on one target, and all that does not depend on whose answers are at hand.

    Attributes:
        attack: the attack.
        seed_number: the number of the target's split among the recipe's.
        target_number: the target's number among the split's targets.
        split: the target's.
        models: the split's, among those that answer, which follow each other.
        seed: of the run.
    """

    attack: Attack
    seed_number: int
    target_number: int
    split: Split
    models: slice
    seed: int

    def score(self, examples: Examples, answers: Outputs, believed: Outputs) -> AttackScores:
        """The attack's scores, from what all models answer and what shadows are believed to.

        Raises:
            DataError: it has too few shadows, or too small a population.
        """
        model_answers = answers[self.models], believed[self.models]
        signals = signals_of(
            self.attack, examples, self.split, *model_answers, self.target_number, self.seed
        )
        try:
            return scored(self.attack, signals)
        except ShortageError as error:
            raise advised(self.attack.name, error) from error


def attack_job(
    context: RunContext, attack: Attack, seed_number: int, target_number: int
) -> AttackJob:
    """The job of one attack on one of a split's targets."""
    models = context.ensemble.models(seed_number)
    return AttackJob(
        attack,
        seed_number,
        target_number,
        context.ensemble.splits[seed_number],
        slice(int(models[0]), int(models[-1]) + 1),  # a slice copies nothing
        context.recipe.seeds[seed_number],
    )


def score_remotely(
    tell: Tell,
    examples: SharedExamples,
    answers: SharedOutputs,
    believed: SharedOutputs,
    job: AttackJob,
) -> AttackScores:
    """What `AttackJob.score` gives, in another process; it has nothing to tell before."""
    return job.score(examples.load(), answers.load(), believed.load())


def scores_of(
    context: RunContext, level: Level, believed: list[Level], jobs: list[AttackJob]
) -> Iterator[AttackScores]:
    """What each job comes to, in this order; made in other processes where there are some.

    Args:
        context: where and on what.
        level: the models under attack, and what they answer.
        believed: for each job, what the shadows answer.
        jobs: the attacks and their targets.
    """
    with ExitStack() as stack:
        workers = context.workers
        outputs = {id(one): one.outputs for one in (level, *believed)}
        files = _shared(context, outputs, jobs, stack)
        if workers is None or files is None:
            for job, shadows in zip(jobs, believed, strict=True):
                yield job.score(context.examples, level.outputs, shadows.outputs)
            return
        examples, answers = workers.share(context.examples), files[id(level)]
        calls: list[Call] = [
            (score_remotely, (examples, answers, files[id(shadows)], job))
            for job, shadows in zip(jobs, believed, strict=True)
        ]
        early: dict[int, AttackScores] = {}
        done = 0
        for number, scores in workers.run(calls, lambda content: None):
            early[number] = scores
            while done in early:
                yield early.pop(done)
                done += 1


def _shared(
    context: RunContext,
    answers: Mapping[int, Outputs],
    jobs: list[AttackJob],
    stack: ExitStack,
) -> dict[int, SharedOutputs] | None:
    """The answers in files, where other processes can make use of them."""
    size = sum(outputs.nbytes for outputs in answers.values())
    workers = context.workers
    if not workers or len(jobs) < 2 or size > _MOST_SHARED or not workers.accept(jobs):
        return None
    try:
        return {
            key: stack.enter_context(shared_outputs(outputs)) for key, outputs in answers.items()
        }
    except OSError as error:  # a full disk, say
        logger.warning("attacks stay in this process: %s", error)
        return None
