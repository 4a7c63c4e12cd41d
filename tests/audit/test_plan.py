"""A plan's rows beside a recipe's own subjects: what attackers believe, and matched controls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch

from privaudit import Recipe, Sparsifier, load_recipe, run
from privaudit.errors import DamageError
from privaudit.events import Event, FitStarted, RunStarted
from privaudit.experiment import running
from privaudit.experiment.forecast import forecast
from privaudit.experiment.plan import plan
from privaudit.experiment.running import run_context
from privaudit.recipe import Entry

RECIPE = {
    "name": "planned",
    "dataset": "digits",
    "split": {"members": 40, "validation": 8},
    "model": {"name": "mlp", "hidden": [8]},
    "training": {"epochs": 2, "batch_size": 16},
    "shadows": 2,
    "sparsifiers": ["dense", {"name": "imp", "rounds": 2}],
    "attacks": ["loss", "logistic_regression"],
}


def trained(recipe: Recipe, folder: Path) -> tuple[int, int, RunStarted]:
    """Trainings that a run asks for, those of them that it finds, and what it said before."""
    events: list[Event] = []
    run(recipe, folder / recipe.name, device="cpu", cache=folder / "cache", on_event=events.append)
    fits = [event for event in events if isinstance(event, FitStarted)]
    (said,) = (event for event in events if isinstance(event, RunStarted))
    assert said is events[1]  # after RunOpened
    assert [sum(said.epochs)] >= [sum((f.models - f.found) * f.epochs for f in fits)]
    return sum(f.models for f in fits), sum(f.found for f in fits), said


class Once(Sparsifier):
    """Writes into the examples the first time it is called, and never again."""

    name: Literal["once"] = "once"
    called: ClassVar[list[bool]] = []

    def sparsify(self, cohort: Any) -> Iterator[str]:
        if not self.called:
            self.called.append(True)
            cohort.data._x[:50] = 0
        cohort.fit()
        yield ""


def test_what_a_script_writes_before_anything_is_trained_ends_the_run(tmp_path: Path) -> None:
    """Those to come would take the examples for what they are."""
    recipe = load_recipe(RECIPE, ["shadows=1", "attacks=[loss]"])
    recipe = recipe.model_copy(update={"sparsifiers": (Entry(plugin=Once()),)})
    context = run_context(recipe, device="cpu", cache=tmp_path)
    with pytest.raises(DamageError, match=r"'once'.* writes into the dataset's x"):
        forecast(context)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_processes_are_there_for_trainings_and_attacks_on_any_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr(running, "choose_device", torch.device)
    workers: Any = object()
    context = run_context(load_recipe(RECIPE), device=device, cache=tmp_path, workers=workers)
    assert context.workers is workers


@pytest.mark.parametrize(
    ("changes", "rows"),
    [
        (
            ["shadow_sparsifier=none"],
            [
                ("dense", 1, 3),  # which is what is believed of imp
                ("imp", 3, 9),
            ],
        ),
        (
            ["shadow_sparsifier=none", "sparsifiers=[{name: imp, rounds: 2}, dense]"],
            [
                ("imp", 3, 9),
                ("imp, believed dense + none", 1, 3),
                ("dense", 1, 3),
            ],
        ),
        (
            ["attacks.1.shadow_sparsifier={name: imp, rounds: 1}", "seeds=2"],
            [
                ("dense", 1, 6),
                ("dense, believed imp + none", 2, 12),
                ("imp", 3, 18),
            ],
        ),
        (
            ["matched=true"],
            [
                ("dense", 1, 3),
                ("imp", 3, 9),
                ("dense matched to imp", 2, 3),
            ],
        ),
        (
            ["matched=undefended", "defenses=[none, label_smoothing]"],
            [
                ("dense", 1, 3),
                ("dense + label_smoothing", 1, 3),
                ("dense matched to dense + label_smoothing", 1, 3),
                ("imp", 3, 9),
                ("dense matched to imp", 2, 3),
                ("imp + label_smoothing", 3, 9),
                ("dense matched to imp + label_smoothing", 3, 3),
            ],
        ),
        (["attacks.0.shadow_defense=same"], [("dense", 1, 3), ("imp", 3, 9)]),
    ],
    ids=[
        "a subject before",
        "a subject to come",
        "an attack's belief",
        "matched",
        "matched by undefended networks",
        "no other belief",
    ],
)
def test_what_is_trained_beside_the_subjects_has_rows_of_its_own(
    tmp_path: Path, changes: list[str], rows: list[tuple[str, int, int]]
) -> None:
    recipe = load_recipe(RECIPE, changes)
    fresh = plan(run_context(recipe, device="cpu", cache=tmp_path / "cache"))
    assert [(row.subject, row.levels, row.trainings) for row in fresh] == rows
    assert all(row.found == 0 for row in fresh)
    assert all(row.steps > 0 and row.seconds > 0 for row in fresh)
    asked, _, said = trained(recipe, tmp_path)
    assert (said.trainings, said.found, len(said.epochs)) == (asked, 0, len(recipe.subjects()))
    assert sum(said.epochs) == 2 * asked
    assert asked == sum(row.trainings for row in fresh)
    units = (tmp_path / "cache" / "units").rglob("*.unit")
    written, kept = sum(path.stat().st_size for path in units), tmp_path / recipe.name
    models = sum(path.stat().st_size for path in kept.glob("models/*"))
    # A network that is best at its end is written once, and headers take something.
    assert written / 3 < sum(row.cached for row in fresh) < written * 2
    stored = models + (kept / "scores.npz").stat().st_size
    assert stored / 3 < sum(row.kept for row in fresh) < stored * 1.5
    done = plan(run_context(recipe, device="cpu", cache=tmp_path / "cache"))
    assert [(row.trainings, row.found, row.steps) for row in done] == [
        (trainings, trainings, 0) for _, _, trainings in rows
    ]
