"""From whatever holds numbers to a tensor on the CPU, and from numbers to labels and flags."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from privaudit.errors import DataError


def as_tensor(value: Any, name: str) -> Tensor:
    """The numbers as a tensor on the CPU, without a gradient, shared where that is possible.

    Args:
        value: a torch tensor on any device, a NumPy array, or lists, also of tensors.
        name: of the array, for the error message.

    Raises:
        DataError: it holds no numbers, or rows of different lengths.
    """
    try:
        if isinstance(value, list | tuple) and any(isinstance(each, Tensor) for each in value):
            value = torch.stack([torch.as_tensor(each) for each in value])
        if isinstance(value, Tensor):
            return value.detach().cpu()
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{name} cannot be read as an array of numbers: {reason}") from error
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name} must be an array of numbers, got {array.dtype}")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)  # torch has hardly an operation for wide unsigned numbers
    # torch takes neither foreign byte orders, nor negative strides, nor what it may not write to.
    array = np.require(array, array.dtype.newbyteorder("="), ["C", "W"])
    return torch.from_numpy(array)


def whole(found: Tensor, name: str) -> Tensor:
    """Labels as int64.

    Raises:
        DataError: they are true or false, or not whole numbers.
    """
    if found.dtype == torch.bool or found.is_complex():
        raise DataError(f"{name} must be whole numbers, got {str(found.dtype)[6:]}")
    if found.is_floating_point():
        wrong = (found != found.floor()) | ~torch.isfinite(found)
        _refuse(found, wrong, f"{name} must be whole numbers")
    return found.long()


def flags(found: Tensor, name: str) -> Tensor:
    """Membership as bool.

    Raises:
        DataError: it is anything but true and false, or 1 and 0.
    """
    _refuse(found, (found != 0) & (found != 1), f"{name} must be true or false (or 1 and 0)")
    return found.bool()


def _refuse(found: Tensor, wrong: Tensor, message: str) -> None:
    if bool(wrong.any()):
        place = wrong.nonzero()[0]
        row = (
            f"model {int(place[0])}, row {int(place[1])}" if len(place) == 2 else f"row {place[0]}"
        )
        raise DataError(f"{message}: {row} is {found[tuple(place)].item():g}")
