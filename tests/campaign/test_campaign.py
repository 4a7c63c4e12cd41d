"""A thin sample of every part of the campaign; the whole is `python -m tests.campaign`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.campaign._case import parts

_PARTS = sorted(parts())


@pytest.mark.parametrize("half", [_PARTS[::2], _PARTS[1::2]], ids=" ".join)
def test_a_case_of_every_part_goes_well(half: list[str]) -> None:
    # In processes that have computed nothing yet: cases fork. Two, for as many test workers.
    done = subprocess.run(
        [sys.executable, "-m", "tests.campaign", *half, "--sample", "1"],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
