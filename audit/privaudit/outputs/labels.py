"""Labels as people have them, to whole numbers from 0 on; every conversion is said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from privaudit.errors import DataError
from privaudit.messages import plain, show
from privaudit.outputs.convert import as_tensor

NO_LABEL = -100
"""What `torch.nn.functional.cross_entropy` and Hugging Face's trainers pass over."""

_SHOWN = 8  # class names in a message


def class_numbers(labels: Any, count: int, classes: Sequence[str] = ()) -> tuple[Any, list[str]]:
    """Labels (N,) from 0 on where what they are leaves no doubt, else as they are.

    Names of classes, one-hot rows, -1 and 1 of two classes, true and false, and numbers from 1 to
    C are converted. `NO_LABEL` stays.

    Args:
        labels: of any kind.
        count: C, how many classes the answers have.
        classes: C names, in the order of the answers; empty: not known.

    Returns:
        The labels, and a sentence for each conversion.

    Raises:
        DataError: they are text, and no names are known or one is not among them; they are rows
            of several numbers that are not one-hot.
    """
    if not isinstance(labels, Tensor):
        array = np.asarray(labels)
        if array.dtype.kind in "USO" and array.ndim == 1:
            return _named([str(label) for label in array.tolist()], classes)
    values = as_tensor(labels, "labels")
    if values.ndim == 2:
        return _one_hot(values, count)
    if values.dtype == torch.bool and count == 2:
        return values.long(), ["labels are true and false: taken for classes 1 and 0"]
    if values.ndim != 1 or values.numel() == 0 or values.is_complex():
        return values, []
    labelled = values[values != NO_LABEL]
    if labelled.numel() == 0:
        raise DataError(f"labels are all {NO_LABEL}, which stands for no label")
    low, high = float(labelled.min()), float(labelled.max())
    if count == 2 and low == -1 and bool(((labelled == -1) | (labelled == 1)).all()):
        converted = torch.where(values == -1, torch.zeros_like(values), values)
        return converted, ["labels are -1 and 1: taken for classes 0 and 1"]
    if high == count:
        if low < 1:  # 0 and C are both there: `read_answers` names the row
            return values, []
        converted = torch.where(values == NO_LABEL, values, values - 1)
        return converted, [f"labels run up to {count}: taken for classes counted from 1"]
    return values, []


def without_label(labels: Any) -> Tensor | None:
    """Which rows (N,) bool have no label; None where all have one."""
    if not isinstance(labels, Tensor) or labels.ndim != 1 or labels.dtype == torch.bool:
        return None
    lacking = labels == NO_LABEL
    return lacking if bool(lacking.any()) else None


def _named(labels: Sequence[str], classes: Sequence[str]) -> tuple[Tensor, list[str]]:
    if not classes:
        raise DataError(
            plain(
                f"labels are text, such as {show(labels[0])}: name the columns of answers by the "
                "classes, as p_NAME or logit_NAME, or give labels as numbers from 0 on"
            )
        )
    numbers = {name: number for number, name in enumerate(classes)}
    unknown = next((label for label in labels if label not in numbers), None)
    if unknown is not None:
        row = labels.index(unknown)
        shown = ", ".join(classes[:_SHOWN]) + (", …" if len(classes) > _SHOWN else "")
        raise DataError(
            plain(
                f"labels: row {row} is {show(unknown)}, and the answers are about the classes "
                f"{shown}"
            )
        )
    return torch.tensor([numbers[label] for label in labels]), []


def _one_hot(values: Tensor, count: int) -> tuple[Tensor, list[str]]:
    if values.shape[1] == 1:
        column, said = class_numbers(values[:, 0], count)
        return column, said
    ones = (values == 1).sum(1)
    if values.shape[1] == count and bool(((values == 0) | (values == 1)).all()):
        wrong = (ones != 1).nonzero()
        if len(wrong):
            row = int(wrong[0])
            raise DataError(f"labels: row {row} has {int(ones[row])} ones, and one-hot rows one")
        return values.to(torch.int8).argmax(1), [
            "labels are one-hot: taken for the class that is 1"
        ]
    raise DataError(
        f"labels must be one number for each example, or one-hot rows of {count} classes: got "
        f"shape {tuple(values.shape)}"
    )
