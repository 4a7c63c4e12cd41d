"""Canaries: who becomes one, what it looks like, who trains on it, and what its audit finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binom
from torch import Tensor

import privaudit
from privaudit import DataError, Examples, RecipeError, Role, load_plugins, load_recipe
from privaudit.experiment.canaries import canary_rows, inserted
from privaudit.experiment.ensemble import make_ensemble
from privaudit.recipe import SplitOptions
from privaudit.report import render

SILENT = '''
from typing import Literal
import privaudit
from privaudit_plugins.defenses.dp_sgd import DPSGD

class Silent(DPSGD):
    """DP-SGD whose author forgot the noise."""

    name: Literal["silent"] = "silent"

    def batch_gradient(self, total, count, key):
        return total / count

@privaudit.hookimpl
def privaudit_provide():
    return [Silent]
'''
NOISE = {"noise_multiplier": 8, "clip": 1}
RECIPE: dict[str, Any] = {
    "name": "canaries",
    "dataset": "digits",
    "split": {
        "canaries": {"count": 200, "kind": "blank"},
        "members": 60,
        "validation": 0,
        "non_members": 200,
    },
    "model": {"name": "mlp", "hidden": [64]},
    "training": {"epochs": 80, "lr": 2, "momentum": 0},
    "shadows": 0,
    "defenses": [{"name": "dp_sgd", **NOISE}, {"name": "silent", **NOISE}],
    "attacks": ["loss"],
}


def options(**changes: Any) -> SplitOptions:
    return SplitOptions.model_validate({"canaries": 40, **changes})


def test_a_count_alone_asks_for_mislabelled_ones() -> None:
    assert options() == options(canaries={"count": 40, "kind": "mislabelled"})


def test_mislabelled_examples_keep_their_inputs_and_get_another_class(digits: Examples) -> None:
    split = options(canaries=150)
    made, rows = inserted(digits, split), canary_rows(split, len(digits))
    assert len(set(rows.tolist())) == 150
    changed = made.y != digits.y
    assert torch.equal(changed.nonzero()[:, 0], rows.sort().values)
    assert torch.equal(made.x, digits.x)
    # The offset to the true class is any of the nine others.
    offsets = ((made.y - digits.y)[rows] % 10).bincount(minlength=10)
    assert offsets[0] == 0
    assert int((offsets > 0).sum()) == 9


def test_blank_examples_are_dark_but_for_lit_numbers_of_their_own(digits: Examples) -> None:
    split = options(canaries={"count": 40, "kind": "blank"})
    made, rows = inserted(digits, split), canary_rows(split, len(digits))
    blank = made.x[rows].flatten(1)
    assert set(blank.flatten().tolist()) == {int(digits.x.min()), int(digits.x.max())}
    assert ((blank > 0).sum(1) == 64 // 16).all()
    assert len(set(map(tuple, blank.tolist()))) == 40
    others = torch.ones(len(digits)).bool()
    others[rows] = False
    assert torch.equal(made.x[others], digits.x[others])
    assert torch.equal(made.y[others], digits.y[others])


def test_blank_rows_of_features_are_within_each_feature_and_hardly_ever_the_same() -> None:
    """Of 30 features one is lit in 16, which makes 30 different rows and not the 100 of a coin."""
    recipe = load_recipe(
        {"name": "a", "dataset": "breast_cancer", "model": "mlp", "attacks": ["loss"]}
    )
    examples = recipe.dataset.load(Path())
    split = options(canaries={"count": 100, "kind": "blank"})
    blank = inserted(examples, split).x[canary_rows(split, len(examples))]
    low, high = examples.x.amin(0), examples.x.amax(0)
    assert bool(((blank == low) | (blank == high)).all())
    assert len(np.unique(blank.numpy(), axis=0)) >= 97


def test_every_canary_is_in_every_training_by_a_coin_of_its_own() -> None:
    changes = {"split": {"canaries": 60, "protocol": "halves", "targets": "all"}}
    recipe = load_recipe(
        {"name": "a", "dataset": "digits", "model": "mlp", "attacks": ["loss"], "shadows": 20}
        | {"seeds": 3}
        | changes
    )
    ensemble = make_ensemble(recipe, 400)
    rows = canary_rows(recipe.split, 400)
    assert all(split.coins for split in ensemble.splits)
    role = ensemble.role[:, rows]
    inside = role == Role.MEMBER
    assert bool((inside | (role == Role.NON_MEMBER)).all())
    low, high = binom.ppf([1e-4, 1 - 1e-4], inside.numel(), 0.5)
    assert low <= int(inside.sum()) <= high
    # Independent: over pairs of models, agreements are as many as chance allows, too.
    agree = (inside[0::2] == inside[1::2]).sum()
    low, high = binom.ppf([1e-4, 1 - 1e-4], inside[0::2].numel(), 0.5)
    assert low <= int(agree) <= high
    # All other examples keep to the protocol: of a pair, each is a member of one.
    others = torch.ones(400).bool()
    others[rows] = False
    first = ensemble.role[:2, others]
    assert bool(((first == Role.MEMBER).sum(0) == (first == Role.NON_MEMBER).sum(0)).all())
    about = torch.cat([split.audited for split in ensemble.splits])
    assert set(about.nonzero()[:, 1].tolist()) == set(rows.tolist())
    assert not bool((ensemble.tests | ensemble.learned)[:, rows].any())


def test_more_shadows_leave_the_first_models_as_they_were() -> None:
    def dealt(shadows: int) -> Tensor:
        recipe = load_recipe(
            {"name": "a", "dataset": "digits", "model": "mlp", "attacks": ["loss"]}
            | {"shadows": shadows, "split": {"canaries": 60, "members": 50}}
        )
        return make_ensemble(recipe, 400).role

    assert torch.equal(dealt(2), dealt(4)[:3])


def test_without_canaries_a_recipe_is_written_as_before() -> None:
    recipe = load_recipe({"name": "a", "dataset": "digits", "model": "mlp", "attacks": ["loss"]})
    assert "canaries" not in recipe.to_yaml()
    with_some = load_recipe(
        {"name": "a", "dataset": "digits", "model": "mlp", "attacks": ["loss"]}
        | {"split": {"canaries": 30}}
    )
    assert with_some.digest() != recipe.digest()
    assert with_some.model_dump(mode="json")["split"]["canaries"] == {
        "count": 30,
        "kind": "mislabelled",
    }


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"canaries": 3}, r"split.canaries.*must be at least 10"),
        ({"canaries": "many"}, r"split.canaries.*must be a mapping"),
        (
            {"canaries": {"count": 20, "kind": "loud"}},
            r"split.canaries.kind.*must be 'mislabelled'",
        ),
        ({"canaries": {"size": 20}}, r"split.canaries"),
    ],
)
def test_what_is_wrong_with_canaries_is_one_line(split: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(
            {"name": "a", "dataset": "digits", "model": "mlp", "attacks": ["loss"], "split": split}
        )


def test_canaries_that_make_no_sense_are_refused(digits: Examples) -> None:
    target = {"checkpoint": "a.pt", "members": "digits", "non_members": "digits"}
    with pytest.raises(RecipeError, match=r"split\.canaries: cannot be used with a given target"):
        load_recipe(
            {"name": "a", "dataset": "digits", "model": "mlp", "attacks": ["loss"]}
            | {"target": target, "split": {"canaries": 30}}
        )
    with pytest.raises(RecipeError, match="300 canaries leave none of the dataset's 300"):
        inserted(digits, options(canaries=300))
    tokens = Examples(
        torch.zeros(50, 4, dtype=torch.int64),
        torch.arange(50) % 2,
        ("a", "b"),
        torch.tensor(0.0),
        torch.tensor(1.0),
    )
    with pytest.raises(DataError, match="tokens cannot be blank"):
        inserted(tokens, options(canaries={"count": 20, "kind": "blank"}))


def test_forgotten_noise_raises_the_alarm_and_noise_does_not(tmp_path: Path) -> None:
    file = tmp_path / "silent.py"
    file.write_text(SILENT)
    plugins = load_plugins(files=[file])
    result = privaudit.run(
        load_recipe(RECIPE, plugins=plugins),
        tmp_path / "run",
        cache=tmp_path / "cache",
        device="cpu",
        plugins=plugins,
    )
    right, broken = result.audits
    for audit in (right, broken):
        assert audit.promise is not None
        assert 1.5 < audit.promise.epsilon < 2.5
        members = 60 + audit.metrics["members"]
        assert audit.metrics["members"] + audit.metrics["non_members"] == 200
        assert audit.promise.delta == audit.metrics["delta"] == pytest.approx(1 / (10 * members))
    assert right.metrics["one_run_epsilon"] < right.promise.epsilon  # type: ignore[union-attr]
    assert broken.metrics["one_run_epsilon"] > broken.promise.epsilon  # type: ignore[union-attr]
    alarms = [doubt.about for doubt in result.doubts if doubt.name == "promise"]
    assert len(alarms) == 1
    assert "silent" in alarms[0]


def test_attacks_that_learn_from_shadows_know_all_of_theirs(tmp_path: Path) -> None:
    changes = {
        "split": {"canaries": 100, "members": 150, "non_members": 150},
        "training": {"epochs": 2, "lr": 0.05},
        "shadows": 1,
        "defenses": ["none"],
        "attacks": ["logistic_regression", "confidence", "population"],
    }
    result = privaudit.run(
        load_recipe(RECIPE | changes), tmp_path / "run", cache=tmp_path / "cache", device="cpu"
    )
    for audit in result.audits:
        assert audit.metrics["members"] + audit.metrics["non_members"] == 100
        assert audit.metrics["one_run_epsilon"] is not None
        assert audit.train_accuracy > 0.1
    assert "Attacks are on 100 mislabelled canaries alone" in render([result])


def test_a_threshold_is_learned_from_canaries_alone(tmp_path: Path) -> None:
    """Mislabelled examples are less sure than others: one made for those misses half of them."""
    changes = [
        "split.canaries.kind=mislabelled", "split.members=300", "shadows=2", "defenses=[none]",
        "training.lr=0.1", "training.epochs=30", "training.momentum=0.9", "model.hidden=[128]",
    ]  # fmt: skip
    result = privaudit.run(
        load_recipe(RECIPE, changes), tmp_path / "run", device="cpu", cache=tmp_path / "cache"
    )
    (audit,) = result.audits
    best = audit.metrics["best_balanced_accuracy"]
    assert best > 0.95
    assert audit.metrics["balanced_accuracy"]["value"] > best - 0.05
