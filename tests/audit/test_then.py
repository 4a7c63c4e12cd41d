"""Sparsifiers that follow one another: levels of both, each as it would be alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import privaudit
from privaudit import PluginError, RecipeError, Sparsifier, load_recipe
from privaudit.api.contract import can_follow, check_class
from privaudit.api.plugin import Defense, Plugin
from privaudit.cohort import Cohort
from privaudit.experiment.followed import followed
from privaudit.recipe import Subject, recipe_schema
from privaudit.recipe.knowledge import shadow_subject
from privaudit.store.journal import Journal
from privaudit_plugins.models.mlp import MLP
from privaudit_plugins.sparsifiers.block_circulant import BlockCirculant
from privaudit_plugins.sparsifiers.l1_unstructured import L1Unstructured
from privaudit_plugins.sparsifiers.qat import QAT
from privaudit_plugins.sparsifiers.quantize import Quantize

Make = Callable[..., Cohort]
MEMBERS = [20, 33]

RECIPE = """
name: both
dataset: digits
split: {members: 60, non_members: 60}
model: {name: mlp, hidden: [8]}
training: {epochs: 2, batch_size: 20}
sparsifiers:
  - {name: l1_unstructured, density: [0.5, 0.2], then: {name: quantize, bits: [8, 3]}}
attacks: [loss]
"""


def recipe(tmp_path: Path, *changes: str) -> privaudit.Recipe:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return load_recipe(path, list(changes))


def reached(
    make: Make, first: Sparsifier, then: Sparsifier | None, **options: Any
) -> dict[str, tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """Weights and notes of each level."""
    cohort = make(MEMBERS, sparsifier=first, **{"epochs": 2} | options)
    subject = Subject("", first, Defense(name="none"), cohort.training, "", "", then)
    return {
        label: (shown.weights, shown.take_notes())
        for label, shown in followed(subject, cohort, MLP(hidden=(1,)))
    }


def on_a_grid(weight: Tensor, bits: int) -> np.ndarray[Any, Any]:
    values = weight.numpy()
    spacing = np.abs(values).max(axis=2, keepdims=True) / (2 ** (bits - 1) - 1)
    return np.where(spacing > 0, np.round(values / np.where(spacing > 0, spacing, 1)) * spacing, 0)


def test_each_level_is_the_first_s_rounded(make_cohort: Make) -> None:
    first = L1Unstructured(density=(0.5, 0.2))
    alone = reached(make_cohort, first, None)
    both = reached(make_cohort, first, Quantize(bits=(8, 3)))
    assert list(both) == [
        f"density {density}, {bits} bits" for density in (0.5, 0.2) for bits in (8, 3)
    ]
    for label, (weights, _) in both.items():
        density, _, bits = label.partition(", ")
        for name, weight in weights.items():
            before = alone[density][0][name]
            if weight.ndim > 2:
                expected = on_a_grid(before, int(bits.split()[0]))
                np.testing.assert_allclose(weight.numpy(), expected, rtol=1e-5, atol=1e-7)
                assert not bool(weight[before == 0].any())
            else:
                assert torch.equal(weight, before)


def test_what_the_first_trains_is_found_in_the_cache(make_cohort: Make, tmp_path: Path) -> None:
    first = L1Unstructured(density=(0.5, 0.2))
    journal = Journal(tmp_path / "units")
    reached(make_cohort, first, None, journal=journal)
    cohorts: list[Cohort] = []

    def make(*given: Any, **options: Any) -> Cohort:
        cohorts.append(make_cohort(*given, journal=journal, **options))
        return cohorts[-1]

    reached(make, first, Quantize(bits=4))
    assert [record.found for record in cohorts[0].records] == [2, 2, 2]
    reached(make, first, QAT(bits=4))
    found = [record.found for record in cohorts[1].records]
    assert found == [2, 2, 0, 2, 0]  # the first's fits are there, the second's are new


def test_a_follower_trains_with_its_own_hooks(make_cohort: Make) -> None:
    first = L1Unstructured(density=(0.5, 0.2))
    alone = reached(make_cohort, first, None)
    both = reached(make_cohort, first, QAT(bits=3))
    for label, (weights, _) in both.items():
        before = alone[label.partition(",")[0]][0]
        for name, weight in weights.items():
            if weight.ndim > 2:
                assert torch.equal(weight != 0, (weight != 0) & (before[name] != 0))
                assert all(len(row.unique()) <= 7 for row in weight.flatten(0, 1))


class Rounds(Sparsifier):
    """Goes on from where it is, as pruning in rounds does."""

    name: Literal["rounds"] = "rounds"

    def sparsify(self, cohort: privaudit.Cohort) -> Iterator[str]:
        cohort.fit()
        for number in range(3):
            cohort.prune(0.7)
            cohort.fit(1, tune=True)
            yield f"round {number}"


def test_the_first_goes_on_from_its_own_networks(make_cohort: Make) -> None:
    alone = reached(make_cohort, Rounds(), None)
    both = reached(make_cohort, Rounds(), Quantize(bits=2))
    for number in range(3):
        for name, before in alone[f"round {number}"][0].items():
            if before.ndim > 2:
                weight = both[f"round {number}, 2 bits"][0][name].numpy()
                expected = on_a_grid(before, 2)
                np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-7)


class Noting(Sparsifier):
    name: Literal["noting"] = "noting"
    labels: tuple[str, ...] = ("a", "b")

    def sparsify(self, cohort: privaudit.Cohort) -> Iterator[str]:
        cohort.fit()
        for number, label in enumerate(self.labels):
            cohort.note("first", torch.full((2,), number))
            cohort.note("both", torch.zeros(2))
            yield label

    def follow(self, cohort: privaudit.Cohort) -> Iterator[str]:
        for number, label in enumerate(self.labels):
            cohort.note("second", torch.full((2,), number))
            cohort.note("both", torch.ones(2))
            yield label


def test_notes_of_both_go_with_the_level(make_cohort: Make) -> None:
    found = reached(make_cohort, Noting(), Noting(labels=("c", "")))
    assert list(found) == ["a, c", "a", "b, c", "b"]
    told = [{n: v[0].item() for n, v in notes.items()} for _, notes in found.values()]
    pairs = [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert told == [{"first": one, "second": two, "both": 1} for one, two in pairs]


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (("a", "a, b"), ("b, c", "c"), "two levels called 'a, b, c'"),
        (("a",), ("c", "c"), "yields 'c' twice"),
        (("a",), (), "yields no level"),
        (("a",), (3,), "must yield labels in text"),
        (("a",), ("x" * 101,), "at most 100 printable characters"),
    ],
)
def test_labels_of_a_follower_are_checked(
    make_cohort: Make, first: tuple[str, ...], second: tuple[Any, ...], words: str
) -> None:
    then = Noting().model_copy(update={"labels": second})
    with pytest.raises(PluginError, match=words):
        reached(make_cohort, Noting(labels=first), then)


def test_a_recipe_says_both_and_keeps_its_digest_without(tmp_path: Path) -> None:
    both = recipe(tmp_path)
    (subject,) = both.subjects()
    assert subject.label == "l1_unstructured, then quantize"
    assert subject.then == Quantize(bits=(8, 3))
    (tmp_path / "again.yaml").write_text(both.to_yaml())
    again = load_recipe(tmp_path / "again.yaml")
    assert again == both
    assert again.digest() == both.digest()
    plain = recipe(tmp_path, "sparsifiers=[{name: l1_unstructured, density: [0.5, 0.2]}]")
    nothing = recipe(
        tmp_path, "sparsifiers=[{name: l1_unstructured, density: [0.5, 0.2], then: null}]"
    )
    assert plain.digest() == nothing.digest() != both.digest()
    assert "then" not in plain.to_yaml()


@pytest.mark.parametrize(
    ("then", "words"),
    [
        ("dense", r"sparsifiers\[0\]\.then.*'dense' cannot follow another sparsifier: .*quantize"),
        ("quantise", r"then.*unknown sparsifier 'quantise'; did you mean 'quantize'"),
        ("lira", r"then.*names another kind of plugin: attack, not sparsifier"),
        ("butterfly", r"then.*cannot follow"),
        ("{name: quantize, bits: 1}", r"then\.bits: must be at least 2"),
        ("{name: quantize, then: quantize}", r"then\.then: unknown option"),
        ("{name: quantize, label: x}", r"then\.label: unknown option"),
        ("{bits: 4}", r"then\.name: is missing"),
        ("[quantize]", r"then: must be the name of a plugin"),
        ("8", r"then: must be the name of a plugin"),
    ],
)
def test_what_cannot_follow_is_refused_in_one_line(tmp_path: Path, then: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words) as raised:
        recipe(tmp_path, f"sparsifiers=[{{name: l1_unstructured, then: {then}}}]")
    assert len(raised.value.args) == 1


def test_only_a_sparsifier_has_a_follower(tmp_path: Path) -> None:
    for change in ("defenses=[{name: none, then: quantize}]", "attacks=[{name: loss, then: imp}]"):
        with pytest.raises(RecipeError, match=r"then: unknown option 'then'"):
            recipe(tmp_path, change)


def test_a_follower_that_would_have_to_prepare_networks_cannot_follow() -> None:
    class Preparing(Quantize):
        def prepare(self, module: nn.Module) -> nn.Module:
            return module

    assert can_follow(Quantize)
    assert can_follow(QAT)
    assert not can_follow(Preparing)
    assert not can_follow(BlockCirculant)
    assert not can_follow(MLP)


def test_a_defense_of_fine_tuning_acts_where_what_follows_fine_tunes(tmp_path: Path) -> None:
    class Tuning(Quantize):
        tunes: ClassVar[bool] = True

    made = recipe(tmp_path)
    (entry,) = made.sparsifiers
    still = entry.model_copy(update={"plugin": Quantize(bits=8), "then": Quantize(bits=8)})
    assert not still.tunes
    assert still.model_copy(update={"then": Tuning(bits=8)}).tunes


def test_an_attacker_believes_the_same_or_one_sparsifier_alone(tmp_path: Path) -> None:
    same = recipe(tmp_path)
    (subject,) = same.subjects()
    assert shadow_subject(same, subject, same.attacks[0]) is subject
    belief = "shadow_sparsifier={name: l1_unstructured, density: [0.5, 0.2]}"
    alone = recipe(tmp_path, belief)
    believed = shadow_subject(alone, alone.subjects()[0], alone.attacks[0])
    assert believed.sparsifier == subject.sparsifier
    assert believed.then is None
    other = recipe(tmp_path, "shadow_defense=relaxloss")
    believed = shadow_subject(other, other.subjects()[0], other.attacks[0])
    assert believed.then == subject.then
    assert believed.defense.name == "relaxloss"


def test_a_run_audits_the_levels_of_both(tmp_path: Path) -> None:
    result = privaudit.run(
        recipe(tmp_path), output=tmp_path / "run", cache=tmp_path / "cache", device="cpu"
    )
    assert not result.failures
    assert {audit.level for audit in result.audits} == {
        f"density {density}, {bits} bits" for density in (0.5, 0.2) for bits in (8, 3)
    }


def test_editors_know_what_may_follow() -> None:
    schema = recipe_schema(privaudit.load_plugins())
    entry = next(
        one
        for one in str(schema).split("'then': ")
        if one.startswith("{'$ref': '#/$defs/Sparsifier'}")
    )
    assert entry


def test_an_option_may_be_called_then_but_a_sparsifier_s() -> None:
    def plugin(kind: type[Plugin]) -> type[Plugin]:
        fields = {"name": Literal["own"], "then": int}
        namespace = {"__annotations__": fields, "name": "own", "then": 3, "__module__": __name__}
        return type("Own", (kind,), namespace)

    check_class(plugin(Defense))
    with pytest.raises(PluginError, match="option 'then', which recipes use for themselves"):
        check_class(plugin(Sparsifier))
