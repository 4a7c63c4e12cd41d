"""What a shell offers after TAB, and that it need not wait for torch."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from privaudit.api.host import load_plugins
from privaudit.cli import complete
from privaudit.readers.shipped import shipped_recipes

WATCHED = """
import sys
sys.argv[0] = "privaudit"
from privaudit.cli import main
try:
    main()
finally:
    print("torch imported:", "torch" in sys.modules, file=sys.stderr)
"""


def offered(*words: str, folder: Path | None = None) -> list[str]:
    """What bash is offered after `privaudit WORD...`, the last of which is not yet complete."""
    asked = {
        "_PRIVAUDIT_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(("privaudit", *words)),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run(
        [sys.executable, "-c", WATCHED],
        capture_output=True,
        check=False,
        cwd=folder,
        env=os.environ | asked,
        text=True,
    )
    assert "torch imported: False" in done.stderr, done.stderr
    return done.stdout.split()


def _finished(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "result.json").write_text("{}")


def test_a_shell_is_offered_commands_recipes_plugins_and_runs(tmp_path: Path) -> None:
    _finished(tmp_path / "runs" / "digits-1")
    assert {"run", "report", "plugins"} <= {*offered("r"), *offered("p")}
    assert offered("run", "digi") == ["digits"]
    assert offered("validate", "digi") == ["digits"]
    assert offered("plugins", "show", "shadow") == ["shadow_mlp"]
    assert offered("plugins", "--kind", "s") == ["sparsifier"]
    assert offered("audit", "x.npz", "--attacks", "lira,rm") == ["lira,rmia"]
    assert offered("report", "", folder=tmp_path) == ["runs/digits-1"]
    for command in ("export", "plot"):
        assert offered(command, "runs/d", folder=tmp_path) == ["runs/digits-1"]


def test_recipes_are_shipped_ones_and_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    for name in ("own.yaml", "other.yml", "notes.txt", "mine/deep.yaml"):
        (tmp_path / name).write_text("")
    (tmp_path / "folder.yaml").mkdir()
    assert complete.recipes("o") == ["other.yml", "own.yaml"]
    assert complete.recipes("mine/") == ["mine/deep.yaml"]
    assert complete.recipes(f"{tmp_path}/ow") == [f"{tmp_path}/own.yaml"]
    assert {*complete.recipes("")} == {*shipped_recipes(), "other.yml", "own.yaml"}
    assert complete.recipes("nowhere/x") == complete.recipes("\0") == []


def test_runs_are_folders_with_a_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _finished(tmp_path / "runs" / "a")
    _finished(tmp_path / "here")
    (tmp_path / "runs" / "unfinished").mkdir()
    (tmp_path / "runs" / "result.json").write_text("{}")  # of no folder below
    assert complete.runs("") == ["here", "runs", "runs/a"]
    assert complete.runs("h") == ["here"]
    assert complete.runs("runs/") == ["runs/a"]


def test_names_that_a_terminal_would_obey_are_not_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _finished(tmp_path / "evil\x1b[31m")
    _finished(tmp_path / "fine")
    assert complete.runs("") == ["fine"]


def test_attacks_are_all_that_are_offered_after_each_comma_once() -> None:
    every = [one.name for one in load_plugins().listed() if one.kind == "attack"]
    assert {"lira_augmented", "nn_top3", "top1_confidence"} < {*every}  # of modules with several
    assert complete.attacks("") == sorted(every)
    assert complete.attacks("lo") == ["logistic_regression", "loss"]
    assert complete.attacks("loss,lo") == ["loss,logistic_regression"]
    assert complete.attacks("lira,rmia,") == [
        f"lira,rmia,{name}" for name in sorted(every) if name not in ("lira", "rmia")
    ]
    assert complete.attacks("dense") == complete.attacks("loss,dense") == []


def test_what_is_installed_and_does_not_tell_its_kind_may_be_an_attack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "untold.py").write_text("raise SystemExit('was run')")
    (tmp_path / "broken.py").write_text("class :")
    monkeypatch.syspath_prepend(tmp_path)
    points = [EntryPoint(name, name, "privaudit") for name in ("untold", "broken", "absent")]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **asked: points)
    assert complete.attacks("") == ["untold"]


def test_plugins_are_offered_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"digits", "imp", "loss", "none", "mlp"} <= {*complete.plugins("")}
    assert complete.plugins("logi") == ["logistic_regression"]
    assert complete.plugins("nothing like it") == []
