"""Whether a stranger's module survives its import, tried where nothing of ours can be lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint

_SECONDS = 120.0  # for all modules of one look
_CHILD = """
import importlib, json, sys
for name in json.loads(sys.argv[1]):
    print(json.dumps(name), flush=True)
    try:
        importlib.import_module(name)
    except (Exception, SystemExit):
        pass  # told where it is imported in earnest
print("null", flush=True)
"""


def deadly(entry_points: list[EntryPoint]) -> dict[str, str]:
    """The modules of entry points whose import ends a process, or does not end, and how."""
    names = list(dict.fromkeys(entry_point.module for entry_point in entry_points))
    return dict(_deadly(names)) if names else {}


def _deadly(names: list[str]) -> Iterator[tuple[str, str]]:
    while names:
        last, how = _tried(names)
        if last is None:
            return
        yield last, how
        names = names[names.index(last) + 1 :]


def _tried(names: list[str]) -> tuple[str | None, str]:
    """The first module that does not let others be imported; None where all do."""
    paths = os.pathsep.join(filter(None, sys.path))
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, json.dumps(names)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": paths},
        text=True,
        errors="replace",
    )
    try:
        printed, _ = child.communicate(timeout=_SECONDS)
        how = f"ends the process that imports it (exit code {child.returncode})"
    except subprocess.TimeoutExpired:
        child.kill()
        printed, _ = child.communicate()
        how = f"is still being imported after {_SECONDS:.0f} s"
    known = {json.dumps(name): name for name in names} | {"null": None}
    said = [known[line] for line in printed.splitlines() if line in known]
    return (said[-1] if said else names[0]), how
