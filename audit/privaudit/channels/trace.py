"""The graph of a network's calls, by torch.fx, and how to read its nodes."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from privaudit.networks.dropout import KeyedDropout

_IN_PLACE: dict[str, Callable[..., Any]] = {
    f"__i{name}__": getattr(operator, f"i{name}")
    for name in (
        "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"
    )
}  # fmt: skip


class _Placeholder(fx.Proxy):
    """A proxy for which x += y is no x = x + y, because who else holds x sees it change."""


def _in_place(function: Callable[..., Any]) -> Callable[[fx.Proxy, object], fx.Proxy]:
    def call(x: fx.Proxy, y: object) -> fx.Proxy:
        return x.tracer.create_proxy("call_function", function, (x, y), {})

    return call


for _method, _function in _IN_PLACE.items():
    setattr(_Placeholder, _method, _in_place(_function))


class Tracer(fx.Tracer):
    """Traces into every module but torch's own and the engine's."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module is one call."""
        return isinstance(m, KeyedDropout) or super().is_leaf_module(m, module_qualified_name)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """What stands for a result."""
        return _Placeholder(node, self)


def called(node: fx.Node) -> str:
    """What a function or method of torch is called; nothing for a stranger's."""
    if node.op == "call_method":
        return str(node.target)
    if node.op != "call_function":
        return ""
    if node.target is getattr:
        return "getattr"
    name = str(getattr(node.target, "__name__", ""))
    homes = (functional, torch, operator)
    return name if any(getattr(home, name, None) is node.target for home in homes) else ""


def is_node(*values: object) -> bool:
    """Whether there are values, and all are results of calls."""
    return bool(values) and all(isinstance(v, fx.Node) for v in values)


def given(node: fx.Node, **defaults: object) -> list[object]:
    """Arguments after the first, by position or by name."""
    arguments = dict(zip(defaults, node.args[1:], strict=False)) | dict(node.kwargs)
    return [arguments.get(name, default) for name, default in defaults.items()]


def overwrites(node: fx.Node, layers: dict[str, nn.Module]) -> bool:
    """Whether a call changes its input, as far as its name or options tell."""
    if node.op == "call_module":
        return bool(getattr(layers[str(node.target)], "inplace", False))
    if node.op == "call_method":
        return str(node.target).endswith("_")
    in_place = node.target is operator.setitem or node.target in _IN_PLACE.values()
    return in_place or bool(node.kwargs.get("inplace")) or "out" in node.kwargs


def keeps_batch(node: fx.Node) -> bool:
    """Whether a call is x.view(x.size(0), -1) or x.view(x.shape[0], -1), of any tensor's size."""
    batch = node.args[1] if len(node.args) == 3 and node.args[2] == -1 else None
    if not isinstance(batch, fx.Node):
        return False
    if called(batch) == "size":
        return bool(batch.args[1:] == (0,))
    shape = batch.args[0] if called(batch) == "getitem" and batch.args[1] == 0 else None
    if not isinstance(shape, fx.Node):
        return False
    return called(shape) == "size" or bool(called(shape) == "getattr" and shape.args[1] == "shape")
