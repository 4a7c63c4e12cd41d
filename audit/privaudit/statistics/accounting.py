"""The ε that noise pays for: of the Gaussian mechanism on batches drawn by coin, step after step.

It lies here and not beside the defense that uses it, so that better accounting changes no key of
a finished training.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Literal, NamedTuple

Accountant = Literal["pld", "rdp"]

_MOST = 50.0  # an ε beyond this promises next to nothing, and its PLD takes seconds and gigabytes
_FINEST = 1e-4  # width of a cell of privacy loss
_CELLS = 100_000  # about as many cells as ε is cut into where that is coarser


class Accounted(NamedTuple):
    """An ε, and the accountant whose it is."""

    epsilon: float
    accountant: Accountant


@cache
def gaussian_epsilon(
    noise_multiplier: float,
    rate: float,
    steps: int,
    delta: float,
    accountant: Accountant = "pld",
) -> Accounted:
    """The ε, at δ, of so many steps of the Poisson-subsampled Gaussian mechanism.

    For data sets that differ by one example, added or removed. "pld" is the composed privacy loss
    distribution (Sommer, Meiser & Mohammadi 2019; the discretisation of Doroshenko et al. 2022,
    "Connect the dots"), whose ε is exact up to rounding upwards; "rdp" is Rényi's divergence
    (Mironov, Talwar & Zhang 2019), turned into ε as Balle et al. 2020 do, which is an upper bound
    some ten per cent above. Both are those of dp-accounting. Where "rdp" finds an ε above 50, its
    answer stands for "pld" as well: it bounds time and memory, and such an ε promises nothing.

    Args:
        noise_multiplier: standard deviation of the noise over the clipping norm, above 0.
        rate: chance of each example to be in a batch.
        steps: how many.
        delta: δ, above 0.
        accountant: which to ask.

    Raises:
        ImportError: dp-accounting is not installed.
    """
    import dp_accounting

    event: dp_accounting.DpEvent = dp_accounting.GaussianDpEvent(noise_multiplier)
    if rate < 1:
        event = dp_accounting.PoissonSampledDpEvent(rate, event)
    with _quiet():
        bound = dp_accounting.rdp.RdpAccountant().compose(event, steps)
        renyi = Accounted(float(bound.get_epsilon(delta)), "rdp")
        if accountant == "rdp" or renyi.epsilon > _MOST:
            return renyi
        cell = max(_FINEST, renyi.epsilon / _CELLS)
        tight = dp_accounting.pld.PLDAccountant(value_discretization_interval=cell)
        exact = Accounted(float(tight.compose(event, steps).get_epsilon(delta)), "pld")
    return min(exact, renyi)  # at a δ below its rounding, a PLD knows no ε


@contextmanager
def _quiet() -> Iterator[None]:
    """Without its warnings of orders left out and of the ends of its list: bounds stay valid."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
