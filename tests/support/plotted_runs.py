"""Runs made of scores, without a network, for what draws runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from privaudit.statistics.metrics import evaluate
from privaudit.store.result import AuditResult, RunResult, save_run
from privaudit.store.scores import epochs_kept

HOSTILE = "<script>alert(1)</script> & \\input{x} $_^~%#{ ]]> \" ' größer"
"""A label that is markup in every format."""

LEVELS = (("dense", "", 1.0, 0.90), ("imp", "round 1", 0.5, 0.88), ("imp", "round 2", 0.1, 0.80))
"""Subject, level, density and test accuracy of the first network."""

CONTROLS = (("dense matched to imp", "round 2", 1.0, 0.80),)


def plotted_run(
    folder: Path,
    *,
    name: str = "plotted",
    subject: str = "imp",
    attack: str = "loss",
    seeds: int = 2,
    side: int = 120,
    controls: bool = True,
    kept: bool = True,
    epochs: int = 0,
) -> RunResult:
    """A run of three levels, each with a control of one, whose leak grows with density.

    Args:
        folder: where it is to lie.
        name: of the run.
        subject: label of the sparse subject.
        attack: label of the only attack.
        seeds: how many.
        side: how many members each network has; there are 30 more non-members.
        controls: whether the sparsest level has a dense control.
        kept: whether the scores are kept.
        epochs: how many are kept of each network's training; those of the second seed have
            no validation and stop one epoch earlier.
    """
    random = np.random.default_rng(0)
    arrays: dict[str, NDArray[np.generic]] = {"classes": np.array(["no", "yes"])}
    audits: list[AuditResult] = []
    member = np.repeat([True, False], [side, side + 30])
    for seed in range(seeds):
        arrays[f"example_{seed}_0"] = np.arange(len(member)) + seed * side
        arrays[f"member_{seed}_0"] = member
        arrays[f"label_{seed}_0"] = np.zeros(len(member), np.int64)
    for label, level, density, accuracy in (*LEVELS, *CONTROLS * controls):
        for seed in range(seeds):
            scores = random.normal(size=len(member)) + member * (0.3 + density)
            arrays[f"score_{len(audits)}"] = scores
            if epochs:
                history = np.full((epochs, 3), np.nan)
                trained = epochs - bool(seed)
                history[:trained, 0] = 1 / (1 + seed + np.arange(trained))
                history[:trained, 1] = 1 - history[:trained, 0] / 2
                history[:trained, 2] = np.nan if seed else 0.5
                arrays |= epochs_kept(history, len(audits))
            audits.append(
                AuditResult(
                    label.replace("imp", subject),
                    level,
                    seed,
                    0,
                    density,
                    round(1000 * density),
                    1.0,
                    accuracy - 0.02 * seed,
                    attack,
                    evaluate(scores, member, decision=scores > 0.3),
                    matched=subject if label.startswith("dense matched") else "",
                )
            )
    result = RunResult(name, {}, {}, tuple(audits))
    arrays = arrays if kept else {"classes": arrays["classes"]}
    return save_run(folder, result, recipe_yaml="", scores=arrays)
