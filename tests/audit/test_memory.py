"""What a sparsifier remembers through a fit: in every way to train, in caches, after a kill."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from privaudit import Examples, Model, PluginError, PrivauditError, Sparsifier, Weights
from privaudit.api.contract import check_class
from privaudit.cohort import Cohort, making
from privaudit.cohort.unit_keys import unit_keys
from privaudit.events import EpochDone, Event
from privaudit.jobs.local import Workers
from privaudit.keys import derive
from privaudit.store.cache import contents, schema_of
from privaudit.store.journal import Journal
from privaudit.testing import check_plugin
from privaudit.train.dataset import epoch_order
from privaudit.train.ways import choose
from privaudit_plugins.models.cnn import CNN
from privaudit_plugins.models.mlp import MLP

Make = Callable[..., Cohort]
MEMBERS = [20, 33, 48]  # two and three batches of 16
EPOCHS = 4


class Remembering(Sparsifier):
    """Draws weights towards their running mean, counts steps and epochs, and bounds biases."""

    name: Literal["remembering"] = "remembering"
    pull: float = Field(0.05, description="factor of the penalty")

    def memory(self, weights: Weights) -> Mapping[str, Tensor]:
        means = {f"mean {n}": w for n, w in weights.items() if w.ndim > 1}
        first = next(iter(weights.values()))
        return {
            **means,
            "steps": torch.zeros((), dtype=torch.int64),
            "epochs": torch.zeros(2, dtype=torch.float32),
            "odd": torch.zeros((), dtype=torch.bool),
            "largest": first.new_full((), torch.inf),
        }

    def penalty(self, weights: Weights) -> Tensor:
        apart = [
            (weights[n.removeprefix("mean ")] - m).square().sum()
            for n, m in weights.memory.items()
            if n.startswith("mean ")
        ]
        return self.pull * torch.stack(apart).sum()

    def project(self, weights: Weights, epoch: Tensor) -> Mapping[str, Tensor]:
        bias = list(weights)[-1]
        return {bias: weights[bias].clamp(-0.01, 0.01), "steps": weights.memory["steps"] + 1}

    def remember(self, weights: Weights, epoch: Tensor) -> Mapping[str, Tensor]:
        memory = weights.memory
        due = epoch % 2 == 0
        changed = {
            f"mean {n}": torch.where(due, (memory[f"mean {n}"] + w) / 2, memory[f"mean {n}"])
            for n, w in weights.items()
            if w.ndim > 1
        }
        largest = torch.stack([w.abs().amax() for w in weights.values()]).amax()
        return {
            **changed,
            "epochs": memory["epochs"] + 1,
            "odd": ~memory["odd"],
            "largest": torch.minimum(memory["largest"], largest),
        }


class Resting(Remembering):
    during: ClassVar[str] = "train"


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
                raise KeyboardInterrupt
            self.then()


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers(2) as started:
        yield started


def fitted(make: Make, **options: Any) -> Cohort:
    given = {"epochs": EPOCHS, "sparsifier": Remembering(), "model": MLP(hidden=(16,))}
    cohort = make(MEMBERS, **given | options)
    cohort.prune(keep=0.7)
    cohort.fit()
    return cohort


def held(cohort: Cohort) -> dict[str, Tensor]:
    """Weights, buffers and memory at the end and at the best epoch."""
    found: dict[str, Tensor] = {}
    for name, state in (("now", cohort._state.weights), ("best", cohort._best)):
        found |= {f"{name} flat": state.flat}
        found |= {f"{name} buffer {n}": b for n, b in state.buffers.items()}
        found |= {f"{name} memory {n}": t for n, t in state.memory.items()}
    return found


def assert_same(one: Cohort, other: Cohort, most: float = 0.0) -> None:
    mine, theirs = held(one), held(other)
    assert mine.keys() == theirs.keys()
    for name, tensor in mine.items():
        assert tensor.dtype == theirs[name].dtype, name
        assert (tensor.double() - theirs[name].double()).abs().max() <= most, name


def test_memory_is_that_of_a_plain_loop(
    make_cohort: Make, digits: Examples, perceptron: Callable[..., Model]
) -> None:
    """Torch's own optimiser, one model, and the formulas written out once more."""
    cohort = make_cohort(MEMBERS, sparsifier=Remembering(), epochs=EPOCHS)
    cohort.fit()
    x = (digits.x.double() - 8) / 8
    for m in range(3):
        module = perceptron().build(digits.shape, 10).double()
        with torch.no_grad():
            for name, value in module.named_parameters():
                value.copy_(cohort.initial_weights[name][m])
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
        matrices = {n: w for n, w in module.named_parameters() if w.ndim > 1}
        means = {n: w.detach().clone() for n, w in matrices.items()}
        bias = module.get_parameter("4.bias")
        steps, largest = 0, float("inf")
        seed = derive(derive(cohort.seeds[m], "fit", 0), "member")
        for epoch in range(EPOCHS):
            for rows in epoch_order(cohort._rows[m].member, seed, epoch, 16):
                loss = cross_entropy(module(x[rows]), digits.y[rows])
                for n, w in matrices.items():
                    loss = loss + 0.05 * ((w - means[n]) ** 2).sum()
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                with torch.no_grad():
                    bias.clamp_(-0.01, 0.01)
                steps += 1
            if epoch in (0, 2):
                means = {n: (means[n] + w.detach()) / 2 for n, w in matrices.items()}
            largest = min(largest, max(float(w.detach().abs().max()) for w in module.parameters()))
        for n, w in module.named_parameters():
            assert (cohort.weights[n][m] - w.detach()).abs().max() < 1e-12
        memory = cohort.memory
        for n, mean in means.items():
            assert (memory[f"mean {n}"][m] - mean).abs().max() < 1e-12
        assert int(memory["steps"][m]) == steps
        assert memory["epochs"][m].tolist() == [EPOCHS, EPOCHS]
        assert not bool(memory["odd"][m])
        assert abs(float(memory["largest"][m]) - largest) < 1e-12


WAYS: dict[str, dict[str, Any]] = {
    "a perceptron": {},
    "an end of each model's own": {"patience": 1, "lr": 0.3, "epochs": 6},
    "BatchNorm": {"model": CNN(width=2, norm="batch"), "momentum": 0.9},
}


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_every_way_to_train_remembers_the_same(
    make_cohort: Make, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    found: dict[str, Cohort] = {}
    order = ("graph", "chain", "vmapped", "plain")
    for number, way in enumerate(order):
        for other in order[:3]:
            suits = order.index(other) == number
            monkeypatch.setitem(choose._SUITS, other, lambda *given, suits=suits: suits)
        found[way] = fitted(make_cohort, stack=3, **options)
        assert list(found[way]._fits._ways.values()) == [way]
        alone = fitted(make_cohort, stack=1, **options)
        assert list(alone._fits._ways.values()) == [way]
        assert_same(alone, found[way], 1e-10)
    assert len(found["plain"].memory) >= 5
    for way in order[:3]:
        assert_same(found[way], found["plain"], 1e-10)


def test_a_stopped_model_remembers_what_it_did_when_it_stopped(make_cohort: Make) -> None:
    cohort = fitted(make_cohort, patience=1, lr=0.3, epochs=6)
    epochs = cohort.history[..., 1].isfinite().sum(1).float()
    assert len(set(epochs.tolist())) > 1  # they end at different times
    assert torch.equal(cohort.memory["epochs"][:, 0], epochs)
    steps = torch.tensor([2, 3, 3]) * epochs
    assert torch.equal(cohort.memory["steps"].float(), steps)
    cohort.rewind("best")
    best = cohort.history[..., 2].nan_to_num(-1).argmax(1) + 1
    assert torch.equal(cohort.memory["epochs"][:, 0], best.float())


def test_processes_remember_the_same(
    make_cohort: Make, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "_WORTH", 0)
    assert_same(fitted(make_cohort, workers=workers), fitted(make_cohort), 1e-12)


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_a_fit_that_was_stopped_remembers_to_the_bit(
    make_cohort: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    monkeypatch.setattr(making, "_SNAPSHOT_SECONDS", 0.0)
    undisturbed = fitted(make_cohort, **options)
    with pytest.raises(KeyboardInterrupt):
        fitted(make_cohort, journal=Journal(tmp_path / "units"), on_event=Stop(3), **options)
    (snapshot,) = contents(tmp_path).units
    assert schema_of(snapshot) == "snapshot"
    again = Stop(None)
    journal = Journal(tmp_path / "units")
    assert_same(fitted(make_cohort, journal=journal, on_event=again, **options), undisturbed)
    assert again.first == 3
    cached = Stop(None)  # and from its units
    assert_same(fitted(make_cohort, journal=journal, on_event=cached, **options), undisturbed)
    assert cached.first is None


def test_a_fit_in_processes_that_were_killed_goes_on(
    make_cohort: Make, tmp_path: Path, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "_WORTH", 0)
    monkeypatch.setattr(making, "_SNAPSHOT_SECONDS", 0.0)
    undisturbed = fitted(make_cohort, workers=workers)

    def kill() -> None:
        for process in workers._processes:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)

    journal = Journal(tmp_path / "units")
    with pytest.raises(PrivauditError, match="was killed"):
        fitted(make_cohort, journal=journal, workers=workers, on_event=Stop(3, kill))
    again = Stop(None)
    resumed = fitted(make_cohort, journal=journal, workers=workers, on_event=again)
    assert_same(resumed, undisturbed)
    assert (again.first or 0) > 1


def test_each_fit_begins_with_a_new_memory_and_rests_where_it_should(make_cohort: Make) -> None:
    cohort = make_cohort(MEMBERS, sparsifier=Resting(), epochs=2)
    assert cohort.memory == {}
    cohort.fit()
    assert cohort.memory["steps"].tolist() == [4, 6, 6]
    cohort.save("trained")
    cohort.fit(1)
    assert cohort.memory["steps"].tolist() == [2, 3, 3]
    cohort.fit(1, tune=True)
    assert cohort.memory == {}
    cohort.rewind("trained")
    assert cohort.memory["steps"].tolist() == [4, 6, 6]


def test_memory_is_a_copy_to_look_at(make_cohort: Make) -> None:
    cohort = make_cohort(MEMBERS, sparsifier=Remembering(), epochs=1)
    cohort.fit()
    cohort.memory["steps"].zero_()
    with pytest.raises(PluginError, match=r"writes into cohort\.memory"):
        cohort.fit()


def key(cohort: Cohort, **given: Any) -> str:
    fit = cohort._fit(False, None, {}, **given)
    return unit_keys("", fit)[0]


def test_a_sparsifier_without_memory_keeps_the_key_of_a_dense_network(make_cohort: Make) -> None:
    class Plain(Sparsifier):
        name: Literal["plain"] = "plain"

    dense = key(make_cohort(sparsifier=Sparsifier(name="none")))
    assert key(make_cohort(sparsifier=Plain())) == dense
    cohort = make_cohort(sparsifier=Remembering())
    other = make_cohort(sparsifier=Remembering(pull=0.5))
    assert len({dense, key(cohort), key(other)}) == 3
    hooks = {"memory": Remembering.memory, "remember": Remembering.remember}
    counting = type("Counting", (Sparsifier,), hooks)(name="counting")
    assert key(make_cohort(sparsifier=counting)) != dense  # its units hold a memory
    assert key(make_cohort(sparsifier=Resting())) == key(make_cohort(sparsifier=Resting()))
    assert key(cohort, sparsifier=Sparsifier(name="none")) == dense
    assert key(make_cohort(sparsifier=Plain()), sparsifier=Remembering()) == key(cohort)


def test_a_sparsifier_given_to_fit_is_in_force_for_that_fit(make_cohort: Make) -> None:
    given = make_cohort(MEMBERS, epochs=2)
    given.fit(sparsifier=Remembering())
    own = make_cohort(MEMBERS, epochs=2, sparsifier=Remembering())
    own.fit()
    assert_same(given, own)
    free = make_cohort(MEMBERS, epochs=2, sparsifier=Remembering())
    free.fit(sparsifier=Sparsifier(name="none"))
    dense = make_cohort(MEMBERS, epochs=2)
    dense.fit()
    assert_same(free, dense)
    assert not torch.equal(free.weights["1.weight"], own.weights["1.weight"])


class Preparing(Sparsifier):
    name: Literal["preparing"] = "preparing"
    width: int = 4

    def prepare(self, module: nn.Module) -> nn.Module:
        return module


def test_the_key_knows_who_prepared_the_network(make_cohort: Make) -> None:
    keys = {
        key(make_cohort(sparsifier=Preparing(width=width)), sparsifier=Remembering())
        for width in (4, 5)
    }
    assert len(keys) == 2
    with pytest.raises(PluginError, match="cannot prepare networks"):
        make_cohort().fit(sparsifier=Preparing())
    with pytest.raises(PluginError, match=r"not a privaudit\.Sparsifier"):
        make_cohort().fit(sparsifier=MLP(hidden=(3,)))


Hook = Callable[..., Any]


def wrong(**hooks: Hook) -> Sparsifier:
    return type("Wrong", (Remembering,), dict(hooks))(name="remembering")  # type: ignore[no-any-return]


MISTAKES: dict[str, tuple[dict[str, Hook], str]] = {
    "no mapping": (
        {"memory": lambda self, weights: [1]}, "memory.*gives list, not a mapping of tensors",
    ),
    "nothing": ({"memory": lambda self, weights: None}, "memory.*gives NoneType, not a mapping"),
    "no tensor": ({"memory": lambda self, weights: {"a": 1.0}}, "memory.*float for 'a', no tensor"),
    "a number as name": (
        {"memory": lambda self, weights: {1: torch.zeros(1)}}, "tensor 1: a name is a text",
    ),
    "the name of a weight": (
        {"memory": lambda self, weights: dict(weights)}, "'hidden1.weight', as a weight is called",
    ),
    "complex numbers": (
        {"memory": lambda self, weights: {"a": torch.zeros(1, dtype=torch.complex64)}},
        "complex64 for 'a', which cannot be kept",
    ),
    "a sparse tensor": (
        {"memory": lambda self, weights: {"a": torch.eye(2).to_sparse()}},
        "sparse_coo for 'a', which cannot be kept",
    ),
    "shapes by values": (
        {"memory": lambda self, weights: {"a": weights["hidden1.weight"].relu().nonzero()}},
        "other names, shapes or kinds of numbers for some models",
    ),
    "an error": ({"memory": lambda self, weights: {"a": weights["nobody"]}}, "KeyError"),
    "a ghost in remember": (
        {"remember": lambda self, weights, epoch: {"ghost": epoch}},
        "remember.*names a tensor 'ghost' that the memory lacks",
    ),
    "a weight in remember": (
        {"remember": lambda self, weights, epoch: dict(weights)},
        "remember.*'hidden1.weight' that the memory lacks",
    ),
    "another shape": (
        {"remember": lambda self, weights, epoch: {"steps": torch.zeros(3, dtype=torch.int64)}},
        r"remember.*shape \(3,\) for one of shape \(\)",
    ),
    "another kind of numbers": (
        {"remember": lambda self, weights, epoch: {"steps": epoch.double()}},
        "remember.*float64 for torch.int64",
    ),
    "a ghost in project": (
        {"project": lambda self, weights, epoch: {"ghost": epoch}},
        "project.*names a weight 'ghost' that the network lacks",
    ),
    "none in remember": (
        {"remember": lambda self, weights, epoch: None}, "remember.*NoneType, not a mapping",
    ),
    "memory that is not there": (
        {"penalty": lambda self, weights: weights.memory["nobody"].sum()}, "KeyError",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("hooks", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_before_anything_is_trained(
    make_cohort: Make, hooks: dict[str, Hook], words: str
) -> None:
    stop = Stop(None)
    with pytest.raises(PluginError, match=words) as raised:
        fitted(make_cohort, sparsifier=wrong(**hooks), on_event=stop)
    assert stop.first is None
    assert "Wrong" in str(raised.value) or "remembering" in str(raised.value)


def test_a_branch_on_memory_is_trained_one_after_another(
    make_cohort: Make, caplog: pytest.LogCaptureFixture
) -> None:
    def remember(self: Remembering, weights: Weights, epoch: Tensor) -> Mapping[str, Tensor]:
        steps = weights.memory["steps"]
        return {"steps": steps + 1 if steps > 100 else steps}

    branching = fitted(make_cohort, sparsifier=wrong(remember=remember))
    assert list(branching._fits._ways.values()) == ["plain"]
    assert "slower" in caplog.text


def test_what_is_drawn_is_each_model_s_own(make_cohort: Make) -> None:
    def memory(self: Sparsifier, weights: Weights) -> Mapping[str, Tensor]:
        return {"drawn": torch.randn(3, dtype=torch.float64)}

    drawing = type("Drawing", (Sparsifier,), {"memory": memory})(name="drawing")
    together = make_cohort(MEMBERS, sparsifier=drawing, epochs=1)
    drawn: list[Tensor] = []
    for _ in range(2):
        torch.manual_seed(len(drawn))
        together.fit()
        drawn.append(together.memory["drawn"])
    assert not torch.equal(drawn[0], drawn[1])  # each fit draws anew
    assert len({tuple(row.tolist()) for row in drawn[0]}) == 3
    alone = make_cohort(MEMBERS, models=[1], sparsifier=drawing, epochs=1)
    alone.fit()
    assert torch.equal(alone.memory["drawn"][0], drawn[0][1])


CHECKED: dict[str, tuple[dict[str, Hook], str]] = {
    "writes into weights": (
        {"memory": lambda self, weights: {"a": next(iter(weights.values())).zero_()}},
        "memory.*writes into the weights that it is given",
    ),
    "writes into the memory": (
        {"remember": lambda self, weights, epoch: {"epochs": weights.memory["epochs"].add_(1)}},
        "remember.*writes into the memory that it is given",
    ),
    "a branch": (
        {"remember": lambda self, weights, epoch: {"odd": epoch == 1} if epoch > 0 else {}},
        r"remember.*choose with torch\.where",
    ),
    **{name: MISTAKES[name] for name in ("no mapping", "a ghost in remember", "none in remember")},
}


def test_check_plugin_accepts_a_memory() -> None:
    check_plugin(Remembering)


@pytest.mark.parametrize(("hooks", "words"), CHECKED.values(), ids=CHECKED)
def test_check_plugin_says_what_is_wrong_with_a_memory(hooks: dict[str, Hook], words: str) -> None:
    with pytest.raises((PluginError, AssertionError), match=words):
        check_plugin(type("Wrong", (Remembering,), {"__doc__": "Wrong."} | hooks))


def test_remember_without_memory_is_refused() -> None:
    hooks = {"remember": Remembering.remember, "__annotations__": {"name": "Literal['half']"}}
    half = type("Half", (Sparsifier,), hooks | {"name": "half", "__module__": __name__})
    with pytest.raises(PluginError, match="writes remember, which is never called: write `memory`"):
        check_class(half)
