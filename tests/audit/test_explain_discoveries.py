"""Whom an attacker can name with few false ones: by hand, in many games, and as it is shown."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from privaudit.cli import main
from privaudit.explain import explain
from privaudit.explain.discoveries import discoveries, sentences
from privaudit.explain.examples import exposed_examples
from privaudit.explain.scores import Audited, LevelScores
from privaudit.page import page
from privaudit.statistics.metrics import evaluate
from privaudit.store.result import AuditResult, RunResult, load_run, save_run


def _audit(
    members: int, others: int, strength: float, seed: int = 0, ties: int = 0, target: int = 0
) -> Audited:
    rng = np.random.default_rng(100 + seed)
    inside = np.arange(members + others) < members
    score = rng.standard_normal(len(inside)) + strength * inside
    if ties:
        score = np.floor(score * ties)
    rows = np.arange(len(inside)) * 3
    return Audited(rows, np.zeros(len(rows), np.int64), inside, score, seed=seed, target=target)


def _level(*audits: Audited) -> LevelScores:
    return LevelScores("imp", "final", "loss", ("cat",), audits)


def test_a_list_is_made_as_by_hand() -> None:
    audit = _audit(300, 200, 2.0, seed=4, target=7)
    found = discoveries(_level(audit), 0.15)
    outside = np.flatnonzero(~audit.member)
    known = np.random.default_rng([4, 7]).permutation(outside)[:100]
    tested = np.setdiff1d(np.arange(500), known)
    reached = (audit.score[known] >= audit.score[tested, None]).sum(1)
    adjusted = stats.false_discovery_control((1 + reached) / 101) * (100 / 400)
    chosen = tested[adjusted <= 0.15]
    (one,) = found.lists
    assert one.examples == tuple(int(row) * 3 for row in chosen)
    assert one.false == tuple(int(row) * 3 for row in chosen if not audit.member[row])
    assert (one.known, one.tested, one.seed, one.target) == (100, 400, 4, 7)
    assert len(chosen) > 100
    assert found.named == len(chosen)
    assert found.false_share == pytest.approx(len(one.false) / len(chosen))


@pytest.mark.parametrize("ties", [0, 2])
def test_over_many_draws_of_the_known_half_the_bound_holds(ties: int) -> None:
    """The scores are fixed: the draw alone is random, and some non-members score high."""
    audit = _audit(150, 120, 1.5, ties=ties)
    shares = []
    for target in range(400):
        (one,) = discoveries(_level(replace(audit, target=target)), 0.2).lists
        shares.append(len(one.false) / max(len(one.examples), 1))
    assert np.mean(shares) <= 0.2 + 3 * np.std(shares) / 20
    assert np.mean(shares) > 0.1  # it is no list that names nobody


def test_networks_that_tell_nothing_name_nobody_or_few() -> None:
    audits = [_audit(100, 100, 0.0, seed) for seed in range(20)]
    found = discoveries(_level(*audits), 0.1)
    assert found.named is not None
    assert found.named < 10


def test_few_non_members_cannot_tell() -> None:
    found = discoveries(_level(_audit(30, 6, 5.0)), 0.01)
    assert (found.named, found.false_share, found.lists) == (None, None, ())
    assert found.reason == "3 known non-members give no p-value below 0.25"
    assert found.times_named() is None
    (said,) = sentences(found, 1)
    assert "cannot be told: 3 known non-members give no p-value below 0.25." in said
    for members, others in ((5, 1), (5, 0), (0, 5)):
        assert discoveries(_level(_audit(members, others, 1.0))).named is None


def test_where_most_are_members_a_list_of_all_says_nothing() -> None:
    found = discoveries(_level(_audit(190, 20, 5.0)), 0.1)
    assert found.named is None
    assert "only 5 % of the examples are not members" in found.reason


def test_an_empty_list_shows_no_safety() -> None:
    audit = _audit(100, 100, 0.0)
    low = replace(audit, score=np.where(audit.member, -9.0, audit.score))
    found = discoveries(_level(low), 0.1)
    assert (found.named, found.false_share) == (0, 0)
    assert "with 50 known non-members a list starts at 10 examples" in found.reason
    (said,) = sentences(found, 1)
    assert said.endswith("This does not show that nobody is exposed.")


def test_networks_that_cannot_tell_are_counted() -> None:
    good, poor = _audit(200, 200, 3.0), _audit(5, 1, 3.0, seed=1)
    found = discoveries(_level(good, poor), 0.1)
    alone = discoveries(_level(good), 0.1)
    assert (found.named, found.false_share) == (alone.named, alone.false_share)
    assert sentences(found, 2)[-1] == "Of 1 of 2 networks it cannot be told."


def test_an_example_is_named_as_a_member_alone() -> None:
    """Example 0 scores high whether it is a member or not: once it is one, ten times it is not."""
    one, two = _audit(100, 100, 4.0, 0), _audit(100, 100, 4.0, 1)
    member, score = two.member.copy(), two.score.copy()
    member[0], score[0] = False, 50.0
    others = [replace(two, member=member, score=score, target=target) for target in range(10)]
    found = discoveries(_level(one, *others), 0.1)
    assert any(0 in wrong.false for wrong in found.lists)
    times = found.times_named()
    assert times is not None
    assert times[0] == 1
    by_row = {row.example: row for row in exposed_examples(_level(one), most=200, named=times)}
    assert by_row[0].named == 1
    assert exposed_examples(_level(one))[0].named is None


def _saved(folder: Path, members: int = 120, others: int = 120) -> RunResult:
    arrays: dict[str, NDArray[Any]] = {"classes": np.array(["cat"])}
    audits = []
    for seed in (0, 1):
        audit = _audit(members, others, 2.0, seed)
        arrays |= {
            f"example_{seed}_0": audit.example,
            f"member_{seed}_0": audit.member,
            f"label_{seed}_0": audit.label,
            f"score_{seed}": audit.score,
        }
        metrics = evaluate(audit.score, audit.member, audit.score > 1)
        audits.append(AuditResult("imp", "final", seed, 0, 0.5, 9, 1.0, 0.8, "loss", metrics))
    save_run(folder, RunResult("r", {}, {}, tuple(audits)), recipe_yaml="", scores=arrays)
    return load_run(folder)


def _report(monkeypatch: pytest.MonkeyPatch, width: int, *arguments: str | Path) -> int:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys, "argv", ["privaudit", "report", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


@pytest.mark.parametrize("width", [80, 200])
def test_the_terminal_shows_who_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    run = _saved(tmp_path)
    assert _report(monkeypatch, width, tmp_path, "--explain", "--fdr", "0.2") == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= width
    found = explain([run], fdr=0.2).exposures[0].discoveries
    assert found.named is not None
    text = " ".join(out.split())
    assert f"It holds {found.named:.4g} examples a network" in text
    assert "at most 20 % false ones in expectation (--fdr)" in text
    assert {"named", "1"} <= set(out.split())


def test_json_holds_every_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _saved(tmp_path)
    assert _report(monkeypatch, 80, tmp_path, "--explain", "--format", "json") == 0
    (exposure,) = json.loads(capsys.readouterr().out)["explain"]["exposures"]
    expected = explain([run]).exposures[0].discoveries
    assert exposure["discoveries"]["fdr"] == 0.1
    assert [one["examples"] for one in exposure["discoveries"]["lists"]] == [
        list(one.examples) for one in expected.lists
    ]
    for example in exposure["examples"]:
        lists = [{*one.examples}.difference(one.false) for one in expected.lists]
        assert example["named"] == sum(example["example"] in one for one in lists) > 0


def test_the_page_shows_it_with_the_records_alone(tmp_path: Path) -> None:
    run = _saved(tmp_path)
    assert "false ones in expectation" not in page([run])
    assert "at most 30 % false ones in expectation" in page([run], records=True, fdr=0.3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fdr", "0.1"], "--fdr bounds a list of examples: add --explain, or --records"),
        (["--fdr", "0.1", "--format", "csv"], "--fdr bounds a list of examples"),
        (["--explain", "--fdr", "0"], "--fdr must be above 0 and below 1, such as 0.1 (got 0)"),
        (["--explain", "--fdr", "1"], "(got 1)"),
        (["--explain", "--fdr", "nan"], "(got nan)"),
        (["--explain", "--fdr", "-0.1"], "(got -0.1)"),
        (["--explain", "--fdr", "inf"], "(got inf)"),
    ],
)
def test_a_wrong_share_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    _saved(tmp_path)
    assert _report(monkeypatch, 80, tmp_path, *arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert said.err.count("\n") == 1
