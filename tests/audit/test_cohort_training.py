"""Training many models at once: each gets the weights it would have alone, and alone those of a
plain torch loop."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import privaudit
from privaudit import (
    Examples,
    Model,
    PluginError,
    Sparsifier,
)
from privaudit.cohort import Cohort
from privaudit.keys import derive
from privaudit.networks.state import State
from privaudit.train.dataset import DeviceDataset, epoch_order
from privaudit_plugins.models.cnn import CNN
from privaudit_plugins.models.mlp import MLP
from privaudit_plugins.sparsifiers.butterfly import Butterfly
from privaudit_plugins.sparsifiers.monarch import Monarch

Make = Callable[..., Cohort]
MEMBERS = [20, 33, 48, 17, 64, 33, 40, 25]  # two to four batches of 16


class Script(Sparsifier):
    """Three fits with pruning and rewinding between them."""

    name: Literal["script"] = "script"

    def sparsify(self, cohort: privaudit.Cohort) -> Iterator[str]:
        cohort.fit()
        cohort.rewind("best")
        yield "dense"
        cohort.prune(keep=0.6)
        cohort.fit(epochs=2)
        cohort.rewind("initial")
        cohort.prune(keep=0.7, scope="layer")
        cohort.fit()
        yield "sparse"


def run_script(cohort: Cohort) -> list[State]:
    """Weights, buffers and all of each model at each level."""
    return [one for _ in Script().sparsify(cohort) for one in cohort.states()]


def assert_same(one: State, other: State, tolerance: float = 1e-12) -> None:
    assert (one.flat - other.flat).abs().max() <= tolerance
    for name, buffer in one.buffers.items():
        assert (buffer - other.buffers[name]).abs().max() <= tolerance, name
    if one.companion.numel():
        assert (one.companion - other.companion).abs().max() <= tolerance


CASES: dict[str, dict[str, Any]] = {
    "batchnorm and dropout": {
        "model": "convolutional",
        "augment": True,
        "patience": 2,
        "weight_decay": 1e-2,
        "momentum": 0.9,
    },
    "adam": {"model": "perceptron", "optimizer": "adam", "lr": 0.01, "schedule": "cosine"},
    "butterfly linear": {"model": MLP(hidden=(16,)), "sparsifier": Butterfly()},
    "butterfly convolution": {
        "model": CNN(width=4, norm="batch"),
        "sparsifier": Butterfly(layers=("conv2",)),
        "augment": True,
    },
    "monarch": {"model": CNN(width=4, norm="batch"), "sparsifier": Monarch()},
}


@pytest.fixture(scope="module")
def options_of(
    perceptron: Callable[..., Model], convolutional: Callable[..., Model]
) -> Callable[[str], dict[str, Any]]:
    named = {"perceptron": perceptron(dropout=0.2), "convolutional": convolutional(dropout=0.2)}

    def options(case: str) -> dict[str, Any]:
        chosen = CASES[case]
        return {"epochs": 4} | chosen | {"model": named.get(chosen["model"], chosen["model"])}

    return options


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, options_of: Callable[[str], dict[str, Any]]) -> Any:
    return options_of(request.param)


@pytest.fixture(scope="module")
def alone(make_cohort: Make, case: dict[str, Any]) -> list[list[State]]:
    """Each of eight models trained in a cohort of its own."""
    return [run_script(make_cohort(MEMBERS, models=[m], **case)) for m in range(8)]


@pytest.mark.parametrize(("size", "stack"), [(2, 8), (3, 1), (3, 3), (8, 3), (8, 8)])
def test_a_model_has_the_weights_it_would_have_alone(
    make_cohort: Make, case: dict[str, Any], alone: list[list[State]], size: int, stack: int
) -> None:
    chosen = list(range(8 - size, 8))  # not from 0, so that a model's place is not its number
    together = run_script(make_cohort(MEMBERS, models=chosen, stack=stack, **case))
    for place, m in enumerate(chosen):
        for level in range(2):
            assert_same(alone[m][level], together[level * size + place])


def test_patience_stops_some_models_of_the_cohort_before_others(
    make_cohort: Make, options_of: Callable[[str], dict[str, Any]]
) -> None:
    """The comparison above is about models that stop at different epochs."""
    case = options_of("batchnorm and dropout")
    cohort = make_cohort(MEMBERS, **case)
    long = make_cohort(MEMBERS, **case | {"patience": None})
    cohort.fit()
    long.fit()
    same = [
        torch.equal(a.flat, b.flat) for a, b in zip(cohort.states(), long.states(), strict=True)
    ]
    assert 0 < sum(same) < len(MEMBERS)


@pytest.mark.parametrize("stack", [1, 8])
def test_training_repeats_bit_by_bit(
    make_cohort: Make, options_of: Callable[[str], dict[str, Any]], stack: int
) -> None:
    options = options_of("batchnorm and dropout") | {"precision": "fp32", "stack": stack}
    first, second = (run_script(make_cohort(MEMBERS[:3], **options)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.flat, other.flat)
        assert one.flat.dtype == torch.float32


def test_training_leaves_torch_s_generator_alone(
    make_cohort: Make, options_of: Callable[[str], dict[str, Any]]
) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    make_cohort(MEMBERS[:2], **options_of("batchnorm and dropout")).fit()
    assert torch.equal(torch.rand(4), expected)


def plain_loop(
    cohort: Cohort, m: int, module: nn.Module, optimizer: torch.optim.Optimizer, examples: Examples
) -> tuple[list[dict[str, Tensor]], int]:
    """The states after each epoch of one model, and its best epoch, without the engine."""
    options, rows = cohort.training, cohort._rows[m]
    x = (examples.x.double() - examples.mean) / examples.std
    seed = derive(derive(cohort.seeds[m], "fit", 0), "member")
    states, accuracies = [], []
    for epoch in range(options.epochs):
        for group in optimizer.param_groups:
            if options.schedule == "step":
                group["lr"] = options.lr * 0.1 ** sum(epoch >= e for e in options.milestones)
        module.train()
        for batch in epoch_order(rows.member, seed, epoch, options.batch_size):
            optimizer.zero_grad()
            torch.autograd.backward(cross_entropy(module(x[batch]), examples.y[batch]))
            optimizer.step()
        module.eval()
        with torch.no_grad():
            right = module(x[rows.validation]).argmax(1) == examples.y[rows.validation]
        states.append(copy.deepcopy(module.state_dict()))
        accuracies.append(float(right.double().mean()))
        best = max(range(len(accuracies)), key=accuracies.__getitem__)
        if options.patience and epoch - best >= options.patience:
            break
    return states, best


@pytest.mark.parametrize("stack", [1, 3])
@pytest.mark.parametrize(
    "options",
    [
        {"momentum": 0.9, "weight_decay": 0.01, "schedule": "step", "milestones": [1, 3]},
        {"momentum": 0.5, "patience": 1, "lr": 0.3},
        {"optimizer": "adam", "weight_decay": 0.1, "lr": 0.01},
    ],
    ids=["sgd", "stopped", "adam"],
)
@pytest.mark.parametrize("kind", ["perceptron", "convolutional"])
def test_training_is_that_of_a_plain_torch_loop(
    make_cohort: Make,
    digits: Examples,
    request: pytest.FixtureRequest,
    kind: str,
    options: dict[str, Any],
    stack: int,
) -> None:
    model: Model = request.getfixturevalue(kind)()
    cohort = make_cohort([20, 48, 33], model=model, epochs=5, stack=stack, **options)
    cohort.fit()
    ended, last = cohort.states(), cohort.weights
    cohort.rewind("best")
    best = cohort.weights
    for m in range(3):
        torch.manual_seed(derive(100 + m, "build"))
        module = model.build(digits.shape, 10).double()
        for name, value in module.named_parameters():
            assert torch.equal(cohort.initial_weights[name][m], value), name
        training = cohort.training
        optimizer: torch.optim.Optimizer
        if training.optimizer == "adam":
            optimizer = torch.optim.Adam(
                module.parameters(), lr=training.lr, weight_decay=training.weight_decay
            )
        else:
            optimizer = torch.optim.SGD(
                module.parameters(),
                lr=training.lr,
                momentum=training.momentum,
                weight_decay=training.weight_decay,
            )
        states, best_epoch = plain_loop(cohort, m, module, optimizer, digits)
        for name in last:
            assert (last[name][m] - states[-1][name]).abs().max() < 1e-12
            assert (best[name][m] - states[best_epoch][name]).abs().max() < 1e-12
        for name, buffer in ended[m].buffers.items():
            if not name.endswith("key"):
                assert (buffer - states[-1][name]).abs().max() < 1e-12, name


def test_cosine_ends_near_zero_and_steps_multiply(make_cohort: Make) -> None:
    cosine = make_cohort(schedule="cosine", epochs=4, lr=0.2).training
    assert [cosine.rate(e) for e in range(4)] == pytest.approx(
        [0.2, 0.2 * (1 + 0.5**0.5) / 2, 0.1, 0.2 * (1 - 0.5**0.5) / 2]
    )
    step = make_cohort(schedule="step", milestones=[2, 3], gamma=0.5, lr=0.2).training
    assert [step.rate(e) for e in range(4)] == pytest.approx([0.2, 0.2, 0.1, 0.05])


def test_without_validation_the_last_epoch_is_the_best(make_cohort: Make) -> None:
    cohort = make_cohort([30, 20], validation=0, patience=1, epochs=4)
    cohort.fit()
    last = cohort.weights
    cohort.rewind("best")
    assert all(torch.equal(last[n], w) for n, w in cohort.weights.items())


@given(
    count=st.integers(1, 50),
    batch=st.integers(1, 60),
    seed=st.integers(0, 9),
    epoch=st.integers(0, 3),
)
def test_every_row_of_a_batch_is_real(count: int, batch: int, seed: int, epoch: int) -> None:
    rows = torch.arange(1000, 1000 + 3 * count, 3)
    order = epoch_order(rows, seed, epoch, batch)
    assert order.shape == (-(-count // batch), batch)
    flat = order.flatten().tolist()
    assert sorted(flat[:count]) == rows.tolist()
    refilled = (flat[:count] * (batch // count + 1))[: len(flat) - count]
    assert flat[count:] == refilled


def test_every_epoch_has_an_order_of_its_own() -> None:
    rows = torch.arange(200)
    orders = {
        tuple(epoch_order(rows, seed, epoch, 10).flatten().tolist())
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9


def test_augmented_images_are_shifted_and_mirrored_copies(digits: Examples) -> None:
    data = DeviceDataset(digits, torch.device("cpu"), torch.float64)
    rows = torch.arange(300).view(3, 100)
    keys = torch.tensor([5, 6, 7])
    made = data.augmented(rows, keys)
    assert made.shape == (3, 100, 1, 8, 8)
    assert torch.equal(made[1:2], data.augmented(rows[1:2], keys[1:2]))
    black = nn.functional.pad(digits.x.double(), (1, 1, 1, 1))
    seen = []
    for row, image in zip(rows.flatten().tolist(), made.flatten(0, 1), strict=True):
        matches = [
            (down, right, flip)
            for down in range(3)
            for right in range(3)
            for flip in (False, True)
            if torch.equal(
                (cut := (black[row, :, down : down + 8, right : right + 8] - 8) / 8)
                if not flip
                else cut.flip(-1),
                image,
            )
        ]
        assert matches
        seen += matches[:1]
    shares = torch.tensor([[s[0], s[1], s[2]] for s in seen]).double().mean(0)
    assert shares[:2].sub(1).abs().max() < 0.2
    assert abs(float(shares[2]) - 0.5) < 0.12
    assert len(set(seen)) == 18


def test_logits_are_those_of_the_network_as_it_answers(
    make_cohort: Make, digits: Examples, convolutional: Callable[..., Model]
) -> None:
    model = convolutional(dropout=0.5)
    cohort = make_cohort([30, 20], model=model)
    cohort.fit()
    logits, some = cohort.logits(), cohort.logits(digits.x[5:9])
    for m, state in enumerate(cohort.states()):
        module = model.build(digits.shape, 10).double().eval()
        held = {n: w[m] for n, w in cohort.weights.items()}
        held |= {n: b for n, b in state.buffers.items() if not n.endswith("key")}
        module.load_state_dict(held)
        with torch.no_grad():
            expected = module((digits.x.double() - 8) / 8)
        assert (logits[m] - expected).abs().max() < 1e-12
        assert (some[m] - expected[5:9]).abs().max() < 1e-12


def layered(layer: Callable[[], nn.Module]) -> Model:
    class Layered(Model):
        name: Literal["layered"] = "layered"

        def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
            network = nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
            network.add_module("strange", layer())
            return network

    return Layered()


def test_a_layer_without_weights_yet_is_refused_by_name(make_cohort: Make) -> None:
    with pytest.raises(PluginError, match=r"'strange'.*lazy"):
        make_cohort(model=layered(lambda: nn.LazyLinear(10)))


def test_dropout_drops_its_share_and_keeps_the_mean(make_cohort: Make) -> None:
    model = layered(lambda: nn.Dropout(0.3))
    cohort = make_cohort(model=model)
    network = cohort.network
    one = cohort.states()[0]
    buffers = one.buffers
    x = torch.ones(2000, 1, 8, 8, dtype=torch.float64)
    plain, _ = network.forward(one.flat, buffers, x)
    dropped, _ = network.forward(one.flat, buffers, x, key=torch.tensor(9))
    other, _ = network.forward(one.flat, buffers, x, key=torch.tensor(10))
    kept = dropped != 0
    assert float(kept.double().mean()) == pytest.approx(0.7, abs=0.02)
    assert torch.allclose(dropped[kept], plain[kept] / 0.7)
    assert not torch.equal(kept, other != 0)


class Shared(nn.Module):
    """One dropout layer under two names, called three times."""

    def __init__(self) -> None:
        super().__init__()
        self.first = self.second = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.first(x), self.second(x), self.first(x)])


def test_a_dropout_layer_called_again_draws_another_mask(make_cohort: Make) -> None:
    network = make_cohort(model=layered(Shared)).network
    buffers = {n: b.clone() for n, b in network.module.named_buffers()}
    flat = torch.ones(network.size, dtype=torch.float64)
    x = torch.ones(50, 1, 8, 8, dtype=torch.float64)
    masks, _ = network.forward(flat, buffers, x, key=torch.tensor(1))
    again, _ = network.forward(flat, buffers, x, key=torch.tensor(1))
    assert torch.equal(masks, again)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        agree = float((masks[one] == masks[other]).double().mean())
        assert agree == pytest.approx(0.5, abs=0.1)
