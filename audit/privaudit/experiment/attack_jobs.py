"""Attacks on a level's targets, here or in other processes that share the answers."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from privaudit.api.plugin import overrides
from privaudit.api.watch import MOST_COPIED, signals_size
from privaudit.cohort.kept import FileTable, MemoryTable
from privaudit.errors import PrivauditError
from privaudit.experiment.attack_job import AttackJob, outcomes
from privaudit.experiment.context import RunContext
from privaudit.experiment.kept_scores import KeptScores
from privaudit.experiment.level import Level
from privaudit.jobs.lent import LentFolder
from privaudit.jobs.local import SharedExamples, Tell
from privaudit.jobs.shared import SharedTensors, share_tensors
from privaudit.jobs.streams import Stream
from privaudit.values import AttackScores, Outputs

logger = logging.getLogger(__name__)

MOST_SHARED = 2**30  # bytes of answers from which writing them down costs more than it gains
Outcome = AttackScores | PrivauditError
_TABLE = "kept."  # begins the names of files of reductions


@dataclass(frozen=True)
class SharedOutputs:
    """What models answer, in files for as long as `shared_outputs` is open."""

    tensors: SharedTensors
    rest: Mapping[str, Any]
    versions: Mapping[str, SharedOutputs] = field(default_factory=dict)

    def load(self) -> Outputs:
        """The answers, mapped into memory; of those in files of their own, the places."""
        tensors, rest = self.tensors.load(), dict(self.rest)
        places = [name for name in tensors if name.startswith(_TABLE)]
        tables = {n.removeprefix(_TABLE): MemoryTable(tensors.pop(n)) for n in places}
        rest["kept"] = rest["kept"] | tables
        rest["versions"] = {name: version.load() for name, version in self.versions.items()}
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
    with ExitStack() as stack:
        folder = stack.enter_context(LentFolder())
        versions = {
            name: stack.enter_context(shared_outputs(version))
            for name, version in rest.pop("versions").items()
        }
        yield SharedOutputs(share_tensors(tensors, folder), rest, versions)


def score_remotely(
    tell: Tell,
    examples: SharedExamples,
    answers: SharedOutputs,
    believed: Sequence[SharedOutputs],
    jobs: Sequence[AttackJob],
    device: str,
) -> list[Outcome]:
    """What `outcomes` gives, in another process; it has nothing to tell before."""
    given = [shadows.load() for shadows in believed]
    return outcomes(jobs, examples.load(), answers.load(), given, torch.device(device))


class AttackRound:
    """The attacks on one level: begun at once where there are other processes, else when asked for.

    In place of scores that cannot be made stands the reason. Scores that an earlier run kept are
    not made again. As a context it holds what processes share.

    Args:
        context: where and on what.
        level: the models under attack, and what they answer.
        believed: for each job, what the shadows answer.
        jobs: the attacks and their targets.
        coming: keys of scores that rounds before this one will have kept when it is asked.

    Attributes:
        jobs: the same.
        elsewhere: bytes of answers that other processes work on; 0 where none does.
    """

    def __init__(
        self,
        context: RunContext,
        level: Level,
        believed: list[Level],
        jobs: list[AttackJob],
        coming: Set[str] = frozenset(),
    ) -> None:
        self._context, self._level, self._believed, self.jobs = context, level, believed, jobs
        self._kept = KeptScores(context, level, believed, jobs, coming)
        self._missing = {*self._kept.missing, *chain.from_iterable(self._kept.twins.values())}
        self._batches = _batches(context, level, believed, jobs, self._kept.missing)
        self._made: dict[int, Outcome] = {}
        self._stack = ExitStack()
        self._stream: Stream | None = None
        self.elsewhere = 0
        self._begin()

    def __enter__(self) -> AttackRound:
        self._stack.enter_context(self._kept)
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what is to be kept, and end what is not finished."""
        if self._stream is not None and self._context.workers is not None:
            self._context.workers.forget(self._stream)
        self._stack.close()

    @property
    def keys(self) -> set[str]:
        """Of the scores that will have been kept at the end."""
        return self._kept.keys

    def outcomes(self) -> Iterator[Outcome]:
        """What each job comes to, in their order."""
        remaining = self._results()
        for number in range(len(self.jobs)):
            while number in self._missing and number not in self._made:
                next(remaining)
            found = self._made.pop(number) if number in self._missing else self._kept.find(number)
            if found is None:  # it was damaged
                found = self._kept.keep(number, self._here([number])[0])
            yield found

    def keep_finished(self) -> None:
        """Keep the scores that other processes have finished, without waiting for more."""
        if self._stream is not None:
            for _ in self._results(wait=False):
                pass

    def _results(self, *, wait: bool = True) -> Iterator[None]:
        """Batch after batch, keep its scores as soon as they are there."""
        workers = self._context.workers
        if self._stream is None or workers is None:
            for batch in self._batches:
                self._keep(batch, self._here(batch))
                yield
            return
        for number, scores in workers.results(self._stream, lambda content: None, wait=wait):
            self._keep(self._batches[number], scores)
            yield

    def _keep(self, batch: list[int], scores: list[Outcome]) -> None:
        for number, outcome in zip(batch, scores, strict=True):
            self._made[number] = self._kept.keep(number, outcome)
            for twin in self._kept.twins.get(number, ()):
                self._made[twin] = outcome

    def _here(self, batch: list[int]) -> list[Outcome]:
        jobs, believed = [self.jobs[n] for n in batch], [self._believed[n].outputs for n in batch]
        context = self._context
        return outcomes(jobs, context.examples, self._level.outputs, believed, context.device)

    def _begin(self) -> None:
        """Send the batches out, where other processes can make use of them."""
        workers = self._context.workers
        every = (self._level, *(self._believed[n] for n in self._kept.missing))
        answers = {id(one): one.outputs for one in every}
        size = sum(outputs.nbytes for outputs in answers.values())
        jobs = [self.jobs[n] for n in self._kept.missing]
        if not workers or len(jobs) < 2 or size > MOST_SHARED or not workers.accept(jobs):
            return
        try:
            files = _shared(answers, self._stack)
        except OSError as error:  # a full disk, say
            logger.warning("attacks stay in this process: %s", error)
            return
        device, own = str(self._context.device), files[id(self._level)]
        examples = workers.share(self._context.examples)
        calls = []
        for batch in self._batches:
            believed = [files[id(self._believed[n])] for n in batch]
            batch_jobs = [self.jobs[n] for n in batch]
            calls.append((score_remotely, (examples, own, believed, batch_jobs, device)))
        self._stream, self.elsewhere = workers.submit(calls), size


def _batches(
    context: RunContext,
    level: Level,
    believed: Sequence[Level],
    jobs: Sequence[AttackJob],
    missing: Sequence[int],
) -> list[list[int]]:
    """Jobs by their numbers: together those that one call of an attack scores, else each alone."""
    batches: list[list[int]] = []
    processes = len(context.workers) if context.workers else 1
    alike: dict[str, list[int]] = {}
    for number in missing:
        attack = jobs[number].attack
        if overrides(attack, "score_all"):
            equal = f"{type(attack)} {attack.model_dump_json(serialize_as_any=True)}"
            alike.setdefault(equal, []).append(number)
        else:
            batches.append([number])
    for numbers in alike.values():
        first = jobs[numbers[0]]
        shadows = believed[numbers[0]].outputs
        size = signals_size(first.signals(context.examples, level.outputs, shadows))
        most = max(1, min(-(-len(numbers) // processes), MOST_COPIED // max(1, size)))
        batches += [numbers[start : start + most] for start in range(0, len(numbers), most)]
    return sorted(batches)


def _shared(answers: Mapping[int, Outputs], stack: ExitStack) -> dict[int, SharedOutputs]:
    """The answers in files until a stack is left.

    Raises:
        OSError: there is no room for them.
    """
    return {key: stack.enter_context(shared_outputs(outputs)) for key, outputs in answers.items()}
