"""What an audit says about a network, whatever the attack."""

from __future__ import annotations

from dataclasses import asdict
from math import isfinite
from typing import Any

import torch

from privaudit.experiment.context import RunContext
from privaudit.experiment.cost import costs
from privaudit.experiment.level import Level
from privaudit.experiment.own_answers import predictions
from privaudit.recipe import Subject
from privaudit.values import Role


def audit_facts(
    context: RunContext, subject: Subject, level: Level, matched: str
) -> list[list[dict[str, Any]]]:
    """For each seed and target, what an `AuditResult` says whatever the attack."""
    labels = {
        "subject": subject.label,
        "sparsifier": subject.sparsifier_label,
        "defense": subject.defense_label,
        "matched": matched,
    }
    facts = []
    for s, seed_costs in enumerate(costs(context, level)):
        targets = context.ensemble.splits[s].targets.tolist()
        models = context.ensemble.models(s)[targets].tolist()
        facts.append(
            [
                labels | _about(context, level, s, target, model) | asdict(cost)
                for target, model, cost in zip(targets, models, seed_costs, strict=True)
            ]
        )
    return facts


def _about(context: RunContext, level: Level, s: int, target: int, model: int) -> dict[str, Any]:
    """What a level says about one of its models."""
    split = context.ensemble.splits[s]
    role = torch.where(split.ordinary, split.role[target], Role.OUTSIDE)
    right = predictions(level.outputs[model]) == context.examples.y
    return {
        "level": level.label,
        "seed": context.recipe.seeds[s],
        "target": target,
        "density": float(level.density[model]),
        "parameters": int(level.nonzero[model]),
        "train_accuracy": float(right[role == Role.MEMBER].double().mean()),
        "test_accuracy": float(right[role == Role.NON_MEMBER].double().mean()),
        "notes": {name: _finite(float(v[model])) for name, v in level.notes.items()},
        "promise": level.promise if level.promise and isfinite(level.promise.epsilon) else None,
    }


def _finite(number: float) -> float | None:
    return number if isfinite(number) else None
