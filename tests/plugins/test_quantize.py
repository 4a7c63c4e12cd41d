"""Quantisation: evenly spaced values, one network for all numbers of bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from privaudit import (
    Model,
)
from privaudit.cohort import Cohort
from privaudit_plugins.sparsifiers.quantize import Quantize, rounded

Make = Callable[..., Cohort]


def quantize(**options: Any) -> Quantize:
    return Quantize.model_validate(options)


def levels(cohort: Cohort, plugin: Quantize) -> dict[str, dict[str, Tensor]]:
    """Label and weights of each level."""
    found = {}
    for label in plugin.sparsify(cohort):
        found[label] = cohort.weights
    return found


def test_weights_round_to_the_nearest_of_seven_values() -> None:
    weights = torch.tensor([[[3.0, 1.4, -0.6, 0.4], [-0.3, 0.12, 0.0, 0.27]]])
    by_channel = [[3.0, 1.0, -1.0, 0.0], [-0.3, 0.1, 0.0, 0.3]]
    by_layer = [[3.0, 1.0, -1.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    torch.testing.assert_close(rounded(weights, 3, "channel"), torch.tensor([by_channel]))
    torch.testing.assert_close(rounded(weights, 3, "layer"), torch.tensor([by_layer]))


@pytest.mark.parametrize("bits", [2, 5, 8, 16])
@pytest.mark.parametrize("scale", ["channel", "layer"])
def test_rounding_is_that_of_plain_arithmetic(bits: int, scale: Any) -> None:
    torch.manual_seed(0)
    weights = torch.randn(3, 4, 2, 3, 3)
    weights[1, 2] = 0
    axes = (2, 3, 4) if scale == "channel" else (1, 2, 3, 4)
    spacing = weights.abs().amax(axes, keepdim=True) / (2 ** (bits - 1) - 1)
    expected = torch.where(spacing > 0, (weights / spacing).round() * spacing, 0)
    found = rounded(weights, bits, scale)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
    assert bool(((found - weights).abs() <= 0.5001 * spacing).all())
    assert all(len(set(found[m, 0].flatten().tolist())) < 2**bits for m in range(3))


def test_every_number_of_bits_rounds_the_same_trained_network(
    make_cohort: Make, convolutional: Callable[..., Model]
) -> None:
    plugin = quantize(bits=[8, 2, 4])
    cohort = make_cohort([40, 30], model=convolutional())
    found = levels(cohort, plugin)
    assert list(found) == ["8 bits", "2 bits", "4 bits"]
    plain = make_cohort([40, 30], model=convolutional())
    plain.fit()
    plain.rewind("best")
    for label, weights in found.items():
        for name, trained in plain.weights.items():
            if name not in ("0.weight", "7.weight"):
                assert torch.equal(weights[name], trained), name
                continue
            outermost = 2 ** (int(label.split()[0]) - 1) - 1
            for m in range(2):
                for channel, original in zip(weights[name][m], trained[m], strict=True):
                    spacing = original.abs().max() / outermost
                    steps = channel / spacing
                    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-4)
                    assert bool(((channel - original).abs() <= 0.5001 * spacing).all())
    assert len(cohort.records) == 1


def test_eight_bits_answer_as_the_trained_network_and_two_do_not(make_cohort: Make) -> None:
    cohort = make_cohort([100], epochs=8)
    plugin = quantize(bits=(8, 2))
    answers = [cohort.logits()[0].argmax(-1) for _ in plugin.sparsify(cohort)]
    plain = make_cohort([100], epochs=8)
    plain.fit()
    plain.rewind("best")
    trained = plain.logits()[0].argmax(-1)
    same = [float((answer == trained).double().mean()) for answer in answers]
    assert same[0] > 0.97
    assert same[1] < same[0]


def test_three_models_at_once_are_three_models_alone(make_cohort: Make) -> None:
    plugin = quantize(bits=4)
    together = levels(make_cohort([40, 33, 20]), plugin)["4 bits"]
    for m in range(3):
        alone = levels(make_cohort([40, 33, 20], models=[m]), plugin)["4 bits"]
        for name, weight in together.items():
            torch.testing.assert_close(weight[m], alone[name][0], rtol=0, atol=1e-10)


@pytest.mark.parametrize("bits", [1, 17, [], [4, 4], [8, 1]])
def test_options_out_of_bounds_are_refused(bits: Any) -> None:
    with pytest.raises(ValidationError):
        quantize(bits=bits)
