"""Arrays as people have them, to those that are audited; what is done to them is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from privaudit.errors import DataError
from privaudit.outputs.axes import ANSWERS, example_axis
from privaudit.outputs.convert import as_tensor
from privaudit.outputs.kinds import check_kind
from privaudit.outputs.labels import NO_LABEL, class_numbers, without_label


def prepared(
    given: Mapping[str, Any], kind: str, classes: Sequence[str] = ()
) -> tuple[dict[str, Any], list[str]]:
    """The arrays with one column of answers for each class and labels from 0 on.

    Args:
        given: by the name of the argument of `audit_outputs`; None where it is not given.
        kind: what the answers are.
        classes: names of the classes, in the order of the answers.

    Returns:
        The arrays, and a sentence for each change.

    Raises:
        DataError: labels cannot be understood.
    """
    arrays, said = dict(given), []
    what = check_kind(kind)
    if what == "probabilities":
        said += _both_sides(arrays)
    count = 2
    if what != "margins":
        shape = as_tensor(arrays["logits"], what).shape
        count = shape[-1] if len(shape) > 1 else 0
    arrays["labels"], converted = class_numbers(arrays["labels"], count, classes)
    said += converted
    lacking = without_label(arrays["labels"])
    if lacking is not None:
        if arrays["labels"].shape == lacking.shape and bool(lacking.all()):
            raise DataError(f"labels are all {NO_LABEL}, which stands for no label")
        rows = int(lacking.sum())
        said.append(
            f"{rows:,} row{'s' * (rows > 1)} left out: the label {NO_LABEL} stands for no label"
        )
        _keep(arrays, ~lacking)
    return arrays, said


def _both_sides(arrays: dict[str, Any]) -> list[str]:
    """Of one probability for each example, that of class 1, make two."""
    said = []
    for name, axes in ANSWERS.items():
        if arrays.get(name) is None:
            continue
        values = as_tensor(arrays[name], "probabilities")
        if values.ndim == axes - 1:
            values = values[..., None]
        if values.ndim < axes or values.shape[-1] != 1 or not values.is_floating_point():
            continue
        arrays[name] = torch.cat([1 - values.double(), values.double()], dim=-1)
        if name == "logits":
            said.append("one probability for each example: taken for that of class 1 of two")
    return said


def _keep(arrays: dict[str, Any], rows: Tensor) -> None:
    """Leave rows (N,) out of every array that has so many; others are refused later."""
    for name, value in arrays.items():
        if value is None:
            continue
        values = as_tensor(value, name)
        axis = example_axis(name, values.ndim)
        if values.shape[axis : axis + 1 or None] == rows.shape:
            arrays[name] = values.index_select(axis % values.ndim, rows.nonzero()[:, 0])
