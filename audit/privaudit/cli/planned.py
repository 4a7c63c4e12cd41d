"""The table of a dry run."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from privaudit.cli.sizes import shown
from privaudit.experiment.context import RunContext
from privaudit.experiment.plan import SubjectPlan
from privaudit.recipe import Recipe
from privaudit.report.escape import plain


def plan_table(recipe: Recipe, plans: Sequence[SubjectPlan], context: RunContext) -> Group:
    """What there is to do, subject by subject, and in all."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("subject")
    for head in ("levels", "weights", "trainings", "done", "examples x epochs", "about"):
        table.add_column(head, justify="right")
    for subject_plan in plans:
        table.add_row(
            Text(plain(subject_plan.subject)),
            f"{subject_plan.levels}",
            f"{subject_plan.parameters:,}",
            f"{subject_plan.trainings:,}",
            f"{subject_plan.found:,}",
            f"{subject_plan.examples:,}",
            duration(subject_plan.seconds) if subject_plan.steps else "-",
        )
    models, seeds = len(context.trained), len(recipe.seeds)
    remaining = sum(p.trainings - p.found for p in plans)
    seconds = sum(p.seconds for p in plans)
    lines = [
        f"{recipe.name}: {len(context.examples):,} examples, {models} networks "
        f"({seeds} seed{'' if seeds == 1 else 's'} x {models // seeds}) on {context.device}, "
        f"{len(recipe.attacks)} attacks",
        f"{remaining:,} trainings remain, about {duration(seconds)} on this machine; "
        "a training that two subjects share is counted for both; attacks come on top",
        f"at most {shown(sum(p.cached for p in plans))} more in the cache, and "
        f"{shown(sum(p.kept for p in plans))} in the run's folder",
    ]
    target = recipe.target
    if target is not None and not recipe.shadows and recipe.dataset == target.non_members:
        lines.append("nobody trains: the dataset is target.non_members")
    return Group(Text(lines[0]), Text(), table, Text(), *map(Text, lines[1:]))


def duration(seconds: float) -> str:
    """Seconds as a person says them.

    >>> duration(0.2), duration(75), duration(7300), duration(200_000)
    ('1 s', '1 min 15 s', '2 h 1 min', '2 d 7 h')
    """
    whole = max(1, round(seconds))
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    parts: list[str] = []
    for name, size in units:
        if whole >= size or parts:
            parts.append(f"{whole // size} {name}")
            whole %= size
    return " ".join(p for p in parts[:2] if not p.startswith("0 "))
