from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from privaudit.errors import StoreError
from privaudit.statistics.metrics import evaluate
from privaudit.store.models import model_path
from privaudit.store.result import AuditResult, RunResult, load_run, save_run

# The example of the format's specification, word for word but for the two that print "…".
DOCUMENTED = """
{"format": 1, "name": "digits", "environment": {"privaudit": "0.1", "torch": "2.6", "device": "cpu",
 "git": "abc", "seconds": 41.2},
 "audits": [
  {"subject": "imp", "level": "round 3", "seed": 0, "target": 0, "density": 0.512,
   "parameters": 9610, "train_accuracy": 0.99, "test_accuracy": 0.87, "attack": "shadow_mlp",
   "metrics": {"defense": 0.83, "balanced_accuracy": 0.585, "best_balanced_accuracy": 0.59,
               "advantage": 0.18, "auc": {"value": 0.61, "low": 0.59, "high": 0.63},
               "tpr_at_fpr": {"0.01": {"value": 0.03, "low": 0.02, "high": 0.05},
                              "0.001": null}}}]}
"""


def _result() -> RunResult:
    metrics = evaluate([0.9, 0.8, 0.4, 0.3], [1, 1, 0, 0], decision=[1, 0, 0, 0])
    audit = AuditResult(
        subject="imp ▲", level="round 3", seed=2, target=1, density=0.512, parameters=9610,
        train_accuracy=0.99, test_accuracy=0.87, attack="shadow_mlp", metrics=metrics,
        variants={"[30], 0.01": metrics}, sparsifier="imp", defense="none",
        notes={"epsilon": 3.5, "correlation": None}, multiply_adds=81_920, seconds=1.5e-6,
    )  # fmt: skip
    environment = {"privaudit": "0.1", "seconds": 41.2, "plugins": [{"kind": "attack"}]}
    return RunResult("digits", {"seeds": [0, 1]}, environment, (audit, replace(audit, seed=3)))


def _save(folder: Path, result: RunResult) -> RunResult:
    scores = {"imp/round 3/loss": np.array([0.5, -1.25]), "file": np.array([True, False])}
    return save_run(folder, result, recipe_yaml="name: digits\n", scores=scores)


def test_what_is_saved_is_loaded_again(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "digits"
    saved = _save(folder, _result())
    assert saved == replace(_result(), folder=folder)
    assert load_run(folder) == saved
    assert [audit.seconds for audit in load_run(folder).audits] == [1.5e-6] * 2
    assert load_run(str(folder / "result.json")) == saved
    assert (folder / "recipe.yaml").read_text() == "name: digits\n"
    with np.load(folder / "scores.npz", allow_pickle=False) as scores:
        assert sorted(scores) == ["file", "imp/round 3/loss"]
        assert scores["imp/round 3/loss"].tolist() == [0.5, -1.25]
        assert scores["file"].tolist() == [True, False]


def test_a_run_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    _save(folder, _result())
    assert folder.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert modes == {"recipe.yaml": 0o600, "scores.npz": 0o600, "result.json": 0o600}


def test_the_documented_format_is_read(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(DOCUMENTED)
    run = load_run(tmp_path)
    assert (run.name, run.environment["seconds"]) == ("digits", 41.2)
    (audit,) = run.audits
    assert (audit.density, audit.parameters, audit.attack) == (0.512, 9610, "shadow_mlp")
    assert audit.metrics["tpr_at_fpr"]["0.001"] is None
    assert (audit.notes, audit.multiply_adds, audit.seconds) == ({}, None, None)


def test_audits_that_took_another_time_are_equal() -> None:
    audit = _result().audits[0]
    assert replace(audit, seconds=2.0) == audit
    assert replace(audit, multiply_adds=2) != audit


def test_no_nan_reaches_the_file(tmp_path: Path) -> None:
    result = _result()
    result.audits[0].metrics["auc"] = None
    result.environment.update(seconds=float("nan"), peak=np.float32(0.5), count=np.int64(3))
    _save(tmp_path / "run", result)
    text = (tmp_path / "run" / "result.json").read_text()
    record = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in result.json"))
    assert record["environment"] | {"plugins": 0, "privaudit": 0} == {
        "privaudit": 0, "plugins": 0, "seconds": None, "peak": 0.5, "count": 3,
    }  # fmt: skip
    assert record["format"] == 1


def test_objects_are_refused_as_scores(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Object arrays|allow_pickle"):
        save_run(tmp_path, _result(), recipe_yaml="", scores={"a": np.array([{}])})
    assert not (tmp_path / "result.json").exists()


def test_a_result_appears_only_when_the_rest_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setattr(
        "privaudit.store.result.write_many",
        lambda items: written.extend(path.name for path, _ in items),
    )
    _save(tmp_path, _result())
    assert written[-1] == "result.json"
    assert sorted(written) == ["recipe.yaml", "result.json", "scores.npz"]


def _change(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda record: record.update(changes)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda record: record.pop("format"), "not a result of privaudit"),
        (_change(format="one"), "not a result of privaudit"),
        (_change(format=2), "made by a newer privaudit .*upgrade"),
        (_change(format=0), "unknown format 0"),
        (lambda record: record.pop("audits"), "audits is missing"),
        (lambda record: record["audits"][0].pop("density"), r"audits\[0\]\.density is missing"),
        (lambda record: record["audits"][0].update(seed="x"), r"audits\[0\]\.seed is wrong"),
        (lambda record: record["audits"].append(3), r"audits\[1\] is wrong"),
        (
            lambda record: record["audits"][0]["metrics"]["auc"].pop("low"),
            r"audits\[0\]\.metrics\.auc\.low is missing",
        ),
        (
            lambda record: record["audits"][0]["metrics"].update(defense="83 %"),
            r"audits\[0\]\.metrics\.defense is wrong",
        ),
        (
            lambda record: record["audits"][0].update(variants={"\x1b[31m": {}}),
            r"audits\[0\]\.variants\.\\u001b\[31m\.defense is missing",
        ),
    ],
)
def test_a_damaged_record_is_named_in_one_line(
    tmp_path: Path, damage: Callable[[dict[str, Any]], object], message: str
) -> None:
    record = json.loads(DOCUMENTED)
    damage(record)
    (tmp_path / "result.json").write_text(json.dumps(record))
    with pytest.raises(StoreError, match=message) as caught:
        load_run(tmp_path)
    assert "\n" not in str(caught.value)
    assert "result.json" in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [b"", DOCUMENTED.encode()[:-20], b"\xff\xfe", b"[" * 200_000, b'{"format": NaN}'],
    ids=["empty", "cut off", "no text", "bottomless", "not a number"],
)
def test_what_is_not_json_is_refused_in_one_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "result.json").write_bytes(data)
    with pytest.raises(StoreError, match="damaged") as caught:
        load_run(tmp_path)
    assert "\n" not in str(caught.value)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere: no such run"):
        load_run(tmp_path / "nowhere")
    with pytest.raises(StoreError, match=r"has no result\.json"):
        load_run(tmp_path)
    (tmp_path / "result.json").write_text("[]")
    with pytest.raises(StoreError, match="not a result of privaudit"):
        load_run(tmp_path)


def test_model_files_have_safe_and_different_names() -> None:
    labels = ["imp", "../../etc/passwd", "a/b", "a b", "A B", "", "x" * 300, "\x1b[31m", "日本"]
    paths = [
        model_path(Path("run"), subject, level, 0, 0) for subject in labels for level in labels
    ]
    names = [path.name.lower() for path in paths]
    assert len(set(names)) == len(labels) ** 2
    assert {path.parent for path in paths} == {Path("run") / "models"}
    assert all(len(name) < 200 and name.isascii() for name in names)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.") for name in names)
    assert (
        len({model_path(Path(), "a", "b", seed, target) for seed in (0, 1) for target in (0, 1)})
        == 4
    )
