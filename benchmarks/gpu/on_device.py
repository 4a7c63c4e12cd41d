"""A pytest plugin: tests of cohorts that name no device run on another one.

    PRIVAUDIT_TEST_DEVICE=cuda python -m pytest -p benchmarks.gpu.on_device ...

Cohorts that are built without a device, and runs on `auto`, use it.
"""

from __future__ import annotations

import os

import pytest
import torch

from benchmarks.gpu import devices

KIND = os.environ.get("PRIVAUDIT_TEST_DEVICE", "cpu")


def pytest_configure(config: pytest.Config) -> None:
    """Put the device in the place of the default one."""
    from privaudit.cohort import Cohort
    from privaudit.experiment import environment, running

    there = devices.chosen(KIND)
    defaults = Cohort.__init__.__kwdefaults__
    assert defaults is not None
    defaults["device"] = there
    choose = environment.choose_device

    def chosen(name: str) -> torch.device:
        return there if name in ("auto", KIND) else choose(name)

    for module in (environment, running):
        module.choose_device = chosen  # type: ignore[attr-defined]
