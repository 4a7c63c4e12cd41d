"""Attacks on one target after another, here or in other processes that share the answers."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from privaudit.cohort.kept import FileTable, MemoryTable
from privaudit.errors import PrivauditError
from privaudit.experiment.attack_job import AttackJob
from privaudit.experiment.context import RunContext
from privaudit.experiment.kept_scores import KeptScores
from privaudit.experiment.level import Level
from privaudit.jobs.lent import LentFolder
from privaudit.jobs.local import Call, SharedExamples, Tell
from privaudit.jobs.shared import SharedTensors, share_tensors
from privaudit.values import AttackScores, Outputs

logger = logging.getLogger(__name__)

_TABLE = "kept."  # begins the names of files of reductions
_MOST_SHARED = 2**30  # bytes of answers from which writing them down costs more than it gains


@dataclass(frozen=True)
class SharedOutputs:
    """What models answer, in files for as long as `shared_outputs` is open."""

    tensors: SharedTensors
    rest: Mapping[str, Any]

    def load(self) -> Outputs:
        """The answers, mapped into memory; of those in files of their own, the places."""
        tensors, rest = self.tensors.load(), dict(self.rest)
        places = [name for name in tensors if name.startswith(_TABLE)]
        tables = {n.removeprefix(_TABLE): MemoryTable(tensors.pop(n)) for n in places}
        rest["kept"] = rest["kept"] | tables
        return Outputs(**({"logits": None} | rest | tensors))


@contextmanager
def shared_outputs(outputs: Outputs) -> Iterator[SharedOutputs]:
    """Answers for other processes, until the block ends."""
    tensors = {name: t for name, t in vars(outputs).items() if isinstance(t, Tensor)}
    rest = {name: part for name, part in vars(outputs).items() if name not in tensors}
    rest["kept"] = {n: table for n, table in outputs.kept.items() if isinstance(table, FileTable)}
    for name, table in outputs.kept.items():
        if name not in rest["kept"]:
            every = outputs.changed(chosen=None, queries=table.shape[1])
            tensors[f"{_TABLE}{name}"] = every.of(name)
    with LentFolder() as folder:
        yield SharedOutputs(share_tensors(tensors, folder), rest)


def score_remotely(
    tell: Tell,
    examples: SharedExamples,
    answers: SharedOutputs,
    believed: SharedOutputs,
    job: AttackJob,
) -> AttackScores | PrivauditError:
    """What `AttackJob.outcome` gives, in another process; it has nothing to tell before."""
    return job.outcome(examples.load(), answers.load(), believed.load())


def scores_of(
    context: RunContext, level: Level, believed: list[Level], jobs: list[AttackJob]
) -> Iterator[AttackScores | PrivauditError]:
    """What each job comes to, in this order; made in other processes where there are some.

    In place of scores that cannot be made stands the reason. Scores that an earlier run kept are
    not made again.

    Args:
        context: where and on what.
        level: the models under attack, and what they answer.
        believed: for each job, what the shadows answer.
        jobs: the attacks and their targets.
    """
    with ExitStack() as stack:
        kept = stack.enter_context(KeptScores(context, level, believed, jobs))
        made, missing = _made(context, level, believed, jobs, kept.missing, stack), {*kept.missing}
        early: dict[int, AttackScores | PrivauditError] = {}
        for number, (job, shadows) in enumerate(zip(jobs, believed, strict=True)):
            while number in missing and number not in early:
                other, scores = next(made)
                early[other] = kept.keep(other, scores)
            found: AttackScores | PrivauditError | None
            found = early.pop(number) if number in missing else kept.find(number)
            if found is None:  # it was damaged
                scores = job.outcome(context.examples, level.outputs, shadows.outputs)
                found = kept.keep(number, scores)
            yield found


def _made(
    context: RunContext,
    level: Level,
    believed: list[Level],
    jobs: list[AttackJob],
    missing: list[int],
    stack: ExitStack,
) -> Iterator[tuple[int, AttackScores | PrivauditError]]:
    """The outcomes of some jobs by their numbers, as soon as they are there."""
    workers = context.workers
    outputs = {id(one): one.outputs for one in (level, *(believed[n] for n in missing))}
    files = _shared(context, outputs, [jobs[n] for n in missing], stack)
    if workers is None or files is None:
        for n in missing:
            yield n, jobs[n].outcome(context.examples, level.outputs, believed[n].outputs)
        return
    examples, answers = workers.share(context.examples), files[id(level)]
    calls: list[Call] = [
        (score_remotely, (examples, answers, files[id(believed[n])], jobs[n])) for n in missing
    ]
    for number, scores in workers.run(calls, lambda content: None):
        yield missing[number], scores


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
