from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console
from scipy import stats

from privaudit.cli import main
from privaudit.errors import StoreError
from privaudit.explain import explain
from privaudit.explain.classes import exposed_classes, welch
from privaudit.explain.examples import exposed_examples
from privaudit.explain.scores import Audited, LevelScores, level_scores
from privaudit.explain.text import print_explanation
from privaudit.statistics.metrics import evaluate, roc_auc
from privaudit.store.result import AuditResult, RunResult, load_run, save_run

Arrays = dict[str, NDArray[Any]]


def _audited(
    example: list[int], label: list[int], member: list[int], score: list[float], **other: Any
) -> Audited:
    kept: dict[str, Any] = {name: np.array(values, float) for name, values in other.items()}
    return Audited(
        np.array(example), np.array(label), np.array(member, bool), np.array(score, float), **kept
    )


def _level(*audits: Audited, classes: tuple[str, ...] = ("cat", "dog")) -> LevelScores:
    return LevelScores("imp", "round 1", "loss", classes, audits)


def test_a_class_is_measured_on_its_own_examples() -> None:
    rng = np.random.default_rng(0)
    label, member = rng.integers(0, 2, 80), rng.integers(0, 2, 80)
    score = rng.standard_normal(80) + member * label  # dogs alone are exposed
    audit = _audited(list(range(80)), label.tolist(), member.tolist(), score.tolist())
    dog, cat = exposed_classes(_level(audit))
    assert (dog.name, cat.name) == ("dog", "cat")
    own = label == 1
    assert (dog.members, dog.non_members) == (member[own].sum(), (1 - member[own]).sum())
    delong = roc_auc(score[own], member[own])
    assert dog.auc is not None
    assert (dog.auc.mean, dog.auc.low, dog.auc.high) == pytest.approx(
        (delong.value, delong.low, delong.high)
    )
    assert (dog.confidence_gap, dog.sensitivity_gap) == (None, None)


def test_a_class_without_members_or_non_members_has_no_auc() -> None:
    audit = _audited([0, 1, 2, 3], [0, 0, 1, 1], [1, 0, 1, 1], [1, 0, 1, 0])
    cat, dog, bird = exposed_classes(_level(audit, classes=("cat", "dog", "bird")))
    assert cat.auc is not None
    assert (dog.name, dog.auc, bird.auc, bird.members) == ("dog", None, None, 0)


def test_a_class_of_several_networks_has_their_mean_auc() -> None:
    one = _audited([0, 1, 2], [0, 0, 0], [1, 1, 0], [3, 1, 2])  # 1 of 2 pairs won
    two = _audited([0, 1, 2], [0, 0, 0], [1, 0, 0], [3, 1, 2])  # 2 of 2
    none = _audited([0, 1], [0, 0], [1, 1], [3, 1])
    (cat,) = exposed_classes(_level(one, two, none, classes=("cat",)))
    assert cat.auc is not None
    assert cat.auc.mean == pytest.approx(0.75)
    assert (cat.members, cat.non_members) == (2 + 1 + 2, 1 + 2)


def test_sure_exposure_comes_before_luck() -> None:
    rng = np.random.default_rng(1)
    member = np.tile([1, 0], 200)
    score = (rng.standard_normal(400) + 1.5 * member).tolist()
    lucky = _audited(
        list(range(402)), [0] * 400 + [1, 1], [*member.tolist(), 1, 0], [*score, 1.0, 0.0]
    )
    sure, luck = exposed_classes(_level(lucky))
    assert (sure.name, luck.name) == ("cat", "dog")
    assert luck.auc is not None
    assert luck.auc.mean == 1.0


def test_gaps_are_welchs() -> None:
    members, others = [0.9, 0.95, 0.99, 0.97], [0.4, 0.8, 0.6]
    theirs = stats.ttest_ind(members, others, equal_var=False).confidence_interval(0.95)
    found = welch(np.array(members), np.array(others))
    assert found is not None
    assert found.value == pytest.approx(np.mean(members) - np.mean(others))
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))
    assert welch(np.array([1.0]), np.array(others)) is None
    audit = _audited(
        list(range(9)), [0] * 7 + [1] * 2, [1] * 4 + [0] * 3 + [1, 0], [0.0] * 9,
        confidence=[*members, *others, 0.5, 0.5], sensitivity=[np.inf] + [1.0] * 8,
    )  # fmt: skip
    cat, dog = sorted(exposed_classes(_level(audit)), key=lambda each: each.name)
    assert cat.confidence_gap is not None
    assert (cat.confidence_gap.mean, cat.confidence_gap.low, cat.confidence_gap.high) == (
        pytest.approx((found.value, theirs.low, theirs.high))
    )
    assert (cat.sensitivity_gap, dog.confidence_gap) == (None, None)


def _mixed(seed: int, high: dict[int, float], inside: set[int]) -> Audited:
    """Three hundred examples of random scores below 1, but for some; members are the even ones."""
    rng = np.random.default_rng(seed)
    score = rng.random(300)
    for example, value in high.items():
        score[example] = value
    member = [
        int(row % 2 == 0 and row not in range(10)) or int(row in inside) for row in range(300)
    ]
    return _audited(list(range(300)), [row % 2 for row in range(300)], member, score.tolist())


def test_an_example_found_whenever_it_is_a_member_is_exposed() -> None:
    # 0 is found in three of three; 1 once in one, though it was no member twice; 2 looks like a
    # member whether it is one or not; 3 is never a member.
    found = exposed_examples(
        _level(
            _mixed(0, {0: 5, 1: 7, 2: 9, 3: 0}, {0, 1}),
            _mixed(1, {0: 5, 1: -1, 2: 9, 3: 8}, {0, 2}),
            _mixed(2, {0: 5, 1: -1, 2: 9, 3: 8}, {0, 2}),
        ),
        most=200,
    )
    by_row = {each.example: each for each in found}
    assert found[0].example == 0
    assert (found[0].found, found[0].member, found[0].name) == (3, 3, "cat")
    assert (by_row[1].found, by_row[1].member) == (1, 1)
    assert (by_row[1].mistaken, by_row[1].non_member) == (0, 2)
    assert (by_row[2].found, by_row[2].member) == (2, 2)
    assert (by_row[2].mistaken, by_row[2].non_member) == (1, 1)
    assert found.index(by_row[2]) > found.index(by_row[1])
    assert 3 not in by_row


def test_found_and_above_are_counted_as_by_hand() -> None:
    score = [float(row) for row in range(201)]
    member = [0] * 201
    for row in (199, 200, 100):
        member[row] = 1
    # 198 non-members: 1 % is less than two of them. 199 and 200 lie above all, 100 above 100.
    best, second, last = exposed_examples(
        _level(_audited(list(range(1000, 1201)), [0] * 201, member, score))
    )
    assert [each.example for each in (best, second, last)] == [1200, 1199, 1100]
    assert [each.found for each in (best, second, last)] == [1, 1, 0]
    assert [each.above for each in (best, second, last)] == pytest.approx([1, 1, 100 / 198])


def test_a_tie_with_a_non_member_is_not_above_it() -> None:
    (only,) = exposed_examples(_level(_audited([7, 8], [0, 0], [1, 0], [1.0, 1.0])))
    assert (only.example, only.found, only.above) == (7, 0, 0.0)


def test_a_non_member_is_not_its_own_false_positive() -> None:
    one = _audited([0, 1, 2], [0, 0, 0], [0, 1, 0], [9, 5, 1])
    two = _audited([0, 1, 2], [0, 0, 0], [1, 0, 0], [9, 5, 1])
    found = {each.example: each for each in exposed_examples(_level(one, two))}
    assert (found[0].found, found[0].member) == (1, 1)
    assert (found[0].mistaken, found[0].non_member) == (1, 1)
    assert (found[1].found, found[1].mistaken) == (0, 1)


def _saved(folder: Path, changes: Arrays | None = None, *, labels: bool = True) -> RunResult:
    """A run of two subjects, two attacks and two seeds; loss on imp is the strongest."""
    rng = np.random.default_rng(0)
    arrays: Arrays = {}
    for seed in (0, 1):
        arrays[f"example_{seed}_0"] = np.arange(seed, 300, 2)
        arrays[f"member_{seed}_0"] = rng.integers(0, 2, 150).astype(bool)
        if labels:
            arrays[f"label_{seed}_0"] = arrays[f"example_{seed}_0"] % 3
    if labels:
        arrays["classes"] = np.array(["cat", "dog", "\x1b[31mbird"])
    audits: list[AuditResult] = []
    for subject, strength in (("dense", 0.5), ("imp", 2.0)):
        for attack, share in (("loss", 1.0), ("mlp", 0.3)):
            for seed in (0, 1):
                member = arrays[f"member_{seed}_0"]
                score = rng.standard_normal(150) + strength * share * member
                place = len(audits)
                arrays[f"score_{place}"] = score
                if attack == "loss":
                    arrays[f"confidence_{place}"] = (0.5 + 0.2 * member + 0.1 * score / 9).astype(
                        np.float32
                    )
                metrics = evaluate(score, member, score > strength / 2)
                audits.append(
                    AuditResult(subject, "final", seed, 0, 0.5, 9, 1.0, 0.8, attack, metrics)
                )
    result = RunResult("digits", {}, {}, tuple(audits))
    save_run(folder, result, recipe_yaml="", scores=arrays | (changes or {}))
    return load_run(folder)


def test_scores_are_read_with_what_the_network_answered(tmp_path: Path) -> None:
    run = _saved(tmp_path)
    dense, imp = level_scores(run, "mlp")
    assert (dense.subject, imp.subject, imp.attack, len(imp.audits)) == ("dense", "imp", "mlp", 2)
    with np.load(tmp_path / "scores.npz") as arrays:
        second = imp.audits[1]
        assert second.score.tolist() == arrays["score_7"].tolist()
        assert second.member.tolist() == arrays["member_1_0"].tolist()
        assert second.label.tolist() == (arrays["example_1_0"] % 3).tolist()
        assert second.confidence is not None  # that of the level's first audit of this seed
        assert second.confidence.tolist() == arrays["confidence_5"].tolist()
        assert second.sensitivity is None


def test_the_strongest_attack_tells_who_is_exposed(tmp_path: Path) -> None:
    run = _saved(tmp_path)
    (only,) = explain([run]).exposures
    assert (only.subject, only.attack, only.audits, only.strongest) == ("imp", "loss", 2, True)
    assert len(only.examples) == 10
    everywhere = explain([run], everywhere=True).exposures
    assert [(each.subject, each.strongest) for each in everywhere] == [
        ("dense", False), ("imp", True),
    ]  # fmt: skip
    assert everywhere[1] == only


def test_a_run_without_labels_tells_nothing_of_classes(tmp_path: Path) -> None:
    unlabelled = _saved(tmp_path / "a", labels=False)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "result.json").write_bytes((tmp_path / "a" / "result.json").read_bytes())
    found = explain([unlabelled, load_run(tmp_path / "b")])
    assert found.unlabelled == ("digits folder=a", "digits folder=b")
    assert found.exposures == ()
    assert found.attacks


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label_0_0": np.arange(3)}, r"label_0_0 has the shape \(3,\), not \(150,\)"),
        ({"label_0_0": np.full(150, 3)}, "label_0_0 names more than the 3 classes"),
        ({"label_0_0": np.full(150, -1)}, "label_0_0 names more than the 3 classes"),
        ({"score_0": np.zeros((150, 2))}, r"score_0 has the shape \(150, 2\)"),
    ],
)
def test_scores_that_do_not_fit_are_refused(tmp_path: Path, changes: Arrays, message: str) -> None:
    run = _saved(tmp_path, changes)
    with pytest.raises(StoreError, match=rf"scores\.npz is damaged: {message}"):
        explain([run], everywhere=True)


def test_a_damaged_archive_is_refused_in_one_line(tmp_path: Path) -> None:
    run = _saved(tmp_path)
    path = tmp_path / "scores.npz"
    whole = path.read_bytes()
    inside = whole.index(b"score_0.npy") + 300
    flipped = whole[:inside] + bytes([whole[inside] ^ 255]) + whole[inside + 1 :]
    for damaged in (whole[:-40], b"", flipped):
        path.write_bytes(damaged)
        with pytest.raises(StoreError, match=r"scores\.npz is damaged") as caught:
            explain([run], everywhere=True)
        assert "\n" not in str(caught.value)


def test_a_pipe_gets_no_colours_and_no_escapes(tmp_path: Path) -> None:
    found = explain([_saved(tmp_path)])
    for terminal in (False, True):
        console = Console(file=io.StringIO(), width=80, force_terminal=terminal)
        print_explanation(found, console)
        assert isinstance(console.file, io.StringIO)
        text = console.file.getvalue()
        assert ("\x1b[1m" in text) == terminal
        assert "\x1b[31m" not in text
    assert "Who is exposed: loss on imp / final" in " ".join(text.split())


def _cli(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["privaudit", "report", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def test_the_report_explains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _saved(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    assert _cli(monkeypatch, tmp_path) == 0
    assert "Does sparsity" not in capsys.readouterr().out
    assert _cli(monkeypatch, tmp_path, "--explain") == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert said.err == ""
    assert max(map(len, lines)) <= 80
    assert lines.index("Does sparsity go with privacy?") > next(
        place for place, line in enumerate(lines) if line.startswith("imp")
    )
    assert {"confidence,", "mistaken", "AUC"} <= set(said.out.split())


def test_the_explanation_goes_with_the_rows_in_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _saved(tmp_path)
    assert _cli(monkeypatch, tmp_path, "--explain", "--format", "json") == 0
    record = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert len(record["rows"]) == 2
    assert set(record["explain"]) == {"attacks", "exposures", "unlabelled"}
    loss, mlp = record["explain"]["attacks"]
    assert (loss["attack"], mlp["attack"], loss["networks"]) == ("loss", "mlp", 4)
    assert loss["sparsity_defense"] == {"pearson": None, "spearman": None}
    assert len(record["explain"]["exposures"]) == 2
    assert len(record["explain"]["exposures"][1]["classes"]) == 3
    assert _cli(monkeypatch, tmp_path, "--format", "json") == 0
    assert "explain" not in json.loads(capsys.readouterr().out)


def test_other_formats_do_not_explain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _saved(tmp_path)
    assert _cli(monkeypatch, tmp_path, "--explain", "--format", "csv") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "--explain is for --format table or json, not csv\n"


def test_seeds_on_the_same_examples_do_not_narrow_a_class() -> None:
    rng = np.random.default_rng(0)
    member, score = np.arange(60) % 2 == 0, rng.normal(size=60)
    gaps = score + member
    once = Audited(np.arange(60), np.zeros(60, np.int64), member, score, gaps)

    def limits(*audits: Audited) -> NDArray[np.float64]:
        (exposed,) = exposed_classes(LevelScores("s", "l", "a", ("zero",), audits))
        assert exposed.auc is not None
        assert exposed.confidence_gap is not None
        gap = exposed.confidence_gap
        return np.array([exposed.auc.low, exposed.auc.high, gap.low, gap.high], np.float64)

    again = [replace(once, seed=seed) for seed in range(4)]
    np.testing.assert_allclose(limits(*again), limits(once))
    apart = [replace(audit, example=audit.example + 60 * audit.seed) for audit in again]
    assert limits(*apart)[0] > limits(once)[0]
