"""The pages in a real browser, where there is one: nothing to complain about, nothing asked for."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from docs.site.browser import FOUND, NAMES, Browser
from PIL import Image

from diff_runs import run as diff_run
from made_up_runs import RECIPE, made_up_run
from privaudit.diff import diff
from privaudit.diff.page import as_html
from privaudit.doubts.doubt import Doubt
from privaudit.gate import parse_gate
from privaudit.page import page
from privaudit.report.gates import judge_runs

pytestmark = pytest.mark.skipif(not FOUND, reason=f"none of {', '.join(NAMES)} is installed")
LONG = "a_label_of_one_word_that_is_much_longer_than_a_phone_is_wide_and_then_some"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    plugin = {"kind": "attack", "name": "lira", "deviations": [f"It is {LONG}."]}
    made = made_up_run(
        folder / "run",
        subjects=[("dense", ""), (LONG, "round 1")],
        attacks=["loss", f"{LONG}_too", *(f"attack {n}" for n in range(15))],
        seeds=1,
        recipe=RECIPE | {"dataset": {"name": LONG}},
        environment={"plugins": [plugin]},
        doubts=[Doubt("labels", "target", "The labels are wrong.")],
    )
    gates = judge_runs([parse_gate("auc<0.9")], [made])
    a, b = diff_run(folder / "a", rows=[(LONG, "")]), diff_run(folder / "b", rows=[(LONG, "")])
    texts = {"report": page([made], records=True, gates=gates), "diff": as_html(diff(a, b), [LONG])}
    files = {name: folder / f"{name}.html" for name in texts}
    for name, text in texts.items():
        files[name].write_text(text, "utf-8")
    return files


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["report", "diff"])
def test_a_browser_shows_it_without_a_word_and_within_its_width(
    browser: Browser, files: dict[str, Path], name: str, width: int, scheme: str
) -> None:
    browser.show(files[name], width, scheme)
    assert browser.overflow() == 0
    picture = np.asarray(Image.open(io.BytesIO(browser.picture())).convert("L"))
    assert (browser.messages, browser.requests) == ([], [])
    assert picture.shape[1] == width
    ground = np.median(picture)
    assert ground > 200 if scheme == "light" else ground < 60
    assert (abs(picture - ground) > 100).mean() > 0.005  # there is something on it


def test_nothing_lies_outside_the_page_and_words_are_no_smaller_than_can_be_read(
    browser: Browser, files: dict[str, Path]
) -> None:
    browser.show(files["report"], 390)
    outside = """[...document.querySelectorAll("main :is(h2, h3, p, li, .card, .box, svg)")].filter(
      one => one.getClientRects().length && one.getBoundingClientRect().right > 391).length"""
    assert browser.evaluate(outside) == 0
    words = """Math.min(...[...document.querySelectorAll("figure text")].map(
      one => [parseFloat(getComputedStyle(one).fontSize), one.getScreenCTM()]).map(
      ([size, turned]) => size * Math.hypot(turned.a, turned.b)))"""
    assert browser.evaluate(words) >= 8  # CSS pixels


def test_a_request_a_script_and_an_overflow_would_be_seen(
    browser: Browser, files: dict[str, Path], tmp_path: Path
) -> None:
    text = files["report"].read_text("utf-8")
    asking = tmp_path / "asking.html"
    image = '<img src="https://example.invalid/x.png" alt=""></body>'
    asking.write_text(text.replace("</body>", image), "utf-8")
    browser.show(asking, 1280)
    (complaint,) = browser.messages
    assert "Content Security Policy" in complaint
    assert "example.invalid" in complaint
    free = text.replace('http-equiv="Content-Security-Policy"', "").replace("</body>", image)
    asking.write_text(free, "utf-8")
    browser.show(asking, 1280)
    assert any("example.invalid" in address for address in browser.requests)
    wide = tmp_path / "wide.html"
    wide.write_text(text.replace("<main>", f'<main><p style="width:50rem">{LONG}</p>'), "utf-8")
    browser.show(wide, 390)
    assert browser.overflow() > 0


def test_print_shows_what_is_folded_on_light_ground(
    browser: Browser, files: dict[str, Path]
) -> None:
    browser.show(files["report"], 1280, "dark", "print")
    picture = np.asarray(Image.open(io.BytesIO(browser.picture())).convert("L"))
    assert np.median(picture) > 200
    assert browser.printed().startswith(b"%PDF")
