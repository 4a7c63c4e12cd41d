"""What a plugin raises or breaks is told in its author's words, wherever the engine meets it."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.nn.functional import cross_entropy

import privaudit
from privaudit.api.blame import origin
from privaudit.api.boundary import blamed, guest, guests
from privaudit.api.calls import (
    finished,
    loaded,
    promised,
    refused_by_attack,
    refused_by_split,
    scored,
)
from privaudit.api.host import load_plugins
from privaudit.errors import DataError, PluginError
from privaudit.testing.material import tiny_cohort, tiny_signals
from privaudit_plugins.attacks.loss import Loss

B, C = 6, 3


def vmapped(loss: Callable[[privaudit.Step], Tensor], *, differentiate: bool = True) -> None:
    """Two models' gradients at once, as the engine takes them, or their losses alone."""

    def of(logits: Tensor, y: Tensor, epoch: Tensor, key: Tensor) -> Tensor:
        return loss(privaudit.Step(logits, y, epoch, key))

    y = torch.arange(2 * B).view(2, B) % C
    vmap(grad(of) if differentiate else of)(
        torch.ones(2, B, C), y, torch.tensor([1, 5]), torch.tensor([7, 8])
    )


class Losing(privaudit.Defense):
    """Branches on a value."""

    name: Literal["losing"] = "losing"

    def loss(self, step: privaudit.Step) -> Tensor:
        if step.epoch > 3:
            return cross_entropy(step.logits, step.y)
        return 2 * cross_entropy(step.logits, step.y)


class Network(nn.Module):
    """Takes images with channels first only."""

    def forward(self, x: Tensor) -> Tensor:
        return x.view(len(x), -1)


class Building(privaudit.Model):
    """Builds such a network, or ends the program."""

    name: Literal["building"] = "building"
    ends: bool = False

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        if self.ends:
            raise SystemExit("enough")
        return Network()


class Scoring(privaudit.Attack):
    """Answers with scores of another kind."""

    name: Literal["scoring"] = "scoring"
    mistake: str = ""

    def score(self, signals: privaudit.Signals) -> Any:
        logits = signals.target.logits[0]
        answers: dict[str, dict[str, Any]] = {
            "list": {"score": [1.0]},
            "counts": {"score": logits.argmax(-1)},
            "verdict": {"score": logits.amax(-1), "decision": [True]},
        }
        return privaudit.AttackScores(**answers[self.mistake])


class Scripted(privaudit.Sparsifier):
    """Trains."""

    name: Literal["scripted"] = "scripted"


@pytest.mark.parametrize(
    ("mistake", "expected"),
    [
        ("list", "gives list as scores, not a tensor of 40 numbers"),
        ("counts", "must give scores as floating-point numbers, not torch.int64"),
        ("verdict", "gives list as its decision"),
    ],
)
def test_scores_of_another_kind_are_refused(mistake: str, expected: str) -> None:
    with pytest.raises(PluginError, match=expected):
        scored(Scoring(mistake=mistake), tiny_signals(Scoring()))


@pytest.mark.parametrize(
    "error",
    [
        DataError("the file is damaged"),
        PluginError("not with this split"),
        torch.OutOfMemoryError("too much"),
        KeyboardInterrupt(),
    ],
)
def test_what_is_no_mistake_of_the_plugin_passes_untouched(error: BaseException) -> None:
    for boundary in (guest(Loss(), "score"), guests(Loss())):
        with pytest.raises(type(error)) as caught, boundary:
            raise error
        assert caught.value is error


@pytest.mark.parametrize("opened", [lambda: guest(Loss(), "score"), lambda: guests(Loss())])
def test_a_boundary_that_an_interrupt_leaves_open_is_put_away_in_silence(opened: Any) -> None:
    """As where Ctrl-C comes between its beginning and what stands inside."""
    left = opened()
    left.__enter__()
    left.gen.close()
    with pytest.raises(PluginError, match="GeneratorExit"), guest(Loss(), "score"):
        raise GeneratorExit


def test_a_plugin_that_ends_the_program_is_told() -> None:
    model = Building(ends=True)
    for boundary in (guest(model, "build"), guests(model)):
        with pytest.raises(PluginError, match=r"build .*SystemExit: enough"), boundary:
            model.build((C,), C)


def test_long_words_are_cut_and_an_error_without_words_is_named() -> None:
    with pytest.raises(PluginError) as caught, guest(Loss(), "score"):
        raise ValueError("long " * 100)
    assert len(str(caught.value)) < 420
    with pytest.raises(PluginError, match=r"AssertionError$"), guest(Loss(), "score"):
        raise AssertionError


def test_an_error_survives_pickling_with_all_it_carries() -> None:
    losing = Losing()
    with pytest.raises(PluginError) as caught, guests(losing):
        vmapped(losing.loss)
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is PluginError
    assert str(again) == str(caught.value)
    assert again.original == caught.value.original
    assert "if step.epoch > 3" in again.original
    assert "RuntimeError: vmap" in again.original


def test_a_load_error_survives_pickling() -> None:
    (error,) = load_plugins(entry_points=[EntryPoint("x", "no.such", "privaudit")]).problems
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.name, again.kind) == (str(error), error.name, error.kind)


def test_an_error_is_blamed_on_the_plugin_whose_frame_is_deepest() -> None:
    losing, scripted = Losing(), Scripted()

    def sparsify() -> None:
        with guest(scripted, "sparsify", losing):
            vmapped(losing.loss)

    with pytest.raises(PluginError, match=r"^defense 'losing' .*: loss "):
        sparsify()


def test_an_error_of_a_network_is_blamed_on_its_model() -> None:
    plugins = (Scripted(), Building(), Losing())
    network = plugins[1].build((C,), C)
    expected = r"^model 'building' .*: Network\.forward "
    with pytest.raises(PluginError, match=expected), guests(*plugins):
        network(torch.ones(2, C, 2).mT)


def test_an_error_without_a_plugin_s_frame_is_nobody_s() -> None:
    with pytest.raises(RuntimeError) as caught, guests(Loss()):
        torch.ones(2) + torch.ones(3)
    assert blamed(caught.value, Loss()) is None


class Wrapping(privaudit.Defense):
    """Hands its loss on to another defense."""

    name: Literal["wrapping"] = "wrapping"
    inner: Losing = Losing()

    def loss(self, step: privaudit.Step) -> Tensor:
        return self.inner.loss(step)


def test_a_defense_inside_another_is_told_of_its_own_mistake() -> None:
    wrapping = Wrapping()
    with pytest.raises(PluginError, match=r"^defense 'losing'"), guests(wrapping):
        vmapped(wrapping.loss)


def test_built_in_plugins_are_of_privaudit() -> None:
    assert origin(Loss) == f"privaudit {privaudit.__version__}"
    signals = tiny_signals(Loss())
    broken: Any = replace(signals, target=None)  # type: ignore[arg-type]
    with pytest.raises(PluginError, match=r"^attack 'loss' of privaudit .*attacks/\w+\.py:\d+\): "):
        scored(Loss(), broken)


class Careless(privaudit.Defense):
    """Every hook that is called outside training is wrong."""

    name: Literal["careless"] = "careless"
    raises: bool = True

    def refusal(self, split: privaudit.SplitOptions) -> Any:
        return self.wrong()

    def epsilon(self, rate: float, steps: int) -> Any:
        return self.wrong()

    def finish(self, cohort: privaudit.Cohort) -> None:
        self.wrong()

    def wrong(self) -> int:
        if self.raises:
            raise ZeroDivisionError("oh")
        return -1


class Refusing(privaudit.Attack):
    """Does not say why."""

    name: Literal["refusing"] = "refusing"

    def refusal(self, split: privaudit.SplitOptions, shadows: int) -> Any:
        return True


class Picky(privaudit.Sparsifier):
    """Neither says why."""

    name: Literal["picky"] = "picky"
    raises: bool = True

    def refusal(self, split: privaudit.SplitOptions) -> Any:
        return 1 / 0 if self.raises else False


class Reading(privaudit.Dataset):
    """Reads nothing."""

    name: Literal["reading"] = "reading"
    needs: ClassVar[tuple[str, ...]] = ()

    def load(self, root: Path) -> Any:
        return None


class Doubling(Reading):
    """Gives numbers that no network takes."""

    name: Literal["doubling"] = "doubling"  # type: ignore[assignment]

    def load(self, root: Path) -> Any:
        zero, one = torch.tensor(0.0), torch.tensor(1.0)
        return privaudit.Examples(
            torch.zeros(2, 3).double(), torch.arange(2), ("a", "b"), zero, one
        )


def test_examples_that_cannot_be_are_told_of_the_plugin_that_made_them() -> None:
    with pytest.raises(PluginError, match=r"^dataset 'doubling' .*: load .* got torch\.float64"):
        loaded(Doubling(), Path())


def test_hooks_around_training_are_called_through_the_boundary() -> None:
    split, wrong = privaudit.SplitOptions(), Careless(raises=False)
    for hook, call in (
        ("refusal", lambda: refused_by_split(Careless(), split)),
        ("epsilon", lambda: promised(Careless(), 0.1, 1, 9)),
        ("finish", lambda: finished(Careless(), tiny_cohort(Scripted()))),
    ):
        with pytest.raises(PluginError, match=f"^defense 'careless' .*: {hook} .*ZeroDivision"):
            call()
    with pytest.raises(PluginError, match=r"refusal .* a reason in text, or None: not -1"):
        refused_by_split(wrong, split)
    with pytest.raises(PluginError, match=r"^sparsifier 'picky' .*: refusal .*ZeroDivision"):
        refused_by_split(Picky(), split)
    with pytest.raises(PluginError, match=r"refusal .* a reason in text, or None: not False"):
        refused_by_split(Picky(raises=False), split)
    assert refused_by_split(Scripted(), split) is None
    with pytest.raises(PluginError, match=r"epsilon .* a number from 0 on, or None: not -1"):
        promised(wrong, 0.1, 1, 9)
    with pytest.raises(PluginError, match=r"refusal .* not True"):
        refused_by_attack(Refusing(), split, 1)
    with pytest.raises(PluginError, match=r"load .* gives None, not privaudit\.Examples"):
        loaded(Reading(), Path())


class MuteError(Exception):
    """Ends the program of whoever asks what it says."""

    def __str__(self) -> str:
        raise SystemExit(0)


def test_an_error_whose_words_end_the_program_is_told_all_the_same(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="MuteError"), guest(Loss(), "score"):
        raise MuteError
    path = tmp_path / "mute.py"
    path.write_text(
        "class Mute(Exception):\n    def __str__(self):\n        raise SystemExit(0)\nraise Mute\n"
    )
    with pytest.raises(PluginError, match=r"mute\.py:4: Mute: without words that can be read"):
        load_plugins(files=[path])
