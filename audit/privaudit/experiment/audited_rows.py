"""Which examples a run's audits are about, as its scores.npz tells."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from privaudit.experiment.context import RunContext
from privaudit.store.scores import packed_names
from privaudit.values import Role, Split


def audited_rows(context: RunContext, split: Split, target: int) -> Tensor:
    """The rows (n,) that audits of a target are about, in the order of their numbers."""
    rows = split.audited[target].nonzero()[:, 0]
    return rows[context.numbers(rows).argsort()]


def audited_examples(context: RunContext) -> dict[str, NDArray[Any]]:
    """Which examples each target's scores are about, who of them is a member, and what they are."""
    arrays: dict[str, NDArray[Any]] = {"classes": np.array(context.examples.classes)}
    for seed, split in zip(context.recipe.seeds, context.ensemble.splits, strict=True):
        for target in split.targets.tolist():
            rows = audited_rows(context, split, target)
            arrays[f"example_{seed}_{target}"] = context.numbers(rows).numpy()
            arrays[f"member_{seed}_{target}"] = (split.role[target][rows] == Role.MEMBER).numpy()
            arrays[f"label_{seed}_{target}"] = context.examples.y[rows].numpy()
    return arrays | _names(context)


def _names(context: RunContext) -> dict[str, NDArray[Any]]:
    """The names of all examples in the order of their numbers; nothing where there are none."""
    names = context.examples.names
    if not names or not any(names):
        return {}
    numbers = context.numbers(torch.arange(len(names)))
    return {"names": packed_names([names[row] for row in numbers.argsort().tolist()])}
