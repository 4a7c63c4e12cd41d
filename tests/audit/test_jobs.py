"""Training in other processes gives what training in this one gives, and tells what goes wrong."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from privaudit import (
    Defense,
    PluginError,
    PrivauditError,
    Step,
)
from privaudit.cohort import Cohort, making
from privaudit.events import EpochDone, Event
from privaudit.jobs.local import Workers, _feed
from privaudit.jobs.message import unwrapped, wrapped
from privaudit.jobs.streams import Stream, Waiting
from privaudit_plugins.defenses.min_max import MinMax
from privaudit_plugins.defenses.relaxloss import RelaxLoss
from privaudit_plugins.models.cnn import CNN
from privaudit_plugins.models.mlp import MLP
from privaudit_plugins.sparsifiers.butterfly import Butterfly

Make = Callable[..., Cohort]
MEMBERS = [20, 33, 48]


CARELESS = """
from typing import Literal
import torch
from privaudit import Defense

class Careless(Defense):
    name: Literal["careless"] = "careless"

    def loss(self, step):
        if int(step.epoch) > 0:  # not in the step that is tried before training
            raise ValueError("the second epoch is too much for me")
        return step.logits.square().mean()
"""


class Own(Defense):
    """Known to this file only, which processes cannot import."""

    name: Literal["own"] = "own"

    def loss(self, step: Step) -> Tensor:
        return step.logits.square().mean()


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers(2) as started:
        yield started


@pytest.fixture(autouse=True)
def every_fit_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "_WORTH", 0)


CASES: dict[str, dict[str, Any]] = {
    "perceptron with dropout": {"model": MLP(hidden=(16,), dropout=0.2), "patience": 1},
    "batchnorm": {"model": CNN(width=4, norm="batch"), "augment": True},
    "butterfly": {"model": CNN(width=4), "sparsifier": Butterfly()},
    "companion": {"model": MLP(hidden=(16,)), "defense": MinMax(), "reference": 16},
    "adam": {"model": MLP(hidden=(16,)), "defense": RelaxLoss(), "optimizer": "adam", "lr": 0.01},
}


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_processes_train_as_this_one_does(
    make_cohort: Make, workers: Workers, options: dict[str, Any]
) -> None:
    here = make_cohort(MEMBERS, epochs=3, **options)
    there = make_cohort(MEMBERS, epochs=3, workers=workers, **options)
    for cohort in (here, there):
        cohort.prune(keep=0.7)
        cohort.fit()
        cohort.rewind("best")
        cohort.fit(epochs=1)
    assert there.records[0].stack == 2  # three models for two processes
    for ours, theirs in zip(here.states(), there.states(), strict=True):
        assert (ours.flat - theirs.flat).abs().max() < 1e-11
        assert all((b - theirs.buffers[n]).abs().max() < 1e-11 for n, b in ours.buffers.items())
        assert torch.allclose(ours.companion, theirs.companion, atol=1e-11)


def test_processes_stop_where_accuracies_match(make_cohort: Make, workers: Workers) -> None:
    found = []
    for helpers in (None, workers):
        cohort = make_cohort(MEMBERS, model=MLP(hidden=(16,)), epochs=4, workers=helpers)
        rows = torch.ones(3, len(cohort.data.y), dtype=torch.bool)
        wanted = torch.tensor([[0.2, 0.5]] * 3, dtype=torch.float64)
        found.append([control.weights for control in cohort.match(rows, wanted)])
    for ours, theirs in zip(*found, strict=True):
        assert all((w - theirs[n]).abs().max() < 1e-11 for n, w in ours.items())


def test_every_part_tells_its_epochs(make_cohort: Make, workers: Workers) -> None:
    told: list[Event] = []
    options = {"model": MLP(hidden=(16,)), "epochs": 2, "workers": workers}
    make_cohort(MEMBERS, on_event=told.append, **options).fit()
    epochs = [(e.models, e.epoch) for e in told if isinstance(e, EpochDone)]
    assert sorted(epochs) == [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_a_plugin_that_no_process_can_import_trains_here(
    make_cohort: Make, workers: Workers
) -> None:
    Own.__module__, before = "nowhere", Own.__module__
    try:
        cohort = make_cohort(MEMBERS, model=MLP(hidden=(16,)), defense=Own(), workers=workers)
        cohort.fit()
    finally:
        Own.__module__ = before
    assert cohort.records[0].stack > 2


def test_a_mistake_in_a_process_is_told_as_here(
    make_cohort: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "careless_defense.py").write_text(CARELESS)
    monkeypatch.syspath_prepend(str(tmp_path))
    defense = import_module("careless_defense").Careless()
    with Workers(2) as started, pytest.raises(PluginError, match=r"careless.*too much for me"):
        make_cohort(MEMBERS, model=MLP(hidden=(16,)), defense=defense, workers=started).fit()


def test_a_killed_process_is_told_in_one_line(make_cohort: Make) -> None:
    with Workers(2) as started:
        for process in started._processes:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            process.join()
        with pytest.raises(PrivauditError, match=r"was killed.*--processes"):
            make_cohort(MEMBERS, model=MLP(hidden=(16,)), workers=started).fit()


class Garbled:
    """In the place of a connection: what comes first cannot be read, then comes an answer."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.answers: list[Any] = [ValueError("no such class"), ("done", "of the first call")]

    def send(self, what: object) -> None:
        self.sent.append(what)

    def recv(self) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_an_answer_is_never_taken_for_that_of_another_call() -> None:
    waiting, calls = Waiting(), Stream([(os.getpid, ()), (os.getppid, ())], urgent=False)
    waiting.add(calls)
    connection: Any = Garbled()
    _feed(connection, waiting)
    assert len(connection.sent) == 1
    kind, number, _ = calls.get(wait=False) or ("nothing", -1, None)
    assert (kind, number) == ("killed", 0)
    assert calls.get(wait=False) is None


def test_what_cannot_be_sent_fails_alone() -> None:
    waiting = Waiting()
    calls = Stream([(lambda: None, ()), (os.getpid, ())], urgent=False)
    waiting.add(calls)
    connection: Any = Garbled()
    connection.answers = [("done", "of the second call"), EOFError()]
    stop = Stream([], urgent=False)
    waiting.add(stop)
    calls.give_back = lambda number, call: None  # type: ignore[method-assign]

    def end(kind: str, number: int, content: object) -> None:
        original(kind, number, content)
        if kind == "done":
            waiting.end()

    original = calls.put
    calls.put = end  # type: ignore[method-assign]
    _feed(connection, waiting)
    told = [calls.get(wait=False), calls.get(wait=False)]
    assert [one and one[:2] for one in told] == [("failed", 0), ("done", 1)]


def test_a_parcel_arrives_as_it_was() -> None:
    shared = torch.arange(6.0)
    value = {"a": shared[::2], "b": [shared, shared.bool()], "c": (torch.tensor(3), MLP())}
    arrived = unwrapped(*wrapped(value))
    assert torch.equal(arrived["a"], value["a"])  # type: ignore[arg-type]
    assert torch.equal(arrived["b"][1], shared.bool())
    assert arrived["c"] == value["c"]
