"""`privaudit report --format html --output FILE`, and --output for the other formats."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from made_up_runs import made_up_run
from privaudit.cli import main
from read_pages import ReadPage


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "one"
    made_up_run(folder)
    return folder


def _report(*arguments: str | Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["privaudit", "report", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_the_page_is_written_and_its_place_is_said(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "page.html"
    asked = (run, "--format", "html", "--output", file, "--baseline", "imp", "--sort", "label")
    assert _report(*asked, monkeypatch=monkeypatch) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"report in {file}\n"
    read = ReadPage(file.read_text("utf-8"))
    assert "imp / round 1" in read.text
    assert "Examples by exposure" not in read.text
    assert os.listdir(tmp_path) == ["page.html"]  # noqa: PTH208


def test_records_are_shown_where_they_are_asked_for(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "page.html"
    asked = (run, "--format=html", f"--output={file}", "--records")
    assert _report(*asked, monkeypatch=monkeypatch) == 0
    assert "Examples by exposure" in file.read_text("utf-8")


@pytest.mark.parametrize("format", ["table", "markdown", "csv", "json", "latex"])
@pytest.mark.parametrize("explain", [False, True])
def test_every_format_is_written_as_it_would_be_printed(
    run: Path,
    tmp_path: Path,
    format: str,
    explain: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if explain and format not in ("table", "json"):
        pytest.skip("--explain is for tables and JSON")
    asked: list[str | Path] = [run, "--format", format, *(["--explain"] if explain else [])]
    monkeypatch.setenv("COLUMNS", "100")
    assert _report(*asked, monkeypatch=monkeypatch) == 0
    printed = capsys.readouterr().out
    file = tmp_path / "report"
    assert _report(*asked, "--output", file, monkeypatch=monkeypatch) == 0
    assert file.read_text("utf-8") == printed
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format=html"], "--format html needs --output FILE"),
        (["--format=html", "--output=x", "--metric=auc"], "--metric cannot be used with --format"),
        (["--format=html", "--output=x", "--cost", "--explain"], "--cost, --explain cannot be"),
        (["--format=csv", "--records"], "--records is for --format html, not csv"),
        (["--records"], "--records is for --format html, not table"),
        (["--format=html", "--output=x", "--baseline=dens"], "did you mean 'dense'?"),
    ],
)
def test_wrong_combinations_are_said_in_one_line(
    run: Path,
    tmp_path: Path,
    options: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _report(run, *options, monkeypatch=monkeypatch) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert said.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_leaves_the_old_one(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    nowhere, folder = tmp_path / "nowhere" / "page.html", tmp_path / "folder"
    folder.mkdir()
    for file in (nowhere, folder):
        assert _report(run, "--format=html", "--output", file, monkeypatch=monkeypatch) == 1
        assert f"{file}: " in capsys.readouterr().err
    old = tmp_path / "page.html"
    old.write_text("old")
    asked = (run, "--format=html", "--output", old, "--baseline=nobody")
    assert _report(*asked, monkeypatch=monkeypatch) == 2
    assert old.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "page.html"]
