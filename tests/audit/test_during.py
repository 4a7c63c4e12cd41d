"""When a defense acts: its class says, and a recipe may say otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from privaudit import Cohort as AnyCohort
from privaudit import Defense, PrivauditError, RecipeError, Sparsifier, Step, load_recipe
from privaudit.api.plugin import acts_in_training, acts_while
from privaudit.cohort import Cohort
from privaudit.recipe import Recipe
from privaudit.store.journal import Journal
from privaudit_plugins.defenses.cwrf import CriticalWeightsRewinding
from privaudit_plugins.defenses.early_stopping import EarlyStopping
from privaudit_plugins.defenses.min_max import MinMax
from privaudit_plugins.defenses.none import NoDefense
from privaudit_plugins.defenses.ppb import PairBasedPosteriorBalancing

Make = Callable[..., Cohort]


class Doubled(Defense):
    name: Literal["doubled"] = "doubled"

    def loss(self, step: Step) -> Tensor:
        return 2 * cross_entropy(step.logits, step.y)


class Annotated(Doubled):
    """As the documentation writes it."""

    during: ClassVar[str] = "tune"


class Bare(Doubled):
    during = "tune"


class Computed(Doubled):
    late: bool = True

    @property
    def during(self) -> str:  # type: ignore[override]
        return "tune" if self.late else "all"


class Tuning(Sparsifier):
    name: Literal["tuning"] = "tuning"
    tunes: ClassVar[bool] = True

    def sparsify(self, cohort: AnyCohort) -> Iterator[str]:
        cohort.fit()
        cohort.save("trained")
        cohort.fit(epochs=1, tune=True)
        yield "tuned"


def trained(make: Make, defense: Defense, **options: Any) -> tuple[Tensor, Tensor, Cohort]:
    """The first model's weights before and after fine-tuning."""
    cohort = make([20, 33], sparsifier=Tuning(), defense=defense, **options)
    for _ in cohort.sparsifier.sparsify(cohort):
        pass
    after = cohort.states()[0].flat
    cohort.rewind("trained")
    return cohort.states()[0].flat, after, cohort


@pytest.mark.parametrize(
    ("defense", "pretraining"),
    [
        (Doubled(), True),
        (Doubled(during="all"), True),
        (Doubled(during="tune"), False),
        (Annotated(), False),
        (Annotated(during="all"), True),
        (Bare(), False),
        (Bare(during="all"), True),
        (Computed(), False),
        (Computed(late=False), True),
        (Computed(late=False, during="tune"), False),
    ],
    ids=repr,
)
def test_a_defense_acts_when_it_is_told_to(
    make_cohort: Make, defense: Defense, pretraining: bool
) -> None:
    plain_before, plain_after, _ = trained(make_cohort, NoDefense())
    before, after, cohort = trained(make_cohort, defense)
    assert torch.equal(before, plain_before) != pretraining
    assert (after - plain_after).abs().max() > 1e-6  # in fine-tuning it acts either way
    assert [bool(record.defended) for record in cohort.records] == [pretraining, True]


def test_a_shorter_schedule_is_that_of_fine_tuning_alone(make_cohort: Make) -> None:
    options = {"epochs": 4}
    _, _, both = trained(make_cohort, EarlyStopping(share=0.5), **options)
    _, _, late = trained(make_cohort, EarlyStopping(share=0.5, during="tune"), **options)
    assert [record.epochs for record in both.records] == [2, 1]
    assert [record.epochs for record in late.records] == [4, 1]


def test_the_game_in_fine_tuning_alone_moves_neither_player_before(make_cohort: Make) -> None:
    plain, _, _ = trained(make_cohort, NoDefense())
    game = MinMax(width=0.02, during="tune")
    before, _, cohort = trained(make_cohort, game)
    start = make_cohort([20, 33], sparsifier=Tuning(), defense=game).states()[0]
    assert torch.equal(before, plain)
    assert torch.equal(cohort.states()[0].companion, start.companion)
    both, _, moved = trained(make_cohort, MinMax(width=0.02))
    assert not torch.equal(both, plain)
    assert not torch.equal(moved.states()[0].companion, start.companion)


def test_nothing_is_written_where_nothing_is_said() -> None:
    """So that keys of caches and of runs stay what they were before there was such an option."""
    assert NoDefense().model_dump(mode="json", serialize_as_any=True) == {"name": "none"}
    before = {"name", "weight", "steps", "lr", "width"}
    assert MinMax(width=0.5).model_dump(by_alias=True).keys() == before
    inner = CriticalWeightsRewinding(defense=Doubled(during=None))
    assert "during" not in json.dumps(inner.model_dump(mode="json", serialize_as_any=True))
    said = PairBasedPosteriorBalancing(during="all").model_dump(mode="json", serialize_as_any=True)
    assert said == {"name": "ppb", "weight": 4.0, "during": "all"}


def test_what_is_said_is_part_of_a_unit_s_key_and_what_goes_before_is_shared(
    make_cohort: Make, tmp_path: Path
) -> None:
    journal = Journal(tmp_path)
    found = [
        [record.found for record in trained(make_cohort, defense, journal=journal)[2].records]
        for defense in (
            NoDefense(),
            Doubled(),
            Doubled(during="tune"),
            Doubled(during="tune"),
            MinMax(width=0.02, during="tune"),
            MinMax(width=0.02, during="tune"),
        )
    ]
    assert found == [[0, 0], [0, 0], [2, 0], [2, 2], [2, 0], [2, 2]]


def test_an_earlier_epoch_has_the_companion_of_its_time(make_cohort: Make) -> None:
    cohort = make_cohort([20, 33], sparsifier=Tuning(), defense=MinMax(width=0.02, during="tune"))
    start = cohort.states()[0].companion
    cohort.fit()
    cohort.fit(tune=True)
    tuned = cohort.states()[0].companion
    assert not torch.equal(tuned, start)
    cohort.fit()  # without the game: its attacker waits
    assert torch.equal(cohort.states()[0].companion, tuned)
    cohort.rewind("best")
    assert torch.equal(cohort.states()[0].companion, tuned)
    cohort.rewind(1)
    assert torch.equal(cohort.states()[0].companion, start)


def recipe(**changes: Any) -> Recipe:
    base: dict[str, Any] = {
        "name": "late",
        "dataset": "digits",
        "split": {"protocol": "disjoint", "members": 60, "non_members": 60, "reference": 60},
        "model": {"name": "mlp", "hidden": [8]},
        "training": {"epochs": 1},
        "sparsifiers": ["dense", {"name": "l1_unstructured", "density": 0.5, "epochs": 1}],
        "attacks": ["loss"],
    }
    return load_recipe(base | changes)


def test_a_recipe_says_when_and_reads_what_it_writes(tmp_path: Path) -> None:
    late = {"name": "min_max", "during": "tune", "label": "late"}
    loaded = recipe(
        defenses=["none", "min_max", late, {"name": "ppb", "during": "all"}],
        shadow_defense={"name": "min_max", "during": "tune"},
    )
    assert [subject.label for subject in loaded.subjects()] == [
        "dense",
        "dense + min_max",
        "dense + ppb",
        "l1_unstructured",
        "l1_unstructured + min_max",
        "l1_unstructured + late",
        "l1_unstructured + ppb",
    ]
    assert isinstance(loaded.shadow_defense, Defense)
    assert acts_while(loaded.shadow_defense) == "tune"
    file = tmp_path / "again.yaml"
    file.write_text(loaded.to_yaml(), encoding="utf-8")
    assert load_recipe(file) == loaded
    assert loaded.to_yaml().count("during:") == 3


def test_another_time_is_another_recipe_and_none_is_the_same() -> None:
    def digest(**said: Any) -> str:
        return recipe(defenses=["none", {"name": "min_max", **said}]).digest()

    assert digest(during=None) == digest()
    assert len({digest(), digest(during="tune"), digest(during="all")}) == 3


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no such time": ({"name": "min_max", "during": "train"},
        "defenses[1].during: must be 'all' or 'tune' (got 'train')"),
    "no word": ({"name": "min_max", "during": True},
        "defenses[1].during: must be 'all' or 'tune' (got true)"),
    "a list": ({"name": "min_max", "during": ["tune"]},
        "defenses[1].during: must be 'all' or 'tune' (got ['tune'])"),
    "other letters": ({"name": "min_max", "During": "tune"},
        "unknown option 'During'; did you mean 'during'?"),
    "the name in Python": ({"name": "min_max", "acts_during": "tune"},
        "unknown option 'acts_during'; did you mean 'during'?"),
    "no training to act in": ({"name": "cwrf", "during": "tune"},
        "defenses[1].during: must be left out: this defense changes no training (got 'tune')"),
    "the same of the one within": ({"name": "cwrf", "defense": {"name": "none", "during": "all"}},
        "defenses[1].defense.during: must be left out: this defense changes no training"),
    "twice, under one name": ({"name": "none", "training": {"epochs": 2}},
        "give one a label"),
}  # fmt: skip


@pytest.mark.parametrize(("entry", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_wrong_time_is_one_line(entry: dict[str, Any], expected: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe(defenses=["none", entry])
    (line,) = str(caught.value).splitlines()[-1:]
    assert expected in line


def test_a_time_that_never_comes_is_refused() -> None:
    with pytest.raises(PrivauditError, match=r"no sparsifier .* leave its `during` out, or add"):
        recipe(sparsifiers=["dense"], defenses=["none", {"name": "min_max", "during": "tune"}])
    with pytest.raises(PrivauditError, match=r"no sparsifier .* leave it out, or add"):
        recipe(sparsifiers=["dense"], defenses=["none", "ppb"])


def test_what_changes_training() -> None:
    assert acts_in_training(Doubled)
    assert acts_in_training(EarlyStopping)  # by its schedule
    assert not acts_in_training(Defense)
    assert not acts_in_training(CriticalWeightsRewinding)  # it trains anew, afterwards
