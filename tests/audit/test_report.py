from __future__ import annotations

from math import sqrt
from statistics import mean, stdev
from typing import Any

import pytest

from privaudit.errors import RecipeError
from privaudit.report import compare, render
from privaudit.report.aggregate import summarise
from privaudit.store.result import AuditResult, RunResult


def _metrics(defense: float | None, auc: float = 0.6, tpr: float | None = 0.03) -> dict[str, Any]:
    found = tpr and {"value": tpr, "low": tpr / 2, "high": tpr * 2}
    return {
        "defense": defense,
        "balanced_accuracy": None,
        "best_balanced_accuracy": 0.6,
        "advantage": 0.2,
        "auc": {"value": auc, "low": auc - 0.02, "high": auc + 0.02},
        "tpr_at_fpr": {"0.1": found, "0.01": found, "0.001": None, "0.0001": None},
    }


def _audits(
    subject: str, level: str, defenses: list[float | None], density: float = 1.0, **other: Any
) -> list[AuditResult]:
    fields: dict[str, Any] = {
        "train_accuracy": 0.9,
        "test_accuracy": 0.8,
        "attack": "mlp",
        "auc": 0.6,
    } | other
    auc = fields.pop("auc")
    return [
        AuditResult(subject, level, seed, 0, density, 100, metrics=_metrics(defense, auc), **fields)
        for seed, defense in enumerate(defenses)
    ]


def _run(*audits: list[AuditResult], name: str = "digits") -> RunResult:
    return RunResult(name, {}, {}, tuple(audit for each in audits for audit in each))


def test_an_interval_over_several_audits_is_students() -> None:
    values = [0.60, 0.62, 0.67]
    apart = [{"value": v, "low": v - 0.001, "high": v + 0.001} for v in values]
    found = summarise(apart, shared=False)
    assert found is not None
    half = 4.302653 * stdev(values) / sqrt(3)  # t of 2 degrees of freedom, from a printed table
    assert found.mean == pytest.approx(mean(values))
    assert found.std == pytest.approx(stdev(values))
    assert (found.low, found.high) == pytest.approx((0.63 - half, 0.63 + half), abs=1e-6)


def test_an_interval_is_never_narrower_than_its_examples_allow() -> None:
    same = [{"value": 0.6, "low": 0.57, "high": 0.64}] * 4
    apart, shared = summarise(same, shared=False), summarise(same)
    assert apart is not None
    assert shared is not None
    assert apart.std == shared.std == 0
    assert (apart.low, apart.high) == pytest.approx((0.6 - 0.03 / 2, 0.6 + 0.04 / 2))
    assert (shared.low, shared.high) == pytest.approx((0.57, 0.64))


def test_one_audit_keeps_its_own_interval() -> None:
    found = summarise([{"value": 0.6, "low": 0.5, "high": 0.65}])
    assert found is not None
    assert found.std is None
    assert (found.mean, found.low, found.high) == pytest.approx((0.6, 0.5, 0.65))


def test_an_interval_stays_within_shares() -> None:
    found = summarise([{"value": v, "low": v, "high": v} for v in (0.1, 0.9)])
    assert found is not None
    assert (found.low, found.high) == (0.0, 1.0)


def test_what_one_audit_cannot_tell_the_row_cannot() -> None:
    assert summarise([0.5, None, 0.7]) is None


def test_a_row_holds_the_means_over_seeds_and_targets() -> None:
    audits = _audits("imp", "round 1", [0.7, 0.9], density=0.8)
    second = _audits("imp", "round 1", [0.2, 0.4], density=0.6, attack="loss", test_accuracy=0.5)
    other_target = AuditResult(
        "imp", "round 1", 1, 1, 0.4, 9, 1.0, 0.5, "mlp", metrics=_metrics(0.8, 0.66)
    )
    (row,) = compare([_run(audits, second, [other_target])])
    assert (row.run, row.subject, row.level, row.seeds, row.models) == (
        "digits", "imp", "round 1", 2, 3,
    )  # fmt: skip
    assert row.train.mean == pytest.approx((0.9 + 0.9 + 1.0) / 3)
    assert list(row.attacks) == ["mlp", "loss"]
    mlp, loss = row.attacks["mlp"].metrics, row.attacks["loss"].metrics
    assert mlp["defense"] is not None
    assert (mlp["defense"].mean, mlp["defense"].std) == pytest.approx((0.8, 0.1))
    assert mlp["auc"] is not None
    assert mlp["auc"].mean == pytest.approx(0.62)
    assert mlp["tpr@0.001"] is None
    assert loss["defense"] is not None
    assert loss["defense"].mean == pytest.approx(0.3)


def test_a_change_is_marked_where_the_intervals_are_disjoint() -> None:
    # dense 0.70 ± 0.01 covers [0.69, 0.71]
    dense = _audits("dense", "final", [0.69, 0.70, 0.71])
    rows = compare(
        [
            _run(
                dense,
                _audits("up", "final", [0.73, 0.74, 0.75]),  # 0.74 ± 0.01: above
                _audits("down", "final", [0.64, 0.65, 0.66]),  # 0.65 ± 0.01: below
                _audits("near", "final", [0.70, 0.72, 0.74]),  # 0.72 ± 0.02: they meet
                _audits("once", "final", [0.99]),  # one seed has no spread
                _audits("blind", "final", [None, None]),
            )
        ]
    )
    changes = {row.subject: row.attacks["mlp"].change for row in rows}
    assert changes == {
        "dense": None, "up": "better", "down": "worse", "near": None, "once": None, "blind": None,
    }  # fmt: skip
    table = render([_run(dense, _audits("up", "final", [0.73, 0.74, 0.75]))])
    assert "74.0 ± 1.0 ▲" in table
    assert "70.0 ± 1.0  " in table
    assert "▲ better, ▼ worse than the baseline (dense / final)" in table


def test_each_run_is_compared_to_its_own_first_row() -> None:
    low = _run(_audits("dense", "final", [0.5, 0.51]), _audits("imp", "a", [0.6, 0.61]), name="low")
    high = _run(
        _audits("dense", "final", [0.8, 0.81]), _audits("imp", "a", [0.6, 0.61]), name="high"
    )
    rows = compare([low, high])
    assert [(row.run, row.attacks["mlp"].change) for row in rows] == [
        ("low", None), ("low", "better"), ("high", None), ("high", "worse"),
    ]  # fmt: skip


def test_a_named_baseline_serves_runs_that_lack_it() -> None:
    levels = [_audits("imp", "round 0", [0.7, 0.71]), _audits("imp", "round 1", [0.8, 0.81])]
    runs = [_run(*levels, name="one"), _run(_audits("dense", "final", [0.5, 0.51]), name="two")]
    by_subject = compare(runs, "imp")
    assert [row.baseline for row in by_subject] == ["imp / round 0"] * 2 + ["one: imp / round 0"]
    for spelling in ("imp/round 1", "imp / round 1", "imp · round 1"):
        found = compare(runs, spelling)
        assert [row.attacks["mlp"].change for row in found] == ["worse", None, "worse"]


def test_a_baseline_is_compared_attack_by_attack() -> None:
    dense = _audits("dense", "final", [0.5, 0.51], attack="other")
    rows = compare([_run(dense, _audits("imp", "a", [0.9, 0.91]))])
    assert rows[1].attacks["mlp"].change is None


def test_runs_of_one_name_stay_apart() -> None:
    rows = compare([_run(_audits("dense", "final", [0.5])) for _ in range(2)])
    assert [row.run for row in rows] == ["digits #1", "digits #2"]


@pytest.mark.parametrize(
    ("order", "subjects"),
    [
        (None, ["b 10", "b 9", "a"]),
        ("density", ["b 9", "a", "b 10"]),
        ("test", ["a", "b 10", "b 9"]),
        ("defense", ["b 9", "b 10", "a"]),
        ("auc", ["b 10", "a", "b 9"]),
        ("label", ["a", "b 9", "b 10"]),
    ],
)
def test_rows_are_sorted(order: str | None, subjects: list[str]) -> None:
    run = _run(
        _audits("b 10", "x", [0.5], density=0.1, test_accuracy=0.7, auc=0.5),
        _audits("b 9", "x", [0.6], density=0.9, test_accuracy=0.6, auc=0.7),
        _audits("a", "x", [None], density=0.5, test_accuracy=0.9, auc=0.6),
    )
    assert [row.subject for row in compare([run], sort=order)] == subjects


def test_the_strongest_attack_decides_the_order() -> None:
    run = _run(
        _audits("a", "x", [0.9], auc=0.5),
        _audits("a", "x", [0.4], auc=0.8, attack="strong"),
        _audits("b", "x", [0.5], auc=0.7),
    )
    for order in ("defense", "auc"):
        assert [row.subject for row in compare([run], sort=order)] == ["b", "a"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"baseline": "dens"}, r"--baseline 'dens' .*did you mean 'dense'\? there are dense, imp"),
        ({"baseline": "imp/round 7"}, r"did you mean 'imp / round 1'"),
        ({"baseline": "\x1b[31m"}, r"--baseline '�\[31m'"),
        ({"metrics": ["defence"]}, r"--metric 'defence' .*did you mean 'defense'"),
        ({"metrics": ["auc,"]}, r"--metric '' is not known: there are defense, auc"),
        ({"sort": "denisty"}, r"--sort 'denisty' .*did you mean 'density'"),
    ],
)
def test_what_is_not_known_is_refused_with_the_nearest(
    options: dict[str, Any], message: str
) -> None:
    run = _run(_audits("dense", "final", [0.5]), _audits("imp", "round 1", [0.5]))
    with pytest.raises(RecipeError, match=message) as caught:
        render([run], **options)
    assert caught.value.exit_code == 2
    assert "\x1b" not in str(caught.value)


def test_targets_of_one_seed_count_as_one_draw() -> None:
    pair = [{"value": 0.6, "low": 0.55, "high": 0.65}, {"value": 0.7, "low": 0.66, "high": 0.74}]
    twice = [value for value in pair for _ in range(8)]
    once = summarise(pair, [0, 1])
    many = summarise(twice, [0] * 8 + [1] * 8)
    assert once is not None
    assert many is not None
    assert (many.low, many.high) == pytest.approx((once.low, once.high))
    alone = summarise(twice)
    assert alone is not None
    assert alone.high is not None
    assert once.high is not None
    assert alone.high < once.high  # taken as sixteen draws, the interval would be too narrow


@pytest.mark.parametrize(
    "changes", [{"largest_verdict": 1.0}, {"largest_tie": 1.0, "distinct_scores": 1}]
)
def test_a_defense_of_an_attack_that_tells_nobody_apart_is_not_marked(
    changes: dict[str, Any],
) -> None:
    dense, defended = _audits("dense", "", [0.3, 0.31, 0.32]), _audits("hidden", "", [1.0] * 3)
    told = compare([_run(dense, defended)])[1].attacks["mlp"]
    assert told.change == "better"
    assert told.comparison is not None
    for audit in defended:
        audit.metrics.update(changes)
    silent = compare([_run(dense, defended)])[1].attacks["mlp"]
    assert (silent.change, silent.comparison) == (None, None)
    # Nor is there a loss against a baseline that told nothing.
    against = compare([_run(dense, defended)], baseline="hidden")[0].attacks["mlp"]
    assert (against.change, against.comparison) == (None, None)
    # One audit of three that does not tell leaves the others to be compared.
    defended[0].metrics.update(dict.fromkeys(changes))
    assert compare([_run(dense, defended)])[1].attacks["mlp"].change == "better"
