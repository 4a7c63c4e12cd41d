"""From whatever holds numbers to a tensor on the CPU, and from numbers to labels and flags."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
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
        if isinstance(value, list | tuple) and any(isinstance(item, Tensor) for item in value):
            value = torch.stack([torch.as_tensor(item) for item in value])
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


def places(ids: Any) -> NDArray[np.int64] | None:
    """Names of examples as whole numbers, the same for the same name; None for None.

    Raises:
        DataError: they are no list of names.
    """
    if ids is None:
        return None
    names = np.asarray(ids.detach().cpu() if isinstance(ids, Tensor) else ids)
    if names.ndim != 1:
        raise DataError(f"ids must be one name for each example, (N,): got shape {names.shape}")
    number: dict[Any, int] = {}
    return np.array([number.setdefault(one, len(number)) for one in names.tolist()], np.int64)


def whole(values: Tensor, name: str) -> Tensor:
    """Labels as int64.

    Raises:
        DataError: they are true or false, or not whole numbers.
    """
    if values.dtype == torch.bool or values.is_complex():
        raise DataError(f"{name} must be whole numbers, got {str(values.dtype)[6:]}")
    if values.is_floating_point():
        wrong = (values != values.floor()) | ~torch.isfinite(values)
        _refuse(values, wrong, f"{name} must be whole numbers")
    return values.long()


def flags(values: Tensor, name: str) -> Tensor:
    """Membership as bool.

    Raises:
        DataError: it is anything but true and false, or 1 and 0.
    """
    _refuse(values, (values != 0) & (values != 1), f"{name} must be true or false (or 1 and 0)")
    return values.bool()


def _refuse(values: Tensor, wrong: Tensor, message: str) -> None:
    if bool(wrong.any()):
        index = wrong.nonzero()[0]
        row = (
            f"model {int(index[0])}, row {int(index[1])}" if len(index) == 2 else f"row {index[0]}"
        )
        raise DataError(f"{message}: {row} is {values[tuple(index)].item():g}")
