"""What attacks say is kept like trainings: none is made twice, or taken for another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pytest
import torch

from privaudit import Attack, AttackScores, Defense, RunResult, Signals, load_recipe, run
from privaudit.api.plugin import Plugin
from privaudit.experiment.attack_job import AttackJob, attack_job
from privaudit.experiment.auditing import Auditor
from privaudit.experiment.kept_scores import _keys, _readable
from privaudit.experiment.levels import levels
from privaudit.experiment.running import run_context
from privaudit.store.cache import contents, schema_of

RECIPE = {
    "name": "kept",
    "dataset": "digits",
    "split": {"protocol": "halves", "members": 60, "validation": 0},
    "model": {"name": "mlp", "hidden": [8]},
    "training": {"epochs": 2, "lr": 0.1},
    "shadows": 4,
    "seeds": 2,
    "attacks": ["loss", {"name": "lira", "mode": "offline"}],
}


class Rounding(Defense):
    """Changes what the target answers, and nothing that is trained."""

    name: Literal["rounding"] = "rounding"

    def respond(self, logits: torch.Tensor, companion: object) -> torch.Tensor:
        return logits.round()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """Attack, seed's number and target's number of each job that is made."""
    jobs: list[tuple[str, int, int]] = []
    plain = AttackJob.score

    def noted(job: AttackJob, *answers: object) -> AttackScores:
        jobs.append((job.attack.name, job.seed_number, job.target_number))
        return plain(job, *answers)  # type: ignore[arg-type]

    monkeypatch.setattr(AttackJob, "score", noted)
    return jobs


def ran(folder: Path, name: str, *changes: str, **keys: object) -> RunResult:
    recipe = load_recipe(RECIPE | keys, changes)
    return run(recipe, folder / name, cache=folder / "cache", device="cpu")


def score_units(folder: Path) -> list[Path]:
    units = contents(folder / "cache").units
    return sorted(unit.path for unit in units if schema_of(unit) == "scores")


def test_a_run_with_one_attack_more_makes_that_one_alone(
    tmp_path: Path, made: list[tuple[str, int, int]]
) -> None:
    first = ran(tmp_path, "first")
    assert made == [("loss", 0, 0), ("loss", 1, 0), ("lira", 0, 0), ("lira", 1, 0)]
    assert len(score_units(tmp_path)) == 4
    made.clear()
    more = ran(tmp_path, "more", attacks=[*RECIPE["attacks"], "modified_entropy"])  # type: ignore[misc]
    assert made == [("modified_entropy", 0, 0), ("modified_entropy", 1, 0)]
    assert more.audits[:4] == first.audits
    one, other = (np.load(tmp_path / name / "scores.npz") for name in ("first", "more"))
    assert "decision_0" in one.files
    for name in one.files:
        assert np.array_equal(one[name], other[name]), name


def test_finished_attacks_outlive_the_one_that_stops_a_run(
    tmp_path: Path, made: list[tuple[str, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = AttackJob.score

    def stopped(job: AttackJob, *answers: object) -> AttackScores:
        if len(made) == 3:
            raise KeyboardInterrupt
        return plain(job, *answers)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(AttackJob, "score", stopped)
        with pytest.raises(KeyboardInterrupt):
            ran(tmp_path, "run")
    assert len(made) == 3
    ran(tmp_path, "run")
    assert made[3:] == [("lira", 1, 0)]


CHANGES = {
    "the attack's options": ["attacks.1.mode=auto"],
    "what it is asked about": ["split.members=50"],
    "the training": ["training.epochs=3"],
    "the seed": ["seeds=[5,6]"],
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_scores_makes_them_anew(
    tmp_path: Path, made: list[tuple[str, int, int]], change: str
) -> None:
    ran(tmp_path, "first")
    made.clear()
    ran(tmp_path, "second", *CHANGES[change])
    attacks = {"lira"} if change == "the attack's options" else {"loss", "lira"}
    assert {name for name, *_ in made} == attacks
    assert len(made) == 2 * len(attacks)


def test_another_answer_of_the_target_is_another_key(
    tmp_path: Path, made: list[tuple[str, int, int]]
) -> None:
    def swapped(defense: Plugin) -> RunResult:
        recipe = load_recipe(RECIPE)
        object.__setattr__(recipe.defenses[0], "plugin", defense)
        context = run_context(recipe, device="cpu", cache=tmp_path / "cache")
        auditor = Auditor(context)
        for level in levels(context, recipe.subjects()[0]):
            auditor.audit(recipe.subjects()[0], level)
        return RunResult("", {}, {}, tuple(auditor.audits))

    swapped(Defense(name="none"))
    assert len(made) == 4
    swapped(Rounding())
    assert len(made) == 8
    swapped(Defense(name="none"))
    assert len(made) == 8


class Unreadable(Attack):
    """Code that nobody can read: a change of it would not be noticed."""

    name: Literal["unreadable"] = "unreadable"
    factor: ClassVar[float] = 1.0

    def score(self, signals: Signals) -> AttackScores:
        return AttackScores(self.factor * signals.target.logits[0].double().amax(-1))


def test_an_attack_without_source_is_made_every_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Unreadable, "__module__", "nowhere")
    assert not _readable(Unreadable())
    assert _readable(load_recipe(RECIPE).attacks[1].plugin)


def test_damaged_scores_are_made_again(
    tmp_path: Path, made: list[tuple[str, int, int]], caplog: pytest.LogCaptureFixture
) -> None:
    first = ran(tmp_path, "first")
    made.clear()
    one, other, *_ = score_units(tmp_path)
    other.write_bytes(one.read_bytes())
    again = ran(tmp_path, "again")
    assert len(made) == 1
    assert other.stem in caplog.text
    assert again.audits == first.audits


def test_scores_are_found_again_on_another_kind_of_device(tmp_path: Path) -> None:
    """Whatever an attack draws, it draws the same there; the networks' answers decide."""
    recipe = load_recipe(RECIPE)
    context = run_context(recipe, device="cpu", cache=tmp_path)
    level = next(levels(context, recipe.subjects()[0]))
    jobs = [attack_job(context, recipe.attacks[0].plugin, 0, 0)]
    here = _keys(context, level, [level], jobs)
    there = _keys(replace(context, device=torch.device("cuda")), level, [level], jobs)
    assert here == there
    assert all(here)
