"""The conformance check notices each way to break the contract."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from pydantic import Field, field_serializer, model_validator
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import privaudit
from privaudit.api.plugin import Weights
from privaudit.testing import check_plugin

COUNTER = itertools.count()


class Good(privaudit.Attack):
    """Scores by the largest logit."""

    name: Literal["t"] = "t"

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        return privaudit.AttackScores(signals.target.logits[0].amax(-1))


class NoDocstring(Good):
    pass


class Unpunctuated(Good):
    """Tells of a deviation in half a sentence."""

    deviations: ClassVar[tuple[str, ...]] = ("A whole one.", "other batches")


class Unlisted(Good):
    """Gives one sentence where a tuple of them is asked for."""

    deviations = "It reads less."  # type: ignore[assignment]


class NoMeaning(Good):
    """Says nothing about its option."""

    rate: float = 0.1


class Open(Good, extra="allow"):
    """Takes anything."""


class Thawed(Good, frozen=False):
    """Can be changed."""


class Drifting(Good):
    """Grows whenever it is validated."""

    rate: int = Field(0, description="grows")

    @model_validator(mode="before")
    @classmethod
    def grow(cls, values: dict[str, int]) -> dict[str, int]:
        return values | {"rate": values.get("rate", 0) + 1}


class Inner(privaudit.Defense):
    """Nested in another."""

    name: Literal["inner"] = "inner"
    rate: float = Field(0.5, description="of the inner one")


class Nesting(privaudit.Defense):
    """Holds others, of which a recipe finds the classes."""

    name: Literal["t"] = "t"
    defense: privaudit.Defense = Field(Inner(rate=0.2), description="another defense")
    more: tuple[privaudit.Defense, ...] = Field((Inner(), Inner(rate=1)), description="others")


class Garbled(Good):
    """Writes what it cannot read."""

    rate: float = Field(0.1, description="of something")

    @field_serializer("rate")
    def percent(self, rate: float) -> str:
        return f"{rate:.0%}"


class Rounded(Good):
    """Writes less than it knows."""

    rate: float = Field(0.123, description="of something")

    @field_serializer("rate")
    def digits(self, rate: float) -> float:
        return round(rate, 1)


class Short(Good):
    """Leaves out examples."""

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        return privaudit.AttackScores(signals.target.logits[0, signals.audited].amax(-1))


class Nan(Good):
    """Takes the logarithm of what may be negative."""

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        return privaudit.AttackScores(signals.target.logits[0].amin(-1).log())


class Infinite(Good):
    """Is entirely sure, which is allowed."""

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        score = signals.target.logits[0].amax(-1)
        return privaudit.AttackScores(torch.where(score > 1, torch.inf, -torch.inf))


class Sharing(Good):
    """Gives every target the numbers of the first."""

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        draw = torch.Generator().manual_seed(signals.seed)
        return privaudit.AttackScores(torch.rand(len(signals.y), generator=draw))

    def score_all(self, signals: Sequence[privaudit.Signals]) -> list[privaudit.AttackScores]:
        return [self.score(signals[0]) for _ in signals]


class Moody(Good):
    """Answers differently each time."""

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        return privaudit.AttackScores(signals.target.logits[0].amax(-1) + next(COUNTER))


class Lucky(Good):
    """Draws from a generator that all share."""

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        return privaudit.AttackScores(torch.rand(len(signals.y)))


class Shuffled(privaudit.Dataset):
    """Comes in an order that NumPy's generator decides."""

    name: Literal["t"] = "t"

    def load(self, root: Path) -> privaudit.Examples:
        x = torch.from_numpy(np.random.permutation(20)).float()[:, None]
        y = (x[:, 0] > 9).long()
        return privaudit.Examples(x, y, ("low", "high"), torch.zeros(1), torch.ones(1))


class Greedy(Good):
    """Changes what it is given."""

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        return privaudit.AttackScores(signals.target.logits.sub_(1)[0].amax(-1))


class Verdict(Good):
    """Decides with a number."""

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        score = signals.target.logits[0].amax(-1)
        return privaudit.AttackScores(score, decision=score)


class Variant(Good):
    """Has a variant that fails."""

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        score = signals.target.logits[0].amax(-1)
        bad = privaudit.AttackScores(score * torch.nan)
        return privaudit.AttackScores(score, variants={"bad": bad})


class Asking(Good):
    """Wants a signal that nobody sends."""

    signals: ClassVar[frozenset[str]] = frozenset({"weights"})


class Silenced(Good):
    """Asks nothing."""

    queries: ClassVar[int] = 0


class Undeclared(Good):
    """Reads logits that it has not declared."""

    answers: ClassVar[tuple[str, ...]] = ("predicted",)


class Linear(privaudit.Model):
    """A linear network."""

    name: Literal["t"] = "t"
    outputs: int = Field(0, description="more logits than classes")

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return nn.Sequential(
            nn.Flatten(), nn.Linear(int(torch.tensor(shape).prod()), classes + self.outputs)
        )


class Counting(Linear):
    """Starts from a counter."""

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        network = super().build(shape, classes)
        nn.init.constant_(next(network.parameters()), next(COUNTER))
        return network


class Picky(Linear):
    """Takes nothing."""

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        raise privaudit.RecipeError("not this shape")


class Vector(privaudit.Defense):
    """Forgets to take the mean."""

    name: Literal["t"] = "t"

    def loss(self, step: privaudit.Step) -> Tensor:
        return cross_entropy(step.logits, step.y, reduction="none")


class Branching(Vector):
    """Branches on a value."""

    def loss(self, step: privaudit.Step) -> Tensor:
        loss = cross_entropy(step.logits, step.y)
        return loss if loss > 1 else -loss


class Drawing(Vector):
    """Draws from the shared generator."""

    def loss(self, step: privaudit.Step) -> Tensor:
        return cross_entropy(step.logits + torch.rand_like(step.logits), step.y)


class Cut(Vector):
    """Hides a class."""

    def loss(self, step: privaudit.Step) -> Tensor:
        return cross_entropy(step.logits, step.y)

    def respond(self, logits: Tensor, companion: object) -> Tensor:
        return logits[:, 1:]


class Dicing(Vector):
    """Answers by chance."""

    def loss(self, step: privaudit.Step) -> Tensor:
        return cross_entropy(step.logits, step.y)

    def respond(self, logits: Tensor, companion: object) -> Tensor:
        return logits + torch.rand_like(logits)


class Scribbling(Dicing):
    """Adds to the batch that it is lent."""

    def inputs(self, x: Tensor, key: Tensor) -> Tensor:
        return x.add_(1)


class Jumping(privaudit.Defense):
    """Finishes by chance."""

    name: Literal["t"] = "t"

    def finish(self, cohort: privaudit.Cohort) -> None:
        cohort.set({n: w + torch.rand_like(w) for n, w in cohort.weights.items()})


class Etching(privaudit.Defense):
    """Writes into what it is given to look at."""

    name: Literal["t"] = "t"

    def finish(self, cohort: privaudit.Cohort) -> None:
        cohort.weights["output.bias"].zero_()


class Never(privaudit.Defense):
    """Acts at a time that there is not."""

    name: Literal["t"] = "t"
    during: ClassVar[str] = "train"


class Clipping(privaudit.Defense):
    """Clips gradients that it never gets."""

    name: Literal["t"] = "t"

    def example_gradient(self, gradient: Tensor) -> Tensor:
        return gradient.clamp(-1, 1)


class Lonely(privaudit.Defense):
    """Has a companion that learns nothing."""

    name: Literal["t"] = "t"

    def companion(self, classes: int) -> nn.Module:
        return nn.Bilinear(classes, 1, 1)


class Wiping(privaudit.Defense):
    """Breaks the network when it is finished."""

    name: Literal["t"] = "t"

    def finish(self, cohort: privaudit.Cohort) -> None:
        cohort.set({name: weight * torch.nan for name, weight in cohort.weights.items()})


class Silent(privaudit.Sparsifier):
    """Yields nothing."""

    name: Literal["t"] = "t"

    def sparsify(self, cohort: privaudit.Cohort) -> Iterator[str]:
        cohort.fit()
        yield from ()


class Repeating(privaudit.Sparsifier):
    """Yields a label twice."""

    name: Literal["t"] = "t"

    def sparsify(self, cohort: privaudit.Cohort) -> Iterator[str]:
        yield "a"
        yield "a"


class Emptying(privaudit.Sparsifier):
    """Leaves no weight."""

    name: Literal["t"] = "t"

    def sparsify(self, cohort: privaudit.Cohort) -> Iterator[str]:
        cohort.set({name: weight * 0 for name, weight in cohort.weights.items()})
        yield ""


class Cutting(privaudit.Sparsifier):
    """Prepares another network altogether."""

    name: Literal["t"] = "t"

    def prepare(self, module: nn.Module) -> nn.Module:
        return nn.Sequential(module, nn.Linear(3, 2))


class Choosing(privaudit.Sparsifier):
    """Adds layers of chance width."""

    name: Literal["t"] = "t"

    def prepare(self, module: nn.Module) -> nn.Module:
        width = int(torch.randint(1, 1000, ()))
        return nn.Sequential(module, nn.Linear(3, width), nn.Linear(width, 3))


class Gambling(privaudit.Sparsifier):
    """Prunes by chance."""

    name: Literal["t"] = "t"

    def sparsify(self, cohort: privaudit.Cohort) -> Iterator[str]:
        cohort.prune(0.5, {n: torch.rand_like(w) for n, w in cohort.weights.items()})
        yield ""


class Early(privaudit.Sparsifier):
    """Acts at a time that there is not."""

    name: Literal["t"] = "t"
    during: ClassVar[str] = "training"


class Clamping(privaudit.Sparsifier):
    """Projects the weights that it is lent."""

    name: Literal["t"] = "t"

    def project(self, weights: Weights, epoch: Tensor) -> Mapping[str, Tensor]:
        return {name: weight.clamp_(0) for name, weight in weights.items()}


class Penalising(privaudit.Sparsifier):
    """Penalises each weight by itself."""

    name: Literal["t"] = "t"

    def penalty(self, weights: Weights) -> Tensor:
        return weights["output.bias"].abs()


class Projecting(privaudit.Sparsifier):
    """Invents a weight."""

    name: Literal["t"] = "t"

    def project(self, weights: Weights, epoch: Tensor) -> Mapping[str, Tensor]:
        return {"ghost": torch.zeros(1)}


@pytest.mark.parametrize(
    ("cls", "options", "expected"),
    [
        (int, {}, "int is of no known kind"),
        (NoDocstring, {}, "needs a docstring"),
        (Unpunctuated, {}, r"deviations must be sentences, .* \(got 'other batches'\)"),
        (Unlisted, {}, r"deviations that are no tuple of sentences \('It reads less\.'\): write"),
        (NoMeaning, {}, r"NoMeaning\.rate needs a meaning"),
        (Open, {}, "must forbid unknown options"),
        (Thawed, {}, "must stay frozen"),
        (Good, {"rate": 1}, "rate: Extra inputs are not permitted"),
        (Drifting, {}, "not the same after model_dump"),
        (Garbled, {}, "Garbled refuses its own options as model_dump writes them"),
        (Rounded, {}, "not the same after model_dump"),
        (Short, {}, "one score for each of 40 examples"),
        (Nan, {}, "NaN for"),
        (Sharing, {}, "score_all gives a target other scores"),
        (Moody, {}, "answers the same signals differently"),
        (Lucky, {}, "answers the same signals differently"),
        (Shuffled, {}, "other examples, or another order"),
        (Greedy, {}, "writes into signals"),
        (Verdict, {}, "decision as"),
        (Variant, {}, "variant 'bad'.* gives NaN"),
        (Asking, {}, "asks for .*weights"),
        (Silenced, {}, "queries = 0: it must be at least 1"),
        (Undeclared, {}, r"score \(.*test_check_plugin.py:\d+\): 'logits' is not kept"),
        (Linear, {"outputs": 1}, r"logits \(5, 3\), not \(5, 4\)"),
        (Counting, {}, "starts differently under one seed"),
        (Picky, {}, "accepts neither images nor features"),
        (Vector, {}, r"must be one number, not a tensor of shape \(6,\)"),
        (Branching, {}, r"loss .*choose with torch\.where"),
        (Drawing, {}, r"loss .*privaudit\.keys"),
        (Cut, {}, "respond .* must keep the shape"),
        (Dicing, {}, "respond .* answers the same logits differently"),
        (Scribbling, {}, "inputs .* writes into the batch"),
        (Jumping, {}, "finish .* leaves other weights"),
        (Etching, {}, r"finish .* writes into cohort\.weights"),
        (Never, {}, "during = 'train': it may be 'all' or 'tune'"),
        (Clipping, {}, "never called"),
        (Lonely, {}, "companion and companion_loss together"),
        (Wiping, {}, "finish leaves networks"),
        (Silent, {}, "yields no level"),
        (Repeating, {}, "yields 'a' twice"),
        (Emptying, {}, "no weight left"),
        (Cutting, {}, "must keep finite logits"),
        (Choosing, {}, r"differ in structure, as in '1\.bias'"),
        (Gambling, {}, "sparsify .* leaves other weights"),
        (Early, {}, "during = 'training': it may be 'all' or 'train'"),
        (Clamping, {}, "project .* writes into the weights"),
        (Penalising, {}, "penalty must be one number"),
        (Projecting, {}, "'ghost', which is no weight"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_broken_plugin_is_told_what_to_change(
    cls: type[privaudit.Plugin], options: dict[str, Any], expected: str
) -> None:
    with pytest.raises(AssertionError, match=expected):
        check_plugin(cls, **options)


@pytest.mark.parametrize("cls", [Good, Infinite, Linear, Nesting])
def test_a_sound_plugin_passes(cls: type[privaudit.Plugin]) -> None:
    check_plugin(cls)
