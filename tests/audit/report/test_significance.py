"""What a report calls significant, what it only marks, and which intervals it shows."""

from __future__ import annotations

import csv
import io
import json
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import t

from privaudit.report import compare, render
from privaudit.report.differences import by_example, compared
from privaudit.report.evidence import Evidence
from privaudit.statistics import table
from privaudit.statistics.metrics import evaluate
from privaudit.store.result import AuditResult, RunResult, save_run

N = 400
MEMBERS = np.arange(N) < N // 2


def _run(
    folder: Path | None,
    rows: dict[str, float],
    seeds: int = 8,
    *,
    split: dict[str, Any] | None = None,
    attacks: tuple[str, ...] = ("loss",),
    noise: float = 0.3,
) -> RunResult:
    """Rows by how far their members' scores are ahead, on the same examples for all seeds."""
    rng = np.random.default_rng(0)
    hard = rng.normal(size=N)
    audits: list[AuditResult] = []
    scores: dict[str, NDArray[Any]] = {}
    for subject, ahead in rows.items():
        for attack in attacks:
            for seed in range(seeds):
                score = hard + ahead * MEMBERS + noise * rng.normal(size=N)
                decision = score > 0.25
                number = len(audits)
                scores |= {f"score_{number}": score, f"decision_{number}": decision}
                scores |= {f"example_{seed}_0": np.arange(N), f"member_{seed}_0": MEMBERS}
                measured = evaluate(score, MEMBERS, decision)
                audits.append(AuditResult(subject, "", seed, 0, 1.0, 9, 1.0, 0.8, attack, measured))
    recipe = {"dataset": {"name": "digits"}, "split": split or {}}
    result = RunResult("run", recipe, {}, tuple(audits))
    return result if folder is None else save_run(folder, result, recipe_yaml="", scores=scores)


def _said(run: RunResult, **options: Any) -> str:
    return " ".join(render([run], **options).split())


def test_a_real_difference_is_starred_and_a_null_one_is_not(tmp_path: Path) -> None:
    run = _run(tmp_path, {"dense": 0.5, "same": 0.5, "worse": 1.5})
    dense, same, worse = (row.attacks["loss"].comparison for row in compare([run]))
    assert dense is None
    assert same is not None
    assert worse is not None
    assert (same.significant, worse.significant) == (False, True)
    assert worse.high < 0  # less defense than the baseline
    assert (worse.pairs, worse.over, worse.comparisons) == (8, "seeds", 2)
    assert worse.adjusted == pytest.approx(2 * worse.p)
    assert "▼*" in render([run])
    said = _said(run)
    assert "* differs significantly from the baseline (1 of 2): paired by seed and target" in said
    assert "for all 2 comparisons together (Holm)" in said
    assert "▼ worse than the baseline (dense) by the paper's rule" in said
    assert "That rule is no test." in said


def test_a_mark_of_the_papers_rule_is_never_called_significant() -> None:
    # Two seeds that agree by chance: disjoint by the rule, and nothing that a test would see.
    audits = [
        AuditResult(subject, "", seed, 0, 1.0, 9, 1.0, 0.8, "loss", _metrics(value + seed / 1e3))
        for subject, value in (("dense", 0.80), ("up", 0.83))
        for seed in (0, 1)
    ]
    audits[3] = AuditResult("up", "", 1, 0, 1.0, 9, 1.0, 0.8, "loss", _metrics(0.836))
    run = RunResult("run", {}, {}, tuple(audits))
    change = compare([run])[1].attacks["loss"]
    assert change.change == "better"
    assert change.comparison is not None
    apart = np.array([0.03, 0.035])
    p = 2 * t.sf(apart.mean() / (apart.std(ddof=1) / sqrt(2)), 1)
    assert change.comparison.p == pytest.approx(p, rel=1e-6)
    said = _said(run)
    assert (change.comparison.significant, "▲*" in said) == (p < 0.05, p < 0.05)
    alone = _said(RunResult("run", {}, {}, tuple(audits[::2])))
    assert "significant" not in alone  # one network a row without examples: nothing to test


def _metrics(defense: float) -> dict[str, Any]:
    interval = {"value": 0.6, "low": 0.55, "high": 0.65}
    return {
        "defense": defense,
        "balanced_accuracy": None,
        "best_balanced_accuracy": 0.6,
        "advantage": 0.2,
        "auc": interval,
        "tpr_at_fpr": {"0.1": interval, "0.01": None, "0.001": None, "0.0001": None},
    }


def test_none_is_said_to_differ_at_this_sample_size_only(tmp_path: Path) -> None:
    run = _run(tmp_path, {"dense": 0.5, "same": 0.5}, seeds=3)
    said = _said(run)
    assert "No defense differs significantly from the baseline's at this sample size" in said
    assert "A difference may be there all the same." in said
    assert "no defense is significantly" not in said


def test_one_seed_tests_these_networks_alone(tmp_path: Path) -> None:
    run = _run(tmp_path, {"dense": 0.2, "worse": 2.0}, seeds=1)
    change = compare([run])[1].attacks["loss"].comparison
    assert change is not None
    assert (change.over, change.significant) == ("examples", True)
    assert "one between these two networks: trained again, they may differ" in _said(run)


def test_the_same_network_twice_does_not_differ(tmp_path: Path) -> None:
    run = _run(tmp_path, {"dense": 0.5, "again": 0.5}, seeds=2, noise=0.0)
    change = compare([run])[1].attacks["loss"].comparison
    assert change is not None
    assert (change.value, change.low, change.high, change.p) == (0, 0, 0, 1)


def test_members_here_who_are_non_members_there_make_the_difference_less_sure(
    tmp_path: Path,
) -> None:
    # Scores that follow the example alone, and not who was trained on: where members and others
    # change sides, one AUC is 1 less the other, so that their difference is 2 AUC - 1.
    scores = np.random.default_rng(0).normal(size=N)
    runs = []
    for name, members in (("here", MEMBERS), ("there", ~MEMBERS)):
        audit = AuditResult("dense", "", 0, 0, 1.0, 9, 1.0, 0.8, "loss", evaluate(scores, members))
        result = RunResult("run", {"dataset": {"name": "digits"}, "split": {}}, {}, (audit,))
        kept = {"score_0": scores, "example_0_0": np.arange(N), "member_0_0": members}
        runs.append(save_run(tmp_path / name, result, recipe_yaml="", scores=kept))
    here, there = (Evidence(run).attacked(run.audits[0], "loss") for run in runs)
    found = compared(table.named(["auc"])[0], here, there)
    assert found is not None
    above, below = scores[MEMBERS], scores[~MEMBERS]
    placed = [(side[:, None] > other).mean(1) for side, other in ((above, below), (below, above))]
    error = sqrt(sum(np.var(side, ddof=1) / len(side) for side in placed))  # DeLong et al. 1988
    assert found.value == pytest.approx(2 * placed[0].mean() - 1)
    assert (found.high - found.low) / 2 == pytest.approx(2 * 1.96 * error, rel=0.02)


def test_examples_of_other_data_under_the_same_path_are_others(tmp_path: Path) -> None:
    runs = []
    for name, digest in (("one", "a"), ("again", "a"), ("other", "b")):
        run = _run(tmp_path / name / "made", {"dense": 0.5}, seeds=1)
        scores = np.load(tmp_path / name / "made" / "scores.npz")
        about = {"name": "run", "data": {"dataset": digest * 64}}
        folder = tmp_path / name / "kept"
        runs.append(save_run(folder, run, recipe_yaml="", scores=dict(scores), about=about))
    one, *others = (Evidence(run).attacked(run.audits[0], "loss") for run in runs)
    assert [by_example(one, other) for other in others] == [True, False]


def test_holm_is_over_the_attacks_that_are_shown(tmp_path: Path) -> None:
    run = _run(tmp_path, {"dense": 0.5, "a": 0.7, "b": 0.6}, attacks=("loss", "lira"))
    shown = json.loads(render([run], format="json"))["rows"][1]["attacks"]["loss"]["difference"]
    alone = json.loads(render([run], format="json", attacks=["loss"]))["rows"][1]["attacks"]
    assert (shown["comparisons"], alone["loss"]["difference"]["comparisons"]) == (4, 2)
    assert shown["p"] == alone["loss"]["difference"]["p"]
    assert shown["p_holm"] >= alone["loss"]["difference"]["p_holm"]


def test_seeds_that_audit_the_same_examples_do_not_narrow_the_interval(tmp_path: Path) -> None:
    # Nearly all of a score is the example's own: another seed tells nearly nothing new.
    rows = {"dense": 0.5}
    widths = []
    for seeds in (1, 12):
        run = _run(tmp_path / str(seeds), rows, seeds, noise=0.01)
        auc = compare([run])[0].attacks["loss"].metrics["auc"]
        assert auc is not None
        assert auc.low is not None
        assert auc.high is not None
        widths.append(auc.high - auc.low)
    assert widths[1] == pytest.approx(widths[0], rel=0.05)
    # Of a run without its scores no more is known than that the split is shared.
    one_split = compare([_run(None, rows, 12, split={"seed": 0}, noise=0.01)])[0]
    auc, apart = (
        row.attacks["loss"].metrics["auc"]
        for row in (one_split, compare([_run(None, rows, 12, noise=0.01)])[0])
    )
    assert auc is not None
    assert apart is not None
    assert auc.high is not None
    assert auc.low is not None
    assert apart.high is not None
    assert apart.low is not None
    assert auc.high - auc.low == pytest.approx(widths[0], rel=0.05)
    assert apart.high - apart.low < widths[0] / 2
    said = _said(_run(None, rows, 12))
    assert "Which examples the audits share was not kept" in said


def test_intervals_are_shown_for_every_metric_that_has_one(tmp_path: Path) -> None:
    run = _run(tmp_path, {"dense": 0.5, "worse": 1.5})
    options: dict[str, Any] = {"metrics": ["defense", "tpr@0.1"]}
    plain = render([run], format="markdown", **options).splitlines()[3]
    shown = render([run], format="markdown", intervals=True, **options).splitlines()
    row = compare([run])[1].attacks["loss"]
    tpr, defense, change = row.metrics["tpr@0.1"], row.metrics["defense"], row.comparison
    assert tpr is not None
    assert defense is not None
    assert change is not None
    assert "[" not in plain.replace("\\[", "")
    assert (
        f"{100 * tpr.mean:.1f} [{100 * (tpr.low or 0):.1f}, {100 * (tpr.high or 0):.1f}]"
        in (shown[3])
    )
    assert f"{100 * defense.mean:.1f} [{100 * (defense.low or 0):.1f}, " in shown[3]
    assert (
        f"{100 * change.value:+.1f} [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"
        in (shown[3])
    )
    assert r"▼\*" in shown[3]
    assert "minus baseline, points" in shown[0]
    assert r"$\downarrow${*}" in render([run], format="latex", intervals=True)
    assert max(map(len, render([run], intervals=True, width=80).splitlines())) <= 80
    line = list(csv.DictReader(io.StringIO(render([run], format="csv"))))[1]
    assert float(line["difference"]) == pytest.approx(change.value)
    assert float(line["difference_p_holm"]) == pytest.approx(change.adjusted)
    assert line["significant"] == "True"
    accuracy = row.metrics["balanced_accuracy"]
    assert accuracy is not None
    assert defense.low == pytest.approx(2 * (1 - (accuracy.high or 0)))
    assert defense.high == pytest.approx(2 * (1 - (accuracy.low or 0)))


def test_a_run_is_compared_to_one_that_did_not_keep_its_scores(tmp_path: Path) -> None:
    kept, bare = _run(tmp_path, {"up": 1.5}), _run(None, {"dense": 0.5})
    for runs in ([kept, bare], [bare, kept]):
        changes = [row.attacks["loss"].comparison for row in compare(runs, baseline="dense")]
        assert sum(change is not None for change in changes) == 1
