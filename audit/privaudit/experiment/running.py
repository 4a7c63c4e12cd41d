"""Runs a recipe: train, make sparse, attack, measure, keep."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from privaudit.api.calls import loaded
from privaudit.api.host import Plugins, load_plugins
from privaudit.cohort import Journal
from privaudit.errors import RecipeError, StoreError
from privaudit.events import Event, SubjectStarted
from privaudit.experiment.auditing import Auditor, test_accuracy
from privaudit.experiment.canaries import inserted
from privaudit.experiment.checkpoint import fingerprint
from privaudit.experiment.context import RunContext
from privaudit.experiment.ensemble import make_ensemble
from privaudit.experiment.environment import cache_folder, choose_device, describe, used_plugins
from privaudit.experiment.level import DENSE, Level
from privaudit.experiment.levels import control_of, controls, levels
from privaudit.experiment.repeated import repeated
from privaudit.experiment.target import given_target, joined
from privaudit.experiment.tokens import check_tokens
from privaudit.jobs.local import Workers
from privaudit.jobs.memory import free_memory
from privaudit.readers.budget import limited_to
from privaudit.recipe import Recipe, Subject
from privaudit.recipe.model import without_speed_options
from privaudit.store.files import private_folder, write_whole
from privaudit.store.inputs import Inputs
from privaudit.store.result import RunResult, load_run, model_path, save_run
from privaudit.values import Examples
from privaudit.version import __version__


def run(
    recipe: Recipe,
    output: Path | None = None,
    *,
    device: str = "auto",
    cache: Path | None = None,
    plugins: Plugins | None = None,
    on_event: Callable[[Event], None] | None = None,
    processes: int = 1,
    memory: int | None = None,
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
        processes: how many of one thread each train on a CPU; 1 trains in this process, with all
            its threads. More than 1 needs a program that multiprocessing can start again: a
            script under `if __name__ == "__main__"`.
        memory: bytes of this machine that may be used; three quarters of what is free if not
            given.

    Raises:
        PrivauditError: whatever the user can mend.
    """
    started = time.monotonic()
    choose_device(device)  # a wrong one is told even where there is nothing left to do
    plugins = (plugins or load_plugins()).with_files(recipe.plugins)
    made_by = _made_by(recipe, plugins)
    folder = output or run_folder(recipe)
    finished = _finished(folder, recipe, made_by)
    if finished:
        return finished
    with _workers(device, processes, plugins) as workers:
        context = run_context(
            recipe,
            device=device,
            cache=cache,
            on_event=on_event,
            workers=workers,
            memory=memory,
        )
        auditor, stacks = _audited(context, folder)
    environment = describe(context.device, made_by["plugins"]) | made_by
    environment |= {"stack": stacks, "processes": 1 if workers is None else processes}
    environment["seconds"] = round(time.monotonic() - started, 1)
    dumped = recipe.model_dump(mode="json", serialize_as_any=True)
    result = RunResult(
        recipe.name, dumped, environment, tuple(auditor.audits), tuple(auditor.doubts)
    )
    return save_run(folder, result, recipe_yaml=recipe.to_yaml(), scores=auditor.scores)


def _audited(context: RunContext, folder: Path) -> tuple[Auditor, dict[str, int]]:
    """Every audit of a recipe, and how many models of each subject shared a training step."""
    private_folder(folder)
    auditor = Auditor(context)
    auditor.doubts += repeated(context)
    stacks: dict[str, int] = {}
    subjects = context.recipe.subjects()
    for number, subject in enumerate(subjects, 1):
        context.on_event(SubjectStarted(subject.label, number, len(subjects)))
        sparse: dict[str, Tensor] = {}
        for level in levels(context, subject):
            _keep_models(context, folder, subject, level)
            auditor.audit(subject, level)
            stacks[subject.label] = level.stack
            if float(level.density.mean()) < DENSE:
                sparse[level.label] = test_accuracy(context, level.outputs)
            del level  # so that two levels' answers are never held at once
        if context.recipe.matched and sparse:
            _audit_controls(auditor, subject, sparse)
    return auditor, stacks


@contextmanager
def _workers(device: str, processes: int, plugins: Plugins) -> Iterator[Workers | None]:
    """Processes to train in, started while the data is read; None trains in this one."""
    if processes < 2 or choose_device(device).type != "cpu":
        yield None
        return
    with Workers(processes, [file.load for file in plugins.files]) as workers:
        yield workers


def run_context(
    recipe: Recipe,
    *,
    device: str = "auto",
    cache: Path | None = None,
    on_event: Callable[[Event], None] | None = None,
    workers: Workers | None = None,
    memory: int | None = None,
) -> RunContext:
    """Load the data, and the target if it is given, and deal the examples out."""
    folder = cache_folder(cache)
    chosen = choose_device(device)
    with limited_to(memory):
        examples, target, order = loaded(recipe.dataset, folder / "data"), None, None
    _check_augmentation(recipe, examples)
    if recipe.target is None:
        examples = inserted(examples, recipe.split)
        check_tokens(recipe, examples)
        ensemble = make_ensemble(recipe, len(examples))
    else:
        with limited_to(memory):
            candidates = joined(recipe.target, examples, folder / "data")
        examples, order = candidates.examples, candidates.order
        check_tokens(recipe, examples)
        ensemble = make_ensemble(recipe, len(examples), candidates)
        role = ensemble.role[ensemble.targets[0]]
        target = given_target(recipe, recipe.target, examples, role, chosen)
    memory = free_memory() * 3 // 4 if memory is None else memory
    _check_memory(recipe, examples, len(ensemble.seeds), memory)
    return RunContext(
        recipe,
        examples,
        ensemble,
        chosen,
        Journal(folder / "units"),
        on_event or (lambda event: None),
        memory=memory,
        given=target,
        order=order,
        workers=workers,
    )


def _check_memory(recipe: Recipe, examples: Examples, models: int, memory: int) -> None:
    """All models' answers of a level are held at once, for attacks compare them."""
    attacks = [attack for _, attack in recipe.attack_entries()]
    asked = max(a.queries for a in attacks) + max(a.noise for a in attacks)
    needed = 4 * models * len(examples) * len(examples.classes) * asked
    if needed > memory:
        raise RecipeError(
            f"the answers of {models} networks to {len(examples):,} examples, each asked {asked} "
            f"times, take {needed / 2**30:.1f} GiB, and {memory / 2**30:.1f} GiB may be used: "
            "lower shadows or seeds, choose attacks with fewer queries, or raise --memory"
        )


def _check_augmentation(recipe: Recipe, examples: Examples) -> None:
    for number, (label, attack) in enumerate(recipe.attack_entries()):
        if "augmentation" in attack.signals and examples.augmentation is None:
            raise RecipeError(
                f"attacks[{number}]: {label!r} asks for augmented copies, and dataset "
                f"{recipe.dataset.name!r} has no augmentation: use another attack or dataset"
            )


def run_folder(recipe: Recipe) -> Path:
    """Where a recipe's results go unless another folder is named."""
    return Path("runs") / f"{recipe.name}-{recipe.digest()[:8]}"


def _made_by(recipe: Recipe, plugins: Plugins) -> dict[str, Any]:
    """What a run depends on besides its recipe: our version, its plugins, and a given target."""
    made_by = {"privaudit": __version__, "plugins": used_plugins(recipe, plugins)}
    if recipe.target is not None:
        made_by["checkpoint"] = fingerprint(recipe.target.checkpoint)
    return made_by


def _finished(folder: Path, recipe: Recipe, made_by: dict[str, Any]) -> RunResult | None:
    """The result of an earlier run of the same recipe by the same code on the same target."""
    if not (folder / "result.json").exists():
        return None
    earlier = load_run(folder)
    asked = recipe.model_dump(mode="json", serialize_as_any=True)
    if without_speed_options(earlier.recipe) != without_speed_options(asked):
        raise StoreError(
            f"{folder} holds the run of another recipe, {earlier.name!r}: name another --output"
        )
    same = all(earlier.environment.get(key) == value for key, value in made_by.items())
    return earlier if same else None


def _audit_controls(auditor: Auditor, subject: Subject, sparse: dict[str, Tensor]) -> None:
    """Audit a dense network as accurate as each sparse one, so that sparsity alone is left.

    Gonon et al. 2023, "Can sparsity improve the privacy of neural networks?": networks of
    different accuracy must not be compared.
    """
    control = control_of(auditor.context.recipe, subject)
    auditor.context.on_event(SubjectStarted(control.label, 1, 1))
    for level in controls(auditor.context, control, sparse):
        auditor.audit(control, level, matched=subject.label)


def _keep_models(context: RunContext, folder: Path, subject: Subject, level: Level) -> None:
    """The weights of every target of a level; a given one is in the user's file already."""
    if context.given is not None:
        return
    private_folder(folder / "models")
    metadata = Inputs.of(context.examples).metadata()
    for s, (seed, split) in enumerate(
        zip(context.recipe.seeds, context.ensemble.splits, strict=True)
    ):
        for target in split.targets.tolist():
            place_in_all = int(context.ensemble.models(s)[target])
            weights = {n: w[place_in_all].contiguous() for n, w in level.weights.items()}
            path = model_path(folder, subject.label, level.label, seed, target)
            write_whole(path, safetensors.torch.save(weights, metadata))
