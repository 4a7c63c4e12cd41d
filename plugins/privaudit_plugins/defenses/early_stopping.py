"""Early stopping: end before the training examples are known by heart."""

from __future__ import annotations

from math import ceil
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

import privaudit
from privaudit.training import Training


class EarlyStopping(privaudit.Defense):
    """End every training in which it is in force early, by one of three rules.

    A level is audited at the best validation epoch whether there is this defense or not, so what
    is left of it is that no later epoch can be the best. `patience` needs validation examples.
    """

    paper: ClassVar[str] = "Caruana, Lawrence & Giles 2000, Overfitting in neural nets"

    name: Literal["early_stopping"] = "early_stopping"
    share: float | None = Field(
        None, gt=0, le=1, description="of the epochs that are run; 0.5 unless another rule is given"
    )
    epochs: int | None = Field(None, ge=1, description="epochs that are run, at most")
    patience: int | None = Field(
        None, ge=1, description="end a model after so many epochs without a better validation"
    )

    @model_validator(mode="before")
    @classmethod
    def _half_unless_told(cls, options: Any) -> Any:
        if not isinstance(options, dict):
            return options
        rules = (options.get(rule) for rule in ("share", "epochs", "patience"))
        return options if any(rule is not None for rule in rules) else options | {"share": 0.5}

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        given = [n for n in ("share", "epochs", "patience") if getattr(self, n) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are two ways to stop: give one")
        return self

    def refusal(self, split: privaudit.SplitOptions) -> str | None:
        """Patience has nothing to wait for without validation examples."""
        if self.patience is not None and not split.validation:
            return "with `patience` waits for a better validation: set split.validation above 0"
        return super().refusal(split)

    def schedule(self, training: Training) -> Training:
        """The schedule, whose learning rates stay as they are, with an earlier end."""
        if self.patience is not None:
            return training.model_copy(update={"patience": self.patience})
        epochs = training.epochs if training.stop_after is None else training.stop_after
        if self.share is not None:
            end = ceil(self.share * training.epochs)
        else:
            assert self.epochs is not None
            end = self.epochs
        return training.model_copy(update={"stop_after": min(end, epochs)})


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [EarlyStopping]
