"""`privaudit demo`: from nothing to a page, and what it says of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from privaudit.cli import main
from privaudit.report.verdict import sentences
from privaudit.store.result import load_run

RECIPE = """
name: small
dataset: digits
split: {members: 40, validation: 10, non_members: 50}
model: {name: mlp, hidden: [8]}
training: {epochs: 2}
sparsifiers: [dense]
attacks: [loss]
"""


def _demo(folder: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    (folder / "small.yaml").write_text(RECIPE)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("privaudit.cli.demo._RECIPE", "small.yaml")
    monkeypatch.setattr("privaudit.cli.demo.attach_logging", lambda console: None)
    command = ["privaudit", "demo", "--cache", "cache", "--device", "cpu", "--processes", "1"]
    monkeypatch.setattr(sys, "argv", [*command, *words])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code


def test_a_demo_ends_with_the_sentences_and_the_path_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _demo(tmp_path, monkeypatch)
    out = capsys.readouterr().out
    told = " ".join(sentences([load_run(tmp_path / "runs" / "demo")]))
    page = "runs/demo/report.html"
    assert " ".join(out.split()) == f"{told} The whole report, to open in a browser: {page}"
    assert out.splitlines()[-1].endswith(f" {page}")
    assert max(map(len, out.splitlines())) <= 80
    assert "<html" in (tmp_path / page).read_text()


def test_a_second_demo_trains_nothing_and_goes_where_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _demo(tmp_path, monkeypatch, "--output", "here")
    first = capsys.readouterr().out
    _demo(tmp_path, monkeypatch, "--output", "here")
    second = capsys.readouterr()
    assert second.out == first
    assert "epochs" not in second.err
    assert [path.name for path in (tmp_path / "here").glob("*.html")] == ["report.html"]
    assert not (tmp_path / "runs").exists()
