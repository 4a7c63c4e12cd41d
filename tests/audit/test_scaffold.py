import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from privaudit.api.host import load_plugins
from privaudit.cli import main
from privaudit.errors import PluginError
from privaudit.scaffold import KINDS, write_plugin


def new(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Exit code of `privaudit new`."""
    monkeypatch.setattr(sys, "argv", ["privaudit", "new", *words])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_new_distributions_of_all_kinds_install_and_pass_their_tests_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [tmp_path / kind for kind in KINDS]
    for kind, folder in zip(KINDS, folders, strict=True):
        write_plugin(kind, f"my_{kind}_2", folder)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    alone = ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(tmp_path / "site")]
    subprocess.run([*pip, *alone, *map(str, folders)], check=True)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "--import-mode=importlib", "-v", *map(str, folders)],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    assert "5 passed" in ran.stdout
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    loaded = load_plugins(
        entry_points=[
            entry_point
            for distribution in metadata.distributions(path=[str(tmp_path / "site")])
            for entry_point in distribution.entry_points
        ]
    )
    assert loaded.problems == ()
    assert {(each.kind, each.name, each.distribution) for each in loaded.provided} == {
        (kind, f"my_{kind}_2", f"privaudit-my-{kind}-2") for kind in KINDS
    }


def test_new_makes_a_folder_named_after_the_plugin_and_says_what_is_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert new(monkeypatch, "attack", "my_guess") == 0
    made = sorted(
        path.relative_to(tmp_path / "privaudit-my-guess").as_posix()
        for path in tmp_path.rglob("*")
        if path.is_file()
    )
    assert made == [
        "README.md",
        "pyproject.toml",
        "src/privaudit_my_guess/__init__.py",
        "src/privaudit_my_guess/py.typed",
        "tests/test_my_guess.py",
    ]
    out = capsys.readouterr().out
    assert "next: cd privaudit-my-guess && pip install -e '.[test]' && pytest" in out


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("atack", "guess", "no kind of plugin is called 'atack': did you mean 'attack'?"),
        ("zzz", "guess", "there are attack, sparsifier, defense, model, dataset"),
        ("attack", "Guess", "'Guess' cannot name a plugin"),
        ("attack", "my-guess", "cannot name a plugin"),
        ("attack", "2guess", "cannot name a plugin"),
        ("attack", "guess_", "cannot name a plugin"),
        ("attack", "../guess", "cannot name a plugin"),
        ("attack", "guess\n", "cannot name a plugin"),
        ("attack", "loss", "attack 'loss' is provided by privaudit"),
    ],
)
def test_a_bad_kind_or_name_is_one_line_and_exit_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    name: str,
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert new(monkeypatch, kind, name) == 2
    err = capsys.readouterr().err
    assert expected in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_never_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    assert new(monkeypatch, "attack", "guess", "--output", str(folder)) == 2
    assert "exists already" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_a_folder_below_a_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PluginError, match="cannot be written"):
        write_plugin("attack", "guess", tmp_path / "file" / "mine")
