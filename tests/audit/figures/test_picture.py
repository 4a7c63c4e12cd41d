from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from plotted_runs import HOSTILE, plotted_run
from privaudit.errors import RecipeError
from privaudit.figures.kinds import KINDS, figure
from privaudit.figures.picture import picture

DRAWN = list(KINDS)


@pytest.mark.parametrize("kind", DRAWN)
def test_pdf_and_png_are_written(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: privaudit[plot]")
    run = plotted_run(tmp_path, subject=HOSTILE, attack="_hidden $x$", epochs=4)
    for drawn in figure([run], kind):
        assert picture(drawn, "pdf").startswith(b"%PDF")
        image = Image.open(BytesIO(picture(drawn, "png", inches=(3.3, 2.6))))
        assert image.width == 660
        assert image.height >= 520
        assert len(image.convert("RGB").getcolors(1 << 20) or []) > 20  # not an empty page


def test_the_same_figure_gives_the_same_file(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: privaudit[plot]")
    (drawn,) = figure([plotted_run(tmp_path)], "tradeoff")
    assert picture(drawn, "pdf") == picture(drawn, "pdf")


def test_without_matplotlib_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (drawn,) = figure([plotted_run(tmp_path)], "tradeoff")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(RecipeError, match=r"pip install 'privaudit\[plot\]'") as caught:
        picture(drawn, "png")
    assert "\n" not in str(caught.value)
