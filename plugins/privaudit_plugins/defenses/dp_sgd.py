"""Differentially private stochastic gradient descent."""

from __future__ import annotations

import logging
import warnings
from functools import cache
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

import privaudit
from privaudit.keys import normal

_PRV_LIMIT = 50.0  # an ε beyond this promises nothing, and "prv" would need gigabytes for it

_log = logging.getLogger(__name__)


class DPSGD(privaudit.Defense):
    """Clip the gradient of every example, and add noise to their sum.

    Each member is in each batch by a coin of its own, as the accountants assume; the step is the
    noisy sum over the number of examples that a batch has on average (Abadi et al. 2016,
    algorithm 1, where it is called the lot size). Momentum, weight decay and a best epoch chosen
    on validation examples see members through that sum alone, so they cost no ε. A sparsifier
    that looks at members by itself is not covered by it.

    ε is Opacus's (`pip install privaudit[dp]`). Training works without Opacus: a run then ends
    with a warning and without ε, and running it again once Opacus is there trains nothing.

    The noise is drawn from each model's key, so that a run can be repeated. That is right for
    measuring the defense, and wrong for publishing a network: whoever knows the seed can take the
    noise off again.
    """

    paper: ClassVar[str] = "Abadi et al. 2016, Deep learning with differential privacy"
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
    delta: float = Field(1e-5, gt=0, lt=1, description="of the promise; well below 1 over members")
    accountant: Literal["rdp", "prv"] = Field(
        "rdp", description="of Opacus; prv is tighter, and slower where there are many steps"
    )

    def example_gradient(self, gradient: Tensor) -> Tensor:
        """The gradient (P,), scaled down to the norm `clip` where it is longer."""
        shrink: Tensor = self.clip / gradient.norm()
        return gradient * shrink.clamp(max=1)

    def batch_gradient(self, total: Tensor, count: Tensor, key: Tensor) -> Tensor:
        """(total + N(0, (noise_multiplier · clip)² I)) / count."""
        noise = normal(key, len(total), dtype=total.dtype)
        return (total + self.noise_multiplier * self.clip * noise) / count

    def epsilon(self, rate: float, steps: int) -> float | None:
        """The ε of Opacus's accountant for the subsampled Gaussian mechanism, at `delta`.

        Beyond ε = 50, "prv" answers as "rdp" does.

        Args:
            rate: chance of each member to be in a batch.
            steps: of all trainings of one model.

        Returns:
            None without noise, without steps, or without Opacus.
        """
        if not steps or not self.noise_multiplier:
            return None
        return _epsilon(self.accountant, self.noise_multiplier, rate, steps, self.delta)


@cache
def _epsilon(
    accountant: str, noise_multiplier: float, rate: float, steps: int, delta: float
) -> float | None:
    try:
        from opacus.accountants import PRVAccountant, RDPAccountant
    except ImportError:
        _log.warning(
            "defense 'dp_sgd': ε is left out, because Opacus is not installed: "
            "pip install 'privaudit[dp]' and run again, which trains nothing twice"
        )
        return None

    def spent(kind: type[PRVAccountant | RDPAccountant]) -> float:
        counted = kind()
        counted.history = [(noise_multiplier, rate, steps)]
        with warnings.catch_warnings():
            # What it warns of, the end of its list of orders and log 0, leaves the bound valid.
            warnings.simplefilter("ignore")
            return float(counted.get_epsilon(delta=delta))

    bound = spent(RDPAccountant)
    return spent(PRVAccountant) if accountant == "prv" and bound <= _PRV_LIMIT else bound


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [DPSGD]
