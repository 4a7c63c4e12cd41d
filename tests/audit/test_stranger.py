"""A stranger's distribution, installed with pip, simply works in a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FIXTURE = Path(__file__).parents[1] / "fixtures" / "third_party"
RECIPE = """
name: stranger
dataset: digits
split: {members: 40, validation: 10, non_members: 50}
model: {name: mlp, hidden: [16]}
training: {epochs: 2}
sparsifiers:
  - dense
  - {name: random_pruning, keep: [0.5, 0.25]}
attacks: [margin]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = tmp_path_factory.mktemp("site")
    command = "pip install --quiet --no-deps --no-build-isolation --no-index --target"
    subprocess.run([sys.executable, "-m", *command.split(), site, FIXTURE], check=True)
    return site


def test_a_strangers_attack_and_sparsifier_run_and_are_named_in_the_result(
    site: Path, tmp_path: Path
) -> None:
    (tmp_path / "stranger.yaml").write_text(RECIPE)
    words = "run stranger.yaml --output out --cache cache --device cpu"
    done = subprocess.run(
        [sys.executable, "-m", "privaudit", *words.split()],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site), "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "keep 0.25" in done.stdout
    assert "margin" in done.stdout
    assert "\x1b" not in done.stdout
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    densities = [audit["density"] for audit in result["audits"]]
    weights, rest = 64 * 16 + 16 * 10, 16 + 10  # biases are not pruned
    assert densities == pytest.approx(
        [1, (weights / 2 + rest) / (weights + rest), (weights / 4 + rest) / (weights + rest)]
    )
    named = {plugin["name"]: plugin for plugin in result["environment"]["plugins"]}
    assert named["margin"]["distribution"] == "privaudit-stranger"
    assert named["random_pruning"]["version"] == "1.2.3"
    assert len(named["margin"]["source"]) == 64
