"""What a run does with the machine: its processes, and the memory it may use."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from privaudit import Outputs, RecipeError, load_recipe, run
from privaudit.cohort import making
from privaudit.experiment import levels
from privaudit.experiment.running import run_context
from privaudit.jobs.memory import free_memory, keep_freed_memory

RECIPE = {
    "name": "machine",
    "dataset": "digits",
    "split": {"members": 40, "validation": 8},
    "model": {"name": "mlp", "hidden": [8]},
    "training": {"epochs": 2, "batch_size": 16, "precision": "fp64"},
    "shadows": 2,
    "sparsifiers": ["dense", {"name": "l1_unstructured", "epochs": 1}],
    "attacks": ["loss", "lira"],
}


def test_a_run_in_processes_finds_what_a_run_in_one_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "_WORTH", 0)
    recipe = load_recipe(RECIPE)
    one, two = (
        run(recipe, tmp_path / str(n), device="cpu", cache=tmp_path / f"cache{n}", processes=n)
        for n in (1, 2)
    )
    assert one.audits == two.audits
    assert (one.environment["processes"], two.environment["processes"]) == (1, 2)
    assert one.environment["stack"]["dense"] > two.environment["stack"]["dense"] == 2


def test_answers_that_do_not_fit_the_memory_are_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"3 networks to 1,797 examples.*73\.7 KiB.*--memory"):
        run(load_recipe(RECIPE), tmp_path, device="cpu", cache=tmp_path, memory=50_000)
    assert not (tmp_path / "units").exists()


def test_little_memory_makes_several_cohorts(tmp_path: Path) -> None:
    recipe = load_recipe(RECIPE)
    needed = 4 * 3 * 1797 * 10
    place = run_context(recipe, device="cpu", cache=tmp_path, memory=needed)
    weights = 64 * 8 + 8 + 8 * 10 + 10
    place = run_context(recipe, device="cpu", cache=tmp_path, memory=max(needed, 2 * 64 * weights))
    assert sum(len(group) for group in place.groups(recipe.subjects()[0])) == 3
    assert run_context(recipe, device="cpu", cache=tmp_path).memory > 10 * needed


def test_two_levels_answers_are_never_held_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered: list[weakref.ref[Outputs]] = []

    def asked(*arguments: Any) -> Outputs:
        assert [reference() for reference in answered] == [None] * len(answered)
        outputs = answers(*arguments)
        answered.append(weakref.ref(outputs))
        return outputs

    answers: Callable[..., Outputs] = vars(levels)["asked"]
    monkeypatch.setattr(levels, "asked", asked)
    recipe = load_recipe(RECIPE | {"sparsifiers": [{"name": "imp", "rounds": 2}]})
    run(recipe, tmp_path / "run", device="cpu", cache=tmp_path / "cache")
    assert len(answered) == 3


def test_the_system_tells_its_free_memory() -> None:
    assert 2**27 < free_memory() < 2**50
    assert keep_freed_memory() in (True, False)
