"""The one command for the first GPU goes through its parts where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from privaudit.testing import pretend

ROOT = Path(__file__).parents[2]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.skipif(not pretend.available(), reason="the pretend accelerator needs torch 2.9")
def test_training_at_full_length_and_the_paper_run_in_miniature(tmp_path: Path) -> None:
    done = command("full", "paper", "--pretend", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    full, paper = (
        json.loads((tmp_path / f"{part}.json").read_text()) for part in ("full", "paper")
    )
    assert full["facts"]["device"] == paper["facts"]["device"] == "pretend"
    assert [row["model"] for row in full["rows"]] == [0, 1]
    assert {row["subject"] for row in paper["rows"]} == {"dense", "imp"}
    assert not full["wrong"] + paper["wrong"]


def test_a_part_that_fails_is_told_and_the_exit_code_says_so(tmp_path: Path) -> None:
    done = command(
        "full", "--device", "cpu", "--data", str(tmp_path / "none"), "--out", str(tmp_path)
    )
    assert done.returncode == 1
    (wrong,) = json.loads((tmp_path / "full.json").read_text())["wrong"]
    assert "none" in wrong
