"""Attacks in other processes: the same scores, and all that they have to say."""

from __future__ import annotations

import logging
import os
import shutil
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch

import privaudit
from privaudit import Attack, AttackScores, Outputs, PrivauditError, RunResult, Signals, load_recipe
from privaudit.events import AttackDone, Event
from privaudit.experiment import attack_jobs
from privaudit.experiment.attack_job import AttackJob, outcomes
from privaudit.experiment.attack_jobs import SharedOutputs, score_remotely, shared_outputs
from privaudit.experiment.auditing import Auditor
from privaudit.experiment.levels import levels
from privaudit.experiment.running import run_context
from privaudit.jobs.local import Workers
from privaudit.jobs.streams import Call, Stream
from privaudit.store.cache import contents, schema_of

RECIPE = {
    "name": "elsewhere",
    "seeds": 2,
    "dataset": "digits",
    "split": {"protocol": "halves", "members": 60, "validation": 0, "targets": "all"},
    "model": {"name": "mlp", "hidden": [16]},
    "training": {"epochs": 3, "lr": 0.1},
    "shadows": 4,
    "attacks": [
        "loss",
        "lira",
        {"name": "shadow_mlp", "hidden": [[8]], "epochs": 2},
        {"name": "rmia", "shadow_sparsifier": {"name": "l1_unstructured", "epochs": 1}},
    ],
}

SPEAKER = """
import logging, warnings
from privaudit import PrivauditError

def speak(tell, name):
    logging.getLogger("privaudit.speaker").info("%s has begun", name)
    warnings.warn(f"{name} is unsure", UserWarning, stacklevel=2)
    tell(name)
    return len(name)

def refuse(tell):
    raise PrivauditError("not with me")
"""


class Where(Attack):
    """Remembers which process it was asked in."""

    name: Literal["where"] = "where"
    asked: ClassVar[list[int]] = []

    def score(self, signals: Signals) -> AttackScores:
        """Nothing of worth."""
        self.asked.append(os.getpid())
        return AttackScores(torch.arange(len(signals.y)).double())


def test_processes_score_as_this_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Call] = []
    plain = Workers.submit

    def noted(workers: Workers, calls: list[Call], *, urgent: bool = False) -> Stream:
        called.extend(calls)
        return plain(workers, calls, urgent=urgent)

    monkeypatch.setattr(Workers, "submit", noted)
    recipe = load_recipe(RECIPE)
    trained = run_context(recipe, device="cpu", cache=tmp_path / "cache-1")
    list(levels(trained, recipe.subjects()[0]))
    shutil.copytree(tmp_path / "cache-1", tmp_path / "cache-2")  # one training, and no scores
    events: dict[int, list[Event]] = {1: [], 2: []}

    def ran(n: int) -> RunResult:
        folder, cache, told = tmp_path / str(n), tmp_path / f"cache-{n}", events[n].append
        return privaudit.run(recipe, folder, cache=cache, device="cpu", processes=n, on_event=told)

    one = ran(1)
    scored = [u for u in contents(tmp_path / "cache-1").units if schema_of(u) == "scores"]
    for unit in scored[:3]:  # of the scores, the second run lacks all but three
        name = unit.path.relative_to(tmp_path / "cache-1")
        (tmp_path / "cache-2" / name).parent.mkdir(exist_ok=True)
        shutil.copy(unit.path, tmp_path / "cache-2" / name)
    two = ran(2)
    assert len(one.audits) == 4 * 2 * 6
    sent = [arguments[3] for function, arguments in called if function is score_remotely]
    assert sum(map(len, sent)) == len(two.audits) - 3
    assert {job.attack.name for jobs in sent if len(jobs) > 1 for job in jobs} == {"shadow_mlp"}
    assert one.audits == two.audits
    told = [[e for e in events[n] if isinstance(e, AttackDone)] for n in (1, 2)]
    assert told[0] == told[1]
    assert len(told[0]) == 4
    scores = [np.load(tmp_path / str(n) / "scores.npz") for n in (1, 2)]
    assert scores[0].keys() == scores[1].keys()
    for name, score in scores[0].items():
        assert np.array_equal(score, scores[1][name]), name


def asked_in(tmp_path: Path) -> list[int]:
    """The processes that `Where` was asked in for each of six networks of two seeds."""
    recipe = load_recipe(RECIPE | {"attacks": ["loss"]})
    object.__setattr__(recipe.attacks[0], "plugin", Where())
    Where.asked.clear()
    with Workers(2) as workers:
        place = run_context(recipe, device="cpu", cache=tmp_path, workers=workers)
        for level in levels(place, recipe.subjects()[0]):
            Auditor(place).audit(recipe.subjects()[0], level)
    return Where.asked


@pytest.mark.parametrize("processes", [1, 2])
def test_attackers_who_come_to_the_same_score_once(
    processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learns = {"name": "nn", "epochs": 5, "learning_rate": 0.05}
    recipe = load_recipe({
        "name": "twins",
        "dataset": "digits",
        "split": {"members": 40, "validation": 5, "non_members": 40},
        "model": {"name": "mlp", "hidden": [8]},
        "training": {"epochs": 15, "lr": 0.05},
        "defenses": ["label_smoothing"],
        "attacks": [
            learns | {"label": "plain"},
            learns | {"label": "unaware", "shadow_defense": "none"},
            learns | {"label": "adaptive", "shadow_defense": "same"},
        ],
    })  # fmt: skip
    scored: list[AttackJob] = []
    submit = Workers.submit

    def noted_here(jobs: list[AttackJob], *rest: Any) -> list[attack_jobs.Outcome]:
        scored.extend(jobs)
        return outcomes(jobs, *rest)

    def noted(workers: Workers, calls: list[Call], *, urgent: bool = False) -> Stream:
        for function, arguments in calls if not urgent else ():
            assert function is score_remotely
            scored.extend(arguments[3])
        return submit(workers, calls, urgent=urgent)

    monkeypatch.setattr(attack_jobs, "outcomes", noted_here)
    monkeypatch.setattr(Workers, "submit", noted)

    def ran(name: str) -> RunResult:
        folder, cache = tmp_path / name, tmp_path / "cache"
        return privaudit.run(recipe, folder, cache=cache, device="cpu", processes=processes)

    found = ran("run")
    assert len(scored) == 2
    plain, unaware, adaptive = found.audits
    assert plain.metrics == adaptive.metrics
    assert plain.metrics != unaware.metrics
    assert len({audit.attack for audit in found.audits}) == 3
    again = ran("again")
    assert len(scored) == 2
    assert again.audits == found.audits


def test_an_attack_that_no_process_can_import_stays_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Where, "__module__", "nowhere")
    assert asked_in(tmp_path) == [os.getpid()] * 12


def test_without_room_for_the_answers_attacks_stay_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(outputs: Outputs) -> AbstractContextManager[SharedOutputs]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(attack_jobs, "shared_outputs", full)
    assert asked_in(tmp_path) == [os.getpid()] * 12
    assert "No space left" in caplog.text


def test_answers_lent_are_those_given(tmp_path: Path) -> None:
    outputs = Outputs(torch.randn(3, 2, 5, 4)[:, ::2], None, torch.rand(3, 5).double(), 0.25)
    with shared_outputs(outputs) as files:
        found = files.load()
        assert torch.equal(found.logits, outputs.logits)
        assert found.noisy is None
        assert found.gradient_norm is not None
        assert outputs.gradient_norm is not None
        assert torch.equal(found.gradient_norm, outputs.gradient_norm)
        assert found.noise_scale == 0.25
        found.logits.zero_()
        assert torch.equal(files.load().logits, outputs.logits)
        folder = files.tensors.folder
    assert not folder.exists()


def test_what_a_process_says_is_heard_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "speaker.py").write_text(SPEAKER)
    monkeypatch.syspath_prepend(str(tmp_path))
    speaker = import_module("speaker")
    told: list[str] = []
    names = ["ada", "bo", "clara"]
    with Workers(2) as workers, caplog.at_level(logging.INFO, logger="privaudit"):
        calls = ((speaker.speak, (name,)) for name in names)
        with pytest.warns(UserWarning, match="is unsure") as caught:
            found = dict(workers.run(calls, told.append))
        assert found == {0: 3, 1: 2, 2: 5}
        assert sorted(told) == names
        assert {str(w.message) for w in caught} == {f"{name} is unsure" for name in names}
        assert {f"{name} has begun" for name in names} <= set(caplog.messages)
        with pytest.raises(PrivauditError, match="not with me"):
            list(workers.run([(speaker.refuse, ())], told.append))
