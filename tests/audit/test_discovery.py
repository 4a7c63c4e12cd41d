"""A plugin that is installed and not used costs nothing and can break nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

IMPORTS = {
    "ends the process": "import os; os._exit(0)",
    "is never done": "import time; time.sleep(10_000)",
    "is interrupted": "raise KeyboardInterrupt",
    "exits": "import sys; sys.exit(0)",
    "changes numbers": "import torch; torch.set_default_dtype(torch.float64)",
    "is no Python": "def",
}
GOOD = """
from typing import Literal
import privaudit

class Foreign(privaudit.Attack):
    name: Literal["foreign"] = "foreign"
    def score(self, signals):
        return privaudit.AttackScores(-signals.target.logits[0].logsumexp(-1))

@privaudit.hookimpl
def privaudit_provide():
    return [Foreign]
"""
RECIPE = """
name: tiny
dataset: digits
split: {members: 100, non_members: 100}
model: {name: mlp, hidden: [8]}
training: {epochs: 2, lr: 0.05, batch_size: 50}
sparsifiers: [dense]
attacks: [%s]
shadows: 2
"""


def install(folder: Path, module: str, source: str, name: str) -> None:
    (folder / f"{module}.py").write_text(source)
    about = folder / f"{module}-1.5.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.5\n")
    (about / "entry_points.txt").write_text(f"[privaudit]\n{name} = {module}\n")


def command(
    folder: Path, *arguments: str, attack: str = "loss"
) -> subprocess.CompletedProcess[str]:
    (folder / "tiny.yaml").write_text(RECIPE % attack)
    paths = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "privaudit", *arguments], cwd=folder, text=True, timeout=120,
        capture_output=True, env=os.environ | {"PYTHONPATH": paths}, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> object:
    folder = tmp_path_factory.mktemp("alone")
    done = command(folder, "run", "tiny.yaml", "--output", "run", "--cache", "cache")
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "run" / "result.json").read_text())["audits"]


def test_what_is_not_named_is_not_imported(tmp_path: Path, alone: object) -> None:
    for number, source in enumerate(IMPORTS.values()):
        install(tmp_path, f"foreign{number}", source, f"unused{number}")
    done = command(tmp_path, "run", "tiny.yaml", "--output", "run", "--cache", "cache")
    assert done.returncode == 0, done.stderr
    audits = json.loads((tmp_path / "run" / "result.json").read_text())["audits"]
    for audit in audits + alone:
        audit.pop("seconds")
    assert audits == alone
    done = command(tmp_path, "validate", "digits")
    assert done.returncode == 0, done.stderr


def test_what_a_list_cannot_load_is_named_and_the_others_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = [kind for kind in IMPORTS if kind != "is never done"]
    for number, kind in enumerate(kinds):
        install(tmp_path, f"foreign{number}", IMPORTS[kind], f"unused{number}")
    install(tmp_path, "foreign_good", GOOD, "foreign")
    done = command(tmp_path, "plugins", "--json", "--load")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert "foreign" in {plugin["name"] for plugin in record["plugins"]}
    text = "\n".join(record["problems"])
    assert "'unused0' of foreign0 1.5 cannot be loaded: foreign0 ends the process" in text
    assert "exit code 0" in text
    assert "foreign1 ends the process" in text
    assert "SystemExit" in text
    assert "SyntaxError" in text


def test_a_plugin_whose_entry_point_has_another_name_is_found(tmp_path: Path) -> None:
    install(tmp_path, "foreign_good", GOOD, "something_else")
    done = command(tmp_path, "validate", "tiny.yaml", attack="foreign")
    assert done.returncode == 0, done.stderr
