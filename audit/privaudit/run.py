"""Runs a recipe: train, make sparse, attack, measure, keep."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import safetensors.torch
from torch import Tensor

from privaudit.auditing import Auditor, test_accuracy
from privaudit.cohort import Journal
from privaudit.ensemble import make_ensemble
from privaudit.environment import cache_folder, choose_device, describe, used_plugins
from privaudit.errors import StoreError
from privaudit.events import Event, SubjectStarted
from privaudit.files import private_folder, write_whole
from privaudit.host import Plugins, load_plugins
from privaudit.levels import Level, Workplace, controls, levels
from privaudit.recipe import Recipe, Subject
from privaudit.recipe.model import combined, essence
from privaudit.result import RunResult, load_run, model_path, save_run
from privaudit.version import __version__

DENSE = 0.999  # a network with a smaller share of nonzero parameters is sparse


def run(
    recipe: Recipe,
    output: Path | None = None,
    *,
    device: str = "auto",
    cache: Path | None = None,
    plugins: Plugins | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> RunResult:
    """Do everything a recipe asks for, and keep the results in a folder.

    Nothing is done twice: a finished run is read back, and every training that an earlier run
    finished is taken from the cache.

    Args:
        recipe: the question.
        output: the run's folder; runs/NAME-HASH if not given.
        device: auto, cpu, cuda or cuda:i.
        cache: where trainings and data are kept; see `environment.cache_folder`.
        plugins: those installed, if not given.
        on_event: told about progress.

    Raises:
        PrivauditError: whatever the user can mend.
    """
    started = time.monotonic()
    plugins = plugins or load_plugins()
    used = used_plugins(recipe, plugins)
    folder = output or run_folder(recipe)
    finished = _finished(folder, recipe, used)
    if finished:
        return finished
    private_folder(folder)
    place = workplace(recipe, device=device, cache=cache, on_event=on_event)
    auditor = Auditor(place)
    for number, subject in enumerate(recipe.subjects(), 1):
        place.on_event(SubjectStarted(subject.label, number, len(recipe.subjects())))
        sparse: dict[str, Tensor] = {}
        for level in levels(place, subject):
            _keep_models(place, folder, subject, level)
            auditor.audit(subject, level)
            if float(level.density.mean()) < DENSE:
                sparse[level.label] = test_accuracy(place, level.outputs)
        if recipe.matched and sparse:
            _audit_controls(auditor, subject, sparse)
    environment = describe(place.device, used) | {"seconds": round(time.monotonic() - started, 1)}
    dumped = recipe.model_dump(mode="json", serialize_as_any=True)
    result = RunResult(recipe.name, dumped, environment, tuple(auditor.audits))
    return save_run(folder, result, recipe_yaml=recipe.to_yaml(), scores=auditor.scores)


def workplace(
    recipe: Recipe,
    *,
    device: str = "auto",
    cache: Path | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Workplace:
    """Load the data and deal it out."""
    folder = cache_folder(cache)
    chosen = choose_device(device)
    examples = recipe.dataset.load(folder / "data")
    return Workplace(
        recipe,
        examples,
        make_ensemble(recipe, len(examples)),
        chosen,
        Journal(folder / "units"),
        on_event or (lambda event: None),
    )


def run_folder(recipe: Recipe) -> Path:
    """Where a recipe's results go unless another folder is named."""
    return Path("runs") / f"{recipe.name}-{recipe.digest()[:8]}"


def _finished(folder: Path, recipe: Recipe, used: list[dict[str, str]]) -> RunResult | None:
    """The result of an earlier run of the same recipe by the same code."""
    if not (folder / "result.json").exists():
        return None
    earlier = load_run(folder)
    asked = recipe.model_dump(mode="json", serialize_as_any=True)
    if essence(earlier.recipe) != essence(asked):
        raise StoreError(
            f"{folder} holds the run of another recipe, {earlier.name!r}: name another --output"
        )
    made_by = earlier.environment.get("privaudit"), earlier.environment.get("plugins")
    return earlier if made_by == (__version__, used) else None


def _audit_controls(auditor: Auditor, subject: Subject, sparse: dict[str, Tensor]) -> None:
    """Audit a dense network as accurate as each sparse one, so that sparsity alone is left.

    Gonon et al. 2023, "Can sparsity improve the privacy of neural networks?": networks of
    different accuracy must not be compared.
    """
    recipe = auditor.place.recipe
    defense = next(each for each in recipe.defenses if each.title == subject.defense_label)
    training = combined(recipe.training, defense.training)
    label = f"dense matched to {subject.label}"
    control = replace(subject, label=label, sparsifier_label="dense control")
    auditor.place.on_event(SubjectStarted(label, 1, 1))
    for level in controls(auditor.place, subject, training, sparse):
        auditor.audit(control, level, matched=subject.label)


def _keep_models(place: Workplace, folder: Path, subject: Subject, level: Level) -> None:
    """The weights of every target of a level."""
    private_folder(folder / "models")
    for s, (seed, split) in enumerate(zip(place.recipe.seeds, place.ensemble.splits, strict=True)):
        for target in split.targets.tolist():
            place_in_all = int(place.ensemble.models(s)[target])
            weights = {n: w[place_in_all].contiguous() for n, w in level.weights.items()}
            path = model_path(folder, subject.label, level.label, seed, target)
            write_whole(path, safetensors.torch.save(weights))
