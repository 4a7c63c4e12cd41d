"""Attacks that hold every level so far: what they see, when they are made, and what others see."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from privaudit import (
    Attack,
    AttackScores,
    Cohort,
    DataError,
    Outputs,
    PrivauditError,
    RecipeError,
    RunResult,
    Signals,
    Sparsifier,
    audit_outputs,
    load_recipe,
    run,
)
from privaudit.answers import ORIGINAL
from privaudit.api.contract import check_class
from privaudit.api.host import Plugins, Provided, load_plugins
from privaudit.api.needs import seen_by
from privaudit.cohort.kept import joined_outputs
from privaudit.errors import DamageError
from privaudit.events import Event
from privaudit.experiment.attack_job import attack_job
from privaudit.experiment.attack_jobs import shared_outputs
from privaudit.experiment.kept_scores import _OutputDigests
from privaudit.experiment.levels import levels
from privaudit.experiment.running import run_context
from privaudit_plugins.attacks.both_networks import BothNetworks
from privaudit_plugins.attacks.loss import Loss


class Plain(Attack):
    """The log-odds of this level alone."""

    answers: ClassVar[tuple[str, ...]] = ("log_odds",)
    name: Literal["plain"] = "plain"

    def score(self, signals: Signals) -> AttackScores:
        assert not signals.target.versions
        return AttackScores(signals.target.log_odds[0])


class Hoarder(Attack):
    """The log-odds of all versions, each with a weight of its own by its place and its name."""

    answers: ClassVar[tuple[str, ...]] = ("log_odds",)
    signals: ClassVar[frozenset[str]] = frozenset({"versions"})
    name: Literal["hoarder"] = "hoarder"

    def score(self, signals: Signals) -> AttackScores:
        names = [*signals.target.versions]
        assert names == [*signals.shadows.versions]
        score = signals.target.log_odds[0]
        for place, name in enumerate(names, 1):
            score = score + WEIGHT[name] * place * signals.target.versions[name].log_odds[0]
            shadows = signals.shadows.versions[name].log_odds
            assert shadows.shape == signals.shadows.log_odds.shape
            assert len(shadows) == 0 or not torch.equal(shadows, signals.shadows.log_odds)
        return AttackScores(score)


WEIGHT = {
    ORIGINAL: 1.0, "level density 0.5": 2.0, "level round 1": 3.0, "level round 2": 4.0,
    "level 4 bits": 5.0, "level original": 7.0, "level a": 8.0,
}  # fmt: skip


class Named(Sparsifier):
    """A third party's, with a level that is called as the dense original is, and no original."""

    name: Literal["named"] = "named"

    def sparsify(self, cohort: Cohort) -> Iterator[str]:
        cohort.fit()
        for label in ("original", "a", "b"):
            cohort.prune(keep=0.5)
            yield label


class Vandal(Sparsifier):
    """Writes into what is everybody's."""

    name: Literal["vandal"] = "vandal"

    def sparsify(self, cohort: Cohort) -> Iterator[str]:
        cohort.data.examples.x.zero_()  # type: ignore[attr-defined]
        cohort.fit()
        yield ""


INSTALLED = load_plugins()
PLUGINS = Plugins(
    (
        *INSTALLED.provided,
        Provided(Named, "sparsifier", "named", "test", "1", "0"),
        Provided(Vandal, "sparsifier", "vandal", "test", "1", "0"),
        Provided(Plain, "attack", "plain", "test", "1", "0"),
        Provided(Hoarder, "attack", "hoarder", "test", "1", "0"),
    ),
    INSTALLED.problems,
)
RECIPE: dict[str, Any] = {
    "name": "versions",
    "dataset": "breast_cancer",
    "model": {"name": "mlp", "hidden": [12]},
    "training": {"epochs": 3, "batch_size": 32, "lr": 0.05},
    "split": {"members": 80},
    "shadows": 2,
}
L1 = {"name": "l1_unstructured", "density": [0.5, 0.2]}


def recipe(*sparsifiers: Any, attacks: Any = ("plain", "hoarder"), **changes: Any) -> Any:
    data = RECIPE | {"sparsifiers": [*sparsifiers], "attacks": [*attacks]} | changes
    return load_recipe(data, plugins=PLUGINS)


def ran(asked: Any, folder: Path, processes: int = 1, **options: Any) -> RunResult:
    return run(
        asked, folder / "run", device="cpu", cache=folder / "cache", plugins=PLUGINS,
        processes=processes, **options,
    )  # fmt: skip


def scores_of(result: RunResult) -> dict[tuple[str, str, str], NDArray[np.float32]]:
    assert result.folder is not None
    with np.load(result.folder / "scores.npz", allow_pickle=False) as file:
        return {
            (a.subject, a.level, a.attack): file[f"score_{i}"] for i, a in enumerate(result.audits)
        }


@pytest.mark.parametrize("processes", [1, 2])
def test_each_level_is_attacked_with_all_before_it_and_the_original_counts_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, processes: int
) -> None:
    subjects = "dense", L1, {"name": "imp", "rounds": 2}, "named"
    with caplog.at_level(logging.WARNING, "privaudit"):
        result = ran(recipe(*subjects), tmp_path, processes)
    assert not result.failures
    scores = scores_of(result)
    plain = {key[:2]: value for key, value in scores.items() if key[2] == "plain"}
    dense = plain["dense", ""]
    l1, imp, named = ({k[1]: v for k, v in plain.items() if k[0] == n} for n in
                      ("l1_unstructured", "imp", "named"))  # fmt: skip
    np.testing.assert_array_equal(imp["round 0"], dense)
    expected = {
        ("l1_unstructured", "density 0.5"): l1["density 0.5"] + dense,
        ("l1_unstructured", "density 0.2"): l1["density 0.2"] + dense + 4 * l1["density 0.5"],
        ("imp", "round 1"): imp["round 1"] + dense,
        ("imp", "round 2"): imp["round 2"] + dense + 6 * imp["round 1"],
        ("named", "a"): named["a"] + 7 * named["original"],
        ("named", "b"): named["b"] + 7 * named["original"] + 16 * named["a"],
    }
    hoarded = {key[:2]: value for key, value in scores.items() if key[2] == "hoarder"}
    assert hoarded.keys() == expected.keys()
    for key, value in hoarded.items():
        np.testing.assert_allclose(value, expected[key], rtol=1e-5, atol=1e-5)
    for first in ("dense", "imp / round 0", "named / original"):
        sentence = "no level was reached before it, and it has no dense original"
        assert f"attack 'hoarder' is left out for {first}: {sentence}" in caplog.text


def test_cohorts_that_are_cut_for_want_of_memory_have_the_same_versions(tmp_path: Path) -> None:
    asked = recipe(L1, seeds=2)
    context = run_context(asked, device="cpu", cache=tmp_path)
    (subject,) = asked.subjects()
    whole, cut = ([*levels(one, subject)] for one in (context, replace(context, memory=1)))
    for ours, theirs in zip(whole, cut, strict=True):
        assert [*ours.outputs.versions] == [*theirs.outputs.versions]
        for name, version in ours.outputs.versions.items():
            for model in range(6):
                torch.testing.assert_close(
                    version[model].of("log_odds"),
                    theirs.outputs.versions[name][model].of("log_odds"),
                    rtol=0, atol=1e-10,
                )  # fmt: skip
    first, second = whole
    held = second.outputs.versions["level density 0.5"]
    assert torch.equal(held.of("log_odds"), first.outputs.of("log_odds"))
    assert not held.versions


@pytest.mark.parametrize(
    ("attacks", "held"),
    [(["plain"], [[], []]), (["plain", "both_networks"], [[ORIGINAL], [ORIGINAL]])],
)
def test_no_earlier_level_is_held_where_nobody_asks(
    tmp_path: Path, attacks: list[str], held: list[list[str]]
) -> None:
    asked = recipe(L1, attacks=attacks)
    context = run_context(asked, device="cpu", cache=tmp_path)
    assert [[*level.outputs.versions] for level in levels(context, *asked.subjects())] == held


def test_an_attack_sees_the_versions_it_asks_for_whatever_its_neighbours_ask(
    tmp_path: Path,
) -> None:
    asked = recipe(L1, attacks=["plain", "both_networks", "hoarder"])
    context = run_context(asked, device="cpu", cache=tmp_path)
    *_, level = levels(context, *asked.subjects())
    seen = []
    for entry in asked.attacks:
        signals = attack_job(context, entry.plugin, 0, 0).signals(
            context.examples, level.outputs, level.outputs
        )
        assert [*signals.target.versions] == [*signals.shadows.versions]
        seen.append([*signals.target.versions])
    assert seen == [[], [ORIGINAL], [ORIGINAL, "level density 0.5"]]


def outputs(draw: torch.Generator, y: Tensor, names: Mapping[str, float]) -> Outputs:
    logits = torch.randn(2, 1, len(y), 2, generator=draw)
    versions = {name: Outputs(factor * logits, labels=y) for name, factor in names.items()}
    return Outputs(logits, labels=y, versions=versions)


def test_keys_of_scores_depend_on_the_versions_that_an_attack_sees_and_on_no_other() -> None:
    y = torch.tensor([0, 1, 1])

    def key(attack: Attack, **names: float) -> str:
        return _OutputDigests(outputs(torch.Generator().manual_seed(0), y, names), y).of(
            attack, [0]
        )

    assert key(Loss()) == key(Loss(), original=2, a=3)
    assert key(BothNetworks(), original=2) == key(BothNetworks(), original=2, a=3)
    several = [
        key(Hoarder(), **names)
        for names in ({}, {"original": 2}, {"a": 2}, {"b": 2}, {"a": 3}, {"a": 2, "b": 3})
    ]
    assert len(set(several)) == len(several)


def test_versions_are_reduced_joined_shared_and_chosen_like_the_answers() -> None:
    y, draw = torch.tensor([0, 1, 1]), torch.Generator().manual_seed(0)
    parts = [outputs(draw, y, {ORIGINAL: 2.0, "level a": 3.0}) for _ in range(2)]
    both = seen_by(Hoarder(), joined_outputs(parts), y)
    with shared_outputs(both) as files:
        read = files.load()
        assert [*read.versions] == [*both.versions] == [ORIGINAL, "level a"]
        for name in both.versions:
            for model in range(4):
                expected = parts[model // 2].versions[name][model % 2]
                for seen in (both[model].versions[name], read.versions[name][model]):
                    assert not seen.has_logits
                    assert torch.equal(seen.log_odds, expected.log_odds)
    lone = joined_outputs([parts[0], outputs(draw, y, {"level a": 1.0})])
    assert [*lone.versions] == ["level a"]
    whole = joined_outputs(parts)
    assert whole.nbytes == 3 * whole.changed(versions={}).nbytes


def test_an_attacker_who_believes_in_other_levels_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = recipe(L1, shadow_sparsifier="none")
    with caplog.at_level(logging.WARNING, "privaudit"):
        result = ran(asked, tmp_path)
    assert {a.attack for a in result.audits} == {"plain"}
    assert "believes in shadows that have not reached the same levels" in caplog.text


def test_a_recipe_of_single_levels_ends_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing can be audited: attack 'hoarder' is left out"):
        ran(recipe("dense", "butterfly", attacks=["hoarder"]), tmp_path)


def test_levels_that_do_not_fit_the_memory_are_refused_before_anything_is_trained(
    tmp_path: Path,
) -> None:
    options = {"memory": 2 * 3 * 569 * 8}  # of two levels: two logits of four bytes an answer
    ran(recipe(L1, attacks=["plain"]), tmp_path / "one", **options)
    with pytest.raises(RecipeError, match=r"at 3 levels of l1_unstructured take .* may be used"):
        ran(recipe(L1), tmp_path / "all", **options)
    assert not (tmp_path / "all" / "run").exists()


def test_arrays_give_the_original_as_the_one_other_version() -> None:
    draw = np.random.default_rng(0)
    labels, members = draw.integers(0, 3, 60), np.arange(60) % 2 == 0
    logits, dense = draw.normal(size=(2, 60, 3))
    with pytest.raises(RecipeError, match="'hoarder' needs the answers of the dense original"):
        audit_outputs(logits, labels, members, attacks="hoarder", plugins=PLUGINS)
    found = audit_outputs(
        logits, labels, members, attacks=["hoarder", "plain"], plugins=PLUGINS,
        original_logits=dense,
    )  # fmt: skip
    alone = audit_outputs(dense, labels, members, attacks="plain", plugins=PLUGINS)
    both = found["plain"].scores + alone["plain"].scores
    np.testing.assert_allclose(found["hoarder"].scores, both, rtol=1e-5)


def test_a_class_that_asks_for_something_else_is_told_what_there_is() -> None:
    class Wrong(Hoarder):
        signals: ClassVar[frozenset[str]] = frozenset({"levels"})

    with pytest.raises(PrivauditError, match=r"asks for 'levels' in `signals`: .*'versions'"):
        check_class(Wrong)


def test_levels_are_counted_without_a_word_and_by_a_script_that_leaves_the_examples_alone(
    tmp_path: Path,
) -> None:
    told: list[Event] = []
    run_context(recipe(L1, "imp"), device="cpu", cache=tmp_path, on_event=told.append)
    assert told == []
    with pytest.raises(DamageError, match=r"'vandal'.* writes into the dataset's x"):
        run_context(recipe("vandal"), device="cpu", cache=tmp_path)
