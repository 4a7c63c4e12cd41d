"""Attacks on one target after another, here or in other processes that share the answers."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from privaudit.attacking import signals_of
from privaudit.cohort.workers import Call, Shared, Tell
from privaudit.levels import Level, Workplace
from privaudit.plugin import Attack
from privaudit.values import AttackScores, Examples, Outputs, Split

logger = logging.getLogger(__name__)

_LENT = 2**30  # bytes of answers from which writing them down costs more than it gains


@dataclass(frozen=True)
class Lent:
    """What models answer, in files for as long as `lent` is open.

    Attributes:
        folder: theirs.
        shapes: of each tensor, by name.
        types: likewise.
        noise_scale: as in `Outputs`.
    """

    folder: Path
    shapes: dict[str, tuple[int, ...]]
    types: dict[str, torch.dtype]
    noise_scale: float

    def load(self) -> Outputs:
        """The answers, mapped into memory: a process that writes to them changes its own only."""
        found = {
            name: torch.from_file(
                str(self.folder / name), shared=False, size=prod(shape), dtype=self.types[name]
            ).view(shape)
            for name, shape in self.shapes.items()
        }
        return Outputs(**found, noise_scale=self.noise_scale)


@contextmanager
def lent(outputs: Outputs) -> Iterator[Lent]:
    """Answers for other processes, until the block ends."""
    tensors = {f.name: getattr(outputs, f.name) for f in fields(outputs)}
    tensors = {n: t.contiguous() for n, t in tensors.items() if isinstance(t, Tensor)}
    with tempfile.TemporaryDirectory(prefix="privaudit-") as folder:
        for name, tensor in tensors.items():
            tensor.numpy().tofile(Path(folder) / name)
        yield Lent(
            Path(folder),
            {n: tuple(t.shape) for n, t in tensors.items()},
            {n: t.dtype for n, t in tensors.items()},
            outputs.noise_scale,
        )


@dataclass(frozen=True)
class Turn:
    """One attack on one target.

    Attributes:
        attack: the attack.
        seed: the number of the target's split among the recipe's.
        target: its number among the split's targets.
    """

    attack: Attack
    seed: int
    target: int


@dataclass(frozen=True)
class Seat:
    """Where a turn is played: what does not depend on whose answers are at hand.

    Attributes:
        turn: the attack and the target.
        split: the target's.
        models: the split's, among those that answer, which follow each other.
        seed: of the run.
    """

    turn: Turn
    split: Split
    models: slice
    seed: int

    def score(self, examples: Examples, answers: Outputs, believed: Outputs) -> AttackScores:
        """The attack's scores, from what all models answer and what shadows are believed to."""
        own = answers[self.models], believed[self.models]
        attack, target = self.turn.attack, self.turn.target
        return attack.score(signals_of(attack, examples, self.split, *own, target, self.seed))


def scored_there(
    tell: Tell, where: Shared, answers: Lent, believed: Lent, seat: Seat
) -> AttackScores:
    """The same in another process, which has nothing to tell before."""
    return seat.score(where.load(), answers.load(), believed.load())


def scores_of(
    place: Workplace, level: Level, believed: list[Level], turns: list[Turn]
) -> Iterator[AttackScores]:
    """What each turn comes to, in this order; made in other processes where there are some.

    Args:
        place: where and on what.
        level: the models under attack, and what they answer.
        believed: for each turn, what the shadows answer.
        turns: the attacks and their targets.
    """
    seats = [_seat(place, turn) for turn in turns]
    with ExitStack() as stack:
        workers = place.workers
        files = _lent(place, {id(each): each.outputs for each in (level, *believed)}, turns, stack)
        if workers is None or files is None:
            for seat, shadows in zip(seats, believed, strict=True):
                yield seat.score(place.examples, level.outputs, shadows.outputs)
            return
        where, answers = workers.share(place.examples), files[id(level)]
        calls: list[Call] = [
            (scored_there, (where, answers, files[id(shadows)], seat))
            for seat, shadows in zip(seats, believed, strict=True)
        ]
        early: dict[int, AttackScores] = {}
        done = 0
        for number, scores in workers.run(calls, lambda told: None):
            early[number] = scores
            while done in early:
                yield early.pop(done)
                done += 1


def _lent(
    place: Workplace, answers: Mapping[int, Outputs], turns: list[Turn], stack: ExitStack
) -> dict[int, Lent] | None:
    """The answers in files, where other processes can make use of them."""
    size = sum(outputs.nbytes for outputs in answers.values())
    if not place.workers or len(turns) < 2 or size > _LENT or not place.workers.accept(turns):
        return None
    try:
        return {key: stack.enter_context(lent(outputs)) for key, outputs in answers.items()}
    except OSError as error:  # a full disk, say
        logger.warning("attacks stay in this process: %s", error)
        return None


def _seat(place: Workplace, turn: Turn) -> Seat:
    models = place.ensemble.models(turn.seed)
    together = slice(int(models[0]), int(models[-1]) + 1)  # a slice copies nothing
    return Seat(turn, place.ensemble.splits[turn.seed], together, place.recipe.seeds[turn.seed])
