"""Differentially private stochastic gradient descent."""

from __future__ import annotations

import logging
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

import privaudit
from privaudit.keys import normal
from privaudit.statistics.accounting import gaussian_epsilon

_RELATION = "adding or removing one example"
_OUTSIDE = (
    "the number of members, which scales the steps",
    "the noise's seed, which takes it off again",
)

_log = logging.getLogger(__name__)


class DPSGD(privaudit.Defense):
    """Clip the gradient of every example, and add noise to their sum.

    Each member is in each batch by a coin of its own, as the accountants assume; the step is the
    noisy sum over the number of examples that a batch has on average (Abadi et al. 2016,
    algorithm 1, where it is called the lot size). Momentum, weight decay and a best epoch chosen
    on validation examples see members through that sum alone, so they cost no ε. Nor does a
    support that a sparsifier chooses on reference or validation examples, or on none; one that
    looks at members by itself leaves the network without an ε.

    ε is summed up by dp-accounting (`pip install privaudit[dp]`), from privacy loss distributions.
    Training works without it: a run then ends with a warning and without ε, and running it again
    once it is there trains nothing.

    The noise is drawn from each model's key, so that a run can be repeated. That is right for
    measuring the defense, and wrong for publishing a network: whoever knows the seed can take the
    noise off again.
    """

    paper: ClassVar[str] = "Abadi et al. 2016, Deep learning with differential privacy"
    deviations: ClassVar[tuple[str, ...]] = (
        "Its ε is summed from privacy loss distributions, which are tighter than the paper's "
        "moments accountant; `accountant: rdp` comes nearest to that.",
        "It acts in every training and clips each example, where the code of Yuan & Zhang, "
        "who compare with it, clips microbatches of 64 in fine-tuning only: a promise needs "
        "both.",
    )
    per_example: ClassVar[bool] = True
    sampling: ClassVar[str] = "poisson"

    name: Literal["dp_sgd"] = "dp_sgd"
    noise_multiplier: float = Field(
        1.0,
        ge=0,
        allow_inf_nan=False,
        description="standard deviation of the noise over clip; 0 adds none and promises no ε",
    )
    clip: float = Field(
        1.0, gt=0, allow_inf_nan=False, description="largest L2 norm of one example's gradient"
    )
    delta: float | None = Field(
        None, gt=0, lt=1, description="of the promise; one over ten times the members if not given"
    )
    accountant: Literal["pld", "rdp"] = Field(
        "pld", description="pld, or the looser rdp, which also answers for pld beyond an ε of 50"
    )

    def example_gradient(self, gradient: Tensor) -> Tensor:
        """The gradient (P,), scaled down to the norm `clip` where it is longer."""
        shrink: Tensor = self.clip / gradient.norm()
        return gradient * shrink.clamp(max=1)

    def batch_gradient(self, total: Tensor, count: Tensor, key: Tensor) -> Tensor:
        """(total + N(0, (noise_multiplier · clip)² I)) / count."""
        noise = normal(key, len(total), dtype=total.dtype)
        return (total + self.noise_multiplier * self.clip * noise) / count

    def epsilon(
        self, rate: float, steps: int, members: int | None = None
    ) -> privaudit.Promise | None:
        """The ε of the subsampled Gaussian mechanism, and its terms.

        Args:
            rate: chance of each member to be in a batch.
            steps: of all trainings of one model.
            members: how many a model has; decides δ where `delta` does not.

        Returns:
            None without noise, without steps, or without dp-accounting.

        Raises:
            RecipeError: neither `delta` nor `members` is known.
        """
        if not steps or not self.noise_multiplier:
            return None
        delta = self.delta
        if delta is None:
            if members is None:
                raise privaudit.RecipeError("dp_sgd: set delta where members are not counted")
            delta = privaudit.usual_delta(members)
        try:
            spent = gaussian_epsilon(self.noise_multiplier, rate, steps, delta, self.accountant)
        except ImportError:
            _log.warning(
                "defense 'dp_sgd': ε is left out, because dp-accounting is not installed: "
                "pip install 'privaudit[dp]' and run again, which trains nothing twice"
            )
            return None
        return privaudit.Promise(spent.epsilon, delta, _RELATION, spent.accountant, _OUTSIDE)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [DPSGD]
