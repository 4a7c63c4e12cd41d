"""The world that plugins share with the engine: found by everybody as the engine left it."""

from __future__ import annotations

import gc
import locale
import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from privaudit.api import float32

logger = logging.getLogger(__name__)

_SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM")
    if hasattr(signal, name)
]
_FACTOR = [1.0]  # not a constant, so that a product is computed and not folded
_told: set[tuple[str, str]] = set()


@contextmanager
def own_world(whose: str = "") -> Iterator[None]:
    """Run foreign code, and put back afterwards what it changes in the process.

    That is torch's and numpy's settings, all global generators, warnings, logging, signals,
    standard streams, the current folder and the environment. Modules it imports, `sys.path`, and
    what it replaces inside other modules stay. A change that would have changed numbers is told.

    Args:
        whose: the code, as a warning begins; nothing is told where it is empty.
    """
    generators = _generators()
    before = [(setting, _read(setting)) for setting in _SETTINGS]
    try:
        yield
    finally:
        changed = [setting for setting, value in before if _put_back(setting, value)]
        _set_generators(*generators)
        for setting in changed:
            if setting.numbers and whose and (whose, setting.name) not in _told:
                _told.add((whose, setting.name))
                logger.warning("%s changes %s, which is put back", whose, setting.name)


@dataclass(frozen=True)
class _Setting:
    """Something that all code of a process shares.

    Attributes:
        name: to be read after "changes".
        read: its value, to be compared.
        write: puts a value back.
        numbers: whether other numbers come out under another value.
    """

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]
    numbers: bool = False


def _read(setting: _Setting) -> Any:
    try:
        return setting.read()
    except (RuntimeError, OSError, AttributeError):  # not in this torch, or the folder is gone
        return None


def _put_back(setting: _Setting, before: Any) -> bool:
    """Whether a setting had changed, and is now as before."""
    if before is None or _read(setting) == before:
        return False
    with suppress(RuntimeError, OSError, ValueError):
        setting.write(before)
    return True


def _generators() -> tuple[Any, ...]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]
    return torch.get_rng_state(), np.random.get_state(), random.getstate(), cuda


def _set_generators(of_torch: Any, of_numpy: Any, of_python: Any, of_cuda: Any) -> None:
    torch.set_rng_state(of_torch)
    np.random.set_state(of_numpy)
    random.setstate(of_python)
    if of_cuda is not None:
        torch.cuda.set_rng_state_all(of_cuda)


def _backends() -> tuple[Any, ...]:
    cudnn = torch.backends.cudnn
    return cudnn.enabled, cudnn.benchmark, cudnn.deterministic, *float32.settings()


def _set_backends(flags: tuple[Any, ...]) -> None:
    cudnn = torch.backends.cudnn
    cudnn.enabled, cudnn.benchmark, cudnn.deterministic = flags[:3]
    float32.set_settings(list(flags[3:]))


def _set_device(device: torch.device) -> None:
    torch.set_default_device(None if device.type == "cpu" else device)


def _flushes() -> bool:
    return 1e-310 * _FACTOR[0] == 0


def _warnings() -> tuple[Any, ...]:
    return list(warnings.filters), warnings.showwarning


def _set_warnings(values: tuple[Any, ...]) -> None:
    warnings.filters[:], warnings.showwarning = values  # type: ignore[index]
    getattr(warnings, "_filters_mutated", lambda: None)()  # what was decided under others


def _logging() -> tuple[Any, ...]:
    root, ours = logging.getLogger(), logging.getLogger("privaudit")
    each = [(o.level, o.disabled, o.propagate, o.handlers[:], o.filters[:]) for o in (root, ours)]
    return root.manager.disable, *each


def _set_logging(values: tuple[Any, ...]) -> None:
    logging.disable(values[0])
    for name, (level, disabled, propagate, handlers, filters) in zip(
        ("", "privaudit"), values[1:], strict=True
    ):
        one = logging.getLogger(name)
        one.setLevel(level)
        one.disabled, one.propagate = disabled, propagate
        one.handlers[:], one.filters[:] = handlers, filters


def _set_environment(values: dict[str, str]) -> None:
    for name in os.environ.keys() - values.keys():
        del os.environ[name]
    os.environ.update(values)


def _mask() -> int:
    now = os.umask(0o077)  # it can only be read by setting it
    os.umask(now)
    return now


def _handlers() -> list[Any]:
    return [signal.getsignal(number) for number in _SIGNALS]


def _set_handlers(handlers: list[Any]) -> None:
    if threading.current_thread() is threading.main_thread():
        for number, handler in zip(_SIGNALS, handlers, strict=True):
            if handler is not None:
                signal.signal(number, handler)


def _alarm() -> bool:
    return signal.getitimer(signal.ITIMER_REAL)[0] > 0


def _end_alarm(before: bool) -> None:
    if not before:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _streams() -> tuple[Any, ...]:
    return sys.stdin, sys.stdout, sys.stderr


def _set_streams(streams: tuple[Any, ...]) -> None:
    sys.stdin, sys.stdout, sys.stderr = streams


def _interpreter() -> tuple[Any, ...]:
    return sys.excepthook, sys.unraisablehook, threading.excepthook, gc.isenabled()


def _set_interpreter(values: tuple[Any, ...]) -> None:
    sys.excepthook, sys.unraisablehook, threading.excepthook = values[:3]
    (gc.enable if values[3] else gc.disable)()


_SETTINGS = [
    _Setting("torch's default device", torch.get_default_device, _set_device, True),
    _Setting("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype, True),
    _Setting("torch's number of threads", torch.get_num_threads, torch.set_num_threads, True),
    _Setting(
        "whether torch is deterministic",
        torch.get_deterministic_debug_mode,
        torch.set_deterministic_debug_mode,
    ),
    _Setting("the flags of torch.backends", _backends, _set_backends, True),
    _Setting(
        "the precision of torch's matrix products",
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
        True,
    ),
    _Setting("whether torch flushes small numbers", _flushes, torch.set_flush_denormal, True),
    _Setting(
        "torch's autocast",
        lambda: torch.is_autocast_enabled("cpu"),
        lambda on: torch.set_autocast_enabled("cpu", on),
        True,
    ),
    _Setting("whether torch takes gradients", torch.is_grad_enabled, torch.set_grad_enabled),
    _Setting(
        "whether torch looks for anomalies",
        torch.is_anomaly_enabled,
        torch.autograd.set_detect_anomaly,
    ),
    _Setting("how numpy treats errors", np.geterr, lambda values: np.seterr(**values)),
    _Setting("warnings", _warnings, _set_warnings),
    _Setting("logging", _logging, _set_logging),
    _Setting("the current folder", os.getcwd, os.chdir),
    _Setting("the environment", lambda: dict(os.environ), _set_environment),
    _Setting("the mode of new files", _mask, os.umask),
    _Setting(
        "the locale",
        lambda: locale.setlocale(locale.LC_ALL),
        lambda value: locale.setlocale(locale.LC_ALL, value),
    ),
    _Setting("what signals do", _handlers, _set_handlers),
    _Setting("the alarm", _alarm, _end_alarm),
    _Setting("standard streams", _streams, _set_streams),
    _Setting("the interpreter's hooks", _interpreter, _set_interpreter),
    _Setting("the limit of recursion", sys.getrecursionlimit, sys.setrecursionlimit),
    _Setting("the tracing of calls", sys.gettrace, sys.settrace),
]
