"""The benchmark of coverage runs, and finds what it is made to find."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from privaudit.statistics.intervals import Estimate


@pytest.fixture
def calibration(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3]))
    return import_module("benchmarks.calibration")


def test_a_miniature_prints_every_table(
    calibration: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    worst = calibration.main(["--quick"])
    printed = capsys.readouterr().out
    titles = [title for title, _, _ in calibration.tables()]
    assert all(f"\n{title}:\n" in printed for title in titles)
    assert f"Lowest coverage {100 * worst:.1f} %" in printed
    assert worst >= 0.6  # of ten replications a cell


def test_an_interval_without_width_covers_nothing(
    calibration: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "roc_auc", lambda *_: Estimate(0.5, 0.5, 0.5))
    _, _, lines = next(iter(calibration.tables()))
    guessing, shifted = lines[0].trials[0], lines[1].trials[0]
    rng = np.random.default_rng(0)
    assert (guessing(rng), shifted(rng)) == (True, False)
