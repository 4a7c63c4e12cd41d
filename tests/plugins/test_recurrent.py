"""Recurrent networks: the numbers of torch's own layers, trained and pruned many at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from privaudit import Examples, Model, RecipeError, Sparsifier
from privaudit.cohort import Cohort
from privaudit.networks.multiply_adds import multiply_adds
from privaudit_plugins.datasets.digits_rows import DigitsRows
from privaudit_plugins.models._recurrent import RecurrentLayer, RecurrentNetwork
from privaudit_plugins.models.recurrent import GRU, LSTM, RNN
from privaudit_plugins.sparsifiers.butterfly import Butterfly
from privaudit_plugins.sparsifiers.imp import IterativeMagnitudePruning
from privaudit_plugins.sparsifiers.l1_unstructured import L1Unstructured
from privaudit_plugins.sparsifiers.random_support import RandomSupport

Make = Callable[..., Cohort]
Options = dict[str, Any]
KINDS: dict[str, tuple[type[Model], Options, Callable[..., nn.RNNBase], Options]] = {
    "tanh": (RNN, {}, nn.RNN, {}),
    "relu": (RNN, {"activation": "relu"}, nn.RNN, {"nonlinearity": "relu"}),
    "gru": (GRU, {}, nn.GRU, {}),
    "lstm": (LSTM, {}, nn.LSTM, {}),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
MATRICES = ["layers.layer1.ih.weight", "layers.layer1.hh.weight", "output.weight"]


@pytest.fixture
def rows(tmp_path: Any) -> Examples:
    examples = DigitsRows().load(tmp_path)
    return Examples(
        examples.x[:300], examples.y[:300], examples.classes, examples.mean, examples.std
    )


def built(kind: str, shape: tuple[int, ...] = (7, 5), **options: Any) -> RecurrentNetwork:
    model, own, _, _ = KINDS[kind]
    torch.manual_seed(3)
    network = model.model_validate({"hidden": 6, **own, **options}).build(shape, 4)
    assert isinstance(network, RecurrentNetwork)
    return network


def of_torch(kind: str, network: RecurrentNetwork, inputs: int, layers: int = 1) -> nn.RNNBase:
    """torch's own layers with the weights of a network."""
    _, _, cls, options = KINDS[kind]
    other = cls(inputs, 6, num_layers=layers, batch_first=True, **options).double()
    named = {}
    for number in range(layers):
        layer = network.layers.get_submodule(f"layer{number + 1}")
        assert isinstance(layer, RecurrentLayer)
        for side in ("ih", "hh"):
            for what in ("weight", "bias"):
                named[f"{what}_{side}_l{number}"] = layer.get_parameter(f"{side}.{what}").detach()
    other.load_state_dict(named)
    return other


@every_kind
@pytest.mark.parametrize("layers", [1, 2])
def test_answers_and_gradients_are_those_of_torch(kind: str, layers: int) -> None:
    network = built(kind, layers=layers).double()
    reference = of_torch(kind, network, 5, layers)
    x = torch.randn(3, 7, 5, dtype=torch.float64)
    y = torch.tensor([0, 3, 1])
    expected = reference(x)[0][:, -1] @ network.output.weight.T + network.output.bias
    torch.testing.assert_close(network(x), expected, rtol=0, atol=1e-12)
    cross_entropy(network(x), y).backward()  # type: ignore[no-untyped-call]
    cross_entropy(expected, y).backward()  # type: ignore[no-untyped-call]
    for number in range(layers):
        for side in ("ih", "hh"):
            weight = network.get_parameter(f"layers.layer{number + 1}.{side}.weight")
            other = reference.get_parameter(f"weight_{side}_l{number}").grad
            torch.testing.assert_close(weight.grad, other, rtol=0, atol=1e-12)


@every_kind
def test_weights_start_as_those_of_torch(kind: str) -> None:
    network = built(kind, hidden=64)
    for name, weight in network.layers.named_parameters():
        assert weight.abs().max() <= 1 / 8, name  # uniform in ±1/√hidden
        if weight.ndim == 2:
            assert float(weight.detach().std()) == pytest.approx(1 / 8 / 3**0.5, rel=0.05), name


@every_kind
def test_an_image_is_read_row_by_row(kind: str) -> None:
    network = built(kind, shape=(3, 4, 2))
    images = torch.randn(5, 3, 4, 2)
    sequence = torch.stack(
        [torch.cat([image[:, h] for image in images.unbind(1)], 1) for h in range(4)], 1
    )
    torch.testing.assert_close(network(images), network(sequence))
    in_other_memory = images.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(network(in_other_memory), network(sequence))


@pytest.mark.parametrize("model", [RNN(), GRU(), LSTM()], ids=lambda model: model.name)
@pytest.mark.parametrize("shape", [(30,), (2, 3, 4, 5)])
def test_what_is_no_sequence_is_refused(model: Model, shape: tuple[int, ...]) -> None:
    with pytest.raises(RecipeError, match=rf"^model {model.name} needs sequences .*: use mlp"):
        model.build(shape, 2)


@every_kind
def test_many_train_as_torchs_own_layers_do(make_cohort: Make, rows: Examples, kind: str) -> None:
    """One step of gradient descent on all members, against autograd through torch's layers."""
    model, own, _, _ = KINDS[kind]
    options: Options = {"epochs": 1, "lr": 0.5, "momentum": 0.0, "batch_size": 30}
    chosen = model.model_validate({"hidden": 6, **own})
    cohort = make_cohort([30, 30], model=chosen, examples=rows, validation=0, **options)
    before = [built_from(kind, cohort, m) for m in range(2)]
    cohort.fit()
    assert cohort._fits._way(cohort._fit(False, None, {})) == "vmapped"
    x = (rows.x.double() - 8) / 8
    for m, network in enumerate(before):
        reference = of_torch(kind, network, 8)
        members = cohort.rows("member")[m]
        logits = reference(x[members])[0][:, -1] @ network.output.weight.T + network.output.bias
        cross_entropy(logits, rows.y[members]).backward()  # type: ignore[no-untyped-call]
        for side in ("ih", "hh"):
            start = network.get_parameter(f"layers.layer1.{side}.weight").detach()
            slope = reference.get_parameter(f"weight_{side}_l0").grad
            assert slope is not None
            after = cohort.weights[f"layers.layer1.{side}.weight"][m]
            torch.testing.assert_close(after, start - 0.5 * slope, rtol=0, atol=1e-10)


def built_from(kind: str, cohort: Cohort, m: int) -> RecurrentNetwork:
    network = built(kind, shape=(8, 8)).double()
    network.output = nn.Linear(6, 10).double()
    network.load_state_dict({name: weight[m] for name, weight in cohort.weights.items()})
    return network


def densities(cohort: Cohort, name: str) -> Tensor:
    return (cohort.weights[name] != 0).double().flatten(1).mean(1)


@every_kind
@pytest.mark.parametrize(
    "sparsifier",
    [
        IterativeMagnitudePruning(rounds=1, amount=0.5),
        L1Unstructured(density=0.5),
        RandomSupport(density=0.5),
    ],
    ids=lambda sparsifier: sparsifier.name,
)
def test_every_pruner_of_weights_prunes_both_matrices_and_no_bias(
    make_cohort: Make, rows: Examples, kind: str, sparsifier: Sparsifier
) -> None:
    model, own, _, _ = KINDS[kind]
    chosen = model.model_validate({"hidden": 6, **own})
    cohort = make_cohort([20, 20], model=chosen, examples=rows, sparsifier=sparsifier, epochs=1)
    list(sparsifier.sparsify(cohort))
    weights = cohort.weights
    kept = sum(int((weights[name][0] != 0).sum()) for name in MATRICES)
    assert kept == round(0.5 * sum(weights[name][0].numel() for name in MATRICES))
    for name in MATRICES[:2]:
        assert bool(((densities(cohort, name) > 0.2) & (densities(cohort, name) < 0.8)).all())
    for name in weights.keys() - set(MATRICES):
        assert bool((densities(cohort, name) == 1).all()), name


def test_butterfly_substitutes_both_matrices() -> None:
    before = built("lstm", shape=(7, 8), hidden=8)
    network = Butterfly(layers=("layers.*",)).prepare(built("lstm", shape=(7, 8), hidden=8))
    for side in ("ih", "hh"):
        layer, dense = (n.get_submodule(f"layers.layer1.{side}") for n in (network, before))
        count, full = (sum(p.numel() for p in one.parameters()) for one in (layer, dense))
        assert count < full
    assert network(torch.randn(2, 7, 8)).shape == (2, 4)


@every_kind
def test_each_nonzero_weight_costs_a_product_at_every_step(kind: str) -> None:
    network = built(kind).eval()
    gates = {"tanh": 1, "relu": 1, "gru": 3, "lstm": 4}[kind]
    x = torch.zeros(1, 7, 5)
    assert multiply_adds(network, x) == 7 * gates * (6 * 5 + 6 * 6) + 4 * 6
    with torch.no_grad():
        network.get_parameter("layers.layer1.hh.weight")[:, :3] = 0
    assert multiply_adds(network, x) == 7 * gates * (6 * 5 + 6 * 3) + 4 * 6


def test_layers_and_dropout_are_what_the_options_say() -> None:
    network = built("gru", layers=3, dropout=0.25)
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.25, 0.25]
    assert [m.ih.in_features for m in network.modules() if isinstance(m, RecurrentLayer)] == [
        5, 6, 6
    ]  # fmt: skip
    same = built("gru", layers=1, dropout=0.25)  # as nn.GRU: between layers alone
    assert not any(isinstance(m, nn.Dropout) for m in same.modules())
