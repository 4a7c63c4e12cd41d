"""Matched dense controls, and attackers who believe something wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

import privaudit
from privaudit import (
    Defense,
    Examples,
    Sparsifier,
    Step,
)
from privaudit.cohort import Cohort, Journal
from privaudit.events import (
    AttackDone,
    BelievedStarted,
    EpochDone,
    Event,
    LevelReached,
)
from privaudit.experiment.auditing import Auditor
from privaudit.experiment.level import Level
from privaudit.experiment.levels import levels
from privaudit.experiment.running import run_context
from privaudit.recipe import Subject, load_recipe
from privaudit.store.result import AuditResult

RECIPE = {
    "name": "believing",
    "dataset": "digits",
    "split": {"members": 60, "validation": 10, "non_members": 200},
    "model": {"name": "mlp", "hidden": [16]},
    "training": {"epochs": 12, "lr": 0.05},
    "matched": True,
    "sparsifiers": ["dense", {"name": "imp", "rounds": 2, "amount": 0.7}],
    "attacks": [
        {"name": "logistic_regression", "label": "knowing"},
        {"name": "logistic_regression", "label": "unknowing", "shadow_sparsifier": "none"},
    ],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("believing")


@pytest.fixture(scope="module")
def result(folder: Path) -> privaudit.RunResult:
    return privaudit.run(load_recipe(RECIPE), folder / "run", cache=folder / "cache", device="cpu")


def found(result: privaudit.RunResult, **wanted: str) -> list[AuditResult]:
    return [
        audit
        for audit in result.audits
        if all(getattr(audit, key) == value for key, value in wanted.items())
    ]


def test_each_sparse_level_has_a_dense_control_of_about_its_accuracy(
    result: privaudit.RunResult,
) -> None:
    controls = found(result, matched="imp", attack="knowing")
    assert [audit.level for audit in controls] == ["round 1", "round 2"]  # round 0 is dense
    for control in controls:
        sparse = found(result, subject="imp", level=control.level, attack="knowing")[0]
        assert control.density == 1
        assert control.subject == "dense matched to imp"
        assert abs(control.test_accuracy - sparse.test_accuracy) < 0.1


def test_undefended_controls_are_what_a_network_without_any_method_is_on_its_way(
    folder: Path,
) -> None:
    changes = (
        "matched=undefended", "attacks=[loss]", "defenses=[none, label_smoothing]",
        "sparsifiers.1.rounds=1",
    )  # fmt: skip
    recipe = load_recipe(RECIPE, changes)
    made = privaudit.run(recipe, folder / "undefended", cache=folder / "cache", device="cpu")
    controls = [(audit.matched, audit.level) for audit in made.audits if audit.matched]
    assert controls == [
        ("dense + label_smoothing", ""), ("imp", "round 1"),
        ("imp + label_smoothing", "round 0"), ("imp + label_smoothing", "round 1"),
    ]  # fmt: skip
    under_the_same = privaudit.run(
        load_recipe(RECIPE, [*changes, "matched=true"]), folder / "same", cache=folder / "cache",
        device="cpu",
    )  # fmt: skip
    whom = {"level": "round 1"}
    alike, other = (
        [found(run, matched=matched, **whom)[0] for run in (made, under_the_same)]
        for matched in ("imp", "imp + label_smoothing")
    )
    assert alike[0] == alike[1]
    assert [audit.defense for audit in other] == ["none", "label_smoothing"]
    assert other[0].metrics != other[1].metrics
    defended = found(made, subject="dense + label_smoothing")[0]
    (control,) = found(made, matched="dense + label_smoothing")
    assert control.density == 1
    assert abs(control.test_accuracy - defended.test_accuracy) < 0.05
    assert control.metrics["auc"] != defended.metrics["auc"]


def test_who_knows_nothing_of_pruning_learns_from_dense_shadows(
    result: privaudit.RunResult, folder: Path
) -> None:
    knowing = found(result, subject="imp", level="round 2", attack="knowing")[0]
    unknowing = found(result, subject="imp", level="round 2", attack="unknowing")[0]
    assert knowing.metrics["auc"] != unknowing.metrics["auc"]
    dense = [found(result, subject="dense", attack=who)[0] for who in ("knowing", "unknowing")]
    assert dense[0].metrics == dense[1].metrics  # there he believes what is so


def test_a_belief_that_a_subject_shares_and_a_control_are_not_trained_again(
    result: privaudit.RunResult, folder: Path
) -> None:
    epochs: list[Event] = []

    def listen(event: Event) -> None:
        if isinstance(event, EpochDone):
            epochs.append(event)

    again = privaudit.run(
        load_recipe(RECIPE), folder / "again", cache=folder / "cache", on_event=listen, device="cpu"
    )
    assert not epochs
    assert again.audits == result.audits


SPARSE_FIRST = "sparsifiers=[{name: imp, rounds: 2, amount: 0.7}, dense]"


def believing(folder: Path, *changes: str) -> tuple[list[Event], Sequence[AuditResult]]:
    told: list[Event] = []
    changes = ("matched=false", "shadow_sparsifier=none", "attacks=[loss]", *changes)
    where = folder / str(len(list(folder.iterdir())))
    run = privaudit.run(
        load_recipe(RECIPE, changes),
        where,
        cache=folder / "cache",
        on_event=told.append,
        device="cpu",
    )
    return told, run.audits


def test_what_attackers_believe_of_others_is_not_asked_again(folder: Path) -> None:
    told, audits = believing(folder)
    assert [e.level for e in told if isinstance(e, LevelReached)] == [
        *("", "round 0", "round 1", "round 2")
    ]
    assert not [event for event in told if isinstance(event, BelievedStarted)]
    told, in_other_order = believing(folder, SPARSE_FIRST)
    assert [event for event in told if isinstance(event, BelievedStarted)]

    def by_name(audit: AuditResult) -> tuple[str, str]:
        return audit.subject, audit.level

    assert sorted(in_other_order, key=by_name) == sorted(audits, key=by_name)


def test_a_subject_that_fails_halfway_is_believed_by_nobody(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = Auditor.begin

    def failing(auditor: Auditor, subject: Subject, level: Level, matched: str = "") -> None:
        begin(auditor, subject, level, matched)
        if level.label == "round 1":
            raise privaudit.PrivauditError("no more")

    monkeypatch.setattr(Auditor, "begin", failing)
    told, audits = believing(
        folder, SPARSE_FIRST, "shadow_sparsifier={name: imp, rounds: 2, amount: 0.7}"
    )
    started = [event for event in told if isinstance(event, BelievedStarted)]
    assert started == [BelievedStarted("imp + none")]  # of the dense subject, and anew
    assert {audit.level for audit in audits} == {"", "round 0", "round 1"}


def test_what_an_attacker_believes_is_told_apart_from_the_subject(folder: Path) -> None:
    told, _ = believing(folder, SPARSE_FIRST)
    names = [type(event).__name__ for event in told]
    assert [e.level for e in told if isinstance(e, LevelReached)] == [
        "round 0", "", *("round 1", "round 2"), "",
    ]  # fmt: skip
    start, end = names.index("BelievedStarted"), names.index("BelievedDone")
    assert told[start] == BelievedStarted("dense + none")
    assert [e for e in told[start:end] if isinstance(e, LevelReached)] == [LevelReached("", 1.0)]
    assert names.count("BelievedStarted") == names.count("BelievedDone") == 1
    assert isinstance(told[end + 1], AttackDone)


def test_per_example_answers_are_kept_for_the_first_audit_of_each_level(
    result: privaudit.RunResult, folder: Path
) -> None:
    with np.load(folder / "run" / "scores.npz", allow_pickle=False) as scores:
        labels, members = scores["label_0_0"], scores["member_0_0"]
        assert members.sum() == 60
        assert len(labels) == len(members) == 260
        first = [i for i, audit in enumerate(result.audits) if audit.attack == "knowing"]
        kept = [int(name.split("_")[1]) for name in scores if name.startswith("confidence_")]
        assert sorted(kept) == first
        for i in first:
            confidence, right = scores[f"confidence_{i}"], result.audits[i].train_accuracy
            assert confidence.shape == labels.shape
            # Who is believed with more than one half is classified rightly.
            assert (confidence[members] > 0.5).mean() <= right + 1e-9
            assert np.isfinite(scores[f"sensitivity_{i}"]).all()


class Noting(Sparsifier):
    """Notes how many weights are positive, at its first level only."""

    name: Literal["noting"] = "noting"

    def sparsify(self, cohort: privaudit.Cohort) -> Iterator[str]:
        cohort.fit(epochs=1)
        cohort.note("positive", (cohort.weights["output.bias"] > 0).sum(1))
        yield "one"
        cohort.fit(epochs=2)
        yield "two"


class Promising(Defense):
    """Promises rate + 1000·steps, and notes the layer's mean."""

    name: Literal["promising"] = "promising"
    kept: bool = True

    def loss(self, step: Step) -> Tensor:
        return super().loss(step)

    def finish(self, cohort: privaudit.Cohort) -> None:
        cohort.note("endless", torch.full((len(cohort),), torch.inf))

    def epsilon(self, rate: float, steps: int) -> float | None:
        return rate + 1000 * steps if self.kept else None


@pytest.mark.parametrize("kept", [True, False])
def test_notes_and_promises_arrive_with_their_level(kept: bool, tmp_path: Path) -> None:
    recipe = load_recipe({**RECIPE, "matched": False, "attacks": ["loss"]})
    place = run_context(recipe, device="cpu", cache=tmp_path)
    subject = replace(recipe.subjects()[0], sparsifier=Noting(), defense=Promising(kept=kept))
    auditor = Auditor(place)
    for level in levels(place, subject):
        auditor.audit(subject, level)
        first = {n: w[0] for n, w in level.weights.items()}
        if level.label == "one":
            positive = int((first["output.bias"] > 0).sum())
    one, two = (audit.notes for audit in auditor.audits)
    batches = -(-60 // recipe.training.batch_size)
    promised = [1 / batches + 1000 * epochs * batches for epochs in (1, 1 + 2)]
    assert one.pop("positive") == positive
    assert [notes.pop("endless") for notes in (one, two)] == [None, None]
    expected = [{"epsilon": pytest.approx(each)} if kept else {} for each in promised]
    assert [one, two] == expected


def test_a_match_is_the_first_epoch_that_comes_nearest(
    make_cohort: Callable[..., Cohort], digits: Examples, tmp_path: Path
) -> None:
    cohort = make_cohort([30, 40, 50], epochs=6, lr=0.02, journal=Journal(tmp_path))
    tests = torch.zeros((3, len(digits)), dtype=torch.bool)
    tests[:, ::3] = True  # any rows will do to measure accuracy on
    curve = []
    for epochs in range(1, 7):
        early = make_cohort([30, 40, 50], epochs=6, lr=0.02)
        early.fit()
        early.rewind(epochs)
        right = early.logits().argmax(-1) == digits.y
        curve.append((right & tests).sum(1).double() / tests.sum(1))
    accuracy = torch.stack(curve, 1)  # (M, E)
    wanted = torch.stack(
        [accuracy[:, 2] + 0.004, torch.zeros(3).double(), torch.ones(3).double()], 1
    )
    for number, control in enumerate(cohort.match(tests, wanted)):
        nearest = (accuracy - wanted[:, number, None]).abs().min(1).indices
        right = control.logits().argmax(-1) == digits.y
        reached = (right & tests).sum(1).double() / tests.sum(1)
        assert torch.equal(reached, accuracy.gather(1, nearest[:, None])[:, 0])
    assert cohort.records[-1].found == 0
    cohort.match(tests, wanted)
    assert cohort.records[-1].found == 3
