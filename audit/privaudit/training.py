"""How a network is trained: the options of a recipe's `training`."""

from __future__ import annotations

from math import cos, pi
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from privaudit.optimizers import OPTIMIZERS

if TYPE_CHECKING:
    OptimizerName = str
else:
    OptimizerName = Literal[tuple(OPTIMIZERS)]  # the table says which there are

MOST = 2**31 - 1  # of what is counted; torch and the clock take no more
SPEED = ("stack", "compile")  # options that change how fast it goes, not where


class Training(BaseModel):
    """One schedule, restarted by every `fit`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epochs: int = Field(30, ge=1, le=MOST, description="passes over each model's members")
    batch_size: int = Field(64, ge=1, le=MOST, description="examples in a step")
    optimizer: OptimizerName = Field("sgd", description="how the weights move")
    lr: float = Field(0.1, gt=0, description="learning rate at the start")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd, without Nesterov")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty, added to the gradient")
    schedule: Literal["constant", "step", "cosine"] = Field(
        "constant", description="step: lr x gamma at each milestone; cosine: down to 0"
    )
    milestones: tuple[int, ...] = Field((), description="epochs at which step lowers the lr")
    gamma: float = Field(0.1, gt=0, le=1, description="factor of the step schedule")
    augment: bool = Field(True, description="flip and crop images as their dataset allows")
    patience: int | None = Field(
        None,
        ge=1,
        le=MOST,
        description="stop a model after so many epochs without a better validation",
    )
    stop_after: int | None = Field(
        None,
        ge=1,
        le=MOST,
        description="end after so many epochs of the schedule, which stays as it is",
    )
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp64"] = Field(
        "fp32",
        description="tf32 (on a GPU), bf16: products in training, while weights, losses and "
        "statistics stay fp32; fp64: everything; auto: bf16 on a GPU that has it, else fp32",
    )
    compile: bool = Field(
        False, description="compile the training step: slow to start, for long runs on a GPU"
    )
    stack: int | None = Field(
        None,
        ge=1,
        le=MOST,
        description="models that share a step, which changes speed, not results; chosen by device "
        "and size if not given",
    )

    @model_validator(mode="after")
    def _milestones_have_a_schedule(self) -> Self:
        if self.milestones and self.schedule != "step":
            raise ValueError("milestones do nothing without schedule: step")
        return self

    def passes(self, until: int | None = None) -> int:
        """How many epochs there are to go through: the schedule's, unless it is cut short.

        Args:
            until: stop after so many at the latest, to look at an early state.
        """
        limits = (self.epochs, self.stop_after, until)
        return min(limit for limit in limits if limit is not None)

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, from 0."""
        if self.schedule == "step":
            return self.lr * self.gamma ** sum(epoch >= m for m in self.milestones)
        if self.schedule == "cosine":
            return self.lr * (1 + cos(pi * epoch / self.epochs)) / 2
        return self.lr
