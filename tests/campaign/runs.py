"""Damaged files of a finished run, and data that have changed since it was finished."""

from __future__ import annotations

import atexit
import json
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from tests.campaign._case import Case
from tests.campaign._changed import CHANGES, KINDS, Home
from tests.campaign._command import Ran, complaint, digits, privaudit
from tests.campaign._damage import DAMAGES, OF_FOLDERS, Damage

QUESTION = "Is a finished run believed only where its files and its data are still what they were?"

_LEVELS = {"dense": ("dense", None), "before": ("imp", "round 0"), "pruned": ("imp", "round 1")}
_STEMS = {"dense": "dense-seed", "before": "imp-round-0", "pruned": "imp-round-1"}
_FILES = ("recipe.yaml", "result.json", "scores.npz", "manifest.json", *_STEMS)


@cache
def _finished() -> Path:
    """A folder with a recipe, its finished run, another run, a cache, and what was exported."""
    home = Path(tempfile.mkdtemp(prefix="campaign-runs-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    digits(home)
    digits(home, "other.yaml", training={"epochs": 2, "lr": 0.02, "batch_size": 64})
    for recipe, folder in (("recipe.yaml", "run"), ("other.yaml", "other")):
        ran = privaudit("run", recipe, "--output", folder, "--processes", "1", cwd=home)
        assert not complaint(ran, 0), ran.err
    for which in _LEVELS:
        ran = _export(home, which, home / "exported" / which)
        assert not complaint(ran, 0), ran.err
    return home


def _export(home: Path, which: str, file: Path) -> Ran:
    subject, level = _LEVELS[which]
    file.parent.mkdir(exist_ok=True)
    chosen = ["--subject", subject, *(["--level", level] if level else [])]
    return privaudit("export", "run", *chosen, "--output", file, cwd=home, seconds=20)


@cache
def _report() -> str:
    return privaudit("report", "run", "--format", "json", cwd=_finished(), seconds=20).out


def _run(home: Path, cached: Path) -> Ran:
    arguments = ("run", "recipe.yaml", "--output", "run", "--processes", "1")
    return privaudit(*arguments, cwd=home, env={"PRIVAUDIT_CACHE": str(cached)}, seconds=60)


def numbers(run: Path) -> dict[str, Any]:
    """Everything that a run's folder holds and that must be the same when it is made again."""
    record = json.loads((run / "result.json").read_bytes())
    audits = [{k: v for k, v in audit.items() if k != "seconds"} for audit in record["audits"]]
    files = [run / "recipe.yaml", *sorted((run / "models").glob("*"))]
    with np.load(run / "scores.npz") as scores:
        arrays = {name: (scores[name].dtype.str, scores[name].tobytes()) for name in scores.files}
    return {
        "audits": audits,
        "scores": arrays,
        "files": {path.name: path.read_bytes() for path in files if path.suffix != ".damaged"},
    }


def _path(run: Path, name: str) -> Path:
    if name not in _STEMS:
        return run / name
    (path,) = (run / "models").glob(f"{_STEMS[name]}*.safetensors")
    return path


def _damaged(name: str, damage: Damage, seed: str, home: Path) -> str:
    """One file or folder of a run is damaged: nobody believes it, and `run` mends it."""
    base = _finished()
    shutil.copytree(base / "run", home / "run", symlinks=True)
    shutil.copy(base / "recipe.yaml", home)
    path = _path(home / "run", name) if name != "run" else home / "run"
    other = base / "other" if name == "run" else _path(base / "other", name)
    damage(path, other, random.Random(seed))
    if problem := _reading(home, base, name):
        return problem
    ran = _run(home, base / "cache")
    if name == "run" and path.exists() and (not path.is_dir() or "another recipe" in ran.err):
        return complaint(ran, 1) or _one_line(ran, "run")
    if name == "run" and path.is_symlink():
        return complaint(ran, 1) or _one_line(ran, "run")
    if problem := complaint(ran, 0):
        return f"run: {problem}"
    if name != "run" and path.name not in "".join(ran.err.split()):
        return f"run does not name {path.name}: {ran.err.strip()[:200]!r}"
    if numbers(home / "run") != numbers(base / "run"):
        return "run: other numbers than the undamaged run's"
    again = _run(home, home / "none")
    return complaint(again, 0) or ("not mended: " + again.err if "again" in again.err else "")


def _reading(home: Path, base: Path, name: str) -> str:
    """What is wrong with how `report` and `export` take a damaged run."""
    ran = privaudit("report", "run", "--format", "json", cwd=home, seconds=20)
    whole = name == "run"  # another whole run in its place is a run
    if problem := complaint(ran, 0, 1):
        return f"report: {problem}"
    if ran.code == 0 and ran.out != _report() and not whole:
        return "report: another table"
    if ran.code == 0 and name in ("result.json", "manifest.json"):
        return f"report believes a damaged {name}"
    if ran.code and (problem := _one_line(ran, "run")):
        return f"report: {problem}"
    for which in ("pruned",) if name not in _STEMS else (name,):
        file = home / "exported" / which
        ran = _export(home, which, file)
        if problem := complaint(ran, 0, 1):
            return f"export: {problem}"
        if ran.code and (problem := _one_line(ran, "run")):
            return f"export: {problem}"
        exported = base / "exported" / which
        if ran.code == 0 and not whole and file.read_bytes() != exported.read_bytes():
            return f"export: other weights of {which}"
        if ran.code == 0 and name == which:
            return "export believes a damaged model"
    return ""


def _one_line(ran: Ran, word: str) -> str:
    lines = ran.err.strip().splitlines()
    right = len(lines) == 1 and word in lines[0] and not ran.out
    return "" if right else f"not one line that names it: {ran.err.strip()[:200]!r}"


def _changed(kind: str, change: Callable[[Home], object], told: bool, home: Path) -> str:
    """The data of a finished run change: running again gives what a fresh run gives."""
    place = Home(home, kind)
    cached = home / "cache"
    if problem := complaint(_run(home, cached), 0):
        return f"the first run: {problem}"
    before = (home / "run" / "result.json").read_bytes()
    same = _run(home, cached)
    kept = (home / "run" / "result.json").read_bytes() == before
    if complaint(same, 0) or not kept or "again" in same.err:
        return f"unchanged data: {complaint(same, 0) or same.err.strip()[:200] or 'made again'}"
    change(place)
    again = _run(home, cached)
    if problem := complaint(again, 0):
        return f"run again: {problem}"
    if told != ("differ from those of the finished run" in " ".join(again.err.split())):
        return f"it is {'not ' if told else ''}said: {again.err.strip()[:200]!r}"
    fresh = privaudit(
        "run", "recipe.yaml", "--output", "fresh", "--processes", "1", cwd=home,
        env={"PRIVAUDIT_CACHE": str(home / "fresh-cache")},
    )  # fmt: skip
    if problem := complaint(fresh, 0):
        return f"the fresh run: {problem}"
    if numbers(home / "run") != numbers(home / "fresh"):
        return "other numbers than a fresh run's"
    return ""


def _stopped(after: float, home: Path) -> str:
    """A run is killed, and another goes into its folder: only the other's networks are exported."""
    base = _finished()
    shutil.copy(base / "other.yaml", home)
    shutil.copy(base / "recipe.yaml", home)
    first = ("run", "other.yaml", "--output", "run", "--processes", "1")
    killed = privaudit(*first, cwd=home, kill_after=after)
    if killed.code == 0:
        return complaint(_run(home, base / "cache"), 1)
    for which in _LEVELS:
        ran = _export(home, which, home / "exported" / which)
        if problem := complaint(ran, 1) or _one_line(ran, "run"):
            return f"export of the killed run: {problem}"
    if problem := complaint(_run(home, base / "cache"), 0):
        return problem
    if numbers(home / "run") != numbers(base / "run"):
        return "other numbers than the run alone"
    for which in _LEVELS:
        ran = _export(home, which, home / "exported" / which)
        same = (home / "exported" / which).read_bytes() == (base / "exported" / which).read_bytes()
        if complaint(ran, 0) or not same:
            return f"export of {which}: {complaint(ran, 0) or 'other weights'}"
    return ""


def cases(seed: int) -> Iterator[Case]:
    """Every damage to every artefact; every change of every kind of data; and kills."""
    for name in _FILES:
        for what, damage in DAMAGES.items():
            key = f"{seed} {name} {what}"
            yield Case(f"{name}: {what}", partial(_damaged, name, damage, key))
    for name in ("models", "run"):
        for what, damage in OF_FOLDERS.items():
            yield Case(f"{name}: {what}", partial(_damaged, name, damage, f"{seed}"))
    for kind in KINDS:
        for what, (change, told) in CHANGES[kind].items():
            yield Case(f"{kind}: {what}", partial(_changed, kind, change, told))
    draw = random.Random(seed)
    for number in range(8):
        yield Case(f"killed {number}", partial(_stopped, 0.1 + 0.2 * number + draw.random() / 10))
