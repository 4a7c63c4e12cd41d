"""What the fits of a cohort had to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FitRecord:
    """What a fit had to do.

    Attributes:
        models: how many models it was for.
        found: how many of them were in the journal.
        epochs: of the schedule.
        steps: training steps of all models that were not found.
        disk: bytes that the units of models that were not found take at most.
        stack: models that shared a step.
        rate: chance of a member to be in a batch of the model with the fewest.
        defended: steps of that model that its cohort's own defense had a say in, whether they
            were found or not; 0 where it had none.
    """

    models: int
    found: int
    epochs: int
    steps: int
    disk: int
    stack: int
    rate: float
    defended: int
