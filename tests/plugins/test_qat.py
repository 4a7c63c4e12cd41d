"""Quantisation-aware training: the gradient at rounded weights moves the latent ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from privaudit import Examples, Model
from privaudit.cohort import Cohort
from privaudit.keys import derive
from privaudit.train.dataset import epoch_order
from privaudit_plugins.sparsifiers.qat import QAT
from privaudit_plugins.sparsifiers.quantize import Quantize, rounded

Make = Callable[..., Cohort]
MEMBERS = [20, 33]


def matrices(cohort: Cohort) -> dict[str, Tensor]:
    return {n: w for n, w in cohort.weights.items() if w.ndim > 2}


class Rounding(torch.autograd.Function):
    """Torch's own fake quantisation forth, the gradient as it is back."""

    @staticmethod
    def forward(ctx: Any, w: Tensor, bits: int) -> Tensor:
        most = 2 ** (bits - 1) - 1
        spacing = w.abs().amax(1) / most
        values: Tensor = (w / spacing[:, None]).round() * spacing[:, None]
        return values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return gradient, None


@pytest.mark.parametrize("bits", [2, 4])
def test_a_fit_is_that_of_a_straight_through_estimator(
    make_cohort: Make, digits: Examples, perceptron: Callable[..., Model], bits: int
) -> None:
    """By autograd through a function whose derivative is 1; the first step sees no rounding."""
    cohort = make_cohort(MEMBERS, sparsifier=QAT(bits=bits), epochs=3)
    cohort.fit(tune=True)
    x = (digits.x.double() - 8) / 8
    for m in range(2):
        module: nn.Module = perceptron().build(digits.shape, 10).double()
        named = dict(module.named_parameters())
        with torch.no_grad():
            for name, value in named.items():
                value.copy_(cohort.initial_weights[name][m])
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
        seed = derive(derive(cohort.seeds[m], "fit", 0), "member")
        steps = 0
        for epoch in range(3):
            for rows in epoch_order(cohort._rows[m].member, seed, epoch, 16):
                seen = {
                    n: Rounding.apply(w, bits) if w.ndim > 1 and steps else w
                    for n, w in named.items()
                }
                logits = functional_call(module, seen, (x[rows],))
                optimizer.zero_grad()
                torch.autograd.backward(cross_entropy(logits, digits.y[rows]))
                optimizer.step()
                steps += 1
        for n, w in named.items():
            after = w.detach()
            if w.ndim > 1:
                assert (cohort.memory[f"latent {n}"][m] - after).abs().max() < 1e-9
                after = Rounding.apply(after, bits)
            assert (cohort.weights[n][m] - after).abs().max() < 1e-9


@pytest.mark.parametrize("scale", ["channel", "layer"])
@pytest.mark.parametrize("kind", ["perceptron", "convolutional"])
def test_weights_end_on_the_values_of_quantize(
    make_cohort: Make, request: pytest.FixtureRequest, kind: str, scale: Any
) -> None:
    model: Model = request.getfixturevalue(kind)()
    plugin = QAT(bits=3, scale=scale)
    cohort = make_cohort(MEMBERS, model=model, sparsifier=plugin, epochs=2)
    assert list(plugin.sparsify(cohort)) == ["3 bits"]
    for name, weight in matrices(cohort).items():
        latent = cohort.memory[f"latent {name}"]
        torch.testing.assert_close(weight, rounded(latent, 3, scale), rtol=1e-5, atol=1e-7)
        rows = weight.flatten(0, 1).flatten(1) if scale == "channel" else weight.flatten(1)
        assert all(len(row.unique()) <= 7 for row in rows)


def test_fine_tuning_mends_what_rounding_spoils(make_cohort: Make) -> None:
    """Two bits leave three values: training through them fits the members, rounding alone not."""
    losses = []
    for plugin in (Quantize(bits=2), QAT(bits=2)):
        cohort = make_cohort([60, 60], sparsifier=plugin, epochs=15)
        list(plugin.sparsify(cohort))
        logits, labels = cohort.logits(), cohort.labels
        rows = cohort.rows("member")
        losses.append(
            sum(float(cross_entropy(logits[m][rows[m]], labels[rows[m]])) for m in range(2))
        )
    assert losses[1] < 0.5 * losses[0]


def test_pruned_weights_stay_pruned(make_cohort: Make) -> None:
    plugin = QAT(bits=4)
    cohort = make_cohort(MEMBERS, sparsifier=plugin, epochs=2)
    cohort.prune(keep=0.3)
    masks = cohort.masks
    assert list(plugin.follow(cohort)) == ["4 bits"]
    for name, weight in matrices(cohort).items():
        assert not bool(weight[~masks[name]].any())
        assert all(len(row.unique()) <= 15 for row in weight.flatten(0, 1))


@pytest.mark.parametrize(
    "options", [{"bits": 1}, {"bits": 17}, {"bits": [4, 8]}, {"scale": "x"}, {"lr": 0}], ids=str
)
def test_a_wrong_option_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        QAT.model_validate(options)
