"""How sure models are of the true class, where some are surer than any number says."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def finite_ends(*values: Tensor) -> tuple[Tensor, ...]:
    """The values, with infinite ones placed just beyond the finite ones of them all.

    A log-odds of ±inf comes from a probability of 0: it is less than any seen, and how much less
    nobody knows. It is taken for half of the smallest seen, log 2 beyond the last finite value.
    So it keeps its rank, and means, variances and distances of thresholds exist.

    >>> finite_ends(torch.tensor([-torch.inf, 3.0]), torch.tensor([1.0]))
    (tensor([0.3069, 3.0000]), tensor([1.]))
    """
    if all(bool(some.isfinite().all()) for some in values):
        return values
    finite = torch.cat([some[some.isfinite()] for some in values])
    low, high = (float(end) for end in finite.aminmax()) if len(finite) else (0.0, 0.0)
    step = math.log(2)
    return tuple(some.nan_to_num(torch.nan, high + step, low - step) for some in values)
