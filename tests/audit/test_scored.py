"""Rows that an attack leaves out: counted, named, kept from the metrics, and never too many."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from privaudit import (
    Attack,
    AttackScores,
    RunResult,
    ShortageError,
    Signals,
    audit_outputs,
    load_recipe,
    run,
)
from privaudit.api.host import Plugins, load_plugins
from privaudit.errors import DataError, PluginError
from privaudit.experiment.attacking import advised
from privaudit.explain.scores import level_scores
from privaudit.report import render
from privaudit.statistics.scored import evaluate_scored, row_sentences
from privaudit.store.result import AuditResult

N = 100


def answered(left_out: list[int], offline: list[int]) -> tuple[AttackScores, Any, Any]:
    """Scores of N rows, NaN where left out; membership; and who is audited, but for row 99."""
    draw = torch.Generator().manual_seed(0)
    score = torch.randn(N, generator=draw)
    members = torch.arange(N) % 2 == 0
    gone, apart = torch.zeros(2, N, dtype=torch.bool)
    gone[left_out], apart[offline] = True, True
    score[gone] = torch.nan
    audited = torch.arange(N) < N - 1
    return AttackScores(score, score > 0, {}, gone, "a shadow", apart), members, audited


def test_a_report_says_what_rows_lack_and_which_verdicts_are_all_alike() -> None:
    def reported(lacks: str, decision: Tensor) -> str:
        scores, members, audited = answered([3, 8], [])
        scores = replace(scores, lacks=lacks, decision=decision)
        metrics = evaluate_scored(scores, members, audited)
        audit = AuditResult("dense", "", 0, 0, 1.0, 9, 1.0, 0.9, "odd", metrics)
        return " ".join(render([RunResult("a", {}, {}, (audit,))], width=200).split())

    some = torch.arange(100) % 3 == 0
    assert "odd: up to 2 audited examples of a network are left out, as they lack a friend" in (
        text := reported("a friend", some)
    )
    assert "its threshold calls all" not in text
    text = reported("", torch.ones(100, dtype=torch.bool))
    assert "are left out, as they lack what it needs" in text
    assert "odd: in 1 audit its threshold calls all examples members, or none" in text


def test_rows_left_out_are_counted_named_and_kept_from_every_metric() -> None:
    scores, members, audited = answered([3, 8, 99], [8, 10])
    record = evaluate_scored(scores, members, audited)
    kept = [row for row in range(99) if row not in (3, 8)]
    expected = roc_auc_score(members[kept], scores.score[kept])
    assert record["auc"]["value"] == pytest.approx(expected)
    assert record["members"] + record["non_members"] == 97
    # Row 99 is not audited, and of row 8, which has no score, nothing else is said.
    assert record["left_out"] == {"count": 2, "of": 99, "rows": [3, 8], "lack": "a shadow"}
    assert record["scored_offline"] == {"count": 1, "of": 99, "rows": [10]}
    assert row_sentences("lira", record) == [
        "lira leaves out 2 of 99 audited rows, as they lack a shadow: rows 3, 8",
        "lira scores 1 of 99 audited rows with too few shadows that were trained on them: row 10",
    ]
    json.dumps(record)
    plain = evaluate_scored(AttackScores(torch.arange(N) * 1.0), members, audited)
    assert not {"left_out", "scored_offline"} & plain.keys()
    assert row_sentences("lira", plain) == []


def test_fewer_than_nine_tenths_are_refused_with_the_first_twenty_rows() -> None:
    scores, members, audited = answered(list(range(1, 10)), [])
    assert evaluate_scored(scores, members, audited)["left_out"]["count"] == 9
    scores, members, audited = answered(list(range(1, 31)), [])
    with pytest.raises(ShortageError) as caught:
        evaluate_scored(scores, members, audited)
    named = ", ".join(map(str, range(1, 21)))
    assert str(caught.value) == (
        "only 69 of 99 audited rows can be scored, and 90% must be: 30 lack a shadow "
        f"(rows {named}, ...)"
    )
    assert "raise `shadows`" in str(advised("lira", caught.value))


def coin_arrays(networks: int = 8, chance: float = 0.5, rows: int = 400) -> dict[str, Any]:
    """Logits of a target and of shadows by coin, surer of what they were trained on."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, rows)
    inside = rng.random((1 + networks, rows)) < chance
    logits = rng.normal(size=(1 + networks, rows, 3))
    logits[:, np.arange(rows), labels] += 2 + 2 * inside
    return {
        "logits": logits[0],
        "labels": labels,
        "members": inside[0],
        "shadow_logits": logits[1:],
        "shadow_members": inside[1:],
    }


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load_plugins()


def test_arrays_by_coin_are_scored_row_by_row(
    plugins: Plugins, caplog: pytest.LogCaptureFixture
) -> None:
    arrays = coin_arrays(6)
    in_all = arrays["shadow_members"].all(0)
    in_none = ~arrays["shadow_members"].any(0)
    assert in_all.any()
    assert in_none.any()
    audits = audit_outputs(**arrays, attacks=["lira", "reference"], plugins=plugins)
    for audit in audits.values():
        np.testing.assert_array_equal(np.isnan(audit.scores), in_all)
        assert audit.metrics["left_out"]["rows"] == np.flatnonzero(in_all).tolist()
        auc = roc_auc_score(arrays["members"][~in_all], audit.scores[~in_all])
        assert audit.metrics["auc"]["value"] == pytest.approx(auc)
        assert auc > 0.8
    assert audits["lira"].metrics["scored_offline"]["rows"] == np.flatnonzero(in_none).tolist()
    assert "lira leaves out" in caplog.text


def test_what_is_short_in_arrays_is_remedied_with_arrays(plugins: Plugins) -> None:
    with pytest.raises(DataError) as caught:
        audit_outputs(**coin_arrays(2), attacks=["reference"], plugins=plugins)
    message = str(caught.value)
    assert message.startswith("attack 'reference': only ")
    assert "(rows " in message
    assert "shadow_logits" in message
    for attack in ("population", "quantile"):
        x = np.zeros((400, 1))
        with pytest.raises(DataError, match="an array audited that is False there"):
            audit_outputs(**coin_arrays(2), x=x, attacks=[attack], plugins=plugins)
    arrays = coin_arrays(2)
    arrays["shadow_members"][:] = True
    with pytest.raises(DataError, match=r"non-members of 2 shadows: give more networks"):
        audit_outputs(**arrays, attacks=["confidence"], plugins=plugins)
    assert "protocol" not in message


class Partial(Attack):
    """Leaves out what it is told to, but may forget to score another row."""

    name: Literal["partial"] = "partial"
    forgets: bool = False
    wrong: bool = False

    def score(self, signals: Signals) -> AttackScores:
        score = signals.target.logits[0, :, 0].double()
        left_out = torch.arange(len(score)) == 3
        score = score.masked_fill(left_out, torch.nan)
        if self.forgets:
            score[4] = torch.nan
        return AttackScores(score, left_out=left_out.double() if self.wrong else left_out)


def test_only_what_is_left_out_may_be_nan(plugins: Plugins) -> None:
    arrays = coin_arrays(1)
    audit = audit_outputs(**arrays, attacks=[Partial()], plugins=plugins)["partial"]
    assert audit.metrics["left_out"] == {"count": 1, "of": 400, "rows": [3]}
    with pytest.raises(PluginError, match="gives NaN for 1 of 399 audited examples"):
        audit_outputs(**arrays, attacks=[Partial(forgets=True)], plugins=plugins)
    with pytest.raises(PluginError, match=r"must give its left_out as \(400,\) bool"):
        audit_outputs(**arrays, attacks=[Partial(wrong=True)], plugins=plugins)


@pytest.fixture(scope="module")
def by_coin(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    folder = tmp_path_factory.mktemp("coin")
    recipe = {
        "name": "coin",
        "dataset": "digits",
        "split": {"protocol": "coin", "members": 0.7, "validation": 0, "targets": "all"},
        "model": {"name": "mlp", "hidden": [16]},
        "training": {"epochs": 4, "lr": 0.1},
        "shadows": 8,
        "attacks": ["loss", "reference", "lira"],
    }
    return run(load_recipe(recipe), folder / "run", cache=folder / "cache", device="cpu")


def test_a_recipe_by_coin_audits_every_network_and_says_what_it_leaves_out(
    by_coin: RunResult,
) -> None:
    assert [audit.attack for audit in by_coin.audits[::9]] == ["loss", "reference", "lira"]
    assert by_coin.folder is not None
    with np.load(by_coin.folder / "scores.npz") as arrays:
        members = np.array([arrays[f"member_0_{target}"] for target in range(9)])
        scores = [arrays[f"score_{number}"] for number in range(27)]
    assert members.shape == (9, 1797)
    assert 0.65 < members.mean() < 0.75
    for number, audit in enumerate(by_coin.audits):
        target = number % 9
        in_all = np.delete(members, target, axis=0).all(0)
        gone = in_all if audit.attack != "loss" else np.zeros_like(in_all)
        np.testing.assert_array_equal(np.isnan(scores[number]), gone)
        assert audit.metrics.get("left_out", {"count": 0})["count"] == gone.sum()
        assert audit.metrics["members"] == (members[target] & ~gone).sum()
        # Counting who had an example says nothing: the coins are independent.
        count = np.delete(members, target, axis=0).sum(0)
        assert abs(roc_auc_score(members[target], count) - 0.5) < 0.06


def test_reports_say_what_was_left_out(by_coin: RunResult) -> None:
    text = render([by_coin], width=200)
    most = max(
        audit.metrics["left_out"]["count"] for audit in by_coin.audits if audit.attack == "lira"
    )
    assert f"lira: up to {most} audited examples of a network are left out" in text
    assert "loss: up to" not in text


def test_explanations_leave_them_out_too(by_coin: RunResult) -> None:
    (level,) = level_scores(by_coin, "reference")
    audits = [audit for audit in by_coin.audits if audit.attack == "reference"]
    for scored, audit in zip(level.audits, audits, strict=True):
        assert not np.isnan(scored.score).any()
        assert len(scored.example) == audit.metrics["members"] + audit.metrics["non_members"]
