"""One subject or attack that fails among others that work, and what becomes of it when mended."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from tests.campaign._case import Case
from tests.campaign._command import Ran, complaint, digits, privaudit
from tests.campaign._failing import Failing, failures, source

QUESTION = "does one that fails leave the others their numbers, and is it told and mended?"

_BASE: dict[str, object] = {
    "sparsifiers": ["dense"],
    "attacks": ["loss"],
    "split": {"members": 150, "non_members": 150, "validation": 20},
    "shadows": 2,
    "seeds": [0, 1],
}
_WITH: dict[str, dict[str, object]] = {
    "sparsifier": {"sparsifiers": ["bad", "dense"]},
    "defense": {"defenses": ["bad", "none"]},
    "attack": {"attacks": ["bad", "loss"]},
}
_WILD = {"label": "bad", "training": {"lr": 1e30}}
_RECIPES: dict[str, dict[str, object]] = {
    "a sparsifier of lr 1e30": {"sparsifiers": [{"name": "dense", **_WILD}, "dense"]},
    "a defense of lr 1e30": {"defenses": [{"name": "none", **_WILD}, "none"]},
}


def cases(seed: int) -> Iterator[Case]:
    """Every hook that fails, in one process and in two; and recipes that fail by themselves."""
    for one in failures():
        for processes in (1, 2):
            name = f"{one.kind} {one.hook} {one.how}, processes {processes}"
            yield Case(name, partial(_mended, one, processes))
            if one.kind == "sparsifier":
                yield Case(f"{name}, believed", partial(_mended, one, processes, believed=True))
    for name, changes in _RECIPES.items():
        yield Case(name, partial(_outcome, changes))


def _outcome(changes: dict[str, object], folder: Path) -> str:
    recipe = digits(folder, "recipe.yaml", **(_BASE | changes))
    return _partial(privaudit("run", recipe, "--output", "run", cwd=folder), folder)


def _mended(one: Failing, processes: int, folder: Path, believed: bool = False) -> str:
    (folder / "bad.py").write_text(source(one, broken=True))
    changes = _WITH[one.kind]
    if believed:
        entry = {"name": "loss", "label": "bad", "shadow_sparsifier": {"name": "bad"}}
        changes = {"attacks": [entry, "loss"]}
    recipe = digits(folder, "recipe.yaml", plugins=["bad.py"], **(_BASE | changes))
    command = ("run", recipe, "--output", "run", "--processes", str(processes))
    ran = privaudit(*command, cwd=folder)
    if problem := _partial(ran, folder):
        return problem
    whose = "believed bad" if believed and one.how == "diverges" else "bad.py"
    if whose not in ran.err:
        return f"the plugin's file is not named: {ran.err.strip().splitlines()[-1][:300]}"
    (folder / "bad.py").write_text(source(one, broken=False))
    mended = privaudit(*command, cwd=folder)
    if problem := complaint(mended, 0):
        return f"once it is mended: {problem}"
    record = json.loads((folder / "run" / "result.json").read_text())
    if record.get("failures"):
        return "a failure is left once it is mended"
    if not any("bad" in (a["attack"], a["sparsifier"], a["defense"]) for a in record["audits"]):
        return "no numbers of what was mended"
    return "" if _healthy(folder / "run") == _alone() else "other numbers once it is mended"


def _partial(ran: Ran, folder: Path) -> str:
    """What is wrong with a run of which "bad" failed, and nothing else."""
    if problem := complaint(ran, 1):
        return problem
    record = json.loads((folder / "run" / "result.json").read_text())
    told = record.get("failures") or []
    if not told or not all("bad" in f["subject"] + f["attack"] for f in told):
        return f"result.json tells of failures {told}"[:300]
    if not any("failed" in row for row in _rows(ran.out)):
        return "the table does not show the failure in its row"
    if "failed: " not in ran.err or "bad" not in ran.err:
        return "stderr does not tell the failure"
    if _healthy(folder / "run") != _alone():
        return "other numbers of what has not failed"
    return _formats(folder, len(record["audits"]))


def _rows(shown: str) -> list[str]:
    """The table's rows, without the sentences below."""
    return [line for line in shown.splitlines() if line.startswith(("bad ", "dense "))]


def _formats(folder: Path, audits: int) -> str:
    """What is wrong with a report of a run with failures, in any format."""
    for kind in ("table", "json", "csv", "markdown", "latex"):
        ran = privaudit("report", "run", "--format", kind, cwd=folder)
        if problem := complaint(ran, 0):
            return f"report as {kind}: {problem}"
        if "bad" not in ran.out or "fail" not in ran.out:
            return f"a report as {kind} does not show the failure"
        shown = audits
        if kind == "json":
            rows = json.loads(ran.out, parse_constant=_refuse)["rows"]
            shown = sum(attack["audits"] for row in rows for attack in row["attacks"].values())
        elif kind == "csv":
            lines = [row for row in csv.DictReader(io.StringIO(ran.out)) if not row["failure"]]
            shown = sum(int(row["networks"]) for row in lines)
        if shown < audits:
            return f"a report as {kind} shows {shown} of {audits} audits"
    return ""


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


@cache
def _alone() -> str:
    """The numbers of a run without what fails, in one process on a cache of its own."""
    with TemporaryDirectory(prefix="campaign-") as home:
        folder = Path(home)
        ran = privaudit(
            "run", digits(folder, "recipe.yaml", **_BASE), "--output", "run", cwd=folder
        )
        return complaint(ran, 0) or _healthy(folder / "run")


def _healthy(run: Path) -> str:
    """What a run says, with every example's score, about `loss` on the plain dense networks."""
    audits = json.loads((run / "result.json").read_text())["audits"]
    keys = ("seed", "target", "train_accuracy", "test_accuracy", "density", "metrics")
    numbers = []
    with np.load(run / "scores.npz") as arrays:
        for index, audit in enumerate(audits):
            plain = audit["subject"], audit["attack"] == "loss"
            if plain not in (("dense", True), ("dense + none", True)):
                continue
            scores = arrays[f"score_{index}"].tobytes().hex()
            first = next(i for i, a in enumerate(audits) if _network(a) == _network(audit))
            confidence = arrays[f"confidence_{first}"].tobytes().hex()
            numbers.append([*(audit[key] for key in keys), scores, confidence])
    return json.dumps(numbers) if numbers else "nothing"


def _network(audit: dict[str, object]) -> list[object]:
    return [audit[key] for key in ("subject", "level", "seed", "target")]
