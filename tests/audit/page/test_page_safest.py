"""Which network is safest at equal accuracy, and how sure that is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from privaudit.page.findings import Findings
from privaudit.page.safest import safest
from privaudit.statistics.metrics import evaluate
from privaudit.store.failure import Failure
from privaudit.store.result import AuditResult, RunResult, save_run


def _run(folder: Path, *levels: tuple[str, float, float], seeds: int = 6) -> RunResult:
    """Subjects with their test accuracy, and how far their members score above non-members."""
    rng = np.random.default_rng(0)
    member = np.arange(400) % 2 == 0
    arrays: dict[str, Any] = {}
    audits: list[AuditResult] = []
    for seed in range(seeds):
        noise = rng.standard_normal(400)
        arrays |= {f"example_{seed}_0": np.arange(400) + 400 * seed, f"member_{seed}_0": member}
        for subject, accuracy, ahead in levels:
            score = noise + ahead * member
            decision = score > ahead / 2
            arrays |= {f"score_{len(audits)}": score, f"decision_{len(audits)}": decision}
            metrics = evaluate(score, member, decision=decision)
            audits.append(AuditResult(subject, "", seed, 0, 1.0, 9, 1.0, accuracy, "loss", metrics))
    return save_run(folder, RunResult("run", {}, {}, tuple(audits)), recipe_yaml="", scores=arrays)


def _said(run: RunResult) -> str:
    (sentence,) = safest(Findings((run,)))
    return sentence


def test_a_network_that_is_surely_safer_is_named_with_its_numbers(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", ("dense", 0.8, 2.0), ("safe", 0.795, 0.2), ("poor", 0.7, 0.0))
    said = _said(run)
    assert said.startswith("safe is the safest network at equal or better accuracy, and safer")
    assert "of 2 networks" in said  # the poor one paid with its accuracy
    defense = np.mean([a.metrics["defense"] for a in run.audits if a.subject == "safe"])
    assert f"(defense {100 * defense:.1f} % [" in said
    assert "against loss" in said
    assert "between these two networks" not in said


def test_a_difference_that_may_be_chance_names_nobody_the_safest(tmp_path: Path) -> None:
    said = _said(_run(tmp_path / "run", ("dense", 0.8, 0.5), ("same", 0.8, 0.48), seeds=2))
    assert said.startswith("Which network is safest at equal accuracy cannot be told beyond chance")
    assert "safer than the baseline" not in said


def test_one_network_of_each_kind_says_so(tmp_path: Path) -> None:
    said = _said(_run(tmp_path / "run", ("dense", 0.8, 3.0), ("safe", 0.8, 0.1), seeds=1))
    assert "beyond chance between these two networks (trained again, they may differ" in said


def test_a_network_whose_attack_failed_is_not_called_safe(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", ("dense", 0.8, 2.0), ("safe", 0.8, 0.1), ("safer", 0.8, 0.0))
    assert _said(run).startswith("safer is")
    failed = replace(run, failures=(Failure("safer", "it broke", attack="lira"),))
    assert _said(failed).startswith("safe is")


def test_an_attack_that_is_always_wrong_is_no_safety(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", ("dense", 0.8, 1.0), ("turned", 0.8, -3.0))
    assert "dense withstands its strongest attack best" in _said(run)


def test_a_dense_control_is_no_candidate(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", ("dense", 0.8, 2.0), ("safe", 0.8, 0.2), ("control", 0.8, 0.0))
    audits = tuple(replace(a, matched="safe" * (a.subject == "control")) for a in run.audits)
    assert _said(replace(run, audits=audits)).startswith("safe is")


def test_a_network_alone_has_nothing_to_compare_with(tmp_path: Path) -> None:
    said = _said(_run(tmp_path / "run", ("dense", 0.8, 1.0), ("poor", 0.5, 0.0)))
    assert "cannot be told: there is no second one" in said
    assert "80.0 %" in said
