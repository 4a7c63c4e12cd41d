"""The sentences at the end of a report: yes, not seen, or cannot be told; never "safe"."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from privaudit.doubts.doubt import DOUBTS, Doubt
from privaudit.page import page
from privaudit.report import Format, render
from privaudit.report.verdict import sentences
from privaudit.report.verdict.change import ways_said
from privaudit.report.verdict.rest import GRAVITY
from privaudit.statistics.metrics import evaluate
from privaudit.store.failure import Failure
from privaudit.store.result import AuditResult, RunResult, save_run
from read_pages import ReadPage

N = 400
MEMBERS = np.arange(N) < N // 2
FORMATS: tuple[Format, ...] = ("table", "markdown", "csv", "json", "latex")
UNESCAPED = str.maketrans("", "", "\\{}")


def _auc(value: float, half: float = 0.02, tpr: float = 0.01, **more: Any) -> dict[str, Any]:
    """The metrics of an attack with that AUC and interval."""
    rate = {"value": tpr, "low": 0.9 * tpr, "high": 1.1 * tpr}
    return {
        "defense": None,
        "balanced_accuracy": None,
        "best_balanced_accuracy": value,
        "advantage": 0.0,
        "auc": {"value": value, "low": value - half, "high": value + half},
        "tpr_at_fpr": {"0.1": None, "0.01": rate, "0.001": None, "0.0001": None},
        **more,
    }


def _audit(
    metrics: dict[str, Any], attack: str = "loss", subject: str = "dense", **more: Any
) -> AuditResult:
    fields: dict[str, Any] = {"level": "", "seed": 0, "target": 0} | more
    return AuditResult(
        subject=subject,
        density=1.0,
        parameters=9,
        train_accuracy=1.0,
        test_accuracy=fields.pop("test", 0.8),
        attack=attack,
        metrics=metrics,
        **fields,
    )


def _run(*audits: AuditResult, **more: Any) -> RunResult:
    return RunResult("run", {}, {}, audits, **more)


def _ahead(
    folder: Path, subjects: dict[str, tuple[float, float, str]], seeds: int = 8
) -> RunResult:
    """Subjects by how far members' scores are ahead, the test accuracy, and whose control it is."""
    rng = np.random.default_rng(0)
    hard = rng.normal(size=N)
    audits: list[AuditResult] = []
    scores: dict[str, NDArray[Any]] = {}
    for subject, (ahead, test, matched) in subjects.items():
        for seed in range(seeds):
            score = hard + ahead * MEMBERS + 0.3 * rng.normal(size=N)
            decision = score > ahead / 2
            number = len(audits)
            scores |= {f"score_{number}": score, f"decision_{number}": decision}
            scores |= {f"example_{seed}_0": np.arange(N), f"member_{seed}_0": MEMBERS}
            metrics = evaluate(score, MEMBERS, decision)
            audits.append(_audit(metrics, subject=subject, seed=seed, test=test, matched=matched))
    recipe = {"dataset": {"name": "digits"}, "split": {}}
    result = RunResult("run", recipe, {}, tuple(audits))
    return save_run(folder, result, recipe_yaml="", scores=scores)


def test_the_attack_that_finds_most_is_named_with_its_number_and_what_guessing_reaches() -> None:
    run = _run(
        _audit(_auc(0.61), "loss"), _audit(_auc(0.72), "lira", "imp"), _audit(_auc(0.66), "rmia")
    )
    assert sentences([run])[0] == (
        "The attack lira finds most, on imp: it scores a member higher than a non-member in 72 of "
        "100 pairs, where guessing does in 50 (AUC 0.720 [0.700, 0.740]; 0.5 is guessing). This is "
        "beyond chance: the network leaks who was in its training data; 2 of 2 rows leak."
    )


def test_a_leak_in_the_wrong_direction_is_a_leak() -> None:
    run = _run(_audit(_auc(0.52)), _audit(_auc(0.3), "backwards"))
    doubt = Doubt("below_half", "attack 'backwards'", "lies low")
    for each in (run, _run(*run.audits, doubts=(doubt,))):
        said = sentences([each])[0]
        assert "backwards finds most" in said
        assert "scores a member lower than a non-member in 70 of 100 pairs" in said
        assert "leaks who was in its training data" in said


def test_members_found_without_false_alarms_are_a_leak_whatever_the_auc() -> None:
    said = sentences([_run(_audit(_auc(0.505)), _audit(_auc(0.503, tpr=0.06), "lira"))])[0]
    assert said.startswith(
        "The attack lira finds most, on dense: where it takes 1 % of non-members for members, it "
        "finds 6.0 % [5.4, 6.6] of the members, and guessing would find 1 %. This is beyond chance"
    )


def test_no_leak_is_said_with_what_could_have_been_found() -> None:
    said = sentences([_run(_audit(_auc(0.51, half=0.05)))])[0]
    assert said.startswith(
        "No leak was found: the attack loss comes nearest, on dense, with AUC 0.510 [0.460, 0.560]"
    )
    # By hand: two numbers, AUC and TPR, so z = 2.2414 in place of 1.96; and 0.8416 for 80 %.
    size = 0.5 + 0.05 / 1.95996 * (2.2414 + 0.84162)
    assert f"a leak of AUC {size:.2f} or more would have been found in about 80 of 100" in said
    assert "a smaller one cannot be ruled out" in said
    tiny = sentences([_run(_audit(_auc(0.5, half=0.45)))])[0]
    assert "with so few examples hardly any leak could have been found" in tiny


def test_the_best_of_many_numbers_may_be_chance() -> None:
    alone = _run(_audit(_auc(0.525)))
    assert "leaks" in sentences([alone])[0]
    many = _run(*(_audit(_auc(0.5), f"attack {n}") for n in range(30)), *alone.audits)
    said = sentences([many])[0]
    assert said.startswith("Whether anything leaks cannot be told, because the attack loss")
    assert "of 62 numbers looked at one like it may come by chance" in said


@pytest.mark.parametrize("name", [name for name in DOUBTS if name != "says_nothing"])
def test_nothing_is_settled_while_the_numbers_are_in_doubt(name: str) -> None:
    doubt = (Doubt(name, "target", "something is wrong"),)
    none = sentences([_run(_audit(_auc(0.5)), doubts=doubt)])
    assert none[0].startswith(f"Whether anything leaks cannot be told, because of what is in doubt"
                              f" ({name})")  # fmt: skip
    leak = sentences([_run(_audit(_auc(0.7)), doubts=doubt)])
    stands = name in ("below_half", "promise")
    assert ("This is beyond chance" in leak[0]) == stands
    assert ("Whether this is a leak cannot be told" in leak[0]) != stands
    for said in (none, leak):
        assert f"1 doubt is open, it is {name} ({DOUBTS[name]})" in said[-1]


def test_doubts_about_one_run_leave_another_run_alone() -> None:
    sound = RunResult("sound", {}, {}, (_audit(_auc(0.8)),))
    doubtful = _run(_audit(_auc(0.6)), doubts=(Doubt("labels", "target", "wrong"),))
    said = sentences([sound, doubtful])[0]
    assert "on sound: dense" in said
    assert "This is beyond chance" in said


def test_the_gravest_doubt_is_named() -> None:
    doubts = tuple(Doubt(name, "target", "wrong") for name in ("rounded", "labels", "below_half"))
    said = sentences([_run(_audit(_auc(0.5)), doubts=doubts)])[-1]
    assert said.startswith(f"3 doubts are open, the gravest is labels ({DOUBTS['labels']})")
    assert set(GRAVITY) == DOUBTS.keys()


def test_silent_and_failed_attacks_and_rates_that_take_more_data_cannot_be_told() -> None:
    silent = _audit(_auc(0.5, largest_tie=1.0, distinct_scores=1), "flat")
    failure = Failure("imp", "it broke", attack="rmia")
    said = sentences([_run(_audit(_auc(0.7)), silent, failures=(failure,))])[-1]
    assert said == (
        "It cannot be told what failed (1 failure); nor what flat would find where "
        "most examples get one score; nor how many members an attack finds while it is wrong about "
        "0.1 % of non-members, as there are too few non-members."
    )


def test_without_a_single_number_the_reason_is_said() -> None:
    silent = _audit(_auc(0.5, largest_tie=1.0, distinct_scores=1))
    failed = _run(failures=(Failure("imp", "it broke"),))
    for run, why in (
        (_run(silent), "every attack gives most examples the same score, and so says nothing"),
        (failed, "every audit failed"),
        (_run(), "nothing was audited"),
    ):
        assert sentences([run])[0].startswith(
            f"Whether anything leaks cannot be told, because {why}"
        )


def test_who_leaks_more_or_less_than_the_baseline_is_said(tmp_path: Path) -> None:
    run = _ahead(
        tmp_path,
        {"dense": (0.6, 0.8, ""), "same": (0.6, 0.8, ""), "less": (0.1, 0.7, ""),
         "more": (1.6, 0.8, "")},
    )  # fmt: skip
    said = sentences([run])
    assert (
        "Compared with the baseline (dense), beyond chance: 1 of 3 leaks less (less); 1 of 3 leaks "
        "more (more)."
    ) in said
    assert (
        "For less and more it cannot be told whether the method or another accuracy makes the "
        "difference, because there is no dense network of equal accuracy to compare with "
        "(`matched: true` in a recipe trains them)."
    ) in said
    assert len(said) <= 4


def test_less_by_one_attack_and_more_by_another_is_said_as_one_thing() -> None:
    said = ways_said([("a", {"less", "more"}), ("b", {"less"}), ("c", set())])
    assert said == (
        "1 of 3 leaks less (b); 1 of 3 leaks less by one attack and more by another (a)"
    )


def test_one_seed_and_one_network_tell_of_no_more(tmp_path: Path) -> None:
    run = _ahead(tmp_path, {"dense": (0.2, 0.8, ""), "more": (2.0, 0.8, "")}, seeds=1)
    assert "beyond chance between these networks, of which each row has one:" in sentences([run])[1]


def test_none_differs_is_said_with_the_difference_that_may_be_there(tmp_path: Path) -> None:
    run = _ahead(tmp_path, {"dense": (0.6, 0.8, ""), "same": (0.6, 0.7, "")})
    said = sentences([run])
    assert said[1].startswith(
        "No subject leaks more or less than the baseline (dense) beyond chance (1 comparison), "
        "which does not make them equal: the intervals leave room for differences of up to "
    )
    assert len(said) == 3
    assert "accuracy" not in " ".join(said)


def test_an_attack_that_is_more_often_wrong_is_no_protection(tmp_path: Path) -> None:
    run = _ahead(tmp_path, {"dense": (0.4, 0.8, ""), "turned": (-1.0, 0.8, "")})
    said = sentences([run])[1]
    assert "an attack is wrong more often than right, which is a leak, too (turned)" in said
    assert "leaks less" not in said


def test_a_matched_control_tells_what_is_left_at_equal_accuracy(tmp_path: Path) -> None:
    accuracy_alone = {
        "dense": (1.6, 0.8, ""), "imp": (0.3, 0.7, ""), "dense matched to imp": (0.3, 0.7, "imp"),
    }  # fmt: skip
    said = sentences([_ahead(tmp_path / "a", accuracy_alone)])
    assert "1 of 1 leaks less (imp)" in said[1]  # and the control is no subject
    assert said[2] == (
        "Against dense networks of equal accuracy, none of 1 leaks more or less beyond chance, so "
        "that accuracy alone may make the difference from the baseline."
    )
    sparsity = accuracy_alone | {"dense matched to imp": (1.6, 0.704, "imp")}
    said = sentences([_ahead(tmp_path / "b", sparsity)])
    assert said[2] == "Against dense networks of equal accuracy, 1 of 1 leaks less (imp)."
    made = _ahead(tmp_path / "c", sparsity)
    undefended = replace(made, recipe={**made.recipe, "matched": "undefended"})
    said = sentences([undefended])
    assert said[2].startswith("Against dense, undefended networks of equal accuracy, 1 of 1")


def test_a_control_of_another_accuracy_tells_nothing(tmp_path: Path) -> None:
    subjects = {
        "dense": (1.6, 0.8, ""), "imp": (0.3, 0.7, ""), "dense matched to imp": (1.6, 0.75, "imp"),
    }  # fmt: skip
    said = sentences([_ahead(tmp_path, subjects)])[2]
    assert said.startswith("For imp it cannot be told whether the method or another accuracy")


def test_what_cannot_be_tested_cannot_be_told() -> None:
    said = sentences([_run(_audit(_auc(0.7)), _audit(_auc(0.7), subject="imp"))])[1]
    assert said.startswith(
        "Whether any subject leaks more or less than its baseline cannot be told"
    )


def test_an_unknown_baseline_is_refused_and_a_known_one_named(tmp_path: Path) -> None:
    run = _ahead(tmp_path, {"dense": (0.6, 0.8, ""), "imp": (0.6, 0.7, "")})
    assert "the baseline (imp)" in sentences([run], "imp")[1]


def test_no_branch_calls_a_network_safe(tmp_path: Path) -> None:
    runs = [
        _run(_audit(_auc(value, half)), doubts=doubts)
        for value in (0.3, 0.5, 0.52, 0.9)
        for half in (0.001, 0.05, 0.5)
        for doubts in ((), (Doubt("order", "target", "wrong"),))
    ]
    runs += [_run(), _ahead(tmp_path, {"dense": (0.6, 0.8, ""), "imp": (0.1, 0.7, "")})]
    for run in runs:
        said = sentences([run])
        assert 1 <= len(said) <= 4
        text = " ".join(said).lower()
        assert not any(word in text for word in ("safe", "passes", "passed", "private", "secure"))
        assert any(word in text for word in ("leaks who", "no leak was found", "cannot be told"))


def test_a_hostile_label_is_harmless() -> None:
    run = _run(_audit(_auc(0.7), "\x1b[31mloss\nok\u202e", "<b>|`im`p_"))
    (said, *_) = sentences([run])
    assert said.isprintable()
    assert "\N{REPLACEMENT CHARACTER}[31mloss ok\N{REPLACEMENT CHARACTER}" in said
    written = render([run], format="markdown").splitlines()[-1]
    assert "&lt;b&gt;\\|\\`im\\`p\\_" in written
    assert "<" not in written


def test_reports_end_with_the_sentences_whatever_they_show(tmp_path: Path) -> None:
    run = _ahead(tmp_path, {"dense": (0.6, 0.8, ""), "imp": (0.1, 0.7, "")})
    whole = " ".join(sentences([run]))
    options: list[dict[str, Any]] = [{}, {"means": True}, {"attacks": ["loss"]}, {"width": 40}]
    for chosen in options:
        shown = " ".join(render([run], **chosen).split())
        assert shown.endswith(whole)


def test_every_format_says_the_same_sentences(tmp_path: Path) -> None:
    run = _ahead(tmp_path, {"dense": (0.6, 0.8, ""), "imp_1": (0.1, 0.7, "")})
    told = sentences([run])
    assert len(told) == 4
    written = {format: render([run], format=format, attacks=["loss"]) for format in FORMATS}
    shown = {line.replace("`", "") for line in told}  # code is marked as such, not by signs
    comments = [line for line in written["latex"].splitlines() if line.startswith("% ")]
    same = {
        "table": " ".join(written["table"].split())[-len(" ".join(told)) :],
        "markdown": written["markdown"].splitlines()[-1].replace("\\", ""),
        "latex": " ".join(line[2:] for line in comments[-len(told) :]).translate(UNESCAPED),
        "json": " ".join(json.loads(written["json"])["verdict"]),
        "html": " ".join(line for line in ReadPage(page([run])).said("verdict") if line in shown),
    }
    assert same.pop("html") == " ".join(told).replace("`", "")
    assert same == dict.fromkeys(same, " ".join(told))
    assert "finds most" not in written["csv"]  # a table for programs has no place for prose
