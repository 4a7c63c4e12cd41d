from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from plotted_runs import HOSTILE, plotted_run
from privaudit.figures.figure import Figure
from privaudit.figures.kinds import KINDS, figure
from privaudit.figures.pgfplots import pgfplots
from privaudit.store.result import RunResult

DRAWN = list(KINDS)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return plotted_run(tmp_path_factory.mktemp("run"), epochs=4)


@pytest.fixture(scope="module")
def figures(run: RunResult, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Figure]]:
    strange = plotted_run(
        tmp_path_factory.mktemp("strange"), subject=HOSTILE, attack=HOSTILE, epochs=4
    )
    levels = {"curves": HOSTILE}  # elsewhere the attack's name is in every figure
    return {
        kind: [*figure([run], kind), *figure([strange], kind, level=levels.get(kind))]
        for kind in DRAWN
    }


def test_points_are_the_figures_values_in_the_axis_unit(run: RunResult) -> None:
    (drawn,) = figure([run], "tradeoff")
    text = pgfplots(drawn)
    dense = next(series for series in drawn.series if series.label == "dense")
    assert dense.low is not None
    assert dense.high is not None
    match = re.search(r"\((\S+),(\S+)\) \+= \(\S+,(\S+)\) -= \(\S+,(\S+)\) % dense\n", text)
    assert match
    x, y, up, down = map(float, match.groups())
    assert (x, y) == pytest.approx((100 * dense.x[0], 100 * dense.y[0]))
    assert up == pytest.approx(100 * (dense.high[0] - dense.y[0]), rel=1e-3)
    assert down == pytest.approx(100 * (dense.y[0] - dense.low[0]), rel=1e-3)


@pytest.mark.parametrize("kind", DRAWN)
def test_braces_close_and_every_word_is_escaped(
    figures: dict[str, list[Figure]], kind: str
) -> None:
    for drawn in figures[kind]:
        text = pgfplots(drawn)
        assert text.isprintable() or set(filter(lambda c: not c.isprintable(), text)) == {"\n"}
        assert "\\input" not in text.replace("\\usepackage[utf8]{inputenc}", "")
        code = re.sub(r"\\.", "", re.sub(r"(?m)(?<!\\)%.*$", "", text))
        assert code.count("{") == code.count("}")
        assert "$" not in code
        assert text.count(r"\begin{tikzpicture}") == text.count(r"\end{axis}") == 1


@pytest.mark.parametrize("kind", DRAWN)
def test_latex_takes_it(figures: dict[str, list[Figure]], kind: str, tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    found = subprocess.run(["kpsewhich", "pgfplots.sty"], capture_output=True, check=False)
    if found.returncode:
        pytest.skip("LaTeX is installed without pgfplots")
    pictures = "\n\n".join(map(pgfplots, figures[kind]))
    (tmp_path / "paper.tex").write_text(
        "\\documentclass[twocolumn]{article}\n\\usepackage[utf8]{inputenc}\n"
        "\\usepackage[T1]{fontenc}\n\\usepackage{pgfplots}\n\\pgfplotsset{compat=1.16}\n"
        f"\\begin{{document}}\n{pictures}\n\\end{{document}}\n"
    )
    done = subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "-no-shell-escape", "paper"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    assert (tmp_path / "paper.pdf").read_bytes().startswith(b"%PDF")
