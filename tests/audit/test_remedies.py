"""Who makes a known mistake in a plugin is told where, what happened, and the remedy."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn.functional import cross_entropy, dropout, one_hot

import privaudit
from privaudit.api.boundary import guest, guests
from privaudit.api.calls import (
    labels,
    scheduled,
    scored,
)
from privaudit.api.remedies import REMEDIES
from privaudit.errors import PluginError
from privaudit.testing.material import tiny_cohort, tiny_signals

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
    """Its loss makes one mistake, by name."""

    name: Literal["losing"] = "losing"
    mistake: str

    def loss(self, step: privaudit.Step) -> Tensor:
        return LOSSES[self.mistake](step)

    def schedule(self, training: privaudit.Training) -> privaudit.Training:
        training.epochs = 5  # type: ignore[misc]
        return training


def branching(step: privaudit.Step) -> Tensor:
    if step.epoch > 3:
        return cross_entropy(step.logits, step.y)
    return 2 * cross_entropy(step.logits, step.y)


def encoding(step: privaudit.Step) -> Tensor:
    return (one_hot(step.y, C) * step.logits).mean()


def masking(step: privaudit.Step) -> Tensor:
    each = cross_entropy(step.logits, step.y, reduction="none")
    return each[each > 0.1].mean()


def drawing(step: privaudit.Step) -> Tensor:
    return (step.logits + torch.randn_like(step.logits)).mean()


def counting(step: privaudit.Step) -> Tensor:
    loss = cross_entropy(step.logits, step.y)
    return loss * loss.item()


def leaving(step: privaudit.Step) -> Tensor:
    return step.logits.mean() * float(step.y.cpu().numpy().mean())


def writing(step: privaudit.Step) -> Tensor:
    return torch.ones(1, C).expand(B, C).mul_(2).mean() * step.logits.mean()


def misspelling(step: privaudit.Step) -> Tensor:
    return step.logit.mean()  # type: ignore[attr-defined, no-any-return]


def referring(step: privaudit.Step) -> Tensor:
    return step.reference_logits.mean()  # type: ignore[union-attr]


def averaged(logits: Any) -> Tensor:
    mean: Tensor = logits.mean()
    return mean


def handing_on(step: privaudit.Step) -> Tensor:
    return averaged(step.reference_logits)


def elsewhere(step: privaudit.Step) -> Tensor:
    return cross_entropy(step.logits, torch.zeros(B, dtype=torch.int64, device="meta"))


def valuing(step: privaudit.Step) -> Tensor:
    return step.logits.mean() * len(range(step.epoch))


LOSSES = {
    "branch": branching,
    "one_hot": encoding,
    "mask": masking,
    "random": drawing,
    "number": counting,
    "numpy": leaving,
    "in place": writing,
    "misspelt": misspelling,
    "reference": referring,
    "handed on": handing_on,
    "device": elsewhere,
    "item": valuing,
}


class Network(nn.Module):
    """Makes one mistake when it is called."""

    def __init__(self, mistake: str) -> None:
        super().__init__()
        self.mistake = mistake
        self.norm = nn.BatchNorm1d(C)
        self.recurrent = nn.LSTM(C, C)

    def forward(self, x: Tensor) -> Tensor:
        if self.mistake == "view":
            return x.view(len(x), -1)
        if self.mistake == "dropout":
            return dropout(x)
        if self.mistake == "no form for many":
            states: Tensor = self.recurrent(x[:, None])[0]
            return states
        if self.mistake == "number of a network":
            return x * float(x.max())
        if self.mistake == "branch of a network":
            return x if x.mean() > 0 else -x
        if self.mistake == "item of a network":
            return x * len(range(x.long().max()))
        answer: Tensor = self.norm(x)
        return answer


OF_NETWORKS = ("number of a network", "branch of a network", "item of a network")


class Building(privaudit.Model):
    """Builds such a network."""

    name: Literal["building"] = "building"
    mistake: str = "batch of one"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return Network(self.mistake)


class Scoring(privaudit.Attack):
    """Answers with what is not scores."""

    name: Literal["scoring"] = "scoring"
    mistake: str = ""

    def score(self, signals: privaudit.Signals) -> Any:
        logits = signals.target.logits
        if self.mistake == "noisy":
            return signals.target.noisy.mean()  # type: ignore[union-attr]
        if self.mistake == "gradient norm":
            return -signals.target.gradient_norm  # type: ignore[operator]
        if self.mistake == "original":
            return signals.target.original.logits  # type: ignore[union-attr]
        answers: dict[str, Any] = {
            "bare tensor": logits[0].amax(-1),
            "queries": privaudit.AttackScores(logits.amax(-1)),
        }
        return answers[self.mistake]


class Forgetting(privaudit.Sparsifier):
    """Makes a mistake in its script."""

    name: Literal["forgetting"] = "forgetting"
    mistake: str = ""

    def sparsify(self, cohort: privaudit.Cohort) -> Any:
        if self.mistake == "yield":
            return None
        return ["a", "b"] if self.mistake == "list of labels" else self.script(cohort)

    def script(self, cohort: privaudit.Cohort) -> Iterator[Any]:
        if self.mistake == "stacked":
            cohort.prune(0.5, {n: w[0].abs() for n, w in cohort.weights.items()})
        if self.mistake == "frozen":
            self.mistake = ""  # type: ignore[misc]
        yield 1 if self.mistake == "no text" else "a"
        if self.mistake == "late":
            raise KeyError("late")


class Unwritten(privaudit.Attack):
    """Has no score."""

    name: Literal["unwritten"] = "unwritten"


def told(mistake: str) -> str:
    """The message for a mistake."""
    with pytest.raises(PluginError) as caught:
        make(mistake)
    return str(caught.value)


def make(mistake: str) -> None:
    """Make a mistake where the engine would meet it."""
    if mistake in LOSSES:
        losing = Losing(mistake=mistake)
        with guest(losing, "loss"):
            vmapped(losing.loss, differentiate=mistake != "item")
    elif mistake == "frozen training":
        scheduled(Losing(mistake=mistake), privaudit.Training())
    elif mistake in ("view", "dropout", "batch of one", *OF_NETWORKS):
        network = Building(mistake=mistake).build((C,), C)
        x = torch.ones(2, C, 2).mT if mistake == "view" else torch.ones(1, C)
        with guests(Building(mistake=mistake)):
            stacked = mistake in ("dropout", *OF_NETWORKS)
            vmap(network, randomness="error")(x[None]) if stacked else network(x)
    elif mistake == "no form for many":
        model = Building(mistake=mistake)
        networks = [model.build((C,), C) for _ in range(2)]
        with guests(model):
            vmap(lambda weights: functional_call(networks[0], weights, torch.ones(2, C)))(
                stack_module_state(networks)[0]
            )
    elif mistake in ("bare tensor", "queries", "noisy", "gradient norm", "original"):
        scored(Scoring(mistake=mistake), tiny_signals(Scoring()))
    elif mistake == "unwritten":
        scored(Unwritten(), tiny_signals(Scoring()))
    else:
        sparsifier = Forgetting(mistake=mistake)
        list(labels(sparsifier, tiny_cohort(sparsifier)))


@pytest.mark.parametrize("remedy", REMEDIES, ids=lambda remedy: remedy.name)
def test_who_makes_a_known_mistake_is_told_the_remedy(remedy: Any) -> None:
    message = told(remedy.name)
    words = "Did you mean 'logits'?" if remedy.name == "misspelt" else remedy.words
    assert words in message
    assert "test_remedies.py" in message
    assert "\n" not in message
    assert len(message.replace(words, "")) < 420


def test_a_remedy_is_found_in_the_line_that_called_the_one_that_failed() -> None:
    losing = Losing(mistake="handed on")
    with pytest.raises(PluginError) as caught, guest(losing, "loss"):
        vmapped(losing.loss)
    assert "reference: ClassVar[bool] = True" in str(caught.value)
    assert line_of(averaged, "= logits.mean()") in str(caught.value)


@pytest.mark.parametrize("mistake", OF_NETWORKS)
def test_whose_network_it_is_is_told_nothing_of_hooks_and_steps(mistake: str) -> None:
    message = told(mistake)
    assert "The network is called for many models at once" in message
    assert "hook" not in message.replace("test_whose", "")
    assert "step." not in message


def line_of(function: Callable[..., Any], code: str) -> str:
    """Where in this file a function has a line of code: `test_remedies.py:LINE`."""
    lines, first = inspect.getsourcelines(function)
    (offset,) = [i for i, line in enumerate(lines) if code in line]
    return f"test_remedies.py:{first + offset}"


def test_an_error_names_plugin_hook_line_what_happened_and_the_remedy() -> None:
    message = told("branch")
    assert message.startswith("defense 'losing' of test_remedies.py: loss (")
    assert line_of(branching, "if step.epoch > 3") in message
    assert "RuntimeError: vmap" in message
    assert "torch.where(step.epoch > 3, late, early)" in message


def test_a_broken_answer_names_the_line_of_its_hook() -> None:
    assert line_of(Scoring.score, "def score") in told("bare tensor")


def test_a_label_that_is_no_text_is_refused() -> None:
    assert "must yield labels in text: not 1" in told("no text")


def test_an_error_in_the_middle_of_a_script_is_told() -> None:
    message = told("late")
    assert "sparsifier 'forgetting' of test_remedies.py: sparsify" in message
    assert line_of(Forgetting.script, "KeyError") in message
    assert message.endswith("KeyError: 'late'")
