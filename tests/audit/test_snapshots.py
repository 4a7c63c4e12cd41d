"""A fit that was stopped goes on from its snapshot, to the bits it would have had undisturbed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from privaudit import Examples, PrivauditError
from privaudit.cohort import Cohort, making
from privaudit.events import EpochDone, Event
from privaudit.jobs.local import Workers
from privaudit.store.cache import contents, schema_of, verified
from privaudit.store.journal import Journal
from privaudit.store.unit_file import decoded, encoded
from privaudit_plugins.defenses.dp_sgd import DPSGD
from privaudit_plugins.defenses.min_max import MinMax
from privaudit_plugins.models.cnn import CNN
from privaudit_plugins.models.mlp import MLP
from privaudit_plugins.sparsifiers.butterfly import Butterfly

Make = Callable[..., Cohort]
MEMBERS = [20, 33, 48]
EPOCHS = 6


class StoppedError(KeyboardInterrupt):
    """Somebody has lost patience."""


@pytest.fixture(autouse=True)
def a_snapshot_after_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "_SNAPSHOT_SECONDS", 0.0)


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers(2) as started:
        yield started


@pytest.fixture(scope="session")
def table() -> Examples:
    """Rows of which most numbers are zero."""
    generator = torch.Generator().manual_seed(5)
    x = (torch.rand(300, 400, generator=generator) < 0.05).to(torch.uint8)
    y = torch.randint(0, 4, (300,), generator=generator)
    return Examples(x, y, tuple("abcd"), torch.tensor(0.0), torch.tensor(1.0))


class Stop:
    """Raises, or does something else, after an epoch; knows the first that it was told of."""

    def __init__(self, epoch: int | None, then: Callable[[], object] | None = None) -> None:
        self.epoch, self.then = epoch, then
        self.first: int | None = None

    def __call__(self, event: Event) -> None:
        if not isinstance(event, EpochDone):
            return
        self.first = self.first or event.epoch
        if event.epoch == self.epoch:
            if self.then is None:
                raise StoppedError
            self.then()


def fitted(make: Make, journal: Journal | None, stop: Stop, **options: Any) -> Cohort:
    cohort = make(MEMBERS, epochs=EPOCHS, journal=journal, on_event=stop, **options)
    cohort.prune(keep=0.7)
    cohort.fit()
    return cohort


def tensors(cohort: Cohort) -> dict[str, Tensor]:
    now, best = cohort._state.weights, cohort._best
    held: dict[str, Tensor] = {}
    for name, state in (("now", now), ("best", best)):
        held |= {f"{name} flat": state.flat, f"{name} second": state.companion}
        held |= {f"{name} {n}": b for n, b in state.buffers.items()}
    return held


def assert_same_bits(one: Cohort, other: Cohort) -> None:
    theirs = tensors(other)
    for name, tensor in tensors(one).items():
        assert torch.equal(tensor, theirs[name]), name


CASES: dict[str, dict[str, Any]] = {
    "momentum in fp32": {"momentum": 0.9, "precision": "fp32", "weight_decay": 0.01},
    "a chain of unequal epochs": {"model": MLP(hidden=(16, 12)), "momentum": 0.9},
    "adam": {"optimizer": "adam", "lr": 0.01},
    "adamw in fp32": {"optimizer": "adamw", "lr": 0.01, "precision": "fp32", "weight_decay": 0.1},
    "patience": {"patience": 1, "model": MLP(hidden=(16,), dropout=0.2), "lr": 0.3},
    "batchnorm and crops": {
        "model": CNN(width=4, norm="batch"), "augment": True, "schedule": "cosine",
    },
    "butterfly": {"model": CNN(width=4), "sparsifier": Butterfly(), "momentum": 0.9},
    "companion": {"model": MLP(hidden=(16,)), "defense": MinMax(), "reference": 16},
    "private": {"model": MLP(hidden=(16,)), "defense": DPSGD()},
}  # fmt: skip


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_a_stopped_fit_ends_with_the_same_bits(
    make_cohort: Make, tmp_path: Path, options: dict[str, Any]
) -> None:
    undisturbed = fitted(make_cohort, None, Stop(None), **options)
    with pytest.raises(StoppedError):
        fitted(make_cohort, Journal(tmp_path / "units"), Stop(4), **options)
    (snapshot,) = contents(tmp_path).units
    assert schema_of(snapshot) == "snapshot"
    assert [problem for _, problem, _ in verified(tmp_path)] == [""]
    again = Stop(None)
    assert_same_bits(
        fitted(make_cohort, Journal(tmp_path / "units"), again, **options), undisturbed
    )
    assert again.first == 4
    assert {schema_of(unit) for unit in contents(tmp_path).units} == {"fit"}


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_weights_that_lie_column_by_column_go_on(
    make_cohort: Make, tmp_path: Path, table: Examples, precision: str
) -> None:
    options = {"examples": table, "model": MLP(hidden=(16,)), "momentum": 0.9}
    options |= {"precision": precision}
    undisturbed = fitted(make_cohort, None, Stop(None), **options)
    for epoch in (2, 4):  # twice, so that a snapshot of what went on from one is as good
        with pytest.raises(StoppedError):
            fitted(make_cohort, Journal(tmp_path / "units"), Stop(epoch), **options)
    again = Stop(None)
    assert_same_bits(
        fitted(make_cohort, Journal(tmp_path / "units"), again, **options), undisturbed
    )
    assert again.first == 4


def test_a_fit_goes_on_in_processes_that_were_killed(
    make_cohort: Make, tmp_path: Path, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "_WORTH", 0)
    options = {"model": MLP(hidden=(16,)), "optimizer": "adam", "lr": 0.01}
    undisturbed = fitted(make_cohort, None, Stop(None), workers=workers, **options)

    def kill() -> None:
        for process in workers._processes:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)

    journal = Journal(tmp_path / "units")
    with pytest.raises(PrivauditError, match="was killed"):
        fitted(make_cohort, journal, Stop(4, kill), workers=workers, **options)
    again = Stop(None)
    resumed = fitted(make_cohort, journal, again, workers=workers, **options)
    assert_same_bits(resumed, undisturbed)
    assert again.first is not None
    assert again.first > 1


def test_networks_of_equal_accuracy_go_on(make_cohort: Make, tmp_path: Path) -> None:
    def controls(journal: Journal | None, stop: Stop) -> list[Cohort]:
        cohort = make_cohort(MEMBERS, epochs=EPOCHS, journal=journal, on_event=stop)
        rows = torch.ones(3, len(cohort.data.y), dtype=torch.bool)
        wanted = torch.tensor([[0.2, 0.4, 0.9]] * 3, dtype=torch.float64)
        return cohort.match(rows, wanted)

    undisturbed = controls(None, Stop(None))
    with pytest.raises(StoppedError):
        controls(Journal(tmp_path / "units"), Stop(4))
    again = Stop(None)
    for one, other in zip(controls(Journal(tmp_path / "units"), again), undisturbed, strict=True):
        assert_same_bits(one, other)
    assert again.first == 4


def test_a_snapshot_in_more_models_than_may_share_a_step_is_divided(
    make_cohort: Make, tmp_path: Path
) -> None:
    undisturbed = fitted(make_cohort, None, Stop(None))
    with pytest.raises(StoppedError):
        fitted(make_cohort, Journal(tmp_path / "units"), Stop(4))
    again = Stop(None)
    one_by_one = fitted(make_cohort, Journal(tmp_path / "units"), again, stack=1)
    assert again.first == 4
    for name, tensor in tensors(one_by_one).items():
        assert torch.allclose(tensor, tensors(undisturbed)[name], atol=1e-11)
    assert {schema_of(unit) for unit in contents(tmp_path).units} == {"fit"}


@pytest.mark.parametrize("content", ["damaged", "another's", "of another shape"])
def test_what_cannot_be_believed_is_set_aside(
    make_cohort: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    with pytest.raises(StoppedError):
        fitted(make_cohort, Journal(tmp_path / "units"), Stop(4))
    (snapshot,) = contents(tmp_path).units
    journal = Journal(tmp_path / "units")
    whole = snapshot.path.read_bytes()
    wrong = {
        "damaged": whole[:-1] + bytes([whole[-1] ^ 1]),
        "another's": encoded("0" * 64, "snapshot", {}),
        "of another shape": encoded(
            snapshot.path.stem, "snapshot", _without("now:flat", snapshot.path)
        ),
    }
    snapshot.path.write_bytes(wrong[content])
    again = Stop(None)
    resumed = fitted(make_cohort, journal, again)
    assert again.first == 1
    assert any("set aside" in message for message in caplog.messages)
    assert len(contents(tmp_path).aside) == 1
    assert_same_bits(resumed, fitted(make_cohort, None, Stop(None)))


def test_a_snapshot_of_other_models_is_not_theirs(make_cohort: Make, tmp_path: Path) -> None:
    def trained(journal: Journal | None, models: list[int], stop: Stop) -> Cohort:
        members = [20, 33, 48, 33, 48]
        options = {"models": models, "epochs": EPOCHS, "journal": journal, "on_event": stop}
        cohort = make_cohort(members, **options)
        cohort.fit()
        return cohort

    with pytest.raises(StoppedError):
        trained(Journal(tmp_path / "units"), [0, 1, 2], Stop(4))
    again = Stop(None)
    others = trained(Journal(tmp_path / "units"), [0, 3, 4], again)
    assert again.first == 1
    assert_same_bits(others, trained(None, [0, 3, 4], Stop(None)))


def _without(name: str, path: Path) -> dict[str, Tensor]:
    held, _ = decoded(path.read_bytes())
    return {n: t for n, t in held.items() if n != name}


def test_a_fit_that_is_short_keeps_none(
    make_cohort: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "_SNAPSHOT_SECONDS", 120.0)
    with pytest.raises(StoppedError):
        fitted(make_cohort, Journal(tmp_path / "units"), Stop(EPOCHS))
    assert contents(tmp_path).units == ()
