"""Products in a lower precision, everything else in a network's own.

`torch.autocast` acts below `torch.vmap`, where a stack of convolutions is another operation than
the one it knows, so that a model in company rounds otherwise than alone. This one acts where a
network calls torch, above every transformation: the same casts for one model and for many, on
every device. What is cast and what is not is said by `_RULES`, function by function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_PRODUCTS = (
    "matmul", "__matmul__", "mm", "bmm", "addmm", "addbmm", "baddbmm", "chain_matmul", "einsum",
    "tensordot", "bilinear", "convolution", "scaled_dot_product_attention", "lstm", "gru",
    "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell",
)  # fmt: skip
"""Answer in the lower precision."""

_BIASED = (
    "linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
    "conv_transpose3d",
)  # fmt: skip
"""Products, too; their bias is added apart, as a stack of models has it."""

_NORMS = ("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm")
"""Take their statistics in the full precision, and answer in that of what they are given."""

_FULL = (
    "softmax", "log_softmax", "softmin", "logsumexp", "gumbel_softmax", "softplus", "exp", "exp_",
    "expm1", "log", "log1p", "log2", "log10", "pow", "__pow__", "__rpow__", "float_power", "rsqrt",
    "reciprocal", "norm", "normalize", "local_response_norm", "cosine_similarity", "dist", "cdist",
    "pdist", "var", "std", "var_mean", "std_mean", "prod", "cumsum", "cumprod", "cross", "erfinv",
    "cross_entropy", "nll_loss", "kl_div", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss",
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "multi_margin_loss", "numpy",
    "__array__", "stft", "istft", "histc", "bincount", "grid_sample", "svd", "qr", "det",
)  # fmt: skip
"""Answer in the full precision: torch has them in no other, or they lose too much."""

_ALIKE = (
    "lerp", "addcmul", "addcdiv", "addmv", "mv", "dot", "vdot", "inner", "outer", "ger", "atan2",
    "index_put", "index_put_", "index_add", "index_add_", "index_copy", "index_copy_", "scatter",
    "scatter_", "scatter_add", "scatter_add_", "scatter_reduce", "masked_scatter", "prelu",
)  # fmt: skip
"""Take operands of one precision only: in the full one, if any of them is."""


class LowProducts(TorchFunctionMode):
    """While it is in force, products are made in a lower precision.

    Operands are rounded where they go into a product, and gradients of weights and inputs come
    back in the precision that these have. Products add up in float32, as the hardware does.

    Args:
        low: of products.
        full: of weights, and of all else that needs it.
    """

    def __init__(self, low: torch.dtype, full: torch.dtype) -> None:
        super().__init__()
        self.low, self.full = low, full

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One call of torch by the network."""
        rule = _RULES.get(func)
        if rule is None:
            return func(*args, **(kwargs or {}))
        return rule(self, func, args, kwargs or {})


def _product(mode: LowProducts, func: Any, args: Any, kwargs: Any) -> Any:
    if kwargs.get("out") is not None:
        return func(*args, **kwargs)
    return func(*_cast(args, mode.full, mode.low), **_cast(kwargs, mode.full, mode.low))


def _biased(mode: LowProducts, func: Any, args: Any, kwargs: Any) -> Any:
    names = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
    bias, weight, rest = names.pop("bias", None), names["weight"], args[3:]
    if bias is not None and rest:
        args = (*args[:2], None, *rest)
    elif bias is not None:
        args, kwargs = args[:2], {**kwargs, "bias": None}
    answer = _product(mode, func, args, kwargs)
    if bias is None:
        return answer
    return answer + bias.to(answer.dtype).reshape(-1, *[1] * (weight.ndim - 2))


def _full(mode: LowProducts, func: Any, args: Any, kwargs: Any) -> Any:
    return func(*_cast(args, mode.low, mode.full), **_cast(kwargs, mode.low, mode.full))


def _norm(mode: LowProducts, func: Any, args: Any, kwargs: Any) -> Any:
    x = args[0] if args else kwargs["input"]
    return _full(mode, func, args, kwargs).to(x.dtype)


def _alike(mode: LowProducts, func: Any, args: Any, kwargs: Any) -> Any:
    found = {t.dtype for t in _tensors((args, kwargs))}
    return (_full if mode.full in found else _as_it_is)(mode, func, args, kwargs)


def _as_it_is(mode: LowProducts, func: Any, args: Any, kwargs: Any) -> Any:
    return func(*args, **kwargs)


def _attention(mode: LowProducts, func: Any, args: Any, kwargs: Any) -> Any:
    """Its parts one by one: those of a function written in Python are not seen otherwise."""
    with mode:
        return _ATTENTION(*args, **kwargs)


def _cast(part: Any, before: torch.dtype, after: torch.dtype) -> Any:
    if isinstance(part, Tensor):
        return part.to(after) if part.dtype == before else part
    if isinstance(part, dict):
        return {name: _cast(value, before, after) for name, value in part.items()}
    if isinstance(part, list | tuple) and type(part) in (list, tuple):
        return type(part)(_cast(value, before, after) for value in part)
    return part


def _tensors(part: Any) -> Iterator[Tensor]:
    if isinstance(part, Tensor):
        yield part
    elif isinstance(part, dict | list | tuple):
        for value in part.values() if isinstance(part, dict) else part:
            yield from _tensors(value)


def _called(*names: str) -> set[Any]:
    """The functions and methods of torch with these names."""
    owners = (torch, Tensor, functional, torch.linalg)
    return {getattr(owner, name) for owner in owners for name in names if hasattr(owner, name)}


def _without_asking(function: Any) -> Any:
    """A function of torch that does its work, and does not hand itself on to a mode."""
    names = {**function.__globals__, "has_torch_function": lambda given: False}
    copy = FunctionType(function.__code__, names, function.__name__, function.__defaults__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


_ATTENTION = _without_asking(functional.multi_head_attention_forward)
_NUMERIC = {
    function
    for module in (torch.fft, torch.linalg)
    for name, function in vars(module).items()
    if callable(function) and not name.startswith("_") and not isinstance(function, type)
}
_RULES: Mapping[Any, Callable[[LowProducts, Any, Any, Any], Any]] = {
    **dict.fromkeys(_NUMERIC, _full),
    **dict.fromkeys(_called(*_FULL), _full),
    **dict.fromkeys(_called(*_NORMS), _norm),
    **dict.fromkeys(_called(*_ALIKE), _alike),
    **dict.fromkeys(_called(*_PRODUCTS), _product),
    **dict.fromkeys(_called(*_BIASED), _biased),
    functional.multi_head_attention_forward: _attention,
}
