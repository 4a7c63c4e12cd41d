"""Pictures of a report's page, view by view, for report.md: `python -m docs.site.pictures RUN`.

RUN is a finished run of the recipe `digits`; a Chromium has to be installed. The pictures are of a
page in a light window, plots of a narrower one, in few colours, so that each stays small.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from docs.site.browser import FOUND, Browser
from PIL import Image

from privaudit.gate import parse_gate
from privaudit.page import page
from privaudit.report.gates import judge_runs
from privaudit.store.result import load_run

FOLDER = Path(__file__).parents[1] / "pictures"
GATES = ("auc<0.65", "tpr@0.01<0.2")
_WIDTH, _PLOT_WIDTH = 960, 680
_COLOURS = 128
_MARGIN = 8

VIEWS: Mapping[str, str] = {
    "verdict": "#verdict",
    "equal": "#equal",
    "untested": "#untested",
    "tradeoff": "#plots figure:nth-of-type(1)",
    "tradeoff-auc": "#plots figure:nth-of-type(2)",
    "roc": "#plots figure:nth-of-type(3)",
    "density-accuracy": "#plots figure:nth-of-type(4)",
    "density-leak": "#plots figure:nth-of-type(5)",
    "scores": "#plots figure:nth-of-type(6)",
    "curves": "#plots figure:nth-of-type(8)",
    "comparison": "#comparison",
    "gates": "#gates",
    "classes": "#classes",
    "cost": "#cost",
    "environment": "#environment",
}
"""The element of each view, by the end of its picture's name."""

_BOX = """(() => {{
  const box = document.querySelector({selector!r}).getBoundingClientRect();
  return [box.left + scrollX, box.top + scrollY, box.width, box.height];
}})()"""


def pictures(run: Path) -> dict[str, bytes]:
    """A PNG of each view, by the name of its file."""
    result = load_run(run)
    gates = judge_runs([parse_gate(text) for text in GATES], [result])
    made = {}
    with tempfile.TemporaryDirectory() as folder, Browser() as browser:
        file = Path(folder) / "report.html"
        file.write_text(page([result], gates=gates), "utf-8")
        for name, selector in VIEWS.items():
            browser.show(file, _PLOT_WIDTH if "figure" in selector else _WIDTH)
            left, top, width, height = browser.evaluate(_BOX.format(selector=selector))
            box = left - _MARGIN, top - _MARGIN, width + 2 * _MARGIN, height + 2 * _MARGIN
            made[f"report-{name}.png"] = _small(browser.picture(box))
    return made


def _small(png: bytes) -> bytes:
    shown = Image.open(io.BytesIO(png)).convert("RGB")
    small = io.BytesIO()
    few = shown.quantize(_COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(small, "PNG", optimize=True)  # a colour of few points is kept, too
    return small.getvalue()


def main() -> int:
    """Write them all; 2 where the command is wrong or no browser is installed."""
    if len(sys.argv) != 2 or not FOUND:
        sys.stderr.write(f"{__doc__ if FOUND else 'no Chromium is installed'}\n")
        return 2
    for name, png in pictures(Path(sys.argv[1])).items():
        (FOLDER / name).write_bytes(png)
    return 0


if __name__ == "__main__":
    sys.exit(main())
