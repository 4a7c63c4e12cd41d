"""What is unusual about a value that a hook returns, in words."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def tensor_problem(tensor: Any) -> str:
    """What is unusual about a tensor, to be read after "gives"; empty where nothing is."""
    if not isinstance(tensor, Tensor):
        return f"{type_name(tensor)}, not a tensor,"
    if type(tensor) not in (Tensor, nn.Parameter):
        return f"{type(tensor).__name__}, which is a kind of tensor of its own,"
    if tensor.layout != torch.strided or tensor.is_quantized:
        return f"a tensor of layout {tensor.layout}, not an ordinary one,"
    if tensor.device.type != "cpu":
        return f"a tensor on device {tensor.device}, not on the CPU,"
    return ""


def type_name(value: object) -> str:
    """What a value is, as a message calls it."""
    return "None" if value is None else type(value).__name__
