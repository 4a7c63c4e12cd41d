"""Several devices, one process each, and a memory that is too small."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from privaudit import Examples
from privaudit.cohort import Cohort, making
from privaudit.experiment.environment import devices_of_processes
from privaudit.jobs.local import Workers
from privaudit.networks import answer
from privaudit.networks.state import State, moved, packed, unpacked
from privaudit.store.cache import contents, schema_of
from privaudit.store.journal import Journal
from privaudit.store.units import Unit
from privaudit.train import dataset, fitting
from privaudit.train.dataset import DeviceDataset
from privaudit.train.device_rules import LIMITS, StackLimits, models_at_once, step_memory, step_work
from privaudit.train.fit import Fit, train_units
from privaudit.train.on_host import OnHost
from privaudit_plugins.models.cnn import CNN
from privaudit_plugins.models.mlp import MLP
from worker_devices import device_here

Make = Callable[..., Cohort]
CPU = torch.device("cpu")


def test_every_process_works_on_its_own_device(
    make_cohort: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "_WORTH", 0)
    options = {"member": [20, 33, 48, 30], "model": MLP(hidden=(16,)), "epochs": 2}
    with Workers(2, devices=["cpu", "cpu:0"]) as workers:
        calls = [(device_here, (0.5,))] * 2
        assert {told for _, told in workers.run(calls, print)} == {"cpu", "cpu:0"}
        there = make_cohort(**options, workers=workers)
        there.fit()
        workers.devices = ("cuda:0", "cuda:1")  # of another kind than the cohort's
        stays = make_cohort(**options, workers=workers)
        stays.fit()
    here = make_cohort(**options)
    here.fit()
    assert [cohort.records[0].stack for cohort in (there, stays)] == [2, here.records[0].stack]
    for one, other in zip(here.states(), there.states(), strict=True):
        assert (one.flat - other.flat).abs().max() < 1e-11


@pytest.mark.parametrize(
    ("name", "gpus", "processes", "devices"),
    [
        ("cpu", 4, 1, ()),
        ("cpu", 4, 3, ("cpu", "cpu", "cpu")),
        ("cuda", 2, 8, ("cuda:0", "cuda:1")),
        ("auto", 2, 1, ("cuda:0", "cuda:1")),
        ("auto", 0, 2, ("cpu", "cpu")),
        ("cuda", 1, 1, ()),
        ("cuda:1", 2, 1, ()),
        ("cuda:1", 2, 2, ("cpu", "cpu")),  # which attack
    ],
)
def test_a_process_for_every_gpu_that_is_meant(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    gpus: int,
    processes: int,
    devices: tuple[str, ...],
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert devices_of_processes(name, processes) == devices


def too_many_above(most: int, tried: list[int]) -> Callable[..., list[Unit]]:
    def train(fit: Fit, *others: Any) -> list[Unit]:
        tried.append(len(fit.rows))
        if len(fit.rows) > most:
            raise torch.OutOfMemoryError
        return train_units(fit, *others)

    return train


def test_a_smaller_stack_is_remembered_for_the_run(
    digits: Examples, make_cohort: Make, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    tried: list[int] = []
    monkeypatch.setattr(fitting, "train_units", too_many_above(2, tried))
    limits = StackLimits()
    first = make_cohort([20] * 7, limits=limits)
    first.fit()
    assert tried == [7, 4, 2, 2, 2, 1]
    first.fit()  # the same cohort, and another of the same run
    make_cohort([20] * 3, limits=limits).fit()
    assert tried[6:] == [2, 2, 2, 1, 2, 1]
    told = [message for message in caplog.messages if "too many" in message]
    assert [message.split()[0] for message in told] == ["7", "4"]
    tried.clear()
    make_cohort([20] * 3).fit()  # another run starts anew
    assert tried == [3, 2, 1]
    tried.clear()
    make_cohort([20] * 9, stack=4).fit()  # what comes later in the same fit has learnt from it
    assert tried == [4, 2, 2, 2, 2, 1]


def test_halves_go_on_from_the_snapshot_of_the_whole(
    make_cohort: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(making, "_SNAPSHOT_SECONDS", 0.0)
    undisturbed = make_cohort([20] * 4, epochs=4)
    undisturbed.fit()
    epochs: list[int] = []
    cohort: Cohort

    def short(event: Any) -> None:
        if hasattr(event, "epoch"):
            epochs.append(event.epoch)
            if event.models > 2 and event.epoch == 3:
                raise torch.OutOfMemoryError

    cohort = make_cohort([20] * 4, epochs=4, journal=Journal(tmp_path / "units"), on_event=short)
    cohort.fit()
    assert epochs == [1, 2, 3, 3, 4, 3, 4]
    for one, other in zip(cohort.states(), undisturbed.states(), strict=True):
        assert (one.flat - other.flat).abs().max() < 1e-12
    assert {schema_of(unit) for unit in contents(tmp_path).units} == {"fit"}


def test_as_many_models_as_the_memory_holds(
    make_cohort: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort = make_cohort([20] * 2, model=CNN(width=4))
    fit = cohort._fit(False, None, {})
    asked = fit.objective, cohort.data, fit.options
    one = step_memory(*asked)
    monkeypatch.setitem(LIMITS, "cpu", LIMITS["cuda"])
    assert models_at_once(*asked, memory=2**50) == 64
    assert models_at_once(*asked, memory=11 * one) == 8
    assert models_at_once(*asked, memory=one // 2) == 1
    # Two images of 8 x 8 more in a batch take more, by their pixels at least.
    larger = fit.options.model_copy(update={"batch_size": fit.options.batch_size + 2})
    assert step_memory(*asked[:2], larger) - one > 2 * 64 * 8


def test_a_model_whose_step_is_large_trains_alone_on_a_cpu(make_cohort: Make) -> None:
    cohort = make_cohort([20] * 2, model=CNN(width=4))
    fit = cohort._fit(False, None, {})
    one = step_work(fit.objective, cohort.data, fit.options) // fit.options.batch_size
    # By hand: 3 x 3 weights from 1 to 4 channels on 8 x 8 pixels, from 4 to 8 on 4 x 4, and 2 x 2
    # pixels of 8 channels to 10 classes.
    assert one == 9 * 4 * 64 + 9 * 4 * 8 * 16 + 8 * 4 * 10
    for batch, expected in ((64, 64), (2**24 // one + 1, 1)):
        options = fit.options.model_copy(update={"batch_size": batch})
        assert models_at_once(fit.objective, cohort.data, options) == expected


def test_answers_are_asked_in_smaller_parts_where_the_memory_is_short(
    make_cohort: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort = make_cohort([20])
    whole = cohort.logits()
    ask = answer.Answers.__call__

    def short(self: answer.Answers, state: State, x: Tensor) -> Tensor:
        if len(x) > 50:
            raise torch.OutOfMemoryError
        return ask(self, state, x)

    monkeypatch.setattr(answer.Answers, "__call__", short)
    assert torch.allclose(cohort.logits(), whole, atol=1e-12)


@pytest.mark.parametrize("crop", [0, 1])
def test_examples_that_do_not_fit_stay_on_the_host(
    digits: Examples, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, crop: int
) -> None:
    assert digits.augmentation is not None
    examples = replace(digits, augmentation=replace(digits.augmentation, crop=crop))
    there = DeviceDataset(examples, CPU, torch.float32)

    def no_room(self: DeviceDataset, x: Tensor) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(DeviceDataset, "_place", no_room)
    with caplog.at_level(logging.WARNING):
        here = DeviceDataset(examples, CPU, torch.float32)
    assert "stay on the host" in caplog.text
    rows = torch.tensor([[5, 0, 299], [7, 7, 1]])
    key = torch.tensor([3, 4])
    assert torch.equal(here.plain(rows), there.plain(rows))
    assert torch.equal(here.augmented(rows, key), there.augmented(rows, key))
    here.check(())


def test_training_from_the_host_gives_the_same_bits(
    make_cohort: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"model": CNN(width=4, norm="batch"), "augment": True}
    one = make_cohort([20, 30], **options)
    one.fit()
    tables: list[Tensor] = []

    class Watched(OnHost):
        def __getitem__(self, index: Any) -> Tensor:
            tables.append(super().__getitem__(index))
            return tables[-1]

    def no_room(self: DeviceDataset, x: Tensor) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(dataset, "OnHost", Watched)
    monkeypatch.setattr(DeviceDataset, "_place", no_room)
    other = make_cohort([20, 30], **options)
    other.fit()
    assert tables
    assert torch.equal(one._state.weights.flat, other._state.weights.flat)


def test_tensors_move_in_one_copy_for_each_type(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(1)
    tensors = [
        torch.randn(3, 5, generator=generator),
        torch.arange(3),
        torch.randn(3, 0),
        torch.randn(3, 2, 4, generator=generator).mT,
        torch.tensor([True, False, True]),
        torch.arange(12).view(3, 4),
    ]
    flat = packed(tensors)
    assert {kind: len(numbers) for kind, numbers in flat.items()} == {
        torch.float32: 39, torch.int64: 15, torch.bool: 3,
    }  # fmt: skip
    for back in (unpacked(flat, tensors), moved(tensors, CPU)):
        assert all(torch.equal(one, other) for one, other in zip(back, tensors, strict=True))
    state = State(tensors[0], {"a": tensors[1], "b": tensors[3]}, tensors[2], {})
    there = state.to(torch.device("meta"))
    assert (there.flat.shape, there.buffers["b"].shape) == ((3, 5), (3, 4, 2))
    assert there.buffers["a"].dtype == torch.int64
