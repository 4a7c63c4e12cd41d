"""Plugins that misbehave: in a file of their own, beside an attack that must not notice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.campaign._case import Case
from tests.campaign._command import complaint, digits, privaudit
from tests.campaign._misbehaving import MISBEHAVIOURS, Misbehaviour, source

QUESTION = "does a plugin that misbehaves harm nobody but itself, and is it named?"

_RECIPE: dict[str, object] = {
    "sparsifiers": ["dense"],
    "attacks": ["loss"],
    "shadows": 1,
    "split": {"members": 150, "non_members": 150, "validation": 20, "reference": 20},
}


def cases(seed: int) -> Iterator[Case]:
    """One for each misbehaviour."""
    for one in MISBEHAVIOURS:
        yield Case(f"{one.kind} {one.name}", partial(_outcome, one))


def _outcome(one: Misbehaviour, folder: Path) -> str:
    (folder / "hostile.py").write_text(source(one))
    changes: dict[str, object] = {
        "dataset": {"dataset": "hostile"},
        "model": {"model": {"name": "hostile"}},
        "sparsifier": {"sparsifiers": ["hostile", "dense"]},
        "defense": {"defenses": ["hostile", "none"]},
        "attack": {"attacks": ["hostile", "loss"]},
    }[one.kind]  # type: ignore[assignment]
    recipe = digits(folder, "hostile.yaml", plugins=["hostile.py"], **(_RECIPE | changes))
    command = ("run", recipe, "--output", "hostile")
    ran = privaudit(*command, cwd=folder, env={"HOSTILE": "1"}, seconds=180)
    if problem := complaint(ran, *one.codes):
        return problem
    said = ran.err + ran.out
    if "unknown" in said or "privaudit_provide" in said:
        return f"the plugin was not read: {said.strip().splitlines()[-1][:300]}"
    if ran.code and not one.anonymous and "'hostile'" not in said.split("results in")[0]:
        return f"does not name the plugin: {said.strip().splitlines()[-1][:300]}"
    if one.words and one.words not in " ".join(said.split()):
        return f"does not say {one.words!r}: {said.strip().splitlines()[-1][:300]}"
    result = folder / "hostile" / "result.json"
    if ran.code == 0 and not result.exists():
        return "exit code 0 and no result"
    if result.exists() and one.kind in ("attack", "sparsifier", "defense"):
        there = _numbers(result)
        if there and there != _clean():
            return "other numbers of its neighbours"
    again = _clean_run(folder)
    return "" if again == _clean() else f"a later clean run on this cache: {again}"[:300]


@cache
def _clean() -> str:
    """The numbers of a run that nobody has disturbed, on a cache of its own."""
    with TemporaryDirectory(prefix="campaign-") as folder:
        return _clean_run(Path(folder))


def _clean_run(folder: Path) -> str:
    recipe = digits(folder, "clean.yaml", **_RECIPE)
    ran = privaudit("run", recipe, "--output", "clean", cwd=folder)
    return complaint(ran, 0) or _numbers(folder / "clean" / "result.json")


def _numbers(result: Path) -> str:
    """What a run says about the attack `loss` on the dense network without a defense."""
    audits = json.loads(result.read_text())["audits"]
    plain = [
        audit
        for audit in audits
        if audit["attack"] == "loss"
        and audit["sparsifier"] == "dense"
        and audit["defense"] in ("", "none")
    ]
    keys = ("train_accuracy", "test_accuracy", "density", "metrics")
    return json.dumps([[audit[key] for key in keys] for audit in plain]) if plain else ""
