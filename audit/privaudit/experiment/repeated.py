"""Examples of a run that are there twice: among members and non-members, or known to shadows."""

from __future__ import annotations

import torch
from torch import Tensor

from privaudit.doubts.doubt import Doubt
from privaudit.doubts.rows import many
from privaudit.errors import DataError
from privaudit.experiment.contents import content_keys
from privaudit.experiment.context import RunContext
from privaudit.values import Examples, Role, Split

_MOST = 0.5  # share of a given target's non-members from which on they are no non-members
_FALSE_ALARMS = (
    "non-members are the same as members: what was trained on is counted as a false alarm, and "
    "hides leaks; leave duplicates out of the datasets"
)
_KNOWN = (
    "examples of the target are in the recipe's dataset as well: shadows that attacks take not to "
    "know them may have been trained on them, which hides leaks; leave them out of dataset"
)


def repeated(context: RunContext) -> list[Doubt]:
    """Doubts about examples that stand where they must not be, by what they hold."""
    names = contents(context.examples)
    given = context.recipe.target is not None
    doubts = []
    for seed, split in zip(context.recipe.seeds, context.ensemble.splits, strict=True):
        for target in split.targets.tolist():
            count, of = _twins(names, split, target)
            if many(count, of):
                about = "target" if given else f"seed {seed}, target {target}"
                doubts.append(Doubt("duplicate_rows", about, _FALSE_ALARMS, f"{count} of {of}"))
        if given and split.shadows.any():
            mine = split.audited[int(split.targets[0])]
            count, of = _among(names[mine], names[~mine]), int(mine.sum())
            if many(count, of):
                doubts.append(Doubt("duplicate_rows", "dataset", _KNOWN, f"{count} of {of}"))
    return list(dict.fromkeys(doubts))


def check_non_members(examples: Examples, role: Tensor) -> None:
    """See that a given target's non-members are others than its members.

    Args:
        examples: N.
        role: (N,) uint8: the target's.

    Raises:
        DataError: most of them are the same.
    """
    names = contents(examples)
    others = names[role == Role.NON_MEMBER]
    count, of = _among(others, names[role == Role.MEMBER]), len(others)
    if count > _MOST * of:
        raise DataError(
            f"target.non_members: {count:,} of {of:,} are members as well: an audit compares "
            "members with examples that were not trained on"
        )


def contents(examples: Examples) -> Tensor:
    """A number (N,) int64 for each example, the same where numbers and label are the same."""
    numbers: dict[bytes, int] = {}
    keys = content_keys(examples.x, examples.y)
    return torch.tensor([numbers.setdefault(key, len(numbers)) for key in keys])


def _twins(names: Tensor, split: Split, target: int) -> tuple[int, int]:
    """How many audited non-members are members, and of how many."""
    role, audited = split.role[target], split.audited[target]
    others = names[audited & (role == Role.NON_MEMBER)]
    return _among(others, names[role == Role.MEMBER]), len(others)


def _among(some: Tensor, others: Tensor) -> int:
    return int(torch.isin(some, others).sum())
