"""Whole runs on digits: what they leave on disk, what they repeat, and what they survive."""

from __future__ import annotations

import json
import math
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score

import privaudit
from privaudit import (
    Attack,
    AttackScores,
    DataError,
    Defense,
    PluginError,
    Recipe,
    RecipeError,
    Role,
    RunResult,
    Signals,
    Sparsifier,
    StoreError,
    load_recipe,
    load_run,
    run,
)
from privaudit.api.calls import checked_scores
from privaudit.events import (
    AttackDone,
    EpochDone,
    Event,
    FitDone,
    FitStarted,
    LevelReached,
    RunStarted,
    SubjectStarted,
)
from privaudit.experiment.attacking import signals_of
from privaudit.experiment.context import RunContext
from privaudit.experiment.level import Level
from privaudit.experiment.levels import levels
from privaudit.experiment.plan import plan
from privaudit.experiment.running import run_context
from privaudit.recipe import Subject
from privaudit.store.units import last_epochs
from privaudit_plugins.attacks.loss import Loss
from run_folders import without_manifest

RECIPE = """\
name: tiny
seeds: 2
dataset: digits
split: {members: 60, non_members: 70, validation: 12}
model: {name: mlp, hidden: [16]}
training: {epochs: 3, batch_size: 16, lr: 0.1, stack: 2}
shadows: 2
sparsifiers: [dense, {name: imp, rounds: 1}]
attacks: [loss, logistic_regression]
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    (folder / "tiny.yaml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def recipe(home: Path) -> Recipe:
    return load_recipe(home / "tiny.yaml")


@pytest.fixture(scope="module")
def first(home: Path, recipe: Recipe) -> tuple[RunResult, list[Event]]:
    events: list[Event] = []
    result = run(recipe, home / "first", device="cpu", cache=home / "cache", on_event=events.append)
    return result, events


def of(events: list[Event], kind: type[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def without_seconds(result: RunResult) -> dict[str, Any]:
    return {k: v for k, v in result.environment.items() if k != "seconds"}


def test_every_subject_level_seed_and_attack_is_audited(
    first: tuple[RunResult, list[Event]],
) -> None:
    result, _ = first
    rows = [(a.subject, a.level, a.seed, a.target, a.attack) for a in result.audits]
    levels = [("dense", ""), ("imp", "round 0"), ("imp", "round 1")]
    attacks = ["loss", "logistic_regression"]
    expected = {(*level, seed, 0, a) for level in levels for seed in (0, 1) for a in attacks}
    assert set(rows) == expected
    assert len(rows) == len(expected)
    parameters = 64 * 16 + 16 + 16 * 10 + 10
    pruned = 64 * 16 + 16 * 10 - round(0.8 * (64 * 16 + 16 * 10))
    for audit in result.audits:
        left = parameters - (pruned if audit.level == "round 1" else 0)
        assert audit.parameters == left
        assert audit.density == pytest.approx(left / parameters)


def test_events_tell_the_story_in_order(first: tuple[RunResult, list[Event]]) -> None:
    _, events = first
    assert of(events, RunStarted) == [RunStarted(18, 0, (18, 36))]  # imp begins with dense's
    assert of(events, SubjectStarted) == [
        SubjectStarted("dense", 1, 2),
        SubjectStarted("imp", 2, 2),
    ]
    assert [(f.models, f.found, f.epochs) for f in of(events, FitStarted)] == [
        (6, 0, 3),
        (6, 6, 3),
        (6, 0, 3),
    ]
    epochs = of(events, EpochDone)
    assert [(e.models, e.epoch, e.epochs) for e in epochs] == [(2, e, 3) for e in (1, 2, 3)] * 6
    assert all(e.loss > 0 and 0 <= e.accuracy <= 1 and 0 <= e.validation <= 1 for e in epochs)
    done = of(events, FitDone)
    assert [(f.models, f.epochs) for f in done] == [(6, 3), (6, 3)]  # none where all were found
    assert all(f.seconds > 0 for f in done)
    for fit, ends in zip(done, (epochs[2:9:3], epochs[11::3]), strict=True):
        for name in ("loss", "accuracy", "validation"):
            mean = sum(getattr(e, name) for e in ends) / 3
            assert getattr(fit, name) == pytest.approx(mean)
    assert [e.level for e in of(events, LevelReached)] == ["", "round 0", "round 1"]
    assert len(of(events, AttackDone)) == 6


def test_a_fit_is_told_by_the_last_epoch_of_each_model() -> None:
    nan = float("nan")
    stopped = torch.tensor([[[0.9, 0.5, 0.4], [0.6, 0.7, 0.5], [nan, nan, nan]]])
    trained = torch.tensor([[[0.9, 0.5, 0.4], [0.6, 0.7, 0.5], [0.2, 0.9, 0.6]]])
    found = last_epochs([{"history": stopped}, {"history": trained}])
    assert found == pytest.approx((0.4, 0.8, 0.55))
    diverged = torch.tensor([[[0.9, 0.5, nan], [nan, 0.1, nan]]])
    assert last_epochs([{"history": diverged}]) == pytest.approx((nan, 0.1, nan), nan_ok=True)
    assert last_epochs([{"0:flat": trained}]) == pytest.approx((nan, nan, nan), nan_ok=True)


def test_files_are_private_and_hold_no_pickle(first: tuple[RunResult, list[Event]]) -> None:
    folder = first[0].folder
    assert folder is not None
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    models = {f for f in files if f.startswith("models/") and f.endswith(".safetensors")}
    written = {"recipe.yaml", "result.json", "scores.npz", "manifest.json", "events.jsonl"}
    assert files - models == written
    assert len(models) == 6  # three levels of two seeds
    for path in [folder, *folder.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    scores = np.load(folder / "scores.npz", allow_pickle=False)
    assert all(scores[name].dtype.kind in "bifU" for name in scores.files)


def test_the_scores_on_disk_give_the_auc_in_the_result(
    first: tuple[RunResult, list[Event]],
) -> None:
    result, _ = first
    assert result.folder is not None
    scores = np.load(result.folder / "scores.npz", allow_pickle=False)
    record = json.loads((result.folder / "result.json").read_text())
    assert len(record["audits"]) == len(result.audits)
    for number, audit in enumerate(record["audits"]):
        member = scores[f"member_{audit['seed']}_{audit['target']}"]
        assert int(member.sum()) == 60
        assert len(member) == 130
        auc = roc_auc_score(member, scores[f"score_{number}"])
        assert audit["metrics"]["auc"]["value"] == pytest.approx(auc, abs=1e-12)
        if audit["metrics"]["balanced_accuracy"] is not None:
            right = scores[f"decision_{number}"] == member
            share = (right[member].mean() + right[~member].mean()) / 2
            assert audit["metrics"]["balanced_accuracy"]["value"] == pytest.approx(share)


def test_membership_on_disk_is_that_of_the_split(
    first: tuple[RunResult, list[Event]], home: Path, recipe: Recipe
) -> None:
    assert first[0].folder is not None
    scores = np.load(first[0].folder / "scores.npz", allow_pickle=False)
    place = run_context(recipe, device="cpu", cache=home / "cache")
    for seed, split in zip(recipe.seeds, place.ensemble.splits, strict=True):
        rows, member = scores[f"example_{seed}_0"], scores[f"member_{seed}_0"]
        assert set(rows[member]) == set((split.role[0] == Role.MEMBER).nonzero()[:, 0].tolist())
        outside = (split.role[0] == Role.NON_MEMBER).nonzero()[:, 0].tolist()
        assert set(rows[~member]) == set(outside)


def test_the_models_on_disk_are_those_audited(
    first: tuple[RunResult, list[Event]], home: Path, recipe: Recipe
) -> None:
    """Accuracy and scores, computed again from the weights alone."""
    result, _ = first
    assert result.folder is not None
    scores = np.load(result.folder / "scores.npz", allow_pickle=False)
    examples = run_context(recipe, device="cpu", cache=home / "cache").examples
    for number, audit in enumerate(result.audits):
        stem = "-".join(filter(None, [audit.subject, audit.level.replace(" ", "-")]))
        (path,) = (result.folder / "models").glob(f"{stem}-seed-{audit.seed}-target-0-*")
        weights = load_file(path)
        assert sum(int((w != 0).sum()) for w in weights.values()) == audit.parameters
        rows = torch.from_numpy(scores[f"example_{audit.seed}_0"])
        member = torch.from_numpy(scores[f"member_{audit.seed}_0"])
        x = (examples.x[rows].flatten(1).float() - 8) / 8
        hidden = (x @ weights["hidden1.weight"].T + weights["hidden1.bias"]).clamp(min=0)
        logits = hidden @ weights["output.weight"].T + weights["output.bias"]
        right = (logits.argmax(1) == examples.y[rows]).double()
        assert audit.train_accuracy == pytest.approx(float(right[member].mean()))
        assert audit.test_accuracy == pytest.approx(float(right[~member].mean()))
        if audit.attack == "loss":
            p = logits.double().softmax(1)[torch.arange(len(rows)), examples.y[rows]]
            assert np.allclose(scores[f"score_{number}"], p.log() - (1 - p).log(), atol=1e-4)


def test_the_record_names_the_code_of_every_plugin(
    first: tuple[RunResult, list[Event]], recipe: Recipe
) -> None:
    result, _ = first
    assert result.folder is not None
    used = {(p["kind"], p["name"]) for p in result.environment["plugins"]}
    assert used == {
        ("dataset", "digits"),
        ("model", "mlp"),
        ("sparsifier", "dense"),
        ("sparsifier", "imp"),
        ("defense", "none"),
        ("attack", "loss"),
        ("attack", "logistic_regression"),
    }
    for plugin in result.environment["plugins"]:
        assert plugin["distribution"] == "privaudit"
        assert len(plugin["source"]) == 64
        cls = privaudit.load_plugins().get(plugin["kind"], plugin["name"])
        assert plugin["deviations"] == list(cls.deviations)
    assert load_recipe(result.folder / "recipe.yaml") == recipe
    assert load_run(result.folder).audits == result.audits


def test_the_record_tells_how_many_networks_shared_a_step(
    first: tuple[RunResult, list[Event]], home: Path, tmp_path: Path
) -> None:
    assert set(first[0].environment["stack"]) == {"dense", "imp"}
    asked = load_recipe(home / "tiny.yaml", ["training.stack=2", "sparsifiers=[dense]"])
    result = run(asked, tmp_path / "run", cache=home / "cache", device="cpu")
    assert result.environment["stack"] == {"dense": 2}


def test_a_wrong_device_is_told_even_where_nothing_is_left_to_do(
    first: tuple[RunResult, list[Event]], home: Path, recipe: Recipe
) -> None:
    with pytest.raises(RecipeError, match="--device tpu: must be auto"):
        run(recipe, home / "first", device="tpu", cache=home / "cache")


def test_data_that_cannot_be_read_leaves_no_folder_behind(tmp_path: Path) -> None:
    table = {"name": "table", "path": str(tmp_path / "none.csv")}
    broken = load_recipe({"name": "b", "dataset": table, "model": "mlp", "attacks": ["loss"]})
    with pytest.raises(DataError, match=r"none\.csv: no such file"):
        run(broken, tmp_path / "run", cache=tmp_path / "cache", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_finished_run_returns_at_once(
    first: tuple[RunResult, list[Event]], home: Path, recipe: Recipe
) -> None:
    events: list[Event] = []
    again = run(recipe, home / "first", device="cpu", cache=home / "none", on_event=events.append)
    assert events == []
    assert again.audits == first[0].audits
    assert not (home / "none").exists()


def test_another_stack_is_the_same_run(first: tuple[RunResult, list[Event]], home: Path) -> None:
    faster = load_recipe(home / "tiny.yaml", ["training.stack=6"])
    events: list[Event] = []
    again = run(faster, home / "first", cache=home / "cache", on_event=events.append)
    assert events == []
    assert again.audits == first[0].audits


def test_another_recipe_into_the_same_folder_is_refused(
    first: tuple[RunResult, list[Event]], home: Path
) -> None:
    other = load_recipe(home / "tiny.yaml", ["training.lr=0.2"])
    with pytest.raises(StoreError, match=r"another recipe, 'tiny'.*--output"):
        run(other, home / "first", cache=home / "cache")


def test_into_another_folder_nothing_is_trained_and_all_is_equal(
    first: tuple[RunResult, list[Event]], home: Path, recipe: Recipe
) -> None:
    events: list[Event] = []
    again = run(recipe, home / "second", device="cpu", cache=home / "cache", on_event=events.append)
    assert of(events, EpochDone) == []
    assert again.audits == first[0].audits
    assert without_seconds(again) == without_seconds(first[0])
    files = [*(home / "first").rglob("*.safetensors"), home / "first" / "scores.npz"]
    for path in files:
        twin = home / "second" / path.relative_to(home / "first")
        assert twin.read_bytes() == path.read_bytes()


def test_results_of_other_code_are_not_taken_for_one_s_own(
    first: tuple[RunResult, list[Event]], home: Path, recipe: Recipe
) -> None:
    run(recipe, home / "stale", device="cpu", cache=home / "cache")
    without_manifest(home / "stale")
    path = home / "stale" / "result.json"
    record = json.loads(path.read_text())
    record["environment"]["plugins"][0]["source"] = "0" * 64
    record["audits"] = record["audits"][:1]
    path.write_text(json.dumps(record))
    again = run(recipe, home / "stale", device="cpu", cache=home / "cache")
    assert again.audits == first[0].audits


@pytest.mark.parametrize(
    ("changes", "trained"),
    [
        (["attacks=[loss, {name: loss, label: again}]"], []),
        (["sparsifiers=[dense, {name: imp, rounds: 2}]"], [6]),
        (["shadows=3"], [2, 2]),
        (["seeds=[1, 5]"], [3, 3]),
    ],
    ids=["another attack", "more rounds", "another shadow", "another seed"],
)
def test_only_what_is_new_is_trained(
    first: tuple[RunResult, list[Event]],
    home: Path,
    tmp_path: Path,
    changes: list[str],
    trained: list[int],
) -> None:
    changed = load_recipe(home / "tiny.yaml", changes)
    events: list[Event] = []
    run(changed, tmp_path / "run", device="cpu", cache=home / "cache", on_event=events.append)
    new = [f.models - f.found for f in of(events, FitStarted)]
    assert [n for n in new if n] == trained


def test_more_pairs_of_halves_train_the_new_ones_only(home: Path, tmp_path: Path) -> None:
    changes = ["split={protocol: halves, members: 60}", "seeds=1", "sparsifiers=[dense]"]
    changes += ["attacks=[loss]"]
    found = {}
    for shadows, targets in ((4, 1), (6, 1), (6, "all")):
        more = [f"shadows={shadows}", f"split.targets={targets}"]
        events: list[Event] = []
        result = run(
            load_recipe(home / "tiny.yaml", changes + more),
            tmp_path / f"{shadows}-{targets}",
            device="cpu",
            cache=tmp_path / "cache",
            on_event=events.append,
        )
        (fit,) = of(events, FitStarted)
        found[shadows, targets] = fit.models - fit.found
    assert found == {(4, 1): 5, (6, 1): 2, (6, "all"): 1}
    assert [a.target for a in result.audits if a.attack == "loss"] == list(range(8))
    assert len({a.metrics["auc"]["value"] for a in result.audits if a.attack == "loss"}) > 4


KILLED = """\
import os, signal, sys
from pathlib import Path
import torch
from privaudit import load_recipe, run
from privaudit.events import EpochDone

torch.set_num_threads(1)
left = int(sys.argv[2])

def die(event):
    global left
    left -= isinstance(event, EpochDone)
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)

home = Path(sys.argv[1])
run(load_recipe(home / "tiny.yaml"), home / "run", device="cpu", cache=home / "cache", on_event=die)
"""


def test_a_killed_run_goes_on_where_it_stopped(
    first: tuple[RunResult, list[Event]], tmp_path: Path, recipe: Recipe
) -> None:
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    arguments = [sys.executable, "-c", KILLED, str(tmp_path), "13"]
    killed = subprocess.run(arguments, check=False, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "run" / "result.json").exists()
    with pytest.raises(StoreError, match="has not finished"):
        load_run(tmp_path / "run")
    events: list[Event] = []
    result = run(
        recipe, tmp_path / "run", device="cpu", cache=tmp_path / "cache", on_event=events.append
    )
    assert [f.models - f.found for f in of(events, FitStarted)] == [0, 0, 4]
    assert of(events, RunStarted) == [RunStarted(18, 14, (0, 12))]
    assert result.audits == first[0].audits
    for path in (tmp_path / "run").rglob("*"):
        assert not path.name.startswith(".tmp-")


def test_a_plan_counts_what_a_run_would_train(
    first: tuple[RunResult, list[Event]], home: Path, recipe: Recipe
) -> None:
    steps = 6 * 3 * 4  # models, epochs, batches of 16 among 60
    fresh = plan(run_context(recipe, device="cpu", cache=home / "empty"))
    assert [(p.subject, p.levels, p.trainings, p.found) for p in fresh] == [
        ("dense", 1, 6, 0),
        ("imp", 2, 12, 0),
    ]
    assert [p.steps for p in fresh] == [steps, 2 * steps]
    assert [p.examples for p in fresh] == [16 * steps, 32 * steps]
    assert [p.parameters for p in fresh] == [1210, 1210]
    assert all(p.stack == 2 and 0 < p.seconds < 60 for p in fresh)
    assert not (home / "empty" / "units").exists()
    done = plan(run_context(recipe, device="cpu", cache=home / "cache"))
    assert [(p.trainings, p.found, p.steps) for p in done] == [(6, 6, 0), (12, 12, 0)]


# Subjects beside a recipe's own


@pytest.fixture
def place(home: Path, tmp_path: Path) -> RunContext:
    exact = load_recipe(home / "tiny.yaml", ["training.precision=fp64", "training.epochs=1"])
    return run_context(exact, device="cpu", cache=tmp_path)


@pytest.fixture
def subject(place: RunContext) -> Callable[..., Subject]:
    def make(sparsifier: Sparsifier | None = None, defense: Defense | None = None) -> Subject:
        imp = place.recipe.subjects()[1]
        return replace(imp, sparsifier=sparsifier or imp.sparsifier, defense=defense or imp.defense)

    return make


def test_cohorts_cut_for_lack_of_memory_give_the_same_outputs(
    place: RunContext, subject: Callable[..., Subject]
) -> None:
    weights = 8 * 8 * 1210  # bytes: eight copies of a model in float64
    whole, *cut = (
        list(levels(replace(place, memory=memory), subject())) for memory in (2**30, 4 * weights, 1)
    )
    sizes = [[len(g) for g in replace(place, memory=m).groups(subject())] for m in (4 * weights, 1)]
    assert sizes == [[4, 2], [1] * 6]
    for parts in cut:
        assert [level.label for level in parts] == ["round 0", "round 1"]
        for one, other in zip(whole, parts, strict=True):
            assert one.outputs.noisy is not None
            assert other.outputs.noisy is not None
            assert (one.outputs.logits - other.outputs.logits).abs().max() < 1e-10
            assert torch.equal(one.outputs.noisy.isnan(), other.outputs.noisy.isnan())
            moved = (one.outputs.noisy - other.outputs.noisy).nan_to_num()
            assert moved.abs().max() < 1e-10
            assert torch.equal(one.density, other.density)
            for name, weight in one.weights.items():
                assert (weight - other.weights[name]).abs().max() < 1e-12


class Silent(Sparsifier):
    name: Literal["silent"] = "silent"

    def sparsify(self, cohort: privaudit.Cohort) -> Iterator[str]:
        return iter(())


class Twice(Sparsifier):
    name: Literal["twice"] = "twice"

    def sparsify(self, cohort: privaudit.Cohort) -> Iterator[str]:
        yield "same"
        yield "same"


class Fickle(Sparsifier):
    """Its levels depend on the models it happens to see."""

    name: Literal["fickle"] = "fickle"
    labels: bool

    def sparsify(self, cohort: privaudit.Cohort) -> Iterator[str]:
        yield f"{cohort.seeds[0]}" if self.labels else "first"
        if not self.labels and cohort.seeds[0] % 2:
            yield "second"


@pytest.mark.parametrize(
    ("sparsifier", "message"),
    [
        (Silent(), "'silent' .* yields no level"),
        (Twice(), "'twice' .* yields 'same' twice"),
        (Fickle(labels=True), "reached different levels"),
        (Fickle(labels=False), "'fickle' yields more levels for some"),
    ],
)
def test_a_script_that_breaks_the_contract_is_named(
    place: RunContext, subject: Callable[..., Subject], sparsifier: Sparsifier, message: str
) -> None:
    with pytest.raises(PluginError, match=message):
        list(levels(replace(place, memory=1), subject(sparsifier)))


class Finishing(Defense):
    """Trains on, prunes and blurs the networks of each level."""

    name: Literal["finishing"] = "finishing"

    def finish(self, cohort: privaudit.Cohort) -> None:
        cohort.fit(epochs=1, lr=0.5)
        cohort.prune(keep=0.1)
        cohort.save("mine")
        cohort.set({"output.bias": torch.full((len(cohort), 10), 7.0)})


def test_finishing_changes_what_is_audited_and_not_the_script(
    place: RunContext, subject: Callable[..., Subject]
) -> None:
    plain = list(levels(place, subject()))
    events: list[Event] = []
    told = replace(place, on_event=events.append)
    finished: list[Level] = list(levels(told, subject(defense=Finishing())))
    fits = of(events, FitStarted)
    assert [f.models - f.found for f in fits] == [0, 6, 0, 6]  # script, finish, script, finish
    for before, after in zip(plain, finished, strict=True):
        assert bool((after.weights["output.bias"] == 7).all())
        assert bool((before.weights["output.bias"] != 7).all())
        left = int((before.weights["hidden1.weight"] != 0).sum())
        assert int((after.weights["hidden1.weight"] != 0).sum()) < 0.2 * left
        x = (place.examples.x.flatten(1).double() - 8) / 8
        w = {n: weight[3] for n, weight in after.weights.items()}
        hidden = (x @ w["hidden1.weight"].T + w["hidden1.bias"]).clamp(min=0)
        logits = hidden @ w["output.weight"].T + w["output.bias"]
        assert (after.outputs.logits[3, 0] - logits).abs().max() < 1e-9


class Scribbling(Defense):
    """Writes into what it is given to look at."""

    name: Literal["scribbling"] = "scribbling"

    def finish(self, cohort: privaudit.Cohort) -> None:
        cohort.weights["output.bias"].zero_()


def test_finishing_that_changes_no_network_is_told(
    place: RunContext, subject: Callable[..., Subject]
) -> None:
    with pytest.raises(PluginError, match=r"'scribbling' .*finish .* writes into cohort\.weights"):
        list(levels(place, subject(defense=Scribbling())))


class Answering(Defense):
    name: Literal["answering"] = "answering"

    def respond(self, logits: torch.Tensor, companion: object) -> torch.Tensor:
        return torch.full_like(logits, 3.0)


def test_an_attacker_gets_responses_and_no_more_than_it_asks_for(
    place: RunContext, subject: Callable[..., Subject]
) -> None:
    level = next(levels(place, subject(defense=Answering())))
    split = place.ensemble.splits[1]
    outputs = level.outputs[place.ensemble.models(1)]
    for _, attack in place.recipe.attack_entries():
        signals = signals_of(attack, place.examples, split, outputs, outputs, 0, 1)
        for seen in (signals.target, signals.shadows):
            if "logits" in attack.answers:
                assert bool((seen.logits == 3).all())
            else:  # nine classes are as likely as the label
                assert (seen.log_odds + math.log(9)).abs().max() < 1e-12
                assert not seen.has_logits
            assert (seen.noisy is None) == (attack.noise == 0)
            if seen.noisy is not None:
                assert bool((seen.noisy[~seen.noisy.isnan()] == 3).all())
            assert seen.of("log_odds", None, signals.y).shape[-2:] == (1, 1797)
        assert torch.equal(signals.shadow_role, split.role[1:])
        assert int(signals.audited.sum()) == 130


def scores(**changes: Any) -> AttackScores:
    return AttackScores(**{"score": torch.arange(4.0), "decision": None} | changes)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (scores(score=torch.zeros(3)), r"gives shape \(3,\), not one score for each of 4 examples"),
        (scores(score=torch.zeros(4, 1)), r"gives shape \(4, 1\)"),
        (scores(score=torch.tensor([0.0, torch.nan, 1, 2])), "NaN"),
        (scores(decision=torch.ones(4)), "decision as"),
        (scores(decision=torch.ones(3, dtype=torch.bool)), "decision as"),
        (
            scores(variants={"v": scores(score=torch.zeros(2))}),
            r"in its variant 'v' gives shape \(2,\)",
        ),
    ],
)
def test_an_attack_s_broken_answer_is_named(answer: AttackScores, message: str) -> None:
    audited = torch.tensor([True, True, True, False])
    with pytest.raises(PluginError, match=f"'loss'.*{message}"):
        checked_scores(Loss(), answer, audited)


def test_an_example_that_is_not_audited_may_have_any_score() -> None:
    audited = torch.tensor([True, True, True, False])
    answer = scores(score=torch.tensor([0.0, 1.0, 2.0, torch.nan]))
    assert checked_scores(Loss(), answer, audited) is answer


class Blank(Attack):
    name: Literal["loss"] = "loss"

    def score(self, signals: Signals) -> AttackScores:
        return AttackScores(torch.full(signals.y.shape, torch.nan))


def test_a_run_with_a_broken_attack_names_it_and_keeps_none_of_its_numbers(
    first: tuple[RunResult, list[Event]],
    home: Path,
    recipe: Recipe,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Loss, "score", Blank.score)
    result = run(recipe, home / "broken", device="cpu", cache=home / "fresh")
    assert {failure.attack for failure in result.failures} == {"loss"}
    assert "gives NaN for" in result.failures[0].sentence
    assert "loss" not in {audit.attack for audit in result.audits}
    assert result.audits
