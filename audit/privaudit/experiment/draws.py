"""What every protocol of a split is made of: amounts, shuffles, and one target with shadows."""

from __future__ import annotations

import torch
from torch import Tensor

from privaudit.errors import RecipeError
from privaudit.values import Split


def amount(wanted: int | float, whole: int) -> int:
    """A count as it is, or a share of a whole."""
    return wanted if isinstance(wanted, int) else round(wanted * whole)


def count_of(members: int | float) -> int:
    """The members of a protocol that takes a count of them.

    Raises:
        RecipeError: it is a share.
    """
    if members < 1:
        raise RecipeError(
            f"split.members must be a count: a share ({members:g}) needs split.protocol coin"
        )
    return int(members)


def shuffled(rows: Tensor, key: int) -> Tensor:
    """The rows (n,) in an order that the key tells."""
    return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(key))]


def one_target(role: Tensor, seeds: list[int]) -> Split:
    """Model 0 is the target, all others are its shadows."""
    may = torch.arange(len(role))[None] > 0
    return Split(role, may, torch.tensor([0]), torch.tensor(seeds))
