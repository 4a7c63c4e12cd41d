"""Part `paper`: one seed of recipes/cifar_resnet20.yaml, as far as time allows."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from statistics import mean

from benchmarks.gpu.devices import chosen, described
from benchmarks.gpu.on_device import default_device
from benchmarks.gpu.options import ROOT, Options, TimeUp, time_limit
from benchmarks.gpu.table import Table
from privaudit import RunResult, load_recipe, run
from privaudit.events import Event, FitDone, FitStarted, LevelReached, RunStarted
from privaudit.report import render
from privaudit.store.result import AuditResult

COLUMNS = ("subject", "level", "density %", "test %", "attack accuracy %", "defense %")
ATTACK = "shadow_mlp"
DENSITIES = (0.034, 0.173)
"""Shares of nonzero weights that the paper's headline is about, rounded as it prints them."""

_MINIATURE = (
    "dataset=digits",
    "model={name: cnn}",
    "split.members=60",
    "split.validation=20",
    "split.non_members=60",
    "training.epochs=2",
    "training.batch_size=30",
    "training.milestones=[1]",
    "sparsifiers=[dense, {name: imp, rounds: 2, amount: 0.7, rewind: best}]",
    "attacks=[{name: shadow_mlp, epochs: 1}, logistic_regression, loss]",
)
_RECIPE = ROOT / "recipes" / "cifar_resnet20.yaml"
_KEPT = 15  # seconds for the table


class _Progress:
    """What a run tells: how much is found and done."""

    def __init__(self) -> None:
        self.planned: RunStarted | None = None
        self.found = self.trained = self.levels = 0
        self.seconds = 0.0

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.planned = event
        elif isinstance(event, FitStarted):
            self.found += event.found
        elif isinstance(event, FitDone):
            self.trained += event.models
            self.seconds += event.seconds
        elif isinstance(event, LevelReached):
            self.levels += 1

    def text(self) -> str:
        """One paragraph."""
        planned = "" if self.planned is None else f" of {self.planned.trainings}"
        each = f", {self.seconds / self.trained:.1f} s each" if self.trained else ""
        return (
            f"{self.found + self.trained}{planned} trainings are done: {self.found} by earlier "
            f"calls, {self.trained} by this one{each}; {self.levels} levels were audited or begun."
        )


def paper(options: Options) -> Table:
    """Run the recipe until it is finished or time is up; what is kept is not done again."""
    device = chosen(options.device)
    recipe = load_recipe(_RECIPE if _RECIPE.exists() else "cifar_resnet20", _changes(options))
    table = Table("paper", COLUMNS, facts=described(device) | {"recipe": recipe.digest()[:12]})
    told = _Progress()
    threads = os.cpu_count() or 1
    started = time.perf_counter()
    try:
        with time_limit(options.left - _KEPT), default_device(device):
            result = run(
                recipe,
                options.out / ("paper-quick" if options.quick else "paper-run"),
                device="auto",
                cache=options.out / "cache",
                on_event=told,
                processes=1 if options.quick else threads,
            )
    except TimeUp:
        table.notes += [told.text(), "Time was up: the same command goes on with what is kept."]
        return table
    seconds = time.perf_counter() - started
    table.notes.append(f"finished; this call took {seconds:.0f} s. {told.text()}")
    _fill(table, result, recipe.sparsifiers[0].label or "dense")
    table.notes.append(render([result], width=160))
    table.wrong += [f"{failure}" for failure in result.failures]
    return table


def _changes(options: Options) -> list[str]:
    changes = ["seeds=1"]
    if options.quick:
        changes += _MINIATURE
    if options.data is not None:
        changes.append(f"dataset={{name: image_folder, path: {options.data.absolute()}}}")
        if options.quick:
            changes += ["model=resnet20", "dataset.limit=400"]
    elif not options.quick:
        raise ValueError("name the folder of CIFAR-10's images by --data")
    return [*changes, *options.changes]


def _fill(table: Table, result: RunResult, dense: str) -> None:
    """A row for each network, and what the paper's headline says of them."""
    audits = [audit for audit in result.audits if audit.attack == ATTACK]
    for audit in audits:
        accuracy = _attack_accuracy(audit)
        table.rows.append(
            {
                "subject": audit.subject,
                "level": audit.level,
                "density %": 100 * audit.density,
                "test %": 100 * audit.test_accuracy,
                "attack accuracy %": 100 * accuracy,
                "defense %": 200 * (1 - accuracy),
            }
        )
    base = [audit for audit in audits if audit.density > 0.99]
    if base:
        table.notes.append(headline(base, audits))


def headline(dense: Sequence[AuditResult], audits: Sequence[AuditResult]) -> str:
    """Relative defense gain over relative accuracy loss, as Gonon et al. 2023 put it.

    D = 2 (1 - a) of attack accuracy a on as many members as non-members. In the paper p % of
    relative accuracy loss come with 3.6 p % of relative defense gain, at 3.4 to 17.3 % of nonzero
    weights; means over the networks of each density stand for its curve.
    """
    accuracy = mean(audit.test_accuracy for audit in dense)
    defense = mean(2 * (1 - _attack_accuracy(audit)) for audit in dense)
    lowest, highest = DENSITIES
    sparse = [a for a in audits if lowest - 5e-4 <= a.density <= highest + 5e-4]
    if not sparse:
        return "no network lies within 3.4 and 17.3 % of nonzero weights: no headline"
    lost = mean(1 - audit.test_accuracy / accuracy for audit in sparse)
    gained = mean(2 * (1 - _attack_accuracy(audit)) / defense - 1 for audit in sparse)
    ratio = f"{gained / lost:.2f}" if lost > 0 else "no ratio, for nothing is lost"
    return (
        f"{len(sparse)} networks of 3.4 to 17.3 % nonzero weights: relative accuracy loss "
        f"{100 * lost:.2f} %, relative defense gain {100 * gained:.2f} %: {ratio} (published: 3.6)"
    )


def _attack_accuracy(audit: AuditResult) -> float:
    found = audit.metrics["balanced_accuracy"]
    value = found["value"] if isinstance(found, dict) else found
    return float(value)
