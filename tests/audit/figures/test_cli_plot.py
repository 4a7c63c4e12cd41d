from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from plotted_runs import HOSTILE, plotted_run
from privaudit.cli import main


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    plotted_run(folder)
    return folder


def _plot(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["privaudit", "plot", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code


def test_an_svg_is_written_here_and_named(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _plot(monkeypatch, run, "--kind", "tradeoff") == 0
    out, err = capsys.readouterr()
    assert out.startswith("plotted-tradeoff.svg: Test accuracy and defense of loss\n")
    assert "Error bars of defense" in out
    assert not err
    ElementTree.parse(tmp_path / "plotted-tradeoff.svg")


def test_several_figures_are_numbered(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _plot(monkeypatch, run, "--kind=density", "--output", tmp_path / "d.tex") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d-1.tex", "d-2.tex"]
    assert (tmp_path / "d-1.tex").read_text().rstrip().endswith(r"\end{tikzpicture}")


def test_a_hostile_name_makes_a_harmless_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plotted_run(tmp_path / "run", name=f"../../{HOSTILE}", attack="\x1b[31m")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert _plot(monkeypatch, tmp_path / "run", "--kind", "roc") == 0
    (written,) = here.iterdir()
    assert written.suffix == ".svg"
    assert "\x1b" not in written.read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"run", "here"}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--kind=roc", "--output=a.gif"], 2, "must end in one of .svg, .tex, .pdf, .png"),
        (["--kind=roc", "--attack=lira"], 2, "unknown attack 'lira'"),
        (["--kind=curves"], 1, "has not kept its epochs"),
        (["--kind=scores", "--output=missing/a.svg"], 1, "cannot write"),
    ],
)
def test_what_cannot_be_drawn_is_one_line_and_writes_nothing(
    run: Path,
    words: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _plot(monkeypatch, run, *words) == code
    out, err = capsys.readouterr()
    assert message in err
    assert err.count("\n") == 1
    assert not out
    assert not list(tmp_path.iterdir())
