"""Part `right`: whether the device computes what the CPU does, and where the host waits for it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import torch

from benchmarks.gpu import drive, engine
from benchmarks.gpu.devices import chosen, described
from benchmarks.gpu.material import noise
from benchmarks.gpu.options import ROOT, Options
from benchmarks.gpu.table import Table
from benchmarks.gpu.waits import waits_of_way

COLUMNS = ("what", "right", "difference", "seconds", "problem")
CLOSE = 1e-8
"""The largest share of the largest logit that double precision may lose in two epochs."""

TESTS = ("tests/audit/test_cohort_*.py", "tests/audit/test_ways_pinned.py")
_QUICK_PAIRS = ("sparsifier dense", "sparsifier imp", "defense mixup")
_QUICK_TEST = "test_cohort_training.py"
_QUICK_KEY = "plain_torch_loop and perceptron-sgd"
_STEPS = 20  # of an epoch in which waits are counted


def right(options: Options) -> Table:
    """Compare every sparsifier and defense, run the cohorts' tests, and list the waits."""
    device = chosen(options.device)
    table = Table("right", COLUMNS, facts=described(device))
    for pair in drive.pairs():
        if options.quick and pair.name not in _QUICK_PAIRS:
            continue
        _compare(pair, device, table)
        table.write(options.out)
    _waits(device, options.quick, table)
    table.write(options.out)
    _tests(options, table)
    return table


def _compare(pair: drive.Pair, device: torch.device, table: Table) -> None:
    try:
        found = drive.compared(pair, device)
    except Exception as error:  # the others are to be looked at all the same
        problem = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:150]}"
        table.rows.append({"what": pair.name, "right": False, "problem": problem})
        table.wrong.append(f"{pair.name}: {problem}")
        return
    close = found.difference <= CLOSE
    table.rows.append(
        {
            "what": pair.name,
            "right": close,
            "difference": found.difference,
            "seconds": found.seconds,
        }
    )
    if not close:
        table.wrong.append(f"{pair.name}: logits differ by {found.difference:.1e} of the largest")


def _waits(device: torch.device, quick: bool, table: Table) -> None:
    """Every line that makes the host wait, by way and number of models."""
    if device.type != "cuda":
        table.notes.append(f"waits: not counted on {device.type}; CUDA tells of them")
        return
    batch = 8 if quick else 256
    examples = noise(_STEPS * batch)
    for way in engine.ways(examples):
        for models in (1, 4):
            name = f"waits of {way}, {models} at once"
            try:
                found = waits_of_way(way, examples, device, models, batch)
            except Exception as error:
                table.wrong.append(f"{name}: {type(error).__name__}: {error}")
                continue
            lines = [f"  {count:6} {line}" for line, count in found.most_common(30)]
            table.notes.append("\n".join([f"{name}, two epochs of {_STEPS} steps:", *lines]))
            often = [line for line, count in found.items() if count >= 2 * _STEPS]
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
        environment = os.environ | {"PRIVAUDIT_TEST_DEVICE": options.device}
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True,
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
