"""One failure is one failure: the others finish, and what failed is told."""

from __future__ import annotations

import csv
import gc
import io
import json
import weakref
from pathlib import Path
from typing import Any

import pytest

from privaudit import RunResult, load_recipe, load_run, run
from privaudit.cohort import Cohort
from privaudit.errors import PluginError, PrivauditError, StoreError
from privaudit.events import Event, SubjectStarted
from privaudit.experiment import attack_job
from privaudit.explain import explain
from privaudit.report import render

PLUGINS = '''
from collections.abc import Iterator
from typing import Literal
import torch
import privaudit

class Bad(privaudit.Attack):
    name: Literal["bad"] = "bad"
    def score(self, signals):
        raise ValueError("no luck")

class Half(privaudit.Attack):
    """Fails where weights are missing."""
    name: Literal["half"] = "half"
    def score(self, signals):
        if signals.seed // 8 % 2:  # of the seeds 0 and 1 the first
            raise ValueError("an odd eighth")
        return privaudit.AttackScores(-signals.target.logits[0].float().logsumexp(-1))

class Late(privaudit.Sparsifier):
    name: Literal["late"] = "late"
    def sparsify(self, cohort) -> Iterator[str]:
        cohort.fit()
        yield "first"
        raise RuntimeError("too late")

@privaudit.hookimpl
def privaudit_provide():
    return [Bad, Half, Late]
'''


def recipe_of(folder: Path, **changes: object) -> dict[str, object]:
    (folder / "bad.py").write_text(PLUGINS)
    return {
        "name": "partial",
        "plugins": [str(folder / "bad.py")],
        "dataset": "digits",
        "split": {"members": 100, "non_members": 100},
        "model": {"name": "mlp", "hidden": [8]},
        "training": {"epochs": 2, "lr": 0.05, "batch_size": 50},
        "sparsifiers": ["dense"],
        "attacks": ["loss"],
        "shadows": 2,
        "seeds": [0, 1],
        **changes,
    }


def ran(folder: Path, **changes: object) -> RunResult:
    return run(
        load_recipe(recipe_of(folder, **changes)), folder / "run", device="cpu",
        cache=folder / "cache", processes=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def partial(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return ran(
        tmp_path_factory.mktemp("partial"),
        sparsifiers=["dense", "late", {"name": "dense", "label": "wild", "training": {"lr": 1e30}}],
        attacks=["bad", "loss"],
    )


def test_the_others_finish_with_the_numbers_they_have_alone(
    partial: RunResult, tmp_path: Path
) -> None:
    alone = ran(tmp_path)
    there = [audit for audit in partial.audits if audit.subject == "dense"]
    assert {audit.attack for audit in there} == {"loss"}
    assert [audit.metrics for audit in there] == [audit.metrics for audit in alone.audits]


def test_every_failure_is_named_once_with_what_it_is_about(partial: RunResult) -> None:
    subjects = {f.subject: f.sentence for f in partial.failures if not f.attack}
    assert subjects.keys() == {"late", "wild"}
    assert "too late" in subjects["late"]
    assert "bad.py" in subjects["late"]
    assert "diverged" in subjects["wild"]
    attacks = {(f.subject, f.level, f.attack, f.seed) for f in partial.failures if f.attack}
    expected = {("dense", "", "bad", s) for s in (0, 1)} | {
        ("late", "first", "bad", s) for s in (0, 1)
    }
    assert attacks == expected
    assert all("no luck" in f.sentence for f in partial.failures if f.attack)


def test_scores_stay_with_their_audits(partial: RunResult) -> None:
    assert partial.folder is not None
    assert explain([partial], None, everywhere=True).exposures
    late = [a for a in partial.audits if a.subject == "late"]
    assert [audit.level for audit in late] == ["first", "first"]


def test_a_stored_result_keeps_its_failures(partial: RunResult) -> None:
    assert partial.folder is not None
    assert load_run(partial.folder).failures == partial.failures


def test_a_report_shows_failures_in_their_rows(partial: RunResult) -> None:
    text = render([partial], width=200)
    row = next(line for line in text.splitlines() if line.startswith("wild"))
    assert "failed" in row
    assert "nan" not in text
    assert "Failed: attack 'bad' on dense" in text
    assert "diverged" in text
    for format in ("markdown", "latex"):
        told = render([partial], format=format)
        assert "failed" in told
        assert "nan" not in told


def test_programs_are_told_of_failures(partial: RunResult) -> None:
    record = json.loads(render([partial], format="json"))
    assert {f["subject"] for f in record["failures"]} == {"dense", "late", "wild"}
    assert all(row["density"] == row["density"] for row in record["rows"])
    lines = list(csv.DictReader(io.StringIO(render([partial], format="csv"))))
    told = [line for line in lines if line["failure"]]
    assert len(told) == len(partial.failures)
    assert all(line["auc"] == "" for line in told)


def test_what_failed_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = ran(tmp_path, attacks=["bad", "loss"])
    assert first.failures
    (tmp_path / "again").mkdir()
    again = ran(tmp_path, attacks=["bad", "loss"])
    assert again.failures == first.failures
    assert "tried again" in caplog.text


def test_where_nothing_worked_the_error_is_raised(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="no luck"):
        ran(tmp_path, attacks=["bad"])
    assert not (tmp_path / "run" / "result.json").exists()


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line.getMessage() for line in caplog.records if "failed: " in line.getMessage()]


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({"attacks": ["bad"]}, 0),
        ({"sparsifiers": ["late"], "attacks": ["bad"]}, 1),  # the second thing that went wrong
        ({"attacks": ["bad", "loss"]}, 1),
        ({"attacks": ["loss", "bad"]}, 1),
    ],
)
def test_an_error_that_ends_a_run_is_not_told_before_as_well(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, object], count: int
) -> None:
    raised = ""
    try:
        ran(tmp_path, **changes)
    except PluginError as error:
        raised = str(error)
    assert not any(raised in line for line in warned(caplog) if raised)
    assert bool(raised) == ("loss" not in str(changes))
    assert len(warned(caplog)) == count


def test_a_failure_is_told_where_a_run_is_stopped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, SubjectStarted) and event.number == 2:
            raise KeyboardInterrupt

    recipe = load_recipe(recipe_of(tmp_path, sparsifiers=["late", "dense"], attacks=["bad"]))
    with pytest.raises(KeyboardInterrupt):
        run(
            recipe, tmp_path / "run", device="cpu", cache=tmp_path / "c", processes=1,
            on_event=stop,
        )  # fmt: skip
    assert any("too late" in line for line in warned(caplog))
    assert len(warned(caplog)) == 2


def test_a_disk_that_is_full_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise StoreError("no space is left")

    monkeypatch.setattr(attack_job, "scored", full)
    with pytest.raises(PrivauditError, match="no space"):
        ran(tmp_path, attacks=["bad", "loss"])


def test_processes_go_on_after_a_failure(tmp_path: Path) -> None:
    sparsifiers = [{"name": "dense", "label": "wild", "training": {"lr": 1e30}}, "late", "dense"]
    recipe = load_recipe(recipe_of(tmp_path, sparsifiers=sparsifiers, attacks=["bad", "loss"]))
    both = [
        run(recipe, tmp_path / f"{n}", device="cpu", cache=tmp_path / f"cache {n}", processes=n)
        for n in (1, 2)
    ]
    assert both[0].failures == both[1].failures
    assert both[0].audits == both[1].audits


def test_an_attack_that_failed_everywhere_stands_in_its_row(partial: RunResult) -> None:
    lines = render([partial], width=200).splitlines()
    assert "failed" in next(line for line in lines if line.startswith("dense"))
    assert render([partial], attacks=["bad"])


def test_an_attack_that_failed_on_one_network_says_so_beside_its_mean(tmp_path: Path) -> None:
    text = render([ran(tmp_path, attacks=["loss", "half"])], width=200)
    row = next(line for line in text.splitlines() if line.startswith("dense"))
    assert "(1 failed)" in row


NAMELESS = """
from typing import Literal
import privaudit

class Nameless(privaudit.Sparsifier):
    name: Literal["nameless"] = "nameless"
    def sparsify(self, cohort):
        cohort.fit()
        yield ""
        raise RuntimeError("too late")

class Poor(privaudit.Attack):
    name: Literal["poor"] = "poor"
    def score(self, signals):
        raise privaudit.ShortageError("nobody to compare with")

@privaudit.hookimpl
def privaudit_provide():
    return [Nameless, Poor]
"""


def test_a_level_without_a_name_is_kept_where_its_subject_fails_later(tmp_path: Path) -> None:
    (tmp_path / "nameless.py").write_text(NAMELESS)
    result = ran(tmp_path, plugins=[str(tmp_path / "nameless.py")], sparsifiers=["nameless"])
    rows = json.loads(render([result], format="json"))["rows"]
    assert [(row["subject"], row["level"]) for row in rows] == [("nameless", "")]
    text = render([result], width=200).splitlines()
    assert sum(line.startswith("nameless") for line in text) == 2


def test_whoever_lacks_something_is_named_with_its_distribution(tmp_path: Path) -> None:
    (tmp_path / "nameless.py").write_text(NAMELESS)
    result = ran(tmp_path, plugins=[str(tmp_path / "nameless.py")], attacks=["loss", "poor"])
    assert all("attack 'poor' of nameless.py" in f.sentence for f in result.failures)


def test_a_subject_that_failed_does_not_stay_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[Cohort]] = []
    begin = Cohort.__init__

    def noted(cohort: Cohort, *arguments: Any, **options: Any) -> None:
        begin(cohort, *arguments, **options)
        made.append(weakref.ref(cohort))

    alive: list[int] = []

    def reached(event: Event) -> None:
        if isinstance(event, SubjectStarted) and event.number == 2:
            gc.collect()
            alive.extend(number for number, cohort in enumerate(made) if cohort() is not None)

    monkeypatch.setattr(Cohort, "__init__", noted)
    wild = {"name": "dense", "label": "wild", "training": {"lr": 1e30}}
    recipe = load_recipe(recipe_of(tmp_path, sparsifiers=[wild, "dense"]))
    run(recipe, tmp_path / "run", device="cpu", cache=tmp_path / "cache", on_event=reached)
    assert made
    assert alive == []
