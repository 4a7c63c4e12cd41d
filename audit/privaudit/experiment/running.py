"""Runs a recipe: train, make sparse, attack, measure, keep."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import safetensors.torch
from torch import Tensor

from privaudit.api.host import Plugins, load_plugins
from privaudit.cohort import Journal
from privaudit.errors import DataError, PrivauditError
from privaudit.events import EpochDone, Event, SubjectStarted
from privaudit.experiment import identity
from privaudit.experiment.auditing import Auditor, test_accuracy
from privaudit.experiment.canaries import inserted
from privaudit.experiment.context import RunContext
from privaudit.experiment.ensemble import make_ensemble
from privaudit.experiment.environment import (
    cache_folder,
    choose_device,
    describe,
    devices_of_processes,
    with_deviations,
)
from privaudit.experiment.forecast import forecast
from privaudit.experiment.identity import Data
from privaudit.experiment.level import Level
from privaudit.experiment.levels import control_of, controls, levels, wants_control
from privaudit.experiment.relation import doubts_of_given
from privaudit.experiment.repeated import repeated
from privaudit.experiment.suited import check_augmentation, check_memory, check_versions
from privaudit.experiment.target import joined
from privaudit.experiment.target_pair import given_pair
from privaudit.experiment.telling import Telling
from privaudit.experiment.tokens import check_tokens
from privaudit.jobs.local import Workers
from privaudit.jobs.memory import free_memory
from privaudit.readers.budget import limited_to
from privaudit.recipe import Recipe, Subject
from privaudit.store.files import private_folder, write_whole
from privaudit.store.inputs import Inputs
from privaudit.store.lock import run_lock
from privaudit.store.models import UNFINISHED, begin, model_path
from privaudit.store.result import RunResult, save_run


def run(
    recipe: Recipe,
    output: str | Path | None = None,
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
    finished is taken from the cache. A finished run whose data or files have changed since is made
    again, and a warning says what has changed; see `experiment.identity`.

    Args:
        recipe: the question.
        output: the run's folder; runs/NAME-HASH if not given.
        device: auto, cpu, cuda (every GPU, one process each) or cuda:i.
        cache: where trainings and data are kept; see `environment.cache_folder`.
        plugins: those installed, if not given.
        on_event: told about progress.
        processes: how many of one thread each train on a CPU; 1 trains in this process, with all
            its threads. More than 1 needs a program that multiprocessing can start again: a
            script under `if __name__ == "__main__"`.
        memory: bytes of this machine that may be used; three quarters of what is free if not
            given.

    Returns:
        What was found; `failures` holds the subjects and attacks that failed while others did not.

    Raises:
        PrivauditError: whatever the user can mend, where no audit could be made.
    """
    started = time.monotonic()
    choose_device(device)  # a wrong one is told even where there is nothing left to do
    plugins = (plugins or load_plugins()).with_files(recipe.plugins)
    made_by = identity.made_by(recipe, plugins)
    folder = run_folder(recipe) if output is None else Path(output)
    with nullcontext() if _only_to_read(folder) else run_lock(folder):
        tell = Telling(recipe, folder, on_event, plugins)
        data = None
        if identity.has_run(folder):
            with limited_to(memory):
                data = identity.load_data(recipe, cache_folder(cache) / "data")
            if done := identity.finished(folder, recipe, data, made_by):
                done = identity.with_gates(done, recipe)
                tell.found(done)
                return done
        with _workers(device, processes, plugins) as workers:
            context = run_context(
                recipe,
                device=device,
                cache=cache,
                on_event=tell,
                workers=workers,
                memory=memory,
                data=data,
            )
            private_folder(folder)
            with tell.run():
                auditor, stacks = _audited(context, folder, told=tell.heard)
                environment = describe(context.device, made_by["plugins"]) | made_by
                environment["plugins"] = with_deviations(recipe, made_by["plugins"])
                environment["stack"] = stacks
                environment["processes"] = 1 if workers is None else len(workers)
                environment["seconds"] = round(time.monotonic() - started, 1)
                result = RunResult(
                    recipe.name,
                    identity.asked(recipe),
                    environment,
                    tuple(auditor.audits),
                    tuple(auditor.doubts),
                    failures=tuple(auditor.failures),
                )
                result = save_run(
                    folder,
                    result,
                    recipe_yaml=recipe.to_yaml(),
                    scores=auditor.scores,
                    about=identity.about(recipe, context.digests, environment),
                )
                tell.done(result)
                return result


def _only_to_read(folder: Path) -> bool:
    """Whether a folder holds a finished run and may not be written."""
    return identity.has_run(folder) and not os.access(folder, os.W_OK)


def _audited(context: RunContext, folder: Path, told: bool) -> tuple[Auditor, dict[str, int]]:
    """Every audit of a recipe, and how many models of each subject shared a training step."""
    begin(folder)

    def listen(event: Event) -> None:
        context.on_event(event)
        if isinstance(event, EpochDone):
            auditor.keep_finished()

    auditor = Auditor(replace(context, on_event=listen))
    try:
        return auditor, _audit_all(auditor, folder, told)
    except BaseException as error:
        auditor.abandon(error)
        raise


def _audit_all(auditor: Auditor, folder: Path, told: bool) -> dict[str, int]:
    """Every audit of a recipe; how many models of each subject shared a training step."""
    context = auditor.context
    auditor.doubts += repeated(context) + doubts_of_given(context)
    stacks: dict[str, int] = {}
    subjects = context.recipe.subjects()
    if told:
        context.on_event(forecast(context))
    for number, subject in enumerate(subjects, 1):
        context.on_event(SubjectStarted(subject.label, number, len(subjects)))
        wanted: dict[str, Tensor] = {}
        try:
            for level in levels(context, subject):
                _keep_models(context, folder, subject, level)
                auditor.begin(subject, level)
                stacks[subject.label] = level.stack
                if wants_control(context.recipe, subject, level.density):
                    wanted[level.label] = test_accuracy(context, level.outputs)
                del level  # so that no more answers are held than the auditor has use for
            auditor.complete(subject)
        except PrivauditError as error:
            auditor.finish()
            auditor.fail(error, subject)
        if wanted:
            _audit_controls(auditor, subject, number, wanted)
    auditor.finish()
    if auditor.errors and not auditor.audits:
        raise auditor.errors[0]
    if auditor.left_out and not auditor.audits:
        raise DataError(f"nothing can be audited: {auditor.left_out[0]}")
    return stacks


@contextmanager
def _workers(device: str, processes: int, plugins: Plugins) -> Iterator[Workers | None]:
    """Processes to work in, started while the data is read; None where this one does all.

    Those of a CPU beside a GPU attack, while this one trains.
    """
    devices = devices_of_processes(device, processes)
    if not devices:
        yield None
        return
    with Workers(len(devices), plugins.loads(), devices) as workers:
        yield workers


def run_context(
    recipe: Recipe,
    *,
    device: str = "auto",
    cache: Path | None = None,
    on_event: Callable[[Event], None] | None = None,
    workers: Workers | None = None,
    memory: int | None = None,
    data: Data | None = None,
) -> RunContext:
    """Load the data, and the target if it is given, and deal the examples out."""
    folder = cache_folder(cache)
    chosen = choose_device(device)
    with limited_to(memory):
        data = data or identity.load_data(recipe, folder / "data")
    examples, target, order = data.pool, None, None
    check_augmentation(recipe, examples)
    memory = free_memory() * 3 // 4 if memory is None else memory
    if recipe.target is None:
        check_memory(recipe, examples, memory)
        examples = inserted(examples, recipe.split)
        check_tokens(recipe, examples)
        ensemble = make_ensemble(recipe, len(examples))
    else:
        candidates = joined(data.target, examples)
        examples, order = candidates.examples, candidates.order
        check_memory(recipe, examples, memory)
        check_tokens(recipe, examples)
        ensemble = make_ensemble(recipe, len(examples), candidates)
        role = ensemble.role[ensemble.targets[0]]
        target = given_pair(recipe, recipe.target, examples, role, chosen)
    context = RunContext(
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
        digests=data.digests,
    )
    check_versions(context)
    return context


def run_folder(recipe: Recipe) -> Path:
    """Where a recipe's results go unless another folder is named."""
    return Path("runs") / f"{recipe.name}-{recipe.digest()[:8]}"


def _audit_controls(
    auditor: Auditor, subject: Subject, number: int, wanted: dict[str, Tensor]
) -> None:
    """Audit a dense network as accurate as each level, so that what made it is all that differs.

    Gonon et al. 2023, "Can sparsity improve the privacy of neural networks?": networks of
    different accuracy must not be compared.
    """
    recipe = auditor.context.recipe
    control = control_of(recipe, subject)
    auditor.context.on_event(SubjectStarted(control.label, number, len(recipe.subjects())))
    try:
        for level in controls(auditor.context, control, wanted):
            auditor.begin(control, level, matched=subject.label)
    except PrivauditError as error:
        auditor.finish()
        auditor.fail(error, control)


def _keep_models(context: RunContext, folder: Path, subject: Subject, level: Level) -> None:
    """The weights of every target of a level; a given one is in the user's file already."""
    if context.given is not None:
        return
    private_folder(folder / UNFINISHED)
    metadata = Inputs.of(context.examples).metadata()
    for s, (seed, split) in enumerate(
        zip(context.recipe.seeds, context.ensemble.splits, strict=True)
    ):
        for target in split.targets.tolist():
            place_in_all = int(context.ensemble.models(s)[target])
            weights = {n: w[place_in_all].contiguous() for n, w in level.weights.items()}
            name = model_path(folder, subject.label, level.label, seed, target).name
            write_whole(folder / UNFINISHED / name, safetensors.torch.save(weights, metadata))
