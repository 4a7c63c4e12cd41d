"""Examples of any shape, and tokens: what may be held, and what networks become."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call

from privaudit import Cohort, DataError, Examples, Model
from privaudit.train.dataset import DeviceDataset
from privaudit.values import Augmentation
from privaudit_plugins.models.mlp import MLP

CPU = torch.device("cpu")
ROWS, WORDS = 120, 9


class Flat(Model):
    """One linear layer of all that an example holds."""

    name: Literal["flat"] = "flat"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), classes))


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(-2)


class Steps(Model):
    """A linear layer of each step of a series, before anything is flattened."""

    name: Literal["steps"] = "steps"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return nn.Sequential(nn.Linear(shape[-1], 6), nn.Tanh(), Mean(), nn.Linear(6, classes))


class Words(Model):
    """The mean of the embeddings of an example's tokens, and a linear layer."""

    name: Literal["words"] = "words"
    vocabulary: int = WORDS

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        embedding = nn.Embedding(self.vocabulary, 6)
        return nn.Sequential(embedding, Mean(), nn.Linear(6, classes))


def numbers(*shape: int) -> Examples:
    generator = torch.Generator().manual_seed(0)
    x = 3 + 2 * torch.randn(ROWS, *shape, generator=generator)
    y = (x.flatten(1).sum(1) > 3 * prod(shape)).long()
    mean, std = torch.full((shape[-1],), 3.0), torch.full((shape[-1],), 2.0)
    return Examples(x=x, y=y, classes=("low", "high"), mean=mean, std=std)


def tokens(*shape: int) -> Examples:
    x = torch.randint(0, WORDS, (ROWS, *shape), generator=torch.Generator().manual_seed(0))
    y = x.flatten(1).sum(1) % 2
    return Examples(
        x=x, y=y, classes=("even", "odd"), mean=torch.tensor(0.0), std=torch.tensor(1.0)
    )


def sparse(*shape: int) -> Examples:
    examples = numbers(*shape)
    x = torch.where(examples.x > 6, examples.x, 0)
    assert 0 < float((x != 0).double().mean()) < 0.2
    return replace(examples, x=x, mean=torch.tensor(0.0))


def test_a_dataset_knows_whether_it_holds_tokens() -> None:
    assert tokens(5).tokens
    assert not numbers(5).tokens
    assert not replace(numbers(5), x=torch.zeros(ROWS, 5, dtype=torch.uint8)).tokens
    assert tokens(5).take(torch.tensor([3, 1])).x.tolist() == tokens(5).x[[3, 1]].tolist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": torch.zeros(ROWS, 5, dtype=torch.float64)}, "uint8, float32, or int64 for tokens"),
        ({"x": torch.zeros(ROWS, 5, dtype=torch.int32)}, "uint8, float32, or int64 for tokens"),
        ({"x": torch.zeros(ROWS)}, r"got shape \(120,\): of one number .* make \(N, 1\)"),
        ({"x": torch.arange(2 * ROWS).view(-1, 2) - 1}, "example 0 of the dataset holds the .* -1"),
        ({"x": 8 - torch.arange(2 * ROWS).view(-1, 2)}, "example 4 of the dataset holds the .* -1"),
        ({"mean": torch.tensor(4.5)}, "tokens are never normalised"),
        ({"std": torch.tensor(2.0)}, "tokens are never normalised"),
        ({"mean": torch.zeros(5)}, "tokens are never normalised"),
        ({"std": torch.ones(5)}, "tokens are never normalised"),
    ],
)
def test_a_dataset_of_another_kind_is_refused(changes: dict[str, Tensor], message: str) -> None:
    with pytest.raises(DataError, match=message):
        replace(tokens(5), **changes)  # type: ignore[arg-type]


@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    kind=st.sampled_from([torch.uint8, torch.float32]),
)
def test_numbers_of_any_shape_are_normalised(
    shape: list[int], dtype: torch.dtype, kind: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(0, 256, (7, *shape), generator=generator).to(kind)
    mean, std = torch.rand(shape[-1]) * 100, 1 + torch.rand(shape[-1])
    y = torch.arange(7) % 2
    data = DeviceDataset(Examples(x, y, ("a", "b"), mean, std), CPU, dtype)
    rows = torch.tensor([[4, 0, 4], [1, 6, 2]])
    batch = data.plain(rows)
    assert batch.dtype == dtype
    for k, row in enumerate(rows):
        expected = (x[row].double() - mean.double()) / std.double()
        torch.testing.assert_close(batch[k].double(), expected, rtol=1e-4, atol=1e-4)


@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_tokens_reach_the_network_as_they_are(shape: list[int], dtype: torch.dtype) -> None:
    # Halves would round 2^30 + 1, and there is nothing to mirror in a cube of words.
    examples = replace(tokens(*shape), augmentation=Augmentation(flip=True, crop=1))
    examples = replace(examples, x=examples.x + 2**30)
    data = DeviceDataset(examples, CPU, dtype)
    rows = torch.tensor([[4, 0, 4], [1, 6, 2]])
    assert data.plain(rows).dtype == torch.int64
    assert torch.equal(data.plain(rows), examples.x[rows])
    assert torch.equal(data.on(examples.x[5:9]).plain(torch.arange(4)), examples.x[5:9])
    assert not data.augments
    assert data.sparse is None


def test_tokens_that_are_mostly_zero_are_no_sparse_table() -> None:
    examples = replace(tokens(9), x=(tokens(9).x == 1).long())
    assert DeviceDataset(examples, CPU, torch.float32).sparse is None
    twin = replace(examples, x=examples.x.float())
    assert DeviceDataset(twin, CPU, torch.float32).sparse is not None


TRAINED: dict[str, tuple[Examples, Model]] = {
    "a series, flattened": (numbers(4, 3), Flat()),
    "a map, flattened": (numbers(5, 4), Flat()),
    "a map through the built-in perceptron": (numbers(5, 4), MLP(hidden=(8,))),
    "a series, step by step": (numbers(4, 3), Steps()),
    "a series that is mostly zero, flattened": (sparse(4, 3), Flat()),
    "a series that is mostly zero, step by step": (sparse(4, 3), Steps()),
    "tokens": (tokens(7), Words()),
    "tokens, of which most are 0": (replace(tokens(7), x=tokens(7).x // (WORDS - 1)), Words()),
}


@pytest.mark.parametrize(("examples", "model"), TRAINED.values(), ids=TRAINED)
def test_training_gives_the_weights_of_a_plain_loop(
    make_cohort: Callable[..., Cohort], examples: Examples, model: Model
) -> None:
    members, lr = 40, 0.3
    cohort = make_cohort(
        [members, members], examples=examples, model=model, epochs=4, batch_size=members, lr=lr,
        momentum=0, schedule="constant",
    )  # fmt: skip
    start = cohort.initial_weights
    cohort.fit()
    network = model.build(examples.shape, 2).double()
    for m, rows in enumerate(cohort.rows("member")):
        x = examples.x[rows]
        x = x if examples.tokens else (x.double() - examples.mean) / examples.std
        weights = {name: weight[m].clone().requires_grad_() for name, weight in start.items()}
        for _ in range(4):
            logits = functional_call(network, weights, (x,))
            loss = nn.functional.cross_entropy(logits, examples.y[rows])
            gradients = torch.autograd.grad(loss, list(weights.values()))
            weights = {
                name: (weight - lr * gradient).detach().requires_grad_()
                for (name, weight), gradient in zip(weights.items(), gradients, strict=True)
            }
        for name, weight in weights.items():
            assert (cohort.weights[name][m] - weight).abs().max() < 1e-11
