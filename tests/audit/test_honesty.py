"""The pipeline is honest: it finds members where a network remembers them, and only there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from privaudit import Attack, Dataset, Examples, Recipe, Role, Signals, Split
from privaudit.api.calls import scored
from privaudit.experiment.attacking import measured, signals_of
from privaudit.experiment.level import Level
from privaudit.experiment.levels import levels
from privaudit.experiment.running import run_context
from privaudit.recipe import Entry, SplitOptions
from privaudit.training import Training
from privaudit_plugins.attacks.logistic_regression import LogisticRegression
from privaudit_plugins.attacks.loss import Loss
from privaudit_plugins.attacks.shadow_mlp import ShadowMLP
from privaudit_plugins.defenses.none import NoDefense
from privaudit_plugins.models.mlp import MLP
from privaudit_plugins.sparsifiers.dense import Dense

ATTACKS: list[Attack] = [Loss(), LogisticRegression(), ShadowMLP(hidden=((30,),), epochs=30)]
by_name = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)


class Nonsense(Dataset):
    """Noise with labels drawn at random: whatever a network gets right it has remembered.

    Noise, and not digits, because a network is sure of a digit it has never seen, too, and the
    logistic regression, which sees no product of class and prediction, would not notice that it
    is sure of a wrong class.
    """

    name: Literal["nonsense"] = "nonsense"

    def load(self, root: Path) -> Examples:
        draw = torch.Generator().manual_seed(1)
        x = torch.randint(17, (1600, 1, 8, 8), generator=draw).to(torch.uint8)
        y = torch.randint(10, (1600,), generator=draw)
        names = tuple(str(digit) for digit in range(10))
        return Examples(x, y, names, mean=torch.tensor(8.0), std=torch.tensor(8.0))


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return Recipe(
        name="honest",
        dataset=Nonsense(),
        split=SplitOptions(validation=0),
        model=MLP(hidden=(256,)),
        training=Training(
            epochs=30, optimizer="adam", lr=0.01, schedule="cosine", weight_decay=3e-3
        ),
        shadows=1,
        sparsifiers=(Entry(plugin=Dense()),),
        defenses=(Entry(plugin=NoDefense()),),
        attacks=tuple(Entry(plugin=attack) for attack in ATTACKS),
    )


@pytest.fixture(scope="module")
def trained(
    recipe: Recipe, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Examples, Split, Level]:
    """A target and a shadow that know their members by heart."""
    place = run_context(recipe, device="cpu", cache=tmp_path_factory.mktemp("cache"))
    (level,) = levels(place, recipe.subjects()[0])
    return place.examples, place.ensemble.splits[0], level


def audit(attack: Attack, trained: tuple[Examples, Split, Level], split: Split) -> dict[str, Any]:
    examples, _, level = trained
    signals = signals_of(attack, examples, split, level.outputs, level.outputs, 0, 1)
    return measured(scored(attack, signals), split, 0, None)


@by_name
def test_a_network_that_remembers_is_found_out(
    attack: Attack, trained: tuple[Examples, Split, Level]
) -> None:
    examples, split, level = trained
    right = level.outputs.logits[0, 0].argmax(-1) == examples.y
    assert float(right[split.role[0] == Role.MEMBER].double().mean()) > 0.95
    assert float(right[split.role[0] == Role.NON_MEMBER].double().mean()) < 0.2
    metrics = audit(attack, trained, split)
    assert metrics["auc"]["value"] > 0.9
    assert metrics["auc"]["low"] > 0.85
    assert metrics["defense"] < 0.4
    if attack.noise == 0:  # of noise it is 0.8 to 21 % by the draw alone (16 draws)
        assert metrics["tpr_at_fpr"]["0.01"]["value"] > 0.05


@by_name
@pytest.mark.parametrize("seed", [0, 1])
def test_shuffled_membership_cannot_be_found_out(
    attack: Attack, trained: tuple[Examples, Split, Level], seed: int
) -> None:
    """The same remembering target, asked about members drawn after it was trained."""
    split = trained[1]
    role = split.role.clone()
    rows = ((role[0] == Role.MEMBER) | (role[0] == Role.NON_MEMBER)).nonzero()[:, 0]
    generator = torch.Generator().manual_seed(seed)
    role[0, rows] = role[0, rows[torch.randperm(len(rows), generator=generator)]]
    assert len(rows) == 800
    metrics = audit(attack, trained, replace(split, role=role))
    auc = metrics["auc"]
    assert auc["low"] < 0.5 < auc["high"]
    assert auc["high"] - auc["low"] < 0.1
    assert abs(metrics["balanced_accuracy"]["value"] - 0.5) < 0.06


@by_name
def test_scores_do_not_depend_on_the_target_s_membership(
    attack: Attack, trained: tuple[Examples, Split, Level]
) -> None:
    """The attack is given the same, bit for bit, whoever the members are said to be."""
    examples, split, level = trained
    role = split.role.clone()
    member, non_member = role[0] == Role.MEMBER, role[0] == Role.NON_MEMBER
    role[0, member], role[0, non_member] = int(Role.NON_MEMBER), int(Role.MEMBER)
    told = [
        signals_of(attack, examples, each, level.outputs, level.outputs, 0, 1)
        for each in (split, replace(split, role=role))
    ]
    for one, other in zip(tensors(told[0]), tensors(told[1]), strict=True):
        assert torch.equal(one.nan_to_num(), other.nan_to_num())
    scores = [attack.score(signals).score for signals in told]
    assert torch.equal(scores[0][told[0].audited], scores[1][told[0].audited])


def tensors(value: Any) -> Iterator[torch.Tensor]:
    for field in fields(value):
        part = getattr(value, field.name)
        if isinstance(part, torch.Tensor):
            yield part
        elif hasattr(part, "__dataclass_fields__"):
            yield from tensors(part)


def test_signals_hold_no_membership_of_the_target() -> None:
    assert {field.name for field in fields(Signals)} == {
        "x",
        "y",
        "audited",
        "target",
        "shadows",
        "shadow_role",
        "seed",
    }


def test_signals_of_the_target_and_its_shadows_are_where_they_belong(
    trained: tuple[Examples, Split, Level],
) -> None:
    examples, split, level = trained
    signals = signals_of(ShadowMLP(), examples, split, level.outputs, level.outputs, 0, 1)
    assert torch.equal(signals.target.logits, level.outputs.logits[0])
    assert torch.equal(signals.shadows.logits, level.outputs.logits[1:])
    assert torch.equal(signals.shadow_role, split.role[1:])
    used = signals.shadow_role != Role.OUTSIDE
    assert not bool((used & signals.audited).any())  # two pools
    assert signals.target.noisy is not None
    assert torch.equal(~signals.target.noisy.isnan().any(-1).any(0), signals.audited)
