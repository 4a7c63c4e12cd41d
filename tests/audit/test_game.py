"""What a second player sees: batches of its own, plain examples, answers in evaluation mode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, islice
from typing import Any, ClassVar, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from privaudit import Defense, Examples, Model, Step
from privaudit.cohort import Cohort, unit_keys
from privaudit.keys import derive
from privaudit.networks.state import State
from privaudit.store.journal import Journal
from privaudit.train.dataset import epoch_order
from privaudit.train.ways import choose
from privaudit_plugins.defenses.min_max import MinMax
from privaudit_plugins.models.cnn import CNN

Make = Callable[..., Cohort]
MEMBERS = [20, 33, 48]  # two and three batches of 16


class Odds(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(classes, 1)

    def forward(self, logits: Tensor, y: Tensor) -> Tensor:
        guess: Tensor = self.layer(logits.softmax(-1))[:, 0]
        return guess


class Recorded(Defense):
    """Keeps what either player sees; what it keeps is no option."""

    reference: ClassVar[bool] = True
    seen: ClassVar[list[tuple[str, Step]]] = []

    name: str = "recorded"
    steps: int = 3
    shift: float = 0.0

    def companion(self, classes: int) -> nn.Module:
        return Odds(classes)

    def companion_schedule(self) -> tuple[int, float]:
        return self.steps, 1e-2

    def inputs(self, x: Tensor, key: Tensor) -> Tensor:
        return x + self.shift

    def companion_loss(self, step: Step) -> Tensor:
        self.seen.append(("companion", step))
        assert step.companion is not None
        inside = step.companion(step.logits, step.y)
        outside = step.companion(step.reference_logits, step.reference_y)
        return -(logsigmoid(inside).mean() + logsigmoid(-outside).mean()) / 2

    def loss(self, step: Step) -> Tensor:
        self.seen.append(("network", step))
        return super().loss(step)


@pytest.fixture
def one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain way, in which hooks see numbers."""
    for way in ("chain", "vmapped", "graph"):
        monkeypatch.setitem(choose._SUITS, way, lambda *given: False)
    Recorded.seen.clear()


def in_turn(cohort: Cohort, role: str, epoch: int, size: int) -> Iterator[Tensor]:
    """Rows of the first model's batches for its companion."""
    own = derive(derive(cohort.seeds[0], "fit", 0), "companion", role, epoch)
    again = 0
    while True:
        yield from epoch_order(getattr(cohort._rows[0], role), own, again, size)
        again += 1


def fitted(make: Make, model: Model, **options: Any) -> tuple[Cohort, list[tuple[str, Step]]]:
    """A cohort of one model that stands still, and what players saw, without the engine's trial."""
    settings: dict[str, Any] = {"epochs": 2, "lr": 1e-300, "augment": True, "reference": 24}
    cohort = make([40], model=model, **settings | options)
    cohort._fits._way(cohort._fit(False, None, {}))
    Recorded.seen.clear()
    cohort.fit()
    return cohort, list(Recorded.seen)


def test_an_attacker_draws_its_own_batches_of_plain_examples_and_plain_answers(
    make_cohort: Make,
    digits: Examples,
    convolutional: Callable[..., Model],
    one_after_another: None,
) -> None:
    """BatchNorm and dropout in the network, augmented images, and inputs that a defense changes."""
    model = convolutional(dropout=0.5)
    cohort, seen = fitted(make_cohort, model, defense=Recorded(steps=10, shift=3.0))
    assert [who for who, _ in seen] == (["companion"] * 10 + ["network"]) * 3 * 2
    turn = [step for _, step in seen[:10]]  # the network is still the one that it began as
    module = model.build(digits.shape, 10).double().eval()
    start = make_cohort([40], model=model, defense=Recorded(), reference=24).states()[0]
    nn.utils.vector_to_parameters(start.flat.clone(), module.parameters())
    x = (digits.x.double() - 8) / 8
    inside, outside = in_turn(cohort, "member", 0, 16), in_turn(cohort, "reference", 0, 16)
    for step, rows, others in zip(turn, inside, outside, strict=False):
        assert (step.logits - module(x[rows])).abs().max() < 1e-12
        assert step.reference_logits is not None
        assert step.reference_y is not None
        assert (step.reference_logits - module(x[others])).abs().max() < 1e-12
        assert torch.equal(step.y, digits.y[rows])
        assert torch.equal(step.reference_y, digits.y[others])
    assert len({step.logits.detach().numpy().tobytes() for step in turn}) == 10
    assert len({int(step.key) for _, step in seen}) == len(seen)
    trained_on = seen[10][1].logits  # by the network's step: moved, shifted, dropped
    assert min((trained_on - step.logits).abs().max() for step in turn) > 1e-2


def test_a_pass_goes_through_all_members_and_all_others_before_the_next(
    make_cohort: Make, perceptron: Callable[..., Model], one_after_another: None
) -> None:
    cohort, seen = fitted(make_cohort, perceptron(), defense=Recorded(steps=3), batch_size=8)
    rows = cohort._rows[0]
    answers = {
        role: cohort.logits()[0][getattr(rows, role)].numpy().tobytes()
        for role in ("member", "reference")
    }
    row_of = {
        role: {bytes(a): n for n, a in enumerate(_rows(text, 10))} for role, text in answers.items()
    }
    shown = [step for who, step in seen if who == "companion"]
    assert len(shown) == 2 * 5 * 3  # epochs, batches of 8 members, steps
    epochs: list[list[list[int]]] = []
    for role, name in (("member", "logits"), ("reference", "reference_logits")):
        orders = [
            [row_of[role][bytes(a)] for a in _rows(getattr(s, name).detach().numpy().tobytes(), 10)]
            for s in shown
        ]
        each = 5 if role == "member" else 3  # batches in a pass
        for first in range(0, 15, each):
            passed = sorted(chain.from_iterable(orders[first : first + each]))
            assert passed == list(range(8 * each)), role
        epochs.append(orders)
        assert orders[:15] != orders[15:]  # another epoch is another order
        assert orders[:each] != orders[each : 2 * each]
    network = [s.logits for who, s in seen if who == "network"]
    assert not any(torch.equal(network[0], s.logits) for s in shown[:3])


def _rows(text: bytes, width: int) -> list[bytes]:
    return [text[i : i + 8 * width] for i in range(0, len(text), 8 * width)]


def test_the_network_stands_still_while_its_attacker_learns(
    make_cohort: Make, perceptron: Callable[..., Model], one_after_another: None
) -> None:
    """More steps than are answered at once: the first and the last see the same network."""
    cohort, seen = fitted(make_cohort, perceptron(), defense=Recorded(steps=10), lr=0.5)
    orders = in_turn(cohort, "member", 0, 16)
    by_row: list[dict[int, Tensor]] = []
    for turn in range(2):
        steps = [step for _, step in seen[11 * turn : 11 * turn + 10]]
        rows = [r.tolist() for r in islice(orders, 10)]
        by_row.append({})
        for step, own in zip(steps, rows, strict=True):
            for row, answer in zip(own, step.logits.detach(), strict=True):
                before = by_row[turn].setdefault(row, answer)
                assert (before - answer).abs().max() < 1e-12
    moved = [(by_row[0][row] - by_row[1][row]).abs().max() for row in by_row[0]]
    assert min(moved) > 1e-4


CASES: dict[str, dict[str, Any]] = {
    "BatchNorm, dropout, augmentation and an end of each model's own": {
        "model": "convolutional", "augment": True, "patience": 1, "epochs": 4, "momentum": 0.9,
    },
    "more steps than are answered at once": {
        "model": CNN(width=2), "defense": MinMax(steps=9, width=0.02), "epochs": 1,
    },
    "the linear form": {
        "model": CNN(width=2), "defense": MinMax(form="linear", weight=3, width=0.02),
    },
}  # fmt: skip


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_every_way_and_every_company_plays_the_same_game(
    make_cohort: Make,
    convolutional: Callable[..., Model],
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
) -> None:
    options = {"defense": MinMax(steps=2, weight=2.0, width=0.02), "lr": 0.05} | options
    if options["model"] == "convolutional":
        options["model"] = convolutional(dropout=0.2)

    def by(way: str, **more: Any) -> list[State]:
        for other in ("graph", "chain", "vmapped"):
            monkeypatch.setitem(choose._SUITS, other, lambda *given, other=other: other == way)
        cohort = make_cohort(MEMBERS, **options | more)
        cohort.fit()
        assert set(cohort._fits._ways.values()) == {way}
        return cohort.states()

    expected = by("plain")
    for way, more in (
        ("vmapped", {"stack": 3}), ("vmapped", {"stack": 1}), ("graph", {"stack": 3}),
        ("plain", {"models": [1]}),
    ):  # fmt: skip
        found = by(way, **more)
        for one, other in zip(found, expected[1:2] if len(found) == 1 else expected, strict=True):
            assert (one.flat - other.flat).abs().max() < 1e-10, way
            assert (one.companion - other.companion).abs().max() < 1e-10, way
            for name, buffer in other.buffers.items():
                assert (one.buffers[name] - buffer).abs().max() < 1e-10, way


class Drawing(Recorded):
    """Draws from torch's own generator, as dropout of an author's own would."""

    name: Literal["drawing"] = "drawing"
    drawn: ClassVar[list[float]] = []

    def companion_loss(self, step: Step) -> Tensor:
        self.drawn.append(float(torch.rand(())))
        return super().companion_loss(step)


def test_each_of_an_attacker_s_steps_draws_anew_and_the_same_again(
    make_cohort: Make, perceptron: Callable[..., Model], one_after_another: None
) -> None:
    drawn = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        Drawing.drawn.clear()
        fitted(make_cohort, perceptron(), defense=Drawing(steps=10))
        drawn.append(Drawing.drawn[1:])  # the first is the engine's trial
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == len(drawn[0]) == 2 * 3 * 10


class Counting(Recorded):
    """Its loss depends on how often it was asked, which differs where models share a step."""

    name: Literal["counting"] = "counting"
    asked: ClassVar[list[int]] = [0]

    def companion_loss(self, step: Step) -> Tensor:
        self.asked[0] += 1
        return super().companion_loss(step) * self.asked[0]


def test_a_companion_that_learns_otherwise_in_company_is_trained_alone(
    make_cohort: Make, perceptron: Callable[..., Model]
) -> None:
    for defense, way in ((Recorded(), "vmapped"), (Counting(), "plain")):
        cohort = make_cohort(MEMBERS, model=perceptron(), defense=defense)
        choice = cohort._fits._way(cohort._fit(False, None, {}))
        assert choice == way


class Branching(Model):
    """Looks at its examples in evaluation mode alone, which no stack of models can."""

    name: Literal["branching"] = "branching"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return _Branching(classes)


class _Branching(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.output = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training and x.sum() > 1e9:
            x = x * 2
        answer: Tensor = self.output(x.flatten(1))
        return answer


def test_a_network_that_no_stack_can_ask_is_asked_alone(make_cohort: Make) -> None:
    nobody, someone = Defense(name="none"), Recorded()
    for defense, validation, way in (
        (nobody, 0, "vmapped"), (nobody, 12, "plain"), (someone, 0, "plain"), (someone, 12, "plain")
    ):  # fmt: skip
        cohort = make_cohort(
            MEMBERS, model=Branching(), defense=defense, validation=validation, stack=3
        )
        assert cohort._fits._way(cohort._fit(False, None, {})) == way
        cohort.fit()


def test_a_companion_without_steps_stays_as_it_is(
    make_cohort: Make, perceptron: Callable[..., Model]
) -> None:
    cohort = make_cohort(MEMBERS, model=perceptron(), defense=Recorded(steps=0))
    before = cohort.states()
    cohort.fit()
    for one, other in zip(before, cohort.states(), strict=True):
        assert torch.equal(one.companion, other.companion)
        assert not torch.equal(one.flat, other.flat)


def test_units_of_another_game_are_not_found_and_those_of_none_are(
    make_cohort: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """What was trained before companions had batches of their own is trained again."""

    def found(defense: Defense) -> int:
        cohort = make_cohort(MEMBERS, defense=defense, journal=Journal(tmp_path), epochs=1)
        cohort.fit()
        return cohort.records[0].found

    games: tuple[Defense, ...] = (MinMax(width=0.02), Defense(name="none"))
    assert [found(game) for game in games] == [0, 0]
    assert [found(game) for game in games] == [3, 3]
    monkeypatch.setattr(unit_keys, "_GAME", "another")
    assert [found(game) for game in games] == [0, 3]


def test_a_batch_of_fewer_reference_examples_than_it_holds_has_them_again(
    make_cohort: Make, digits: Examples, perceptron: Callable[..., Model], one_after_another: None
) -> None:
    """Three reference examples in batches of 16: each is there five times or six."""
    few = replace(digits, augmentation=None)
    _, seen = fitted(make_cohort, perceptron(), defense=Recorded(), examples=few, reference=3)
    for _, step in (entry for entry in seen if entry[0] == "companion"):
        assert step.reference_logits is not None
        answers = Counter(_rows(step.reference_logits.detach().numpy().tobytes(), 10))
        assert sorted(answers.values()) == [5, 5, 6]
