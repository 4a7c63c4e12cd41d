"""A pytest plugin: tests of cohorts that name no device run on another one.

    PRIVAUDIT_TEST_DEVICE=cuda python -m pytest -p benchmarks.gpu.on_device ...

Cohorts that are built without a device, and runs on `auto`, use it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import torch

from benchmarks.gpu import devices

_until_the_end = ExitStack()
_status: list[int] = []
KIND = os.environ.get("PRIVAUDIT_TEST_DEVICE", "cpu")


def pytest_configure(config: pytest.Config) -> None:
    """Put the device in the place of the default one."""
    from privaudit.cohort import Cohort

    defaults = Cohort.__init__.__kwdefaults__
    assert defaults is not None
    defaults["device"] = there = devices.chosen(KIND)
    _until_the_end.enter_context(default_device(there))
    _until_the_end.enter_context(devices.pretending(KIND))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keep the exit code."""
    _status.append(int(exitstatus))


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """End, when everything else has ended."""
    _until_the_end.close()
    devices.ended(KIND, _status[-1] if _status else 1)


@contextmanager
def default_device(there: torch.device) -> Iterator[None]:
    """While it lasts, `auto` is this device."""
    from privaudit.experiment import environment, running

    choose = environment.choose_device
    before = {module: module.choose_device for module in (environment, running)}

    def chosen(name: str) -> torch.device:
        return there if name in ("auto", str(there)) else choose(name)

    try:
        for module in before:
            module.choose_device = chosen  # type: ignore[attr-defined]
        yield
    finally:
        for module, original in before.items():
            module.choose_device = original  # type: ignore[attr-defined]
