"""Where methods depart from their papers: as a run recorded it, never as it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from made_up_runs import made_up_run
from privaudit.page import page
from read_pages import ReadPage


def _told(folder: Path, *plugins: dict[str, Any]) -> str:
    run = made_up_run(folder, environment={"plugins": list(plugins)})
    text = ReadPage(page([run])).text
    return text.partition("Where methods depart from their papers")[2].partition("What each")[0]


def test_what_a_run_recorded_is_told_sentence_by_sentence(tmp_path: Path) -> None:
    plugins = [
        {"kind": "attack", "name": "lira", "deviations": ["It has <b>fewer</b> queries.", "Two."]},
        {"kind": "defense", "name": "none", "deviations": []},
    ]
    told = _told(tmp_path / "run", *plugins)
    assert "attack lira: It has <b>fewer</b> queries. attack lira: Two." in told
    assert "no departure is known of: defense none." in told
    assert "cannot be told" not in told


def test_a_run_that_recorded_none_says_that_it_cannot_be_told(tmp_path: Path) -> None:
    old = {"kind": "defense", "name": "min_max"}
    told = _told(tmp_path / "run", old)
    assert told.split(" This page")[0].strip() == (
        "cannot be told: The privaudit that made this run did not record it yet."
    )
    both = _told(tmp_path / "both", old, old | {"name": "dpsgd", "deviations": ["One."]})
    assert "defense dpsgd: One." in both
    assert "cannot be told: defense min_max: the run was made by a privaudit that" in both


def test_a_damaged_record_is_no_record(tmp_path: Path) -> None:
    told = _told(tmp_path / "run", {"kind": "attack", "name": "lira", "deviations": "none"})
    assert "cannot be told" in told
    told = _told(tmp_path / "other", {"kind": "attack", "name": "lira", "deviations": [1, "Two."]})
    assert "attack lira: Two." in told
