"""Part `right`: whether the device computes what the CPU does, and where the host waits for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import engine
from benchmarks.gpu.devices import chosen, described
from benchmarks.gpu.material import noise
from benchmarks.gpu.options import ROOT, Options, TimeUp, time_limit
from benchmarks.gpu.table import Table
from benchmarks.gpu.waits import waits_of_way

COLUMNS = ("what", "right", "difference", "seconds", "problem")
CLOSE = 1e-8
"""The largest difference of a logit, or of an AUC, that double precision may make."""

TESTS = ("tests/audit/test_cohort_*.py", "tests/audit/test_ways_pinned.py")
_QUICK_CASES = ("sparsifier dense", "sparsifier imp", "defense mixup", "way")
_QUICK_TEST = "test_cohort_training.py"
_QUICK_KEY = "plain_torch_loop and perceptron-sgd"


def right(options: Options) -> Table:
    """Compare with the CPU, run the cohorts' tests, and list the waits."""
    device = chosen(options.device)
    table = Table("right", COLUMNS, facts=described(device))
    _cases(options, table)
    _waits(device, options.quick, table)
    table.write(options.out)
    _tests(options, table)
    return table


def _cases(options: Options, table: Table) -> None:
    """Sparsifiers, defenses, ways and a recipe on the device, by the program that tests use."""
    command = [sys.executable, "-m", "on_device", *(_QUICK_CASES if options.quick else ())]
    child = subprocess.Popen(
        command, cwd=ROOT, env=_environment(options), stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    started, found = time.monotonic(), 0
    try:
        with time_limit(options.left):
            for line in child.stdout:
                found += line.startswith("{") and _case(json.loads(line), started, table)
                started = time.monotonic()
                table.write(options.out)
    except TimeUp:
        table.wrong.append("the comparisons with the CPU took longer than there was time")
    finally:
        child.kill()
    if not found:
        table.wrong.append("nothing was compared with the CPU")


def _case(line: dict[str, Any], started: float, table: Table) -> bool:
    """Add what a program says of one case."""
    name, apart, problem = line["case"], line.get("apart"), line.get("error", "")
    close = apart is not None and apart <= CLOSE
    table.rows.append(
        {
            "what": name,
            "right": close,
            "difference": apart,
            "seconds": time.monotonic() - started,
            "problem": problem,
        }
    )
    if not close:
        table.wrong.append(f"{name}: {problem or f'differs by {apart:.1e}'}")
    return True


def _environment(options: Options) -> dict[str, str]:
    """Of a child that is to use the device, and finds the tests' own programs."""
    paths = [str(ROOT), str(ROOT / "tests" / "support"), *sys.path]
    return os.environ | {
        "PRIVAUDIT_TEST_DEVICE": options.device,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }


def _waits(device: torch.device, quick: bool, table: Table) -> None:
    """Every line that makes the host wait, by way and number of models."""
    if device.type == "cpu":
        table.notes.append("waits: a CPU makes nobody wait")
        return
    steps, batch, stacks = (4, 8, (1, 2)) if quick else (20, 256, (1, 4))
    examples = noise(steps * batch)
    for way in engine.ways(examples):
        for models in stacks:
            name = f"waits of {way}, {models} at once"
            try:
                found = waits_of_way(way, examples, device, models, batch)
            except Exception as error:
                table.wrong.append(f"{name}: {type(error).__name__}: {error}")
                continue
            lines = [f"  {count:6} {line}" for line, count in found.most_common(30)]
            table.notes.append("\n".join([f"{name}, two epochs of {steps} steps:", *lines]))
            often = [line for line, count in found.items() if count >= 2 * steps]
            table.rows.append({"what": name, "right": not often, "problem": ", ".join(often)})
            table.wrong += [f"{name}: every step waits at {line}" for line in often]


def _tests(options: Options, table: Table) -> None:
    """The tests of cohorts, in a process of their own with the device as the default one."""
    paths = sorted(path for pattern in TESTS for path in ROOT.glob(pattern))
    if options.quick:
        paths = [path for path in paths if path.name == _QUICK_TEST]
    if not paths:
        table.wrong.append(f"the tests are not at {ROOT / 'tests'}")
        return
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "tests.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=", "-p", "no:cacheprovider"]
        command += ["--import-mode=importlib", "-p", "benchmarks.gpu.on_device"]
        command += [f"--junitxml={report}", *map(str, paths)]
        if options.quick:
            command += ["-k", _QUICK_KEY]
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=_environment(options), capture_output=True, text=True,
                timeout=max(1.0, options.left),
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            table.wrong.append("the tests of cohorts took longer than there was time")
            return
        suites = ElementTree.parse(report).getroot() if report.exists() else None
    suite = None if suites is None else suites.find("testsuite")
    if suite is None:
        table.wrong.append(f"the tests of cohorts could not be run: {done.stderr[-500:]}")
        return
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    ran = int(suite.get("tests", 0))
    table.rows.append(
        {
            "what": f"{ran} tests of cohorts",
            "right": failed == 0 and ran > 0,
            "seconds": float(suite.get("time", 0)),
            "problem": f"{failed} fail" if failed else "",
        }
    )
    if failed or not ran:
        table.wrong.append(f"{failed} of {ran} tests of cohorts fail")
        table.notes.append(done.stdout[-6000:])
