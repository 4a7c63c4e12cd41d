"""The page in a real browser, where there is one: nothing to complain about, nothing asked for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from made_up_runs import made_up_run
from privaudit.page import page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next(filter(None, map(shutil.which, NAMES)), "")
SCHEMES = {"dark": 0, "light": 1}

pytestmark = pytest.mark.skipif(not BROWSER, reason=f"none of {', '.join(NAMES)} is installed")


def _shown(file: Path, width: int, scheme: str, screenshot: Path) -> list[str]:
    """What the browser's console says of a page, with a picture of it."""
    done = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--hide-scrollbars",
            f"--user-data-dir={screenshot.parent / 'profile'}",
            f"--window-size={width},1200",
            f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}",
            "--enable-logging=stderr",
            f"--screenshot={screenshot}",
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"HOME": str(screenshot.parent)},
        check=True,
    )
    return re.findall(r"CONSOLE[^\n]*", done.stderr)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    file = folder / "page.html"
    file.write_text(page([made_up_run(folder / "run")], records=True), "utf-8")
    return file


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_it_without_a_word(
    file: Path, tmp_path: Path, width: int, scheme: str
) -> None:
    screenshot = tmp_path / "page.png"
    assert _shown(file, width, scheme, screenshot) == []
    picture = np.asarray(Image.open(screenshot).convert("L"))
    assert picture.shape[1] == width
    ground = np.median(picture)
    assert ground > 200 if scheme == "light" else ground < 60
    assert (abs(picture - ground) > 100).mean() > 0.005  # there is something on it


def test_a_request_would_be_seen(file: Path, tmp_path: Path) -> None:
    asking = tmp_path / "asking.html"
    image = '<img src="https://example.invalid/x.png" alt=""></body>'
    asking.write_text(file.read_text("utf-8").replace("</body>", image), "utf-8")
    (complaint,) = _shown(asking, 1280, "light", tmp_path / "page.png")
    assert "Content Security Policy" in complaint
    assert "example.invalid" in complaint
