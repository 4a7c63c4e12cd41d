"""PPB: the divergence of ranked pairs, by SciPy and by finite differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from scipy.stats import entropy
from torch.func import grad

from privaudit import (
    Step,
)
from privaudit.cohort import Cohort
from privaudit.testing import check_plugin
from privaudit_plugins.defenses.ppb import PairBasedPosteriorBalancing as Ppb

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


def batch(count: int) -> tuple[Array, Labels]:
    random = np.random.default_rng(count)
    return 3 * random.standard_normal((count, 4)), random.integers(0, 4, count)


def expected(logits: Array, y: Labels, pairs: list[tuple[int, int]], weight: float) -> float:
    cost = -log_softmax(logits, axis=1)[np.arange(len(y)), y].mean()
    ranked = softmax(-np.sort(-logits, axis=1), axis=1)
    return float(cost + weight * np.mean([entropy(ranked[s], ranked[f]) for f, s in pairs]))


def found(defense: Ppb, logits: torch.Tensor, y: Labels) -> torch.Tensor:
    number = torch.tensor(0)
    return defense.loss(Step(logits=logits, y=torch.from_numpy(y), epoch=number, key=number))


@pytest.mark.parametrize(
    ("count", "pairs"),
    [
        (4, [(0, 2), (1, 3)]),
        (5, [(0, 3), (1, 4)]),  # row 2, in the middle, has no partner
        (2, [(0, 1)]),
    ],
)
@pytest.mark.parametrize("weight", [4.0, 0.5])
def test_the_ranked_posteriors_of_pairs_are_drawn_together(
    count: int, pairs: list[tuple[int, int]], weight: float
) -> None:
    logits, y = batch(count)
    defense = Ppb(weight=weight)
    want = expected(logits, y, pairs, weight)
    assert abs(float(found(defense, torch.from_numpy(logits), y)) - want) < 1e-12
    gradient = grad(lambda z: found(defense, z, y))(torch.from_numpy(logits))
    for place in np.ndindex(*logits.shape):  # of both sides of each pair
        up, down = logits.copy(), logits.copy()
        up[place] += 1e-5
        down[place] -= 1e-5
        slope = (expected(up, y, pairs, weight) - expected(down, y, pairs, weight)) / 2e-5
        assert abs(float(gradient[place]) - slope) < 1e-7


def test_the_published_weight_is_the_default() -> None:
    assert Ppb().weight == 4


def test_a_batch_of_one_has_no_pair() -> None:
    logits, y = batch(1)
    cost = -log_softmax(logits, axis=1)[0, y[0]]
    assert abs(float(found(Ppb(), torch.from_numpy(logits), y)) - cost) < 1e-12


def test_only_fine_tuning_is_defended(make_cohort: Callable[..., Cohort]) -> None:
    def weights(defended: bool, tune: bool) -> torch.Tensor:
        cohort = make_cohort(defense=Ppb() if defended else None, epochs=1)
        cohort.fit(tune=tune)
        return torch.stack([one.flat for one in cohort.states()])

    assert torch.equal(weights(True, False), weights(False, False))
    assert not torch.equal(weights(True, True), weights(False, True))


def test_ppb_keeps_the_contract() -> None:
    check_plugin(Ppb)
