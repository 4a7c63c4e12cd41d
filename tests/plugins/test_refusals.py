"""Attacks say before anything is trained what a recipe's split cannot give them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import privaudit
from privaudit.cohort import Cohort
from privaudit.cohort.answers import answers
from privaudit.recipe import load_recipe

HALVES = {"protocol": "halves", "validation": 0}
COIN = {"protocol": "coin", "validation": 0}


def recipe(attack: Any, split: dict[str, Any], shadows: int = 4) -> dict[str, Any]:
    return {
        "name": "refused",
        "dataset": "breast_cancer",
        "model": "mlp",
        "split": split,
        "shadows": shadows,
        "attacks": [attack],
    }


@pytest.mark.parametrize(
    ("attack", "split", "shadows", "line"),
    [
        ({"name": "lira", "mode": "online"}, {}, 4, "set split.protocol to halves"),
        ("lira", HALVES, 2, "'lira' needs 4 shadows with split.protocol halves: raise shadows"),
        ("rmia", HALVES, 4, "set split.members, so that some are left"),
        # The shadows hold these out, too: on digits, one example would be left.
        ("rmia", {"protocol": "halves", "validation": 0.1}, 4, "set split.members, so that some"),
        ("rmia", HALVES | {"reference": 0.2}, 4, "set split.members, so that some are left"),
        ({"name": "rmia", "mode": "online"}, {}, 4, "mode online needs shadows that trained on"),
        ({"name": "rmia", "a": "tune"}, {}, 4, "a: tune needs shadows that trained on"),
        ("population", HALVES, 4, "compares with examples that are not audited"),
        ("quantile", HALVES, 4, "set split.members"),
        ("population", COIN | {"members": 0.7}, 4, "coin audits all: set split.members to a count"),
        ("rmia", {"protocol": "coin"}, 4, "audits all others: set split.members to a count"),
        # 0.7 to the fourth is 24 %; to the eighth it is 5.8 %.
        ("reference", COIN | {"members": 0.7}, 4, "24% of the examples: drawn by coin with the"),
        ("lira", COIN | {"members": 0.7}, 4, "set shadows to 8 or more"),
        ("lira", COIN | {"members": 70, "non_members": 30}, 4, "set shadows to 8 or more"),
        # One or none of seven out: (1 + 7) / 128 is 6.25 %; of six, 7 / 64.
        ({"name": "lira", "variance": "per_example"}, COIN, 6, "set shadows to 7 or more"),
        ({"name": "lira", "mode": "online"}, COIN, 4, "12% of the examples"),
    ],
)
def test_a_split_that_cannot_serve_is_a_mistake_in_the_recipe(
    attack: Any, split: dict[str, Any], shadows: int, line: str
) -> None:
    with pytest.raises(privaudit.RecipeError) as caught:
        load_recipe(recipe(attack, split, shadows))
    (problem,) = caught.value.problems
    assert problem.startswith("recipe: attacks[0]: ")
    assert line in problem


@pytest.mark.parametrize(
    ("attack", "split"),
    [
        ("lira", {}),
        ("lira", HALVES),
        ("rmia", {}),
        ("rmia", HALVES | {"members": 200}),
        ({"name": "rmia", "a": "tune"}, HALVES | {"members": 200}),
        ("population", {"protocol": "halves"}),
        ("reference", COIN),
        ("lira", COIN),
        ("population", {"protocol": "coin"}),
        ("rmia", COIN | {"members": 200}),
    ],
)
def test_a_split_that_serves_is_right(attack: Any, split: dict[str, Any]) -> None:
    load_recipe(recipe(attack, split))


def test_copies_that_the_data_does_not_have_are_refused_before_training(tmp_path: Path) -> None:
    wanting = load_recipe(recipe("label_only", {}))
    with pytest.raises(privaudit.RecipeError, match=r"attacks\[0\].*'breast_cancer' has no augm"):
        privaudit.run(wanting, tmp_path / "run", cache=tmp_path / "cache", device="cpu")


def test_gradient_norms_are_of_the_weights_that_are_there(
    make_cohort: Callable[..., Cohort],
) -> None:
    cohort = make_cohort([40, 40])
    cohort.fit()
    everything = torch.ones((2, len(cohort.data.y)), dtype=torch.bool)
    before = answers(cohort, everything, gradient_norm=True).gradient_norm
    assert before is not None
    scores = {name: weight.abs() for name, weight in cohort.weights.items()}
    cohort.prune(keep=0, scores={name: scores[name] for name in list(scores)[:2]})
    after = answers(cohort, everything, gradient_norm=True).gradient_norm
    assert after is not None
    # Without a first layer only the output's bias has a gradient: softmax minus one-hot.
    y = torch.nn.functional.one_hot(cohort.data.y, 10)
    expected = (cohort.logits().softmax(-1) - y).norm(dim=-1)
    torch.testing.assert_close(after, expected)
