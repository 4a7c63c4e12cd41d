"""What a program reads from a finished run: scores, curves, frames, and what notebooks show."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import privaudit
from privaudit import PrivauditError, RunResult, StoreError, load_recipe
from privaudit.statistics import table
from privaudit.store.shown import flat

RECIPE = {
    "name": "door",
    "seeds": 2,
    "dataset": "digits",
    "split": {"members": 60, "validation": 10, "non_members": 200},
    "model": {"name": "mlp", "hidden": [16]},
    "training": {"epochs": 10, "lr": 0.05},
    "attacks": ["loss", "logistic_regression"],
}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    folder = tmp_path_factory.mktemp("door")
    privaudit.run(load_recipe(RECIPE), folder / "run", cache=folder / "cache", device="cpu")
    return privaudit.load_run(folder / "run")


def test_scores_and_curves_are_those_that_the_metrics_were_made_of(result: RunResult) -> None:
    assert len(result.audits) == 4
    for number, audit in enumerate(result.audits):
        scores = result.scores(audit)
        assert len(scores.example) == len(set(scores.example.tolist())) == 260
        assert int(scores.member.sum()) == audit.metrics["members"] == 60
        by_hand = roc_auc_score(scores.member, scores.score)
        assert audit.metrics["auc"]["value"] == pytest.approx(by_hand, abs=1e-12)
        assert result.roc(number).auc().value == audit.metrics["auc"]["value"]
        assert (scores.decision is None) == (audit.metrics["defense"] is None)
        if scores.decision is not None:
            right = scores.decision == scores.member
            right = [right[scores.member == side].mean() for side in (False, True)]
            assert audit.metrics["balanced_accuracy"]["value"] == pytest.approx(sum(right) / 2)


def test_labels_are_the_datasets(result: RunResult) -> None:
    from sklearn.datasets import load_digits

    scores = result.scores(0)
    assert scores.label is not None
    assert np.array_equal(scores.label, load_digits().target[scores.example])


def test_rows_that_an_attack_leaves_out_are_no_part_of_its_scores(
    result: RunResult, tmp_path: Path
) -> None:
    assert result.folder is not None
    with np.load(result.folder / "scores.npz") as file:
        arrays = dict(file)
    arrays["score_0"] = arrays["score_0"].copy()
    arrays["score_0"][:3] = np.nan
    np.savez(tmp_path / "scores.npz", **arrays)
    moved = replace(result, folder=tmp_path)
    assert moved.scores(0).example.tolist() == result.scores(0).example[3:].tolist()
    assert len(moved.scores(1).example) == 260


@pytest.mark.parametrize("ask", [lambda r, a: r.scores(a), lambda r, a: r.roc(a)])
def test_what_is_not_there_is_told(
    result: RunResult, ask: Callable[[RunResult, object], object], tmp_path: Path
) -> None:
    other = replace(result.audits[0], subject="another")
    for audit in (other, 4, -1):
        with pytest.raises(PrivauditError, match="no audit of this result, which has 4"):
            ask(result, audit)
    with pytest.raises(StoreError, match="has no folder"):
        ask(replace(result, folder=None), 0)
    with pytest.raises(StoreError, match="missing"):
        ask(replace(result, folder=tmp_path), 0)


def test_flat_rows_hold_every_metric_with_its_interval(result: RunResult) -> None:
    rows = flat([vars(audit) for audit in result.audits])
    for row, audit in zip(rows, result.audits, strict=True):
        assert row["auc"] == audit.metrics["auc"]["value"]
        assert row["auc_low"] == audit.metrics["auc"]["low"]
        assert row["defense"] == audit.metrics["defense"]
        assert row["tpr@0.0001"] is None  # 200 non-members cannot resolve it
        assert set(table.names()) <= row.keys()
        assert row["test_accuracy"] == audit.test_accuracy


def test_frames_are_made_by_pandas(result: RunResult) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = result.frame()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["auc"].tolist() == [a.metrics["auc"]["value"] for a in result.audits]


def test_without_pandas_one_line_says_what_to_do(
    result: RunResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(PrivauditError, match="pip install pandas"):
        result.frame()


def test_a_result_shows_itself_in_a_line(result: RunResult) -> None:
    assert repr(result) == (
        "<privaudit result 'door': 4 audits, 2 networks, 2 attacks, "
        f"{len(result.doubts)} doubt{'' if len(result.doubts) == 1 else 's'}, 0 failures>"
    )


class Text(HTMLParser):
    """The cells of a table, and the tags that it is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data.strip()


def test_a_notebook_gets_a_table_in_which_labels_stay_text(result: RunResult) -> None:
    hostile = "<script>alert(1)</script>"
    audits = [replace(audit, subject=hostile) for audit in result.audits]
    audits[0] = replace(audits[0], metrics=audits[0].metrics | {"defense": None})
    text = Text()
    text.feed(replace(result, name=hostile, audits=tuple(audits))._repr_html_())
    assert text.tags == {"table", "caption", "tr", "th", "td"}
    assert text.cells.count(hostile) == 1 + 2
    values = [audit.metrics["auc"]["value"] for audit in result.audits if audit.attack == "loss"]
    assert f"{100 * np.mean(values):.1f}" in text.cells
    assert text.cells.count("cannot be told") == 1
