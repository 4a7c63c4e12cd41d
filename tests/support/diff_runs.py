"""Two runs to be told apart: small, by hand, with all that a real one keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit.doubts.doubt import Doubt
from privaudit.statistics.metrics import evaluate
from privaudit.store.failure import Failure
from privaudit.store.result import AuditResult, RunResult, save_run

N = 400
MEMBERS = np.arange(N) < N // 2

PLUGIN = {
    "kind": "attack", "name": "loss", "distribution": "privaudit", "version": "0.1.0",
    "source": "79c9" * 16,
}  # fmt: skip
ENVIRONMENT = {
    "privaudit": "0.1.0", "torch": "2.6.0", "python": "3.11.7", "device": "cpu", "threads": 2,
    "git": "abc123", "plugins": [PLUGIN],
}  # fmt: skip
RECIPE = {
    "name": "digits",
    "seeds": [0, 1, 2],
    "dataset": {"name": "digits", "crop": 0},
    "split": {"members": 200, "seed": None},
    "training": {"epochs": 60, "lr": 0.05},
    "sparsifiers": [{"name": "dense"}, {"name": "imp", "rounds": 2}],
    "attacks": [{"name": "loss"}, {"name": "shadow_mlp", "epochs": 80}],
    "target": None,
}


def recipe(**changes: Any) -> dict[str, Any]:
    """The recipe with leaves changed: `training__epochs=8`, `attacks__1__epochs=9`."""
    changed: dict[str, Any] = _copy(RECIPE)
    for path, value in changes.items():
        *above, last = path.split("__")
        place: Any = changed
        for key in above:
            place = place[int(key) if key.isdigit() else key]
        place[last] = value
    return changed


def run(
    folder: Path | None,
    *,
    rows: Sequence[tuple[str, str]] = (("dense", ""), ("imp", "round 1")),
    attacks: Sequence[str] = ("loss", "shadow_mlp"),
    ahead: float = 0.5,
    noise: float = 0.3,
    seeds: Sequence[int] = (0, 1, 2),
    accuracy: float = 0.8,
    first_example: int = 0,
    decides: bool = True,
    data: str = "d" * 64,
    changes: Mapping[str, Any] | None = None,
    environment: Mapping[str, Any] | None = None,
    failures: Sequence[Failure] = (),
    doubts: Sequence[Doubt] = (),
) -> RunResult:
    """A run whose members' scores are ahead of the others', on the same examples for all seeds.

    Two runs draw the same numbers: what differs is what was asked for.
    """
    hard = np.random.default_rng(0).normal(size=N)
    audits: list[AuditResult] = []
    scores: dict[str, NDArray[Any]] = {}
    for subject, level in rows:
        for seed in seeds:
            scores |= {
                f"example_{seed}_0": np.arange(N) + first_example,
                f"member_{seed}_0": MEMBERS,
            }
            for attack in attacks:
                own = f"{subject} {level} {seed} {attack}".encode()
                luck = np.random.default_rng(list(own)).normal(size=N)
                score = hard + ahead * MEMBERS + noise * luck
                decision = score > 0.25 if decides else None
                number = len(audits)
                scores[f"score_{number}"] = score
                if decision is not None:
                    scores[f"decision_{number}"] = decision
                measured = evaluate(score, MEMBERS, decision)
                audit = AuditResult(
                    subject, level, seed, 0, 1.0, 9, 1.0, accuracy, attack, measured
                )
                audits.append(audit)
    result = RunResult(
        "digits",
        recipe(**(changes or {})),
        {**ENVIRONMENT, **(environment or {})},
        tuple(audits),
        doubts=tuple(doubts),
        failures=tuple(failures),
    )
    if folder is None:
        return result
    about = {"name": "digits", "data": {"dataset": data}}
    return save_run(folder, result, recipe_yaml="", scores=scores, about=about)


def without(result: RunResult, **fields: str | int) -> RunResult:
    """The run without some audits, and without its folder."""
    kept = [a for a in result.audits if any(getattr(a, k) != v for k, v in fields.items())]
    return replace(result, audits=tuple(kept), folder=None)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value
