from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import sqrt
from statistics import mean, stdev
from typing import Any

import numpy as np
import pytest
from rich.cells import cell_len
from scipy import stats

from privaudit.errors import RecipeError
from privaudit.explain import Explanation, explain
from privaudit.explain.disentangle import Disentangled
from privaudit.explain.text import explanation_lines
from privaudit.report.columns import ASCII, TERMINAL
from privaudit.store.result import AuditResult, RunResult


def _metrics(defense: float | None, auc: float) -> dict[str, Any]:
    return {
        "defense": defense,
        "balanced_accuracy": None,
        "best_balanced_accuracy": 0.6,
        "advantage": 0.2,
        "auc": {"value": auc, "low": auc - 0.02, "high": auc + 0.02},
        "tpr_at_fpr": {},
    }


def _audit(
    level: str,
    seed: int,
    density: float,
    accuracy: float,
    defense: float | None,
    *,
    subject: str = "imp",
    attack: str = "mlp",
    auc: float = 0.6,
    target: int = 0,
    matched: str = "",
) -> AuditResult:
    return AuditResult(
        subject, level, seed, target, density, 9, 1.0, accuracy, attack, _metrics(defense, auc),
        matched=matched,
    )  # fmt: skip


def _run(*audits: AuditResult, name: str = "digits") -> RunResult:
    return RunResult(name, {}, {}, audits)


def _network(
    sparsity_protects: float, error_protects: float, seeds: int = 3, levels: int = 8, noise: int = 0
) -> RunResult:
    """Defense that rises with sparsity and with error as told, and a little by chance."""
    rng = np.random.default_rng(noise)
    audits = []
    for seed in range(seeds):
        for level in range(levels):
            sparsity = level / levels
            error = 0.1 + 0.2 * sparsity + 0.03 * rng.standard_normal()
            defense = 0.5 + sparsity_protects * sparsity + error_protects * error
            defense += 0.01 * rng.standard_normal()
            audits.append(_audit(f"round {level}", seed, 1 - sparsity, 1 - error, defense))
    return _run(*audits)


def _first(*runs: RunResult, baseline: str | None = None) -> Disentangled:
    return explain(runs, baseline).attacks[0]


def _text(explanation: Explanation, width: int = 80) -> str:
    lines = [line.plain for line in explanation_lines(explanation, TERMINAL, width)]
    return "\n".join(lines)


def _said(*runs: RunResult) -> str:
    """The text as one line."""
    return " ".join(_text(explain(runs)).split())


def test_correlations_are_taken_over_every_network() -> None:
    run = _network(0.2, 0.5)
    x = [1 - audit.density for audit in run.audits]
    error = [1 - audit.test_accuracy for audit in run.audits]
    safe = [audit.metrics["defense"] for audit in run.audits]
    found = _first(run)
    assert (found.networks, found.seeds, found.measure) == (24, 3, "defense")
    for correlation, (a, b) in [
        (found.sparsity_defense, (x, safe)),
        (found.sparsity_error, (x, error)),
        (found.error_defense, (error, safe)),
    ]:
        assert correlation.pearson is not None
        assert correlation.spearman is not None
        assert correlation.pearson.value == pytest.approx(stats.pearsonr(a, b).statistic)
        assert correlation.spearman.value == pytest.approx(stats.spearmanr(a, b).statistic)
    residuals = [np.array(c) - np.polyval(np.polyfit(error, c, 1), error) for c in (x, safe)]
    assert found.given_error.pearson is not None
    assert found.given_error.pearson.value == pytest.approx(stats.pearsonr(*residuals).statistic)


def test_one_seed_is_judged_by_its_targets() -> None:
    run = _network(0.2, 0.5)
    by_seed = _first(run)
    moved = _run(*(replace(audit, seed=0, target=audit.seed) for audit in run.audits))
    by_target = _first(moved)
    assert (by_target.seeds, by_target.targets) == (1, 3)
    assert by_target.sparsity_defense == by_seed.sparsity_defense
    assert "There is one seed: intervals allow for the spread over its targets" in _said(moved)
    alone = _network(0.2, 0.5, seeds=1)
    assert "All networks are of one seed and target" in _said(alone)


def test_an_attack_that_does_not_decide_is_measured_by_its_auc() -> None:
    audits = [
        _audit("a", 0, 1.0, 0.9, None, attack="loss", auc=0.6),
        _audit("a", 1, 1.0, 0.9, 0.7, attack="loss", auc=0.4),
        _audit("a", 0, 1.0, 0.9, 0.3, attack="mlp", auc=0.5),
    ]
    loss, mlp = explain([_run(*audits)]).attacks
    assert (loss.attack, loss.measure, mlp.measure) == ("loss", "auc", "defense")
    # 2 (1 - 0.6) = 0.8; an attacker below guessing leaves 2 (1 - 0.4) = 1.2.
    assert loss.levels[0].defense == pytest.approx((0.8 + 1.2) / 2)
    assert mlp.levels[0].defense == pytest.approx(0.3)
    assert "taken as 2 (1 - AUC)" in _said(_run(*audits))


def test_an_audit_without_an_auc_is_left_out() -> None:
    unknown = _audit("a", 1, 1.0, 0.9, None)
    unknown.metrics["auc"] = None
    found = _first(_run(_audit("a", 0, 1.0, 0.9, 0.7), unknown))
    assert (found.networks, found.measure) == (1, "defense")
    assert explain([_run(unknown)]).attacks == ()


def test_the_ratio_of_gonon_et_al_by_hand() -> None:
    run = _run(
        _audit("dense", 0, 1.0, 0.90, 0.50, subject="dense"),
        _audit("dense", 1, 1.0, 0.70, 0.30, subject="dense"),  # mean accuracy 0.8, defense 0.4
        _audit("paid", 0, 0.1, 0.80, 0.50),
        _audit("paid", 1, 0.1, 0.72, 0.40),  # accuracy 0.76: 5 % lost; defense 0.45: 12.5 % gained
        _audit("free", 0, 0.5, 0.90, 0.60),
        _audit("worse", 0, 0.5, 0.60, 0.30),  # 25 % of each lost
    )
    dense, paid, free, worse = _first(run).levels
    assert (dense.accuracy_loss, dense.defense_gain, dense.ratio) == (None, None, None)
    assert (paid.accuracy_loss, paid.defense_gain) == pytest.approx((0.05, 0.125))
    assert paid.ratio == pytest.approx(2.5)
    assert free.accuracy_loss == pytest.approx(-0.125)
    assert free.ratio is None
    assert worse.ratio == pytest.approx(-1.0)
    said = _said(run)
    assert "came with a defense changed by -1.0 % to 2.5 % (2 levels). 1 level lost no" in said
    other = _first(run, baseline="imp/worse").levels
    assert other[3].ratio is None
    assert other[1].defense_gain == pytest.approx(0.5)
    with pytest.raises(RecipeError, match="--baseline 'dence'"):
        explain([run], "dence")


def _matched(differences: dict[str, list[float]], density: float = 0.1) -> RunResult:
    """Levels of a sparse subject and their controls, by level and seed."""
    audits = [_audit("final", seed, 1.0, 0.95, 0.5, subject="dense") for seed in range(3)]
    for level, values in differences.items():
        for seed, difference in enumerate(values):
            sparse = _audit(level, seed, density, 0.80, 0.7 + difference)
            control = _audit(
                level, seed, 1.0, 0.801, 0.7, subject="dense matched to imp", matched="imp"
            )
            audits += [control, sparse]
    return _run(*audits)


def test_a_matched_difference_is_paired_and_has_students_interval() -> None:
    values = [0.02, 0.05, 0.03]
    found = _first(_matched({"a": values}))
    control = found.levels[1].control
    assert control is not None
    assert (control.subject, control.pairs) == ("dense matched to imp", 3)
    assert (control.test_accuracy, control.control_accuracy) == pytest.approx((0.80, 0.801))
    half = 4.302653 * stdev(values) / sqrt(3)  # t of 2 degrees of freedom
    assert control.difference.mean == pytest.approx(mean(values))
    assert (control.difference.low, control.difference.high) == pytest.approx(
        (mean(values) - half, mean(values) + half), abs=1e-6
    )
    assert found.networks == 6  # controls are no part of the correlations
    assert [level.subject for level in found.levels] == ["dense", "imp"]


def test_levels_of_one_seed_count_once() -> None:
    found = _first(_matched({"a": [0.02, 0.05, 0.03], "b": [0.04, 0.05, 0.09]}))
    together = found.at_equal_accuracy
    assert together is not None
    seeds = [0.03, 0.05, 0.06]
    half = 4.302653 * stdev(seeds) / sqrt(3)
    assert together.pairs == 6
    assert together.difference.mean == pytest.approx(mean(seeds))
    assert together.difference.low == pytest.approx(mean(seeds) - half, abs=1e-6)


def test_a_network_that_is_not_sparser_is_no_evidence_on_sparsity() -> None:
    found = _first(_matched({"a": [0.02, 0.05]}, density=1.0))
    assert found.levels[1].control is not None
    assert found.at_equal_accuracy is None


def test_controls_go_with_their_own_level_seed_target_and_run() -> None:
    sparse = [_audit("a", 0, 0.1, 0.8, 0.7), _audit("a", 0, 0.1, 0.8, 0.9, target=1)]
    options: dict[str, Any] = {"subject": "c", "matched": "imp"}
    strangers = [
        _audit("b", 0, 1.0, 0.8, 0.1, **options),
        _audit("a", 1, 1.0, 0.8, 0.1, **options),
        _audit("a", 0, 1.0, 0.8, 0.1, target=2, **options),
        _audit("a", 0, 1.0, 0.8, 0.1, subject="c", matched="other"),
    ]
    assert _first(_run(*sparse, *strangers)).at_equal_accuracy is None
    own = _audit("a", 0, 1.0, 0.8, 0.5, target=1, **options)
    runs = [_run(*sparse, *strangers, own), _run(*sparse, name="other")]
    found = _first(*runs)
    assert found.at_equal_accuracy is not None
    assert (found.at_equal_accuracy.pairs, found.at_equal_accuracy.difference.low) == (1, None)
    assert found.at_equal_accuracy.difference.mean == pytest.approx(0.4)
    assert "One pair of seed and target has no interval" in _said(*runs)
    assert "Correlations are over 2 runs at once" in _said(*runs)


@pytest.mark.parametrize(
    ("sparsity_protects", "error_protects", "sentences"),
    [
        (0.5, 0.0, ["Yes: the sparser a network is, the better it withstands mlp",
                    "Sparser networks err more", "error does not explain all of it",
                    "Not measured: `matched: true`", "Perhaps: some of it goes with sparsity"]),
        (-0.5, 0.0, ["The other way round: the sparser", "There is no gain to weigh",
                     "networks that err more are worse defended"]),
        (0.0, 1.0, ["error may explain all of it", "networks that err more are better defended",
                    "Not shown: only `matched: true`"]),
        (-0.2, 2.0, ["Yes: the sparser", "error explains more than all of it"]),
        (0.0, 0.0, ["Not clearly: sparsity", "there is no clear relation to explain"]),
    ],
)  # fmt: skip
def test_what_was_put_into_the_networks_is_told(
    sparsity_protects: float, error_protects: float, sentences: list[str]
) -> None:
    said = _said(_network(sparsity_protects, error_protects, seeds=8))
    for sentence in sentences:
        assert sentence in said


@pytest.mark.parametrize(
    ("differences", "sentences"),
    [
        ([0.02, 0.03, 0.02], ["Something: sparse networks are better defended",
                              "(+2.3 [+0.9, +3.8] points of defense, 3 pairs; test accuracy 80.0 "
                              "% and 80.1 %)", "Yes: some of it remains"]),
        ([-0.02, 0.03, 0.02], ["Nothing clear: sparse networks", "Not shown: it may be no more"]),
        ([-0.02, -0.03, -0.02], ["Less than nothing", "No: losing that accuracy without sparsity"]),
    ],
)  # fmt: skip
def test_the_matched_comparison_is_told(differences: list[float], sentences: list[str]) -> None:
    said = _said(_matched({"a": differences}))
    for sentence in sentences:
        assert sentence in said
    assert "the match failed" not in said


def test_a_match_that_failed_is_told() -> None:
    run = _matched({"a": [0.02, 0.03, 0.02]})
    off = [replace(a, test_accuracy=0.85) if a.matched else a for a in run.audits]
    assert "The accuracies are not equal: the match failed" in _said(_run(*off))


def test_few_networks_are_no_evidence() -> None:
    said = _said(_run(_audit("a", 0, 1.0, 0.9, 0.7), _audit("b", 0, 0.5, 0.8, 0.8)))
    assert "It cannot be told: it takes at least 4 networks" in said
    assert "too few networks" in said


@pytest.mark.parametrize("width", [60, 80, 120])
def test_lines_fit_and_labels_inject_nothing(width: int) -> None:
    run = _matched({"a": [0.02, 0.05, 0.03]})
    evil = "\x1b[31m日本語\u202e" + "x" * 40
    audits = [
        replace(a, attack=evil, level=evil, subject=a.subject.replace("imp", evil), matched=evil)
        if a.matched else replace(a, attack=evil, level=evil, subject=evil)
        for a in run.audits
    ]  # fmt: skip
    found = explain([_run(*audits, name=evil), _run(*audits, name=evil)])
    text = _text(found, width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert all(each.isprintable() or each == "\n" for each in text)
    plain = "\n".join(line.plain for line in explanation_lines(found, ASCII, width))
    assert plain.isascii()


def test_the_table_shows_the_numbers_behind_the_sentences() -> None:
    lines = _text(explain([_matched({"a": [0.02, 0.05, 0.03]})])).splitlines()
    (row,) = [line.split() for line in lines if line.startswith("imp      a")][:1]
    assert row[:8] == ["imp", "a", "10.00", "80.0", "73.3", "15.8", "46.7", "3.0"]
    heads = [line for line in lines if line.startswith(("Sparsity,", "Correlations", "Level by"))]
    assert all(lines.index(a) < lines.index(b) for a, b in pairwise(heads))
    assert len(heads) == 3
