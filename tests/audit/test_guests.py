"""What is lent to a plugin is what it was afterwards, and so is the world around it."""

from __future__ import annotations

import logging
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import privaudit
from privaudit.api import calls, scores, watch
from privaudit.api.boundary import guest
from privaudit.api.world import own_world
from privaudit.errors import DamageError, PluginError, PrivauditError
from privaudit.testing.material import tiny_cohort, tiny_signals

WRITES: dict[str, Callable[[privaudit.Signals], object]] = {
    "x": lambda s: s.x.zero_(),
    "y": lambda s: s.y.numpy().sort(),
    "audited": lambda s: s.audited.logical_not_(),
    "target.logits": lambda s: s.target.logits.data.add_(1),
    "shadows.logits": lambda s: s.shadows.logits[0, 0, :1].zero_(),
    "shadow_role": lambda s: s.shadow_role.fill_(1),
}


class Writing(privaudit.Attack):
    """Writes into its signals."""

    name: Literal["writing"] = "writing"
    what: str

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        WRITES[self.what](signals)
        return privaudit.AttackScores(signals.target.logits[0].amax(-1))


@pytest.mark.parametrize("most", [watch.MOST_COPIED, 0], ids=["copied", "watched"])
@pytest.mark.parametrize("what", WRITES)
def test_an_attack_that_writes_into_its_signals_is_named(
    what: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "MOST_COPIED", most)
    attack = Writing(what=what)
    signals = tiny_signals(attack)
    before = {name: t.clone() for name, t in watch.signal_tensors(signals).items()}
    with pytest.raises(PluginError, match=rf"'writing' .*score .*writes into signals\.{what}") as e:
        scores.scored(attack, signals)
    assert isinstance(e.value, DamageError) == (most == 0)
    if most:
        for name, tensor in watch.signal_tensors(signals).items():
            assert torch.equal(tensor, before[name])


def test_a_seal_sees_a_change_of_every_kind_in_small_and_large_tensors() -> None:
    for size in (100, 3_000_000):
        for change in (
            lambda t: t.zero_(),
            lambda t: t.data.zero_(),
            lambda t: t.numpy().__setitem__(slice(None), 7),
            lambda t: t[3:4].add_(1),
        ):
            tensor = torch.arange(size, dtype=torch.float32)
            seal = watch.Seal({"it": tensor, "none": None})
            assert seal.broken() == ""
            change(tensor)  # type: ignore[no-untyped-call]
            assert seal.broken() == "it"


def test_the_world_is_put_back_and_what_changes_numbers_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def state() -> tuple[Any, ...]:
        return (
            torch.get_default_dtype(), torch.get_default_device(), torch.get_num_threads(),
            torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled(),
            torch.get_float32_matmul_precision(), torch.is_autocast_enabled("cpu"),
            torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate(),
            np.geterr(), list(warnings.filters), Path.cwd(), dict(os.environ), sys.stdout,
            logging.getLogger().handlers[:], logging.getLogger().manager.disable,
            sys.getrecursionlimit(),
        )  # fmt: skip

    def disturb() -> None:
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.set_grad_enabled(False)
        torch.use_deterministic_algorithms(True)
        torch.set_float32_matmul_precision("medium")
        torch.set_autocast_enabled("cpu", True)
        torch.manual_seed(99)
        np.random.seed(99)
        random.seed(99)
        np.seterr(all="raise")
        warnings.simplefilter("error")
        os.chdir(tmp_path)
        os.environ["PRIVAUDIT_TEST"] = "1"
        os.environ.pop("PATH")
        sys.stdout = None
        logging.getLogger().handlers.clear()
        logging.disable(logging.CRITICAL)
        sys.setrecursionlimit(5000)
        raise ZeroDivisionError

    before = state()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), own_world("attack 'loud': score"):
            disturb()
        assert state() == before
    told = [r.getMessage() for r in caplog.records if "default dtype" in r.getMessage()]
    assert told == ["attack 'loud': score changes torch's default dtype, which is put back"]


class Answering(privaudit.Defense):
    """Responds wrongly."""

    name: Literal["answering"] = "answering"
    how: str

    def respond(self, logits: Tensor, companion: Any) -> Any:
        return {
            "column": lambda: logits.amax(-1, keepdim=True),
            "nan": lambda: logits.where(logits < logits.max(), torch.nan),
            "log": lambda: torch.zeros_like(logits).log(),
            "counts": lambda: logits.long(),
            "sparse": lambda: logits.to_sparse(),
            "meta": lambda: logits.to("meta"),
            "double": lambda: logits.double().requires_grad_(),
            "writes": lambda: logits.zero_(),
        }[self.how]()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("column", r"shape \(20, 1\) for logits of shape \(20, 3\)"),
        ("nan", "NaN or infinity for 1 of 20"),
        ("log", "NaN or infinity for 20 of 20"),
        ("counts", "floating-point"),
        ("sparse", "layout"),
        ("meta", "device meta"),
    ],
)
def test_an_answer_of_a_wrong_kind_is_the_defense_s(how: str, said: str) -> None:
    with pytest.raises(PluginError, match=rf"'answering' .*respond .*{said}"):
        calls.responded(Answering(how=how), torch.arange(60.0).view(20, 3), None)


def test_an_answer_is_of_the_logits_dtype_and_the_logits_stay() -> None:
    logits = torch.arange(6.0).view(2, 3)
    answer = calls.responded(Answering(how="double"), logits, None)
    assert answer.dtype == torch.float32
    assert not answer.requires_grad
    calls.responded(Answering(how="writes"), logits, None)
    assert torch.equal(logits, torch.arange(6.0).view(2, 3))


class Script(privaudit.Sparsifier):
    """Yields whatever it is told."""

    name: Literal["script"] = "script"
    first: str = ""
    endless: bool = False

    def sparsify(self, cohort: privaudit.Cohort) -> Iterator[str]:
        yield self.first
        number = 0
        while self.endless:
            number += 1
            yield str(number)


def test_levels_are_bounded_and_labels_can_be_printed() -> None:
    with pytest.raises(PluginError, match=r"sparsify .*more than 1,000 levels"):
        list(calls.labels(Script(endless=True), tiny_cohort(Script())))
    for label in ("a" * 101, "\x1b[2J"):
        with pytest.raises(PluginError, match=r"sparsify .*printable characters"):
            list(calls.labels(Script(first=label), tiny_cohort(Script())))


class OwnError(PrivauditError):
    """An author's, which would end a run with exit code 0."""

    exit_code = 0


class WordlessError(Exception):
    """Has a broken `__str__`."""

    def __str__(self) -> str:
        raise RuntimeError


class Unusual(BaseException):
    """No plain exception."""


@pytest.mark.parametrize(
    "error", [OwnError("mine"), WordlessError(), Unusual("odd"), GeneratorExit()]
)
def test_an_error_of_any_class_is_told_as_the_plugin_s(error: BaseException) -> None:
    with (
        pytest.raises(PluginError, match=rf"'script' .*: .*{type(error).__name__}") as e,
        guest(Script(), "prepare"),
    ):
        raise error
    assert e.value.exit_code == 2


class Wiping(privaudit.Defense):
    """Overwrites the labels while it trains."""

    name: Literal["wiping"] = "wiping"
    data: Any = None

    def loss(self, step: privaudit.Step) -> Tensor:
        if HELD:
            HELD[0].numpy()[:] = 0
        return super().loss(step)


HELD: list[Tensor] = []


def test_nothing_that_was_trained_on_overwritten_data_is_kept(
    make_cohort: Any, tmp_path: Path
) -> None:
    from privaudit.store.journal import Journal

    examples = tiny_digits(make_cohort)
    cohort = make_cohort(examples=examples, defense=Wiping(), journal=Journal(tmp_path))
    HELD.append(examples.y)
    try:
        with pytest.raises(DamageError, match=r"'wiping'.*the dataset's y"):
            cohort.fit()
    finally:
        HELD.clear()
    assert not list(tmp_path.rglob("*.unit"))


def tiny_digits(make_cohort: Any) -> privaudit.Examples:
    """Digits of a test's own."""
    examples = make_cohort()._data.examples
    tiny: privaudit.Examples = replace(examples, y=examples.y.clone())
    return tiny


class Inplace(privaudit.Model):
    """Writes into what it is given; or gives one network again and again."""

    name: Literal["inplace"] = "inplace"
    again: bool = False

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        if self.again and NETWORKS:
            return NETWORKS[0]
        layers = (nn.Flatten(), nn.ReLU(inplace=True), nn.Linear(64, classes))
        NETWORKS.append(nn.Sequential(*layers))
        return NETWORKS[-1]


NETWORKS: list[nn.Module] = []


def test_a_network_that_writes_into_its_input_is_given_copies(make_cohort: Any) -> None:
    cohort = make_cohort(model=Inplace())
    cohort.fit()
    x = cohort._data.examples.x[:40].float() - 8
    before = x.clone()
    assert torch.equal(cohort.logits(x), cohort.logits(x))
    assert torch.equal(x, before)
    plain = cohort.data.on(x).plain(torch.arange(40)).flatten(1).clamp(min=0)
    w, b = (cohort.weights[n] for n in ("2.weight", "2.bias"))
    torch.testing.assert_close(cohort.logits(x), plain @ w.mT + b[:, None])


def test_a_network_that_is_given_twice_is_refused(make_cohort: Any) -> None:
    NETWORKS.clear()
    with pytest.raises(PluginError, match=r"'inplace' .*build .*earlier network again"):
        make_cohort(model=Inplace(again=True))
