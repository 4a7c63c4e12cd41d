"""Promises of differential privacy: their terms, what lies outside, and the alarm beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from privaudit import Defense, Promise, Sparsifier, Step
from privaudit.api.calls import promised
from privaudit.api.cohort import Cohort as AbstractCohort
from privaudit.api.kinds.promise import usual_delta
from privaudit.cohort import Cohort
from privaudit.doubts.promises import promise_doubts
from privaudit.errors import PluginError
from privaudit.experiment.promises import promise_of
from privaudit.report import render
from privaudit.statistics.metrics import evaluate
from privaudit.store.result import AuditResult, RunResult, load_run, save_run

Make = Callable[..., Cohort]


class Counting(Defense):
    """Promises one over the members that it is told."""

    name: Literal["counting"] = "counting"

    def epsilon(self, rate: float, steps: int, members: int = 0) -> Promise:
        return Promise(1 / members, usual_delta(members), "swapping one", "rdp", ("the seed",))


class Plain(Defense):
    """Promises a number, as plugins did before there were terms."""

    name: Literal["plain"] = "plain"
    value: Any = 3

    def epsilon(self, rate: float, steps: int) -> float | None:
        return self.value  # type: ignore[no-any-return]


class Looking(Sparsifier):
    """Looks at members' gradients after the first training."""

    name: Literal["looking"] = "looking"


def test_a_hook_is_told_the_members_where_it_takes_them() -> None:
    assert promised(Counting(), 0.1, 10, 400) == Promise(
        1 / 400, 1 / 4000, "swapping one", "rdp", ("the seed",)
    )
    assert promised(Plain(), 0.1, 10, 400) == Promise(3.0)
    assert promised(Plain(value=None), 0.1, 10, 400) is None


@pytest.mark.parametrize("value", [-1, float("nan"), True, "2", Promise(-1.0), Promise(True)])
def test_what_is_no_epsilon_is_refused(value: Any) -> None:
    with pytest.raises(PluginError, match="must give a number from 0 on, or None"):
        promised(Plain(value=value), 0.1, 10, 400)


@pytest.mark.parametrize("delta", [-1e-5, 1.0, float("nan"), "small"])
def test_what_is_no_delta_is_refused(delta: Any) -> None:
    with pytest.raises(PluginError, match="must give a delta from 0 to below 1"):
        promised(Plain(value=Promise(1.0, delta)), 0.1, 10, 400)


def test_the_engine_adds_what_it_did_beside_the_promise(make_cohort: Make) -> None:
    def promise(cohort: Cohort) -> Promise:
        made = promise_of(cohort.defense, cohort)
        assert made is not None
        return made

    cohort = make_cohort([30, 40], defense=Counting(), validation=0)
    assert promise_of(cohort.defense, cohort) is None  # nothing is trained yet
    cohort.fit()
    # The most members of a model: its δ is the smallest, so that it holds for all.
    assert (promise(cohort).epsilon, promise(cohort).delta) == (1 / 40, 1 / 400)
    assert (promise(cohort).outside, promise(cohort).trainings) == (("the seed",), 1)
    other = cohort.fork()
    cohort.fit()
    assert promise(cohort).trainings == 2
    cohort.gradients(lambda logits, y: logits.logsumexp(-1).mean(), rows="reference")
    seen = ("the seed", "what was decided by gradients on reference examples")
    assert promise(cohort).outside == promise(other).outside == seen
    watched = make_cohort([30, 40], defense=Counting(), validation=6)
    watched.fit()
    assert promise(watched).outside[-1].startswith("the validation examples, which choose an epoch")


def test_nothing_is_promised_where_members_were_trained_on_without_the_defense(
    make_cohort: Make, caplog: pytest.LogCaptureFixture
) -> None:
    cohort = make_cohort([30, 40], defense=Counting())
    cohort.fit()
    cohort.fit(defense=Defense(name="none"))
    assert promise_of(cohort.defense, cohort) is None
    assert "no epsilon is reported, as 1 of 2 trainings" in caplog.text


@pytest.mark.parametrize(
    "look",
    [
        lambda cohort: cohort.gradients(lambda logits, y: logits.logsumexp(-1).mean()),
        lambda cohort: cohort.fork().gradients(lambda logits, y: logits.sum(), most=3),
        lambda cohort: cohort.mean_inputs("member"),
        lambda cohort: cohort.logits(),
    ],
)
def test_nothing_is_promised_where_a_script_has_looked_at_members(
    make_cohort: Make, caplog: pytest.LogCaptureFixture, look: Callable[[Cohort], object]
) -> None:
    cohort = make_cohort([30, 40], defense=Counting(), validation=0)
    look(cohort)
    cohort.fit()
    assert promise_of(cohort.defense, cohort) is None
    assert "no epsilon is reported, as networks were changed by looking at members" in caplog.text


class Judging(Counting):
    """Has a second network learn from members once the first is trained."""

    name: Literal["judging"] = "judging"  # type: ignore[assignment]

    def companion(self, classes: int) -> nn.Module:
        return _Judge()

    def companion_schedule(self) -> tuple[int, float]:
        return 0, 1e-2

    def companion_loss(self, step: Step) -> Tensor:
        assert step.companion is not None
        return step.companion(step.logits, step.y).square().mean()

    def finish(self, cohort: AbstractCohort) -> None:
        cohort.fit_companion(1)


class _Judge(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(10, 1)

    def forward(self, logits: Tensor, y: Tensor) -> Tensor:
        answer: Tensor = self.layer(logits)
        return answer


def test_nothing_is_promised_where_a_companion_learns_from_members(make_cohort: Make) -> None:
    cohort = make_cohort([30, 40], defense=Judging(), validation=0)
    cohort.fit()
    assert promise_of(cohort.defense, cohort) is not None
    cohort.defense.finish(cohort.fork())
    assert promise_of(cohort.defense, cohort) is None


@pytest.mark.parametrize(
    "look",
    [
        lambda cohort: cohort.gradients(lambda logits, y: logits.sum(), rows="reference"),
        lambda cohort: cohort.mean_inputs("reference"),
        lambda cohort: cohort.gradients(lambda logits, y: logits.sum(), rows="ones"),
        lambda cohort: cohort.logits(torch.zeros(1, 1, 8, 8)),
    ],
)
def test_a_promise_stands_where_a_script_has_looked_at_others(
    make_cohort: Make, look: Callable[[Cohort], object]
) -> None:
    cohort = make_cohort([30, 40], defense=Counting(), validation=0)
    look(cohort)
    cohort.fit()
    promise = promise_of(cohort.defense, cohort)
    assert promise is not None
    assert promise.epsilon == 1 / 40


def _run(*promises: Promise | None) -> RunResult:
    record = evaluate([0.9, 0.8, 0.4, 0.3], [1, 1, 0, 0], delta=1e-4)
    audits = tuple(
        AuditResult(
            f"subject {number}", "", 0, 0, 1.0, 9, 0.9, 0.8, "loss", record,
            notes={} if promise is None else {"epsilon": promise.epsilon}, promise=promise,
        )
        for number, promise in enumerate(promises)
    )  # fmt: skip
    return RunResult("digits", {}, {}, audits)


PROMISE = Promise(2.4, 6.7e-5, "adding or removing one example", "pld", ("a", "b"), 3)


def test_a_promise_is_saved_and_loaded_with_its_terms(tmp_path: Path) -> None:
    saved = save_run(tmp_path / "run", _run(PROMISE, None), recipe_yaml="", scores={})
    again = load_run(tmp_path / "run")
    assert again == saved
    assert [audit.promise for audit in again.audits] == [PROMISE, None]


def test_a_report_says_the_terms_once_for_all_that_share_them() -> None:
    text = render([_run(PROMISE, replace(PROMISE, epsilon=5.0, trainings=1))], width=1000)
    assert (
        "epsilon: (epsilon, delta = 6.7e-05)-differential privacy for adding or removing one "
        "example, by PLD accounting over the 1 to 3 trainings of a network so far; outside it: "
        "a, b."
    ) in text
    assert "epsilon at least" in text  # the bound stands beside it, unasked
    assert "Where epsilon is missing" not in text
    missing = "Where epsilon is missing none is promised: no defense makes a promise, a training "
    assert missing in render([_run(PROMISE, None)], width=1000)
    other = replace(PROMISE, delta=1e-3)
    text = render([_run(PROMISE, other)], width=1000)
    assert "epsilon of subject 0: (epsilon, delta = 6.7e-05)" in text
    assert "epsilon of subject 1: (epsilon, delta = 0.001)" in text
    assert "epsilon" not in render([_run(None)], width=1000)


def _metrics(epsilon: float, one_run: float | None, delta: float) -> dict[str, Any]:
    return {"epsilon": epsilon, "one_run_epsilon": one_run, "delta": delta}


@pytest.mark.parametrize(
    ("metrics", "alarm"),
    [
        (_metrics(2.5, None, 6.7e-5), True),
        (_metrics(2.4, None, 6.7e-5), False),
        (_metrics(2.5, 2.3, 6.7e-5), False),  # what needs no independent scores counts
        (_metrics(2.3, 2.5, 6.7e-5), True),
        (_metrics(2.5, None, 1e-3), True),  # at a larger δ even less is allowed
        (_metrics(2.5, None, 1e-5), False),  # at a smaller one more
        ({}, False),
    ],
)
def test_an_attack_that_proves_more_than_is_promised_raises_an_alarm(
    metrics: dict[str, Any], alarm: bool
) -> None:
    doubts = promise_doubts("attack 'loss'", metrics, PROMISE)
    assert [doubt.name for doubt in doubts] == ["promise"] * alarm
    if alarm:
        delta = f"{metrics['delta']:.2g}"
        assert doubts[0].seen == f"epsilon >= 2.5 at delta = {delta} against 2.4"
    assert promise_doubts("attack 'loss'", metrics, None) == []


def test_a_promise_without_its_delta_is_doubted_on_a_condition() -> None:
    (doubt,) = promise_doubts("attack 'loss'", _metrics(3.2, None, 6.7e-5), Promise(2.4))
    assert doubt.seen == "epsilon >= 3.2 at delta = 6.7e-05 against 2.4, if its delta is no larger"
    assert promise_doubts("attack 'loss'", _metrics(2.3, None, 6.7e-5), Promise(2.4)) == []
