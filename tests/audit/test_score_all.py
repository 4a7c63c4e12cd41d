"""Attacks that score several targets at once: held to the contract, and each target for itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import pytest
import torch

from privaudit import Attack, AttackScores, PrivauditError, Signals, load_recipe
from privaudit.events import AttackDone, Event
from privaudit.experiment.auditing import Auditor
from privaudit.experiment.levels import levels
from privaudit.experiment.running import run_context
from privaudit.jobs.local import Workers

RECIPE = {
    "name": "together",
    "seeds": 3,
    "dataset": "digits",
    "split": {"protocol": "disjoint", "members": 60, "validation": 0},
    "model": {"name": "mlp", "hidden": [8]},
    "training": {"epochs": 1},
    "shadows": 1,
    "sparsifiers": ["dense", {"name": "imp", "rounds": 1}],
    "attacks": ["loss"],
}


class Crowd(Attack):
    """Scores all rows by their numbers, several targets at once, as told."""

    name: Literal["crowd"] = "crowd"
    how: str = "well"
    sizes: ClassVar[list[int]] = []

    def score(self, signals: Signals) -> AttackScores:
        """The same score for each, but for the first target if it is told to refuse that."""
        self.sizes.append(1)
        if self.how == "refuses one" and len(self.sizes) == 2:
            raise PrivauditError("not this one")
        return AttackScores(torch.arange(len(signals.y)).double())

    def score_all(self, signals: Sequence[Signals]) -> list[AttackScores]:
        """What `score` gives."""
        self.sizes.append(len(signals))
        if self.how == "refuses one":
            raise PrivauditError("not with them")
        if self.how == "writes":
            signals[1].target.logits.zero_()
        if self.how == "forgets":
            signals = signals[1:]
        if self.how == "is short":
            return [AttackScores(torch.zeros(3)) for _ in signals]
        return [AttackScores(torch.arange(len(one.y)).double()) for one in signals]


@pytest.fixture
def sizes() -> Iterator[list[int]]:
    Crowd.sizes.clear()
    yield Crowd.sizes
    Crowd.sizes.clear()


def audited(folder: Path, how: str) -> Auditor:
    """The dense networks of three seeds under `Crowd`."""
    recipe = load_recipe(RECIPE)
    object.__setattr__(recipe.attacks[0], "plugin", Crowd(how=how))
    context = run_context(recipe, device="cpu", cache=folder)
    auditor = Auditor(context)
    for level in levels(context, recipe.subjects()[0]):
        auditor.audit(recipe.subjects()[0], level)
    return auditor


def test_one_call_scores_the_targets_of_all_seeds(tmp_path: Path, sizes: list[int]) -> None:
    assert len(audited(tmp_path, "well").audits) == 3
    assert sizes == [3]


def test_where_one_target_fails_the_others_have_their_scores(
    tmp_path: Path, sizes: list[int]
) -> None:
    auditor = audited(tmp_path, "refuses one")
    assert sizes == [3, 1, 1, 1]
    assert [audit.seed for audit in auditor.audits] == [1, 2]
    assert [failure.seed for failure in auditor.failures] == [0]
    assert "not this one" in auditor.failures[0].sentence


@pytest.mark.parametrize("how", ["writes", "forgets", "is short"])
def test_what_breaks_the_contract_together_is_asked_alone(
    tmp_path: Path, sizes: list[int], how: str, caplog: pytest.LogCaptureFixture
) -> None:
    auditor = audited(tmp_path, how)
    assert "attack 'crowd'" in caplog.text
    assert "each target is scored alone" in caplog.text
    assert sizes == [3, 1, 1, 1]
    assert len(auditor.audits) == 3


def test_levels_under_way_are_kept_in_their_order(tmp_path: Path) -> None:
    recipe = load_recipe(RECIPE | {"attacks": ["loss", {"name": "shadow_mlp", "epochs": 1}]})
    told: list[Event] = []
    subject = recipe.subjects()[1]
    with Workers(2) as workers:
        context = run_context(
            recipe, device="cpu", cache=tmp_path, workers=workers, on_event=told.append
        )
        auditor = Auditor(context)
        for level in levels(context, subject):
            auditor.begin(subject, level)
        assert not auditor.audits  # both levels wait
        auditor.keep_finished()
        auditor.finish()
    found = [(audit.level, audit.attack) for audit in auditor.audits[::3]]
    names = ["round 0", "round 1"]
    assert found == [(level, attack) for level in names for attack in ("loss", "shadow_mlp")]
    done = [(e.subject, e.level) for e in told if isinstance(e, AttackDone)]
    assert done == [(subject.label, level) for level in names for _ in range(2)]


def test_a_killed_process_is_told_to_who_waits_for_attacks() -> None:
    with Workers(1) as workers:
        stream = workers.submit([(print, ("to", "nobody"))])
        list(workers.results(stream, print))
        workers._processes[0].kill()
        workers._processes[0].join()
        lost = workers.submit([(print, ())])
        with pytest.raises(PrivauditError, match="was killed"):
            list(workers.results(lost, print))
        again = workers.submit([(print, ())])
        assert list(workers.results(again, print)) == [(0, None)]
