"""Tensors on the pretend accelerator, and what their operations do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

from privaudit.testing.pretend.backend import NAME, device
from privaudit.testing.pretend.seen import MixedError, line, watch

_aten = torch.ops.aten
# The host needs the result's shape or value.
_WAITS = {
    _aten._local_scalar_dense, _aten.nonzero, _aten.masked_select, _aten.equal, _aten.is_nonzero,
    _aten.bincount, _aten.unique_dim, _aten._unique, _aten._unique2, _aten.unique_consecutive,
    _aten.argwhere, _aten.nonzero_static, _aten.histc,
}  # fmt: skip
_VALUES = (_aten._local_scalar_dense, _aten.equal, _aten.is_nonzero)
_INDEXED = (_aten.index, _aten.index_put_, _aten.index_put, _aten._index_put_impl_)
# Others take a host's tensor without axes as a number.
_NO_NUMBERS = {
    _aten.cat, _aten.stack, _aten.index_select, _aten.gather, _aten.scatter, _aten.bmm, _aten.mm,
    _aten.addmm, _aten.convolution, _aten.embedding,
}  # fmt: skip


class Pretend(torch.Tensor):
    """A tensor on the device; `inner` holds its numbers on the host."""

    inner: Any

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Pretend:
        """Put a host's tensor on the device."""
        made = torch.Tensor._make_wrapper_subclass(
            cls, inner.size(), strides=inner.stride(), storage_offset=inner.storage_offset(),
            dtype=inner.dtype, device=device(), requires_grad=False,
        )  # fmt: skip
        made.inner = inner
        return made

    def __repr__(self, **_: object) -> str:  # type: ignore[override]
        return f"Pretend({self.inner})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Pretend:
        copied = Pretend(self.inner.detach().clone())
        copied.requires_grad_(self.requires_grad)
        if getattr(self, "_is_param", False):
            copied._is_param = True
        memo[id(self)] = copied
        return copied

    def numpy(self, *_: object, **__: object) -> Any:
        """Refuse, as CUDA's tensors do."""
        raise TypeError("can't convert pretend:0 device type tensor to numpy: use Tensor.cpu()")

    def tolist(self) -> Any:
        """The numbers, brought to the host."""
        return self.cpu().tolist()

    def __array__(self, *_: object, **__: object) -> Any:
        return self.numpy()

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _dispatched(func, args, kwargs or {})


def _set_data(self: Pretend, value: Pretend) -> None:
    torch.Tensor.data.__set__(self, value)  # type: ignore[attr-defined]
    self.inner = value.inner


# A network whose weights are set through `.data` would keep those it was made with.
Pretend.data = property(torch.Tensor.data.__get__, _set_data)  # type: ignore[assignment,attr-defined]


class Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees operations that make tensors on the device out of none."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # skipping starts the compiler, which takes seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatched(func, args, kwargs or {})


def on_it(where: Any) -> bool:
    """Whether a device, named in any way, is this one."""
    return where is not None and torch.device(where).type == NAME


def _size(tensors: Iterable[object]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors if isinstance(t, torch.Tensor))


def _sort(parts: Iterable[Any], there: list[Pretend], here: list[torch.Tensor]) -> None:
    for part in parts:
        if isinstance(part, Pretend):
            there.append(part)
        elif isinstance(part, torch.Tensor):
            here.append(part)
        elif isinstance(part, list | tuple):
            _sort(part, there, here)


def _inner(given: Any) -> Any:
    """An operation's argument, on the host."""
    if isinstance(given, Pretend):
        return given.inner
    return [_inner(part) for part in given] if isinstance(given, list | tuple) else given


def _wrapped(result: Any) -> Any:
    """What an operation gives, on the device."""
    if isinstance(result, torch.Tensor):
        return Pretend(result)
    if isinstance(result, list | tuple):
        return type(result)(_wrapped(part) for part in result)
    return result


def _dispatched(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """What an operation gives, done on the host and counted."""
    there: list[Pretend] = []
    here: list[torch.Tensor] = []
    _sort(args, there, here)
    _sort(kwargs.values(), there, here)
    target, packet = kwargs.get("device"), func._overloadpacket
    if not there and not on_it(target):
        return func(*args, **kwargs)
    if packet in (_aten._to_copy, _aten.to):
        return _moved(func, args[0], kwargs)
    if packet is _aten.copy_:
        return _copied(args[0], args[1])
    if packet in (_aten.lift_fresh, _aten.lift):
        return args[0]
    if here and there:
        _check(func, args, here)
    _count_waits(packet, args, kwargs)
    inner_args = [_inner(arg) for arg in args]
    inner = {name: _inner(arg) for name, arg in kwargs.items()}
    if "device" in inner:
        inner = {**inner, "device": torch.device("cpu") if on_it(target) else target}
        if target is not None and not on_it(target):  # new_zeros(device="cpu") and the like
            return func(*inner_args, **inner)
    inner.pop("pin_memory", None)
    result = func(*inner_args, **inner)
    if not func.is_view:
        _launched(func, [t.inner for t in there], _tensors(result))
    if packet in _VALUES:
        return result
    wrapped = _wrapped(result)
    if not there:
        return wrapped
    return return_and_correct_aliasing(func, args, kwargs, wrapped)  # type: ignore[no-untyped-call]


def _tensors(result: Any) -> Sequence[object]:
    return result if isinstance(result, list | tuple) else [result]


def _launched(func: Any, read: Sequence[object], written: Sequence[object]) -> None:
    watch.seen.launches[func.name().removeprefix("aten::")] += 1
    watch.seen.bytes += _size(read) + _size(written)


def _count_waits(packet: Any, args: Any, kwargs: dict[str, Any]) -> None:
    if packet in _WAITS:
        watch.seen.waits[str(packet).removeprefix("aten."), line()] += 1
    if packet in _INDEXED:
        indices = [i for i in args[1] if isinstance(i, torch.Tensor)]
        if any(i.dtype in (torch.bool, torch.uint8) for i in indices):
            watch.seen.waits["index by truth values", line()] += 1
        if any(not isinstance(i, Pretend) for i in indices):
            watch.seen.uploads["index on the host", line()] += 1
    if packet is _aten.repeat_interleave and kwargs.get("output_size") is None:
        watch.seen.waits["repeat_interleave", line()] += 1


def _check(func: Any, args: Any, here: list[torch.Tensor]) -> None:
    """Count what is mixed, and raise where CUDA would."""
    packet = func._overloadpacket
    if packet in _INDEXED and isinstance(args[0], Pretend):
        values = args[2] if len(args) > 2 else None
        if values is None or isinstance(values, Pretend) or values.dim() == 0:
            return
    if all(t.dim() == 0 for t in here) and packet not in _NO_NUMBERS:
        watch.seen.numbers[str(packet).removeprefix("aten."), line()] += 1
        return
    watch.seen.mixed[str(func), line()] += 1
    if watch.seen.strict:
        raise MixedError(
            "Expected all tensors to be on the same device, but found pretend:0 and cpu in "
            f"{func} ({line()}): make new tensors with device=x.device"
        )


def _moved(func: Any, source: Any, kwargs: dict[str, Any]) -> Any:
    """A tensor brought to a device, or to another dtype there."""
    from_device, target = isinstance(source, Pretend), kwargs.get("device")
    to_device = on_it(target) if target is not None else from_device
    inner = source.inner if from_device else source
    rest = {k: v for k, v in kwargs.items() if k not in ("device", "non_blocking")}
    made = func(inner, **rest)
    if from_device and to_device:
        _launched(func, [inner], [made])
        return Pretend(made)
    if from_device:
        watch.seen.waits["copy to host", line()] += 1
        return made
    watch.seen.uploads["copy to device", line()] += 1
    return Pretend(made.clone() if made.data_ptr() == inner.data_ptr() else made)


def _copied(into: Any, source: Any) -> Any:
    mine, theirs = (t.inner if isinstance(t, Pretend) else t for t in (into, source))
    mine.copy_(theirs)
    if isinstance(into, Pretend) and isinstance(source, Pretend):
        _launched(_aten.copy_.default, [mine], [theirs])
    elif isinstance(source, Pretend):
        watch.seen.waits["copy to host", line()] += 1
    else:
        watch.seen.uploads["copy to device", line()] += 1
    return into
