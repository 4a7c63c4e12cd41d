"""One attack on one target."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from privaudit.api.calls import scored, scored_all
from privaudit.api.plugin import Attack
from privaudit.errors import PluginError, PrivauditError, ShortageError, contained
from privaudit.experiment.attacking import advised, signals_of
from privaudit.experiment.context import RunContext
from privaudit.learning import learning_on
from privaudit.values import AttackScores, Examples, Outputs, Signals, Split

logger = logging.getLogger(__name__)


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
        try:
            return scored(self.attack, self.signals(examples, answers, believed))
        except ShortageError as error:
            raise advised(self.attack.name, error) from error

    def signals(self, examples: Examples, answers: Outputs, believed: Outputs) -> Signals:
        """What the attacker has; looking at it costs nothing."""
        model_answers = answers[self.models], believed[self.models]
        return signals_of(
            self.attack, examples, self.split, *model_answers, self.target_number, self.seed
        )

    def outcome(
        self, examples: Examples, answers: Outputs, believed: Outputs
    ) -> AttackScores | PrivauditError:
        """The scores, or why there are none.

        Raises:
            PrivauditError: no attack can go on.
        """
        try:
            return self.score(examples, answers, believed)
        except PrivauditError as error:
            if not contained(error):
                raise
            return error


def outcomes(
    jobs: Sequence[AttackJob],
    examples: Examples,
    answers: Outputs,
    believed: Sequence[Outputs],
    device: torch.device,
) -> list[AttackScores | PrivauditError]:
    """What each of one attack's jobs comes to: its scores, or why there are none.

    Several jobs are scored at once; where that fails, each is scored alone, so that a failure is
    told of the target that it belongs to.

    Args:
        jobs: of equal attacks; several only where the attack scores several at once.
        examples: the dataset.
        answers: of all models.
        believed: for each job, what shadows are believed to answer.
        device: to learn on.

    Raises:
        PrivauditError: no attack can go on.
    """
    with learning_on(device):
        if len(jobs) > 1:
            try:
                pairs = zip(jobs, believed, strict=True)
                signals = [job.signals(examples, answers, shadows) for job, shadows in pairs]
                return [*scored_all(jobs[0].attack, signals)]
            except PrivauditError as error:
                if not contained(error):
                    raise
                if isinstance(error, PluginError):
                    logger.warning("%s; each target is scored alone", error)
        return [
            job.outcome(examples, answers, shadows)
            for job, shadows in zip(jobs, believed, strict=True)
        ]


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
