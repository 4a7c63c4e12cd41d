"""What differs between two runs: values by hand, pairs, and what cannot be told."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from math import sqrt
from operator import getitem
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import t

from diff_runs import MEMBERS, PLUGIN, run, without
from privaudit.diff import Diff, diff
from privaudit.diff.values import ACCURACY, Cell
from privaudit.errors import StoreError
from privaudit.report.leaves import Gap
from privaudit.statistics.inference import holm
from privaudit.statistics.intervals import clopper_pearson
from privaudit.store.failure import Failure
from run_folders import without_manifest


def _cells(found: Diff) -> list[Cell]:
    return [cell for row in (*found.networks, *found.rows) for cell in row.cells.values()]


def _changes(found: Diff) -> dict[tuple[str, ...], tuple[Any, Any]]:
    return {(change.section, *change.path): (change.a, change.b) for change in found.changes}


def test_a_run_against_itself_differs_in_nothing(tmp_path: Path) -> None:
    one = run(tmp_path / "a")
    found = diff(one, one)
    assert found.same_run
    assert (found.a, found.b, found.changes, found.untold) == ("digits", "digits", (), ())
    assert (found.only_a, found.only_b) == ((), ())
    told = [cell for cell in _cells(found) if cell.value is not None]
    assert len(told) > 20
    for cell in told:
        assert cell.comparison is not None
        numbers = cell.value, cell.comparison.low, cell.comparison.high
        assert numbers == (0, 0, 0)
        assert (cell.comparison.p, cell.comparison.adjusted) == (1, 1)


def test_a_copy_in_another_folder_differs_in_no_number(tmp_path: Path) -> None:
    found = diff(run(tmp_path / "a"), run(tmp_path / "b"))
    assert not found.same_run
    assert found.changes == ()
    assert {cell.value for cell in _cells(found)} == {0, None}
    assert {cell.comparison.p for cell in _cells(found) if cell.comparison} == {1}


def test_one_leaf_of_the_recipe_is_told_with_both_its_values(tmp_path: Path) -> None:
    found = diff(run(tmp_path / "a"), run(tmp_path / "b", changes={"training__epochs": 8}))
    assert _changes(found) == {("recipe", "training", "epochs"): (60, 8)}
    assert (found.a, found.b) == ("digits epochs=60", "digits epochs=8")


def test_entries_are_compared_by_their_titles(tmp_path: Path) -> None:
    attacks = [{"name": "shadow_mlp", "epochs": 9}, {"name": "lira"}, {"name": "loss"}]
    changes = {"attacks": attacks, "sparsifiers__1__label": "pruned"}
    found = _changes(diff(run(tmp_path / "a"), run(tmp_path / "b", changes=changes)))
    assert found == {
        ("recipe", "sparsifiers"): (["dense", "imp"], ["dense", "pruned"]),
        ("recipe", "sparsifiers", "imp", "rounds"): (2, Gap.ABSENT),
        ("recipe", "sparsifiers", "pruned", "name"): (Gap.ABSENT, "imp"),
        ("recipe", "sparsifiers", "pruned", "rounds"): (Gap.ABSENT, 2),
        ("recipe", "attacks"): (["loss", "shadow_mlp"], ["shadow_mlp", "lira", "loss"]),
        ("recipe", "attacks", "shadow_mlp", "epochs"): (80, 9),
    }


def test_plugins_versions_device_and_data_are_told(tmp_path: Path) -> None:
    environment = {
        "torch": "2.7.0",
        "device": "Tesla T4",
        "plugins": [{**PLUGIN, "source": "0" * 64, "version": "0.2.0"}],
    }
    found = diff(run(tmp_path / "a"), run(tmp_path / "b", environment=environment, data="e" * 64))
    assert _changes(found) == {
        ("data", "dataset"): ("d" * 64, "e" * 64),
        ("versions", "torch"): ("2.6.0", "2.7.0"),
        ("device", "device"): ("cpu", "Tesla T4"),
        ("plugins", "attack", "loss", "version"): ("0.1.0", "0.2.0"),
        ("plugins", "attack", "loss", "source"): ("79c9" * 16, "0" * 64),
    }
    # Other data: no example of one is an example of the other, whatever its number.
    assert not any(row.by_example for row in found.rows)


def test_data_are_the_same_by_what_they_hold_not_by_where_they_lie(tmp_path: Path) -> None:
    a = run(tmp_path / "a", changes={"dataset__path": "here"})
    b = run(tmp_path / "b", ahead=0.9, changes={"dataset__path": "there"})
    assert all(row.by_example for row in diff(a, b).rows)
    # Without checksums only the recipes tell, and these say that they are others.
    unknown = replace(b, folder=None)
    assert not any(row.by_example for row in diff(a, unknown).rows)
    for name in ("a", "b"):
        without_manifest(tmp_path / name)
    assert not any(row.by_example for row in diff(a, b).rows)


def test_what_a_run_was_made_from_cannot_be_told_without_a_manifest(tmp_path: Path) -> None:
    found = diff(run(tmp_path / "a"), run(None))
    (sentence,) = found.untold
    assert "Whether the data differ cannot be told, because B has not kept a manifest" in sentence
    nothing = replace(run(None), environment={})
    assert len(diff(nothing, nothing).untold) == 4


def test_differences_are_b_minus_a_by_hand(tmp_path: Path) -> None:
    a, b = run(tmp_path / "a"), run(tmp_path / "b", ahead=0.9)
    found = diff(a, b)
    row = next(row for row in found.rows if row.name == "imp / round 1: loss")
    assert row.networks == ((0, 0), (1, 0), (2, 0))
    assert row.by_example
    for metric, path in (
        ("auc", ("auc", "value")),
        ("defense", ("defense",)),
        ("tpr@0.1", ("tpr_at_fpr", "0.1", "value")),
        ("epsilon", ("epsilon",)),
    ):
        measured: list[list[Any]] = [
            [
                reduce(getitem, path, audit.metrics)
                for audit in side.audits
                if (audit.level, audit.attack) == ("round 1", "loss")
            ]
            for side in (a, b)
        ]
        first, second = measured
        cell = row.cells[metric]
        assert (list(cell.a), list(cell.b)) == (first, second)
        assert cell.value == pytest.approx(np.mean(second) - np.mean(first))
        assert cell.comparison is not None
        assert cell.comparison.value == pytest.approx(cell.value)
        assert (cell.comparison.pairs, cell.comparison.over) == (3, "seeds")
    tested = row.cells["auc"].comparison
    assert tested is not None
    assert 0 < tested.low < tested.value < tested.high


def test_a_bound_is_tested_over_seeds_alone(tmp_path: Path) -> None:
    found = diff(run(tmp_path / "a"), run(tmp_path / "b", ahead=0.9))
    cell = found.rows[0].cells["epsilon"]
    apart = np.array(cell.b, float) - np.array(cell.a, float)
    assert cell.comparison is not None
    p = 2 * t.sf(abs(apart.mean()) / (apart.std(ddof=1) / sqrt(3)), 2)
    assert cell.comparison.p == pytest.approx(p, rel=1e-6)
    alone = diff(run(tmp_path / "c", seeds=[0]), run(tmp_path / "d", seeds=[0], ahead=0.9))
    cell = alone.rows[0].cells["epsilon"]
    assert cell.comparison is None
    assert cell.value == pytest.approx(apart[0])
    assert cell.reason == (
        "epsilon has no interval of its own, and one seed has no spread: more seeds would tell"
    )


def test_seeds_of_one_split_do_not_test_what_has_no_interval(tmp_path: Path) -> None:
    # The luck of the examples is the same for all seeds: it is no spread.
    one_split = {"split__seed": 0}
    sides = [run(tmp_path / n, ahead=x, changes=one_split) for n, x in (("a", 0.5), ("b", 0.9))]
    cells = diff(sides[0], sides[1]).rows[0].cells
    assert cells["epsilon"].comparison is None
    assert "all seeds audit the same examples" in cells["epsilon"].reason
    assert cells["auc"].comparison is not None


def test_seeds_that_differ_by_the_same_are_no_proof() -> None:
    a, b = run(None, seeds=[0, 1]), run(None, seeds=[0, 1])
    for side, bound in ((a, 0.0), (b, 0.5)):
        for audit in side.audits:
            audit.metrics["epsilon"] = bound
    cell = diff(a, b).rows[0].cells["epsilon"]
    assert (cell.value, cell.comparison) == (0.5, None)
    assert "differs by the same in all seeds" in cell.reason
    assert diff(a, a).rows[0].cells["epsilon"].comparison is not None  # nothing to prove


def test_pairs_of_the_same_examples_are_surer_than_others(tmp_path: Path) -> None:
    one = run(tmp_path / "a", seeds=[0])
    same = diff(one, run(tmp_path / "b", seeds=[0], ahead=0.6, noise=0.31))
    apart = diff(one, run(tmp_path / "c", seeds=[0], ahead=0.6, noise=0.31, first_example=N_APART))
    widths = []
    for found, by_example in ((same, True), (apart, False)):
        assert {row.by_example for row in found.rows} == {by_example}
        tested = found.rows[0].cells["auc"].comparison
        assert tested is not None
        widths.append(tested.high - tested.low)
    assert widths[0] < widths[1] / 2
    # Independent: the limits' distances add up by Pythagoras (MOVER).
    first, second = (found.rows[0].cells["auc"] for found in (same, apart))
    assert first.value == second.value


N_APART = 10_000


def test_test_accuracy_is_compared_as_two_independent_shares(tmp_path: Path) -> None:
    a, b = (run(tmp_path / n, seeds=[0], accuracy=x) for n, x in (("a", 0.8), ("b", 0.7)))
    found = diff(a, b)
    assert [row.name for row in found.networks] == ["dense", "imp / round 1"]
    tested = found.networks[0].cells[ACCURACY].comparison
    assert tested is not None
    count = int((~MEMBERS).sum())
    before, after = clopper_pearson(0.8 * count, count), clopper_pearson(0.7 * count, count)
    down = sqrt((after.value - after.low) ** 2 + (before.high - before.value) ** 2)
    up = sqrt((after.high - after.value) ** 2 + (before.value - before.low) ** 2)
    assert (tested.low, tested.high) == pytest.approx((-0.1 - down, -0.1 + up))
    assert tested.over == "examples"


def test_a_share_of_unknown_examples_has_no_interval(tmp_path: Path) -> None:
    # Canaries are audited, and the accuracy is of the others, however many those are.
    changes = {"split__canaries": {"count": 9, "kind": "flip"}}
    sides = [
        run(tmp_path / n, seeds=[0], accuracy=x, changes=changes)
        for n, x in (("a", 0.8), ("b", 0.7))
    ]
    cell = diff(sides[0], sides[1]).networks[0].cells[ACCURACY]
    assert cell.value == pytest.approx(-0.1)
    assert cell.comparison is None
    assert "test_accuracy has no interval of its own" in cell.reason
    # So is one that is no number of the examples that were audited.
    cell = (
        diff(sides[0], run(tmp_path / "c", seeds=[0], accuracy=0.7001)).networks[0].cells[ACCURACY]
    )
    assert cell.comparison is None


def test_holm_is_over_the_whole_diff(tmp_path: Path) -> None:
    found = diff(run(tmp_path / "a"), run(tmp_path / "b", ahead=0.9, accuracy=0.7))
    tested = [cell.comparison for cell in _cells(found) if cell.comparison]
    assert len(tested) == found.comparisons == 2 + 4 * 5  # accuracy; defense, auc, 2 TPR, epsilon
    assert [c.adjusted for c in tested] == pytest.approx(holm([c.p for c in tested]))
    assert {c.comparisons for c in tested} == {found.comparisons}


def test_what_cannot_be_told_has_its_reason(tmp_path: Path) -> None:
    a, b = run(tmp_path / "a"), run(tmp_path / "b", decides=False)
    cells = diff(a, b).rows[0].cells
    assert cells["tpr@0.001"].value is None
    assert "not resolvable with 200 non-members: it takes 1000" in cells["tpr@0.001"].reason
    assert cells["defense"].value is None
    assert cells["defense"].reason.startswith("B: unknown, as no threshold was chosen")
    assert cells["auc"].value == 0


def test_an_attack_that_says_nothing_is_not_compared() -> None:
    a, b = run(None), run(None)
    for audit in b.audits:
        audit.metrics.update(largest_tie=1.0, distinct_scores=1)
    cells = diff(a, b).rows[0].cells
    assert {cell.value for cell in cells.values()} == {None}
    assert cells["auc"].reason.startswith("B: the attack says nothing")
    one_verdict = run(None)
    for audit in one_verdict.audits:
        audit.metrics["largest_verdict"] = 1.0
    cells = diff(a, one_verdict).rows[0].cells
    assert (cells["defense"].value, cells["auc"].value) == (None, 0)
    assert "one verdict" in cells["defense"].reason


def test_older_results_lack_what_was_not_measured_yet() -> None:
    a, b = run(None), run(None)
    for audit in a.audits:
        for key in ("epsilon", "non_members", "members"):
            del audit.metrics[key]
    cells = diff(a, b).rows[0].cells
    assert cells["epsilon"].reason.startswith("A: not measured, as this result is older")
    assert cells["tpr@0.001"].reason.startswith("A: it is not known; B: not resolvable")


def test_rows_that_only_one_run_has_are_named(tmp_path: Path) -> None:
    a = run(tmp_path / "a", rows=[("dense", ""), ("imp", "round 2")], seeds=[0, 1])
    b = run(tmp_path / "b", rows=[("dense", ""), ("butterfly", "")], seeds=[1, 2], attacks=["loss"])
    found = diff(a, b)
    assert [(row.name, row.networks) for row in found.rows] == [("dense: loss", ((1, 0),))]
    assert [(lone.name, lone.networks, lone.failed) for lone in found.only_a] == [
        ("dense: loss", ((0, 0),), ""),
        ("dense: shadow_mlp", ((0, 0), (1, 0)), ""),
        ("imp / round 2: loss", ((0, 0), (1, 0)), ""),
        ("imp / round 2: shadow_mlp", ((0, 0), (1, 0)), ""),
    ]
    assert [(lone.name, lone.networks) for lone in found.only_b] == [
        ("dense: loss", ((2, 0),)), ("butterfly: loss", ((1, 0), (2, 0))),
    ]  # fmt: skip


def test_rows_that_a_run_failed_at_are_told_with_why() -> None:
    failure = Failure("imp", "out of memory", "round 1", "loss", 1, 0)
    a, b = run(None), run(None, failures=[failure])
    b = replace(without(b, level="round 1", attack="loss", seed=1), failures=(failure,))
    (lone,) = diff(a, b).only_a
    assert (lone.name, lone.networks, lone.failed) == (
        "imp / round 1: loss", ((1, 0),), "out of memory",
    )  # fmt: skip


def test_runs_without_anything_in_common_are_told_apart_all_the_same() -> None:
    found = diff(run(None, rows=[("a", "")]), run(None, rows=[("b", "")]))
    assert (found.rows, found.networks, found.comparisons) == ((), (), 0)
    assert len(found.only_a) == len(found.only_b) == 2
    empty = replace(run(None), audits=())
    assert diff(empty, empty).rows == ()


def test_a_metric_that_is_asked_for_is_compared_too() -> None:
    a, b = run(None), run(None, ahead=0.9)
    assert "advantage" not in diff(a, b).metrics
    found = diff(a, b, ["advantage", "best_balanced_accuracy"])
    value = found.rows[0].cells["advantage"].value
    assert value is not None
    assert value > 0


def test_bounds_that_nobody_measured_are_no_part_of_it() -> None:
    assert "one_run_epsilon" not in diff(run(None), run(None)).metrics
    b = run(None)
    b.audits[0].metrics["one_run_epsilon"] = 0.5
    cells = diff(run(None), b).rows[0].cells
    assert cells["one_run_epsilon"].reason


def test_scores_that_are_damaged_are_refused(tmp_path: Path) -> None:
    a, b = run(tmp_path / "a"), run(tmp_path / "b")
    (tmp_path / "b" / "scores.npz").write_bytes(b"no archive")
    with pytest.raises(StoreError, match=r"b/scores\.npz is damaged"):
        diff(a, b)


def test_attacks_that_say_nothing_do_not_make_two_networks_one(tmp_path: Path) -> None:
    a, b = run(tmp_path / "a", seeds=[0]), run(tmp_path / "b", seeds=[0])
    alike = diff(a, b).networks[0].cells[ACCURACY].comparison
    assert alike is not None
    assert (alike.low, alike.high) == (0, 0)
    for audit in (*a.audits, *b.audits):
        audit.metrics.update(largest_tie=1.0, distinct_scores=1)
    tested = diff(a, b).networks[0].cells[ACCURACY].comparison
    assert tested is not None
    assert (tested.value, tested.p) == (0, 1)
    assert tested.low < 0 < tested.high


def test_a_run_without_its_scores_is_compared_all_the_same(tmp_path: Path) -> None:
    kept, bare = run(tmp_path / "a"), run(None, ahead=0.9)
    for found in (diff(kept, bare), diff(bare, kept)):
        tested = found.rows[0].cells["auc"].comparison
        assert not found.rows[0].by_example
        assert tested is not None
        assert tested.low < tested.value < tested.high
