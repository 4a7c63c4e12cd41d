"""The device that everything runs on: a GPU, this machine's CPU, or a pretend accelerator."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch

import privaudit
import privaudit_plugins
from privaudit.experiment.environment import choose_device
from privaudit.version import __version__

PRETEND = "pretend"


def chosen(name: str) -> torch.device:
    """The device of a name.

    Raises:
        RecipeError: there is none.
    """
    if name != PRETEND:
        return choose_device(name)
    from privaudit.testing import pretend

    device: torch.device = pretend.device()
    return device


def has_pretend() -> bool:
    """Whether this torch has what the pretend accelerator is made of."""
    from privaudit.testing import pretend

    return pretend.available()


@contextmanager
def pretending(name: str) -> Iterator[None]:
    """Let tensors be made on the pretend accelerator, if that is the device's name."""
    if name != PRETEND:
        yield
        return
    from privaudit.testing import pretend

    with pretend.watching():
        yield


def ended(name: str, code: int) -> int:
    """The exit code; a program that has differentiated on the pretend accelerator ends here."""
    if name == PRETEND:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def synchronize(device: torch.device) -> None:
    """Wait until the device has done everything it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def emptied(device: torch.device) -> None:
    """Give back what memory is not in use, and count the peak anew."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak_mib(device: torch.device) -> float | None:
    """The most memory that tensors took since `emptied`; None where nobody counts."""
    if device.type != "cuda":
        return None
    return torch.cuda.max_memory_allocated(device) / 2**20


def name_of(device: torch.device) -> str:
    """What the device is called."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def described(device: torch.device) -> dict[str, Any]:
    """What a table says about where it was made."""
    return {
        "device": name_of(device),
        "privaudit": __version__,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "code": _code(),
    }


def _code() -> str:
    """A hash of all sources: what an earlier state of them has measured is measured again."""
    state = blake2b(digest_size=6)
    for start in (privaudit.__file__, privaudit_plugins.__file__, __file__):
        for path in sorted(Path(str(start)).parent.rglob("*.py")):
            state.update(path.read_bytes())
    return state.hexdigest()
