"""The journal: nothing is trained twice, and nothing that changed is taken for the same."""

from __future__ import annotations

import importlib
import logging
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy

import privaudit
from privaudit import (
    Defense,
    Model,
    Sparsifier,
    Step,
)
from privaudit.cohort import Cohort
from privaudit.store.journal import Journal, _source, digest
from privaudit.store.unit_file import like
from privaudit_plugins.sparsifiers.dense import Dense
from privaudit_plugins.sparsifiers.imp import IterativeMagnitudePruning as Imp

Make = Callable[..., Cohort]


class Scaled(Defense):
    name: Literal["scaled"] = "scaled"
    factor: float = 2.0

    def loss(self, step: Step) -> Tensor:
        return cross_entropy(step.logits, step.y) * self.factor


class Wrapped(Defense):
    """Hands everything to the defense in its options."""

    name: Literal["wrapped"] = "wrapped"
    inner: Defense

    def loss(self, step: Step) -> Tensor:
        return self.inner.loss(step)


class OnlyTuning(Defense):
    name: Literal["only_tuning"] = "only_tuning"
    during: ClassVar[str] = "tune"

    def loss(self, step: Step) -> Tensor:
        return 2 * cross_entropy(step.logits, step.y)


class Answering(Defense):
    """Acts after training only."""

    name: Literal["answering"] = "answering"

    def respond(self, logits: Tensor, companion: object) -> Tensor:
        return logits.round()


class Tuning(Sparsifier):
    """Pretraining, pruning, fine-tuning."""

    name: Literal["tuning"] = "tuning"
    tunes: ClassVar[bool] = True
    keep: float = 0.5

    def sparsify(self, cohort: privaudit.Cohort) -> Iterator[str]:
        cohort.fit()
        cohort.prune(keep=self.keep)
        cohort.fit(epochs=1, tune=True)
        yield "tuned"


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "units")


@pytest.fixture
def run(make_cohort: Make, journal: Journal) -> Callable[..., Cohort]:
    """Runs a script to its end on a cohort that keeps a journal."""

    def run(sparsifier: Sparsifier | None = None, **options: Any) -> Cohort:
        script = sparsifier or Imp(rounds=2)
        cohort = make_cohort(
            options.pop("member", [20, 33, 40]), sparsifier=script, journal=journal, **options
        )
        for _ in script.sparsify(cohort):
            pass
        return cohort

    return run


def trained(cohort: Cohort) -> list[int]:
    """How many models each fit had to train."""
    return [record.models - record.found for record in cohort.records]


def units(journal: Journal) -> list[Path]:
    assert journal._folder is not None
    return sorted(journal._folder.rglob("*.unit"))


def test_a_script_run_again_trains_nothing_and_ends_where_it_did(
    run: Callable[..., Cohort],
) -> None:
    first, second = run(), run()
    assert trained(first) == [3, 3, 3]
    assert trained(second) == [0, 0, 0]
    for one, other in zip(first.states(), second.states(), strict=True):
        assert torch.equal(one.flat, other.flat)
    first.rewind("best")
    second.rewind("best")
    assert torch.equal(first.weights["1.weight"], second.weights["1.weight"])


def test_buffers_and_companions_come_back_from_the_journal(
    run: Callable[..., Cohort], convolutional: Callable[..., Model]
) -> None:
    first, second = (run(model=convolutional(dropout=0.2)) for _ in range(2))
    assert trained(second) == [0, 0, 0]
    for one, other in zip(first.states(), second.states(), strict=True):
        assert one.buffers.keys() == other.buffers.keys()
        assert all(torch.equal(b, other.buffers[n]) for n, b in one.buffers.items())


def test_dense_after_imp_trains_nothing(run: Callable[..., Cohort]) -> None:
    run()
    assert trained(run(Dense())) == [0]


def test_more_rounds_train_the_new_ones_only(run: Callable[..., Cohort]) -> None:
    run(Imp(rounds=1))
    assert trained(run(Imp(rounds=3))) == [0, 0, 3, 3]


def test_more_models_train_the_new_ones_only(run: Callable[..., Cohort]) -> None:
    run(Dense(), member=[20, 33])
    assert trained(run(Dense(), member=[20, 33, 40])) == [1]


@pytest.mark.parametrize("found", [0, 1])
def test_models_found_train_beside_those_that_are_missing(
    run: Callable[..., Cohort], journal: Journal, found: int
) -> None:
    whole = run(Dense())
    for path in units(journal)[found:]:
        path.unlink()
    again = run(Dense())
    assert trained(again) == [3 - found]
    for one, other in zip(whole.states(), again.states(), strict=True):
        assert (one.flat - other.flat).abs().max() < 1e-12


CHANGES: dict[str, dict[str, Any]] = {
    "lr": {"lr": 0.05},
    "epochs": {"epochs": 3},
    "patience": {"patience": 5},
    "augmentation": {"augment": True},
    "defense": {"defense": Scaled()},
    "defense option": {"defense": Scaled(factor=3.0)},
    "nested option": {"defense": Wrapped(inner=Scaled(factor=3.0))},
    "other nested option": {"defense": Wrapped(inner=Scaled(factor=4.0))},
    "members": {"member": [21, 34, 41]},
    "validation": {"validation": 11},
}


def test_what_changes_training_trains_again(run: Callable[..., Cohort]) -> None:
    run(Dense(), epochs=1)
    for name, change in CHANGES.items():
        assert trained(run(Dense(), **{"epochs": 1} | change)) == [3], name
    for name, change in CHANGES.items():
        assert trained(run(Dense(), **{"epochs": 1} | change)) == [0], name


@pytest.mark.parametrize(
    "change",
    [{"stack": 1}, {"stack": 2}, {"defense": Answering()}, {"defense": OnlyTuning()}],
    ids=["stack", "other stack", "responding", "tuning"],
)
def test_what_does_not_change_training_trains_nothing(
    run: Callable[..., Cohort], change: dict[str, Any]
) -> None:
    run(Dense())
    assert trained(run(Dense(), **change)) == [0]


def test_pretraining_is_shared_with_a_defense_that_acts_in_fine_tuning_only(
    run: Callable[..., Cohort],
) -> None:
    plain = run(Tuning())
    defended = run(Tuning(), defense=OnlyTuning())
    assert trained(defended) == [0, 3]
    assert not torch.equal(plain.weights["4.bias"], defended.weights["4.bias"])
    assert trained(run(Tuning(keep=0.3), defense=OnlyTuning())) == [0, 3]


def test_a_damaged_unit_is_set_aside_named_and_redone(
    run: Callable[..., Cohort], journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    whole = run(Dense())
    path = units(journal)[1]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        again = run(Dense())
    assert trained(again) == [1]
    assert path.stem in caplog.text
    assert "damaged" in caplog.text
    assert path.with_suffix(".unit.damaged").read_bytes() == content
    assert trained(run(Dense())) == [0]
    for one, other in zip(whole.states(), again.states(), strict=True):
        assert (one.flat - other.flat).abs().max() < 1e-12


@pytest.mark.parametrize("length", [0, 10, 40])
def test_half_a_unit_is_damaged_too(
    run: Callable[..., Cohort], journal: Journal, length: int
) -> None:
    run(Dense())
    path = units(journal)[0]
    path.write_bytes(path.read_bytes()[:length])
    assert trained(run(Dense())) == [1]


def test_units_are_private_and_complete(run: Callable[..., Cohort], journal: Journal) -> None:
    run(Dense())
    assert len(units(journal)) == 3
    for path in units(journal):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert list(path.parent.iterdir()) == [path]


def test_rewinding_to_an_epoch_trains_it_once(run: Callable[..., Cohort]) -> None:
    script = Imp.model_validate({"rounds": 2, "rewind": {"epoch": 1}})
    first = run(script)
    assert trained(first) == [3, 3, 3, 0, 3]  # fit, its epoch 1, fit, epoch 1 again, fit
    assert trained(run(script)) == [0] * 5


def test_gradients_are_kept_by_content(make_cohort: Make, journal: Journal) -> None:
    cohort = make_cohort(journal=journal)

    def many() -> list[dict[str, Tensor]]:
        found = []
        for t in (1.0, 2.0):

            def bound(z: Tensor, y: Tensor, t: float = t) -> Tensor:
                return cross_entropy(z, y) * t

            found.append(cohort.gradients(bound))
        found += [cohort.gradients(f) for f in (lambda z, y: z.mean(), lambda z, y: z.sum())]
        for scale in (3.0, 4.0):
            found.append(cohort.gradients(lambda z, y: z.mean() * scale))  # noqa: B023
        return found

    found = many()
    assert len(units(journal)) == 12  # six losses of two models
    for one, other, ratio in ((0, 1, 2), (2, 4, 3), (2, 5, 4)):
        assert torch.allclose(found[one]["4.bias"] * ratio, found[other]["4.bias"])
    times = [path.stat().st_mtime_ns for path in units(journal)]
    again = many()
    assert [path.stat().st_mtime_ns for path in units(journal)] == times
    for one_by_name, other_by_name in zip(found, again, strict=True):
        assert torch.equal(one_by_name["1.weight"], other_by_name["1.weight"])


PLUGIN = """\
from typing import Literal
from torch.nn.functional import cross_entropy
import privaudit
from changing.helper import FACTOR

class Changing(privaudit.Defense):
    name: Literal["changing"] = "changing"
    def loss(self, step):
        return cross_entropy(step.logits, step.y) * FACTOR
"""


@pytest.fixture
def changing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Defense]:
    """A plugin of a package whose helper module is rewritten."""
    folder = tmp_path / "changing"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def load(factor: int) -> Defense:
        (folder / "helper.py").write_text(f"FACTOR = {factor}\n")
        for name in ("changing.plugin", "changing.helper", "changing"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        found: Defense = importlib.import_module("changing.plugin").Changing()
        return found

    return load


@pytest.mark.parametrize("nested", [False, True])
def test_changed_plugin_code_trains_again(
    run: Callable[..., Cohort], changing: Callable[[int], Defense], nested: bool
) -> None:
    def weights(factor: int) -> tuple[list[int], Tensor]:
        defense = changing(factor)
        cohort = run(Dense(), defense=Wrapped(inner=defense) if nested else defense)
        return trained(cohort), cohort.weights["4.bias"]

    before, other = weights(1), weights(2)
    assert before[0] == other[0] == [3]
    assert not torch.equal(before[1], other[1])
    assert weights(1)[0] == [0]


def test_another_version_of_a_plugin_has_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    def key(version: str) -> str:
        def brought_by(is_meant: Callable[[str], bool]) -> tuple[str, str] | None:
            return ("stranger", version) if is_meant(Scaled.__module__) else None

        monkeypatch.setattr("privaudit.store.journal.brought_by", brought_by)
        _source.cache_clear()
        return digest(Scaled())

    assert key("1.0") != key("2.0")
    assert key("1.0") == key("1.0")
    _source.cache_clear()


def test_a_second_fit_from_the_same_weights_is_another_unit(
    make_cohort: Make, journal: Journal
) -> None:
    cohort = make_cohort(journal=journal)
    ends = []
    for _ in range(2):
        cohort.rewind("initial")
        cohort.fit()
        ends.append(next(iter(cohort.weights.values())))
    assert trained(cohort) == [2, 2]
    assert not torch.equal(*ends)  # it draws its batches in another order


values = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.0, 1.0, "", "1", "a"])
parts = st.lists(values | st.lists(values, max_size=2), max_size=3)


@given(parts, parts)
def test_digests_are_equal_for_equal_parts_only(one: list[object], other: list[object]) -> None:
    assert (digest(*one) == digest(*other)) == (repr(one) == repr(other))


def test_digests_tell_types_shapes_and_bits_apart() -> None:
    zeros = torch.zeros(4)
    parts: list[object] = [
        zeros,
        zeros.view(2, 2),
        zeros.double(),
        zeros.bool(),
        -zeros,
        torch.zeros(0),
        {"a": zeros},
        {"b": zeros},
        {"a": zeros, "b": zeros},
        Scaled(),
        Scaled(factor=3.0),
        OnlyTuning(),
        "zeros",
    ]
    assert len({digest(part) for part in parts}) == len(parts)
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest(torch.arange(6).view(2, 3).T) == digest(torch.arange(6).view(2, 3).T.contiguous())
    with pytest.raises(TypeError, match="function"):
        digest(test_digests_tell_types_shapes_and_bits_apart)


def test_a_journal_without_a_folder_keeps_nothing() -> None:
    nowhere = Journal(None)
    nowhere.keep("zeros", {"key": {"a": torch.zeros(2)}})
    assert nowhere.find("key", like("zeros", {"a": torch.zeros(2)})) is None


def test_a_plan_trains_nothing_and_says_what_there_is_to_do(
    run: Callable[..., Cohort], journal: Journal
) -> None:
    planned = run(plan=True)
    assert trained(planned) == [3, 3, 3]
    assert [r.steps for r in planned.records] == [(2 + 3 + 3) * 2] * 3
    assert planned.seconds_per_step() > 0
    assert units(journal) == []
    run(Imp(rounds=0))
    assert trained(run(plan=True)) == [0, 3, 3]
    run()
    done = run(plan=True)
    assert trained(done) == [0, 0, 0]
    assert done.seconds_per_step() == 0
