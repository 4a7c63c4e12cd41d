"""A thin sample of every part of the campaign; the whole is `python -m tests.campaign`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.campaign._case import parts

_SAMPLE = 2  # cases of each part, spread over it


@pytest.mark.parametrize("name", sorted(parts()))
def test_a_sample_of_the_campaign_goes_well(name: str) -> None:
    # In a process that has computed nothing yet: its cases fork.
    done = subprocess.run(
        [sys.executable, "-m", "tests.campaign", name, "--sample", str(_SAMPLE)],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
