"""The conformance check tells an author what, where and what instead; slow models only warn."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import pytest
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout, one_hot, softmax

import privaudit
from privaudit.api.plugin import Weights
from privaudit.testing import check_plugin

MISTAKE = Field("", description="what is wrong")


class Losing(privaudit.Defense):
    """Its loss makes a mistake."""

    name: Literal["losing"] = "losing"
    mistake: str = MISTAKE

    def loss(self, step: privaudit.Step) -> Any:
        each = cross_entropy(step.logits, step.y, reduction="none")
        match self.mistake:
            case "branch":
                return each.mean() if step.epoch > 3 else 2 * each.mean()
            case "one_hot":
                return -(one_hot(step.y, 3).float() * step.logits.log_softmax(-1)).sum(-1).mean()
            case "mask":
                return each[each > 0.1].mean()
            case "random":
                return cross_entropy(step.logits + torch.randn_like(step.logits), step.y)
            case "item":
                return each.mean() * each.mean().item()
            case "numpy":
                return (each * torch.tensor(step.y.cpu().numpy() % 2 + 1.0)).mean()
            case "nothing":
                return None
            case _:
                return each.mean()


class Changing(privaudit.Defense):
    """Changes images or answers, wrongly."""

    name: Literal["changing"] = "changing"
    mistake: str = MISTAKE

    def inputs(self, x: Tensor, key: Tensor) -> Tensor:
        if self.mistake == "branch" and key > 3:
            return x
        return x.view(len(x), -1).view(x.shape) if self.mistake == "view" else x

    def respond(self, logits: Tensor, companion: object) -> Tensor:
        return logits.view(-1).view(logits.shape) if self.mistake == "answers" else logits

    def schedule(self, training: privaudit.Training) -> Any:
        return {"epochs": 3} if self.mistake == "schedule" else training


class Scoring(privaudit.Attack):
    """Answers with something else."""

    name: Literal["scoring"] = "scoring"
    mistake: str = MISTAKE

    def score(self, signals: privaudit.Signals) -> Any:
        logits = signals.target.logits
        match self.mistake:
            case "queries":
                return privaudit.AttackScores(logits.amax(-1))
            case "tensor":
                return logits[0].amax(-1)
            case "view":
                return privaudit.AttackScores(logits[0].view(-1)[::3])
            case _:
                return privaudit.AttackScores(signals.target.logitz[0].amax(-1))  # type: ignore[attr-defined]


class Scripted(privaudit.Sparsifier):
    """Its script makes a mistake."""

    name: Literal["scripted"] = "scripted"
    mistake: str = MISTAKE

    def sparsify(self, cohort: privaudit.Cohort) -> Any:
        cohort.fit()
        return None if self.mistake == "yield" else self.script(cohort)

    def script(self, cohort: privaudit.Cohort) -> Iterator[str]:
        match self.mistake:
            case "name":
                cohort.prune(0.5, {"w": torch.ones(3)})
            case "stacked":
                cohort.prune(0.5, {n: w[0].abs() for n, w in cohort.weights.items()})
            case "in place":
                for w in cohort.weights.values():
                    w[w.abs() < 0.05] = 0
        yield "x"
        if self.mistake == "in place at last":
            cohort.masks["hidden.weight"].fill_(False)

    def penalty(self, weights: Weights) -> Tensor:
        size = weights["hidden.weight"].abs().sum() if "hidden.weight" in weights else None
        if size is None:
            return torch.zeros(())
        if self.mistake == "penalty":
            return size if size > 1 else 2 * size
        return size


@pytest.mark.parametrize(
    ("cls", "mistake", "hook", "remedy"),
    [
        (Losing, "branch", "loss", r"choose with torch\.where"),
        (Losing, "one_hot", "loss", r"\(y\[:, None\] == torch\.arange\(C, device=y\.device\)\)"),
        (Losing, "mask", "loss", r"\(l \* mask\)\.sum\(\) / mask\.sum\(\)"),
        (Losing, "random", "loss", r"privaudit\.keys from the step's key"),
        (Losing, "item", "loss", r"leave out \.item\(\)"),
        (Losing, "numpy", "loss", r"do the same with torch's functions"),
        (Losing, "nothing", "loss", r"must give one number, not NoneType"),
        (Changing, "branch", "inputs", r"choose with torch\.where"),
        (Changing, "view", "inputs", r"use \.reshape\(\.\.\.\)"),
        (Changing, "answers", "respond", r"use \.reshape\(\.\.\.\)"),
        (Changing, "schedule", "schedule", r"must give a privaudit\.Training"),
        (Scoring, "queries", "score", r"query 0 is the example itself"),
        (Scoring, "tensor", "score", r"Return `privaudit\.AttackScores\(scores\)`"),
        (Scoring, "view", "score", r"use \.reshape\(\.\.\.\)"),
        (Scoring, "misspelt", "score", r"Did you mean 'logits'\?"),
        (Scripted, "yield", "sparsify", r"write `yield \"label\"`"),
        (Scripted, "name", "sparsify", r"no weight is called 'w'; there are hidden\.weight"),
        (Scripted, "stacked", "sparsify", r"first axis of M models"),
        (Scripted, "in place", "sparsify", r"writes into cohort\.weights.*cohort\.set\("),
        (Scripted, "in place at last", "sparsify", r"writes into cohort\.masks"),
        (Scripted, "penalty", "penalty", r"choose with torch\.where"),
    ],
)
def test_a_mistake_is_told_with_plugin_hook_line_and_remedy(
    cls: type[privaudit.Plugin], mistake: str, hook: str, remedy: str
) -> None:
    with pytest.raises(AssertionError) as caught:
        check_plugin(cls, mistake=mistake)
    message = str(caught.value)
    name = cls.model_fields["name"].default
    assert f"{name!r} of test_check_plugin_words.py: {hook} (" in message
    assert "test_check_plugin_words.py:" in message.partition(": ")[2]
    caught.match(remedy)
    assert len(message) < 700
    assert "\n" not in message


@pytest.mark.parametrize("cls", [Losing, Changing, Scripted])
def test_without_its_mistake_it_passes(cls: type[privaudit.Plugin]) -> None:
    check_plugin(cls)


class Net(nn.Module):
    """Linear, and one thing more."""

    def __init__(self, what: str, inputs: int, classes: int) -> None:
        super().__init__()
        self.what = what
        self.output = nn.Linear(inputs, classes)
        self.recurrent = nn.LSTM(inputs, inputs, batch_first=True) if what == "lstm" else None

    def forward(self, x: Tensor) -> Any:
        x = x.flatten(1)
        if self.recurrent is not None:
            x = self.recurrent(x[:, None])[0][:, 0]
        if self.what == "dropout":
            x = dropout(x, training=self.training)
        if self.what == "branch" and x.sum() > 0:
            x = x + 1
        logits = self.output(x)
        answers: dict[str, Any] = {
            "tuple": (logits, x),
            "softmax": softmax(logits, -1),
            "none": None,
            "mapping": {"logits": logits},
            "frozen": logits.detach(),
            "nan": logits / 0,
            "field": Answer(logits),
        }
        return answers.get(self.what, logits)


class Answer:
    """As transformers answer."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


class Modelled(privaudit.Model):
    """Builds such a network."""

    name: Literal["modelled"] = "modelled"
    what: str = Field("", description="it does besides")
    size: int = Field(0, description="of the only examples it takes")

    def build(self, shape: tuple[int, ...], classes: int) -> Any:
        if self.what == "class":
            return Net
        inputs = self.size or int(torch.tensor(shape).prod())
        return Net(self.what, inputs, classes)


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("tuple", r"not with several values \(Tensor, Tensor\): return the logits alone"),
        ("softmax", "leave out the softmax"),
        ("none", r"must answer with logits \(5, 3\), not with NoneType"),
        ("nan", "NaN or infinity"),
        ("frozen", r"leave out \.detach\(\)"),
        ("class", r"gives type, not an nn\.Module"),
    ],
)
def test_a_network_that_does_not_answer_with_logits_is_told(what: str, expected: str) -> None:
    with pytest.raises(AssertionError, match=f"^model 'modelled' .*: build .*{expected}"):
        check_plugin(Modelled, what=what)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("lstm", r"no form of this operation for many models at once, as of nn\.LSTM"),
        ("dropout", r"the module nn\.Dropout"),
        ("branch", r"choose with torch\.where"),
    ],
)
def test_a_network_that_trains_only_by_itself_passes_with_a_warning(what: str, reason: str) -> None:
    with pytest.warns(UserWarning, match=f"one after another, which is slower.*{reason}"):
        check_plugin(Modelled, what=what)


@pytest.mark.parametrize("what", ["", "mapping", "field"])
def test_logits_may_be_a_part_of_the_answer(what: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_plugin(Modelled, what=what)


def test_a_network_of_one_size_is_checked_with_it() -> None:
    with pytest.raises(AssertionError, match=r"forward \(.*mat1 .*call check_plugin\(\.\.\., sh"):
        check_plugin(Modelled, size=48)
    check_plugin(Modelled, size=48, shape=(3, 4, 4), classes=7)
    with pytest.raises(AssertionError, match=r"forward \(.*mat1"):
        check_plugin(Modelled, size=48, shape=(3, 5, 5))


def test_shape_and_classes_are_for_models() -> None:
    with pytest.raises(AssertionError, match="Losing is no model: `shape` and `classes`"):
        check_plugin(Losing, shape=(3, 4, 4))


class Shaped(Losing):
    """Has an option that the check has, too."""

    name: Literal["shaped"] = "shaped"  # type: ignore[assignment]
    shape: int = Field(description="of something")
    needs: ClassVar[int] = 0


def test_an_option_called_as_one_of_the_check_s_own_is_told() -> None:
    with pytest.raises(AssertionError, match="check_plugin has a shape of its own"):
        check_plugin(Shaped)
