"""Runs a recipe: train, make sparse, attack, measure, keep."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from numpy.typing import NDArray

from privaudit.attacking import checked, measured, signals_of
from privaudit.cohort import Journal
from privaudit.ensemble import make_ensemble
from privaudit.environment import cache_folder, choose_device, describe, used_plugins
from privaudit.errors import StoreError
from privaudit.events import AttackDone, Event, SubjectStarted
from privaudit.files import private_folder, write_whole
from privaudit.host import Plugins, load_plugins
from privaudit.levels import Level, Workplace, levels
from privaudit.recipe import Recipe, Subject
from privaudit.recipe.model import essence
from privaudit.result import AuditResult, RunResult, load_run, model_path, save_run
from privaudit.values import Role
from privaudit.version import __version__

Scores = dict[str, NDArray[Any]]


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
    audits: list[AuditResult] = []
    scores: Scores = _membership(place)
    for number, subject in enumerate(recipe.subjects(), 1):
        place.on_event(SubjectStarted(subject.label, number, len(recipe.subjects())))
        for level in levels(place, subject):
            _keep_models(place, folder, subject, level)
            for audit, score in _attacked(place, subject, level):
                scores[f"score_{len(audits)}"] = score
                audits.append(audit)
    environment = describe(place.device, used) | {"seconds": round(time.monotonic() - started, 1)}
    dumped = recipe.model_dump(mode="json", serialize_as_any=True)
    result = RunResult(recipe.name, dumped, environment, tuple(audits))
    return save_run(folder, result, recipe_yaml=recipe.to_yaml(), scores=scores)


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


def _attacked(
    place: Workplace, subject: Subject, level: Level
) -> Iterator[tuple[AuditResult, NDArray[Any]]]:
    """Each attack on each target of each seed, with its scores of the audited examples."""
    for label, attack in place.recipe.attack_entries():
        found: list[float] = []
        for s, (seed, split) in enumerate(
            zip(place.recipe.seeds, place.ensemble.splits, strict=True)
        ):
            models = place.ensemble.models(s)
            outputs = level.outputs[models]
            for number, target in enumerate(split.targets.tolist()):
                signals = signals_of(attack, place.examples, split, outputs, number, seed)
                scores = checked(attack, attack.score(signals), signals.audited)
                role = split.role[target]
                right = outputs.logits[target, 0].argmax(-1) == place.examples.y
                audit = AuditResult(
                    subject=subject.label,
                    level=level.label,
                    seed=seed,
                    target=target,
                    density=float(level.density[models[target]]),
                    parameters=int(level.nonzero[models[target]]),
                    train_accuracy=float(right[role == Role.MEMBER].double().mean()),
                    test_accuracy=float(right[role == Role.NON_MEMBER].double().mean()),
                    attack=label,
                    metrics=measured(scores, role, signals.audited),
                    variants={
                        name: measured(variant, role, signals.audited)
                        for name, variant in scores.variants.items()
                    },
                    sparsifier=subject.sparsifier_label,
                    defense=subject.defense_label,
                )
                found.append(audit.metrics["auc"]["value"])
                yield audit, scores.score[signals.audited].detach().numpy()
        place.on_event(AttackDone(label, level.label, float(np.mean(found))))


def _membership(place: Workplace) -> Scores:
    """Which examples each target's scores are about, and who of them is a member."""
    arrays: Scores = {}
    for seed, split in zip(place.recipe.seeds, place.ensemble.splits, strict=True):
        for target in split.targets.tolist():
            role = split.role[target]
            rows = ((role == Role.MEMBER) | (role == Role.NON_MEMBER)).nonzero()[:, 0]
            arrays[f"example_{seed}_{target}"] = rows.numpy()
            arrays[f"member_{seed}_{target}"] = (role[rows] == Role.MEMBER).numpy()
    return arrays


def _keep_models(place: Workplace, folder: Path, subject: Subject, level: Level) -> None:
    """The weights of every target of a level."""
    private_folder(folder / "models")
    for s, (seed, split) in enumerate(zip(place.recipe.seeds, place.ensemble.splits, strict=True)):
        for target in split.targets.tolist():
            place_in_all = int(place.ensemble.models(s)[target])
            weights = {n: w[place_in_all].contiguous() for n, w in level.weights.items()}
            path = model_path(folder, subject.label, level.label, seed, target)
            write_whole(path, safetensors.torch.save(weights))
