"""Runs on disk whose numbers are made up, with scores and labels of every example."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from privaudit.doubts.doubt import Doubt
from privaudit.statistics.metrics import evaluate
from privaudit.store.failure import Failure
from privaudit.store.result import AuditResult, RunResult, save_run

FIRST_EXAMPLE = 20_000

RECIPE: dict[str, Any] = {
    "seeds": [0],
    "dataset": {"name": "digits"},
    "model": {"name": "mlp"},
    "split": {"protocol": "disjoint", "members": 60, "non_members": 60},
    "shadows": 1,
    "attacks": [{"name": "loss"}],
    "shadow_defense": "same",
    "matched": False,
}


def made_up_run(
    folder: Path,
    name: str = "made up",
    *,
    subjects: Sequence[tuple[str, str]] = (("dense", ""), ("imp", "round 1")),
    attacks: Sequence[str] = ("loss", "lira"),
    seeds: int = 2,
    classes: Sequence[str] = ("cat", "dog"),
    examples: int = 120,
    recipe: dict[str, Any] | None = None,
    environment: dict[str, Any] | None = None,
    notes: dict[str, float | None] | None = None,
    doubts: Sequence[Doubt] = (),
    failures: Sequence[Failure] = (),
) -> RunResult:
    """A run whose attacks differ in strength, the last of them strongest."""
    rng = np.random.default_rng(0)
    member = np.arange(examples) % 2 == 0
    label = rng.integers(0, len(classes), examples)
    arrays: dict[str, Any] = {"classes": np.array(classes)}
    for seed in range(seeds):
        arrays[f"example_{seed}_0"] = FIRST_EXAMPLE + np.arange(examples)
        arrays[f"member_{seed}_0"], arrays[f"label_{seed}_0"] = member, label
    scored = {}
    for strength, attack in enumerate(attacks):
        for seed in range(seeds):
            score = rng.standard_normal(examples) + (strength + 1) / len(attacks) * member
            scored[attack, seed] = score, evaluate(score, member, decision=score > 0.3)
    audits: list[AuditResult] = []
    for number, (subject, level) in enumerate(subjects):
        for seed in range(seeds):
            for attack in attacks:
                score, metrics = scored[attack, seed]
                arrays[f"score_{len(audits)}"] = score
                arrays[f"decision_{len(audits)}"] = score > 0.3
                density = 1 / (number + 1)
                audits.append(
                    AuditResult(
                        subject, level, seed, 0, density, round(1000 * density), 0.99,
                        0.8 - 0.01 * number, attack, metrics, notes=notes or {},
                        multiply_adds=2000, seconds=1e-5,
                    )
                )  # fmt: skip
    result = RunResult(
        name,
        RECIPE if recipe is None else recipe,
        {"privaudit": "0.1.0", "device": "cpu", "seconds": 3.0} | (environment or {}),
        tuple(audits),
        tuple(doubts),
        failures=tuple(failures),
    )
    return save_run(folder, result, recipe_yaml="", scores=arrays)
