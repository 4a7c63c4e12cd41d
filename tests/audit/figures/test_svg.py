from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest

from plotted_runs import HOSTILE, plotted_run
from privaudit.figures.figure import Axis, Figure, Series, Zone
from privaudit.figures.kinds import KINDS, figure
from privaudit.figures.layout import SAMPLE, SIZE, Layout, laid_out
from privaudit.figures.palette import PALETTE
from privaudit.figures.svg import svg

NAMESPACE = "{http://www.w3.org/2000/svg}"
DRAWN = list(KINDS)
WIDTHS = [(320, 240), (320, 400), (640, 400)]


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Figure]]:
    run = plotted_run(tmp_path_factory.mktemp("plain"), epochs=4)
    strange = plotted_run(
        tmp_path_factory.mktemp("strange"), subject=HOSTILE, attack=HOSTILE, name=HOSTILE, epochs=4
    )
    levels = {"curves": HOSTILE}  # elsewhere the attack's name is in every figure
    return {
        kind: [*figure([run], kind), *figure([strange], kind, level=levels.get(kind))]
        for kind in DRAWN
    }


@pytest.mark.parametrize("kind", DRAWN)
def test_it_is_one_element_of_text_and_shapes_alone(
    figures: dict[str, list[Figure]], kind: str
) -> None:
    for drawn in figures[kind]:
        text = svg(drawn, caption=True)
        root = ElementTree.fromstring(text)
        assert root.tag == f"{NAMESPACE}svg"
        assert root.get("role") == "img"
        tags = {element.tag.removeprefix(NAMESPACE) for element in root.iter()}
        assert tags <= {
            *("svg", "title", "desc", "style", "defs", "clipPath", "rect", "pattern"),
            *("path", "g", "text"),
        }
        for element in root.iter():
            for name, value in element.attrib.items():
                assert not name.lower().startswith("on")
                assert "href" not in name
                assert "://" not in value
        assert set(re.findall(r"url\((.)", text)) <= {"#"}
        style = root.findtext(f"{NAMESPACE}style") or ""
        assert "@import" not in style
        assert "url" not in style


@pytest.mark.parametrize("kind", DRAWN)
def test_hostile_labels_stay_text(figures: dict[str, list[Figure]], kind: str) -> None:
    text = svg(figures[kind][-1], caption=True)
    assert "<script" not in text
    root = ElementTree.fromstring(text)
    said = " ".join(filter(None, (element.text for element in root.iter())))
    assert "<script>alert(1)</script> & \\input{x}" in said


def test_title_and_description_are_those_of_this_figure(figures: dict[str, list[Figure]]) -> None:
    identities = set()
    for drawn in [one for every in figures.values() for one in every]:
        root = ElementTree.fromstring(svg(drawn))
        title, description = root[0], root[1]
        assert title.text == drawn.title
        assert (description.text or "").startswith(drawn.alternative)
        for note in drawn.notes:
            assert note in (description.text or "")
        assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
        identities |= {element.get("id") for element in root.iter() if element.get("id")}
    assert len(identities) == 4 * sum(map(len, figures.values()))  # inlined together none is twice


@pytest.mark.parametrize("size", WIDTHS)
@pytest.mark.parametrize("caption", [False, True])
@pytest.mark.parametrize("kind", DRAWN)
def test_no_words_meet_others_the_plot_or_the_edge(
    figures: dict[str, list[Figure]], kind: str, size: tuple[int, int], caption: bool
) -> None:
    for drawn in figures[kind]:
        _check(laid_out(drawn, *size, caption=caption))


def test_forty_long_names_fit_a_column() -> None:
    series = [
        Series(f"a subject of a very long name, number {n}" * (n % 3 + 1), "points", (n,), (n,))
        for n in range(40)
    ]
    crowded = Figure(
        "tradeoff", "t" * 200, "", Axis("x" * 90), Axis("the vertical " * 12), tuple(series)
    )
    layout = laid_out(crowded, 320, 240, caption=True)
    _check(layout)
    assert layout.bottom - layout.top >= 100


@pytest.mark.parametrize("values", [(), (0.0,), (3.0, 3.0), (1e-12, 2e-12), (-1e9, 1e9)])
@pytest.mark.parametrize("scale", ["linear", "log"])
def test_any_values_have_an_axis(values: tuple[float, ...], scale: str) -> None:
    axis = Axis("x", "log" if scale == "log" else "linear")
    drawn = Figure("roc", "", "", axis, axis, (Series("a", "points", values, values),))
    layout = laid_out(drawn, 320, 240)
    _check(layout)
    assert len(layout.x_ticks) >= 1
    assert ElementTree.fromstring(svg(drawn)) is not None


def test_what_is_no_number_is_not_drawn() -> None:
    values = (1.0, float("nan"), float("inf"), 2.0)
    drawn = Figure(
        "roc",
        "",
        "",
        Axis("x"),
        Axis("y"),
        tuple(
            Series(mark, mark, values, values, low=values, high=values)
            for mark in ("line", "steps", "points", "band")
        ),
    )
    text = svg(drawn)
    assert not re.search(r"\b(nan|inf)\b", text)


def test_a_rate_of_none_lies_at_the_end_of_a_log_axis() -> None:
    axis = Axis("rate (%)", "log", 0.001, 1.0, percent=True)
    drawn = Figure("roc", "", "", axis, axis, (Series("a", "line", (0.01, 1.0), (0.0, 1.0)),))
    layout = laid_out(drawn, 640, 400)
    assert layout.place(0.01, 0.0) == pytest.approx(layout.place(0.01, 0.001))
    ticks = [layout.x.text(tick) for tick in layout.x_ticks]
    assert ticks == ["0.1", "1", "10", "100"]
    left, middle, right = (layout.place(rate, 1.0)[0] for rate in (0.001, 0.001**0.5, 1.0))
    assert middle == pytest.approx((left + right) / 2)


def test_a_mark_lies_where_its_value_is() -> None:
    series = Series("a", "points", (0.25,), (0.75,), low=(0.5,), high=(1.0,), names=("p",))
    axis = Axis("x", low=0.0, high=1.0)
    drawn = Figure("tradeoff", "", "", axis, axis, (series,), (Zone(0.0, 0.5, "why"),))
    layout = laid_out(drawn, 640, 400)
    wide, high = layout.right - layout.left, layout.bottom - layout.top
    text = svg(drawn)
    x = layout.left + 0.25 * wide
    bar = re.search(r'pa-error" d="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)"', text)
    assert bar
    expected = [x, layout.bottom - 0.5 * high, x, layout.top]
    assert [float(number) for number in bar.groups()] == pytest.approx(expected, abs=0.01)
    zone = re.search(r'pa-zone" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', text)
    assert zone
    assert float(zone[1]) == pytest.approx(layout.left, abs=0.01)
    assert float(zone[2]) == pytest.approx(wide / 2, abs=0.01)


def test_series_differ_by_shape_as_well_as_by_colour() -> None:
    def outline(colour: int) -> str:
        series = Series("", "points", (0.5,), (0.5,), colour=colour)
        drawn = Figure("tradeoff", "", "", Axis("x"), Axis("y"), (series,))
        found = re.search(r'pa-fill" d="([^"]*)"', svg(drawn))
        assert found
        return found[1]

    assert len({outline(colour) for colour in range(6)}) == 6


def test_colours_are_far_apart_for_the_colour_blind() -> None:
    # Viénot, Brettel & Mollon 1999, on linear RGB: protanopia and deuteranopia
    protan = ((0.11238, 0.88762, 0.0), (0.11238, 0.88762, 0.0), (0.00401, -0.00401, 1.0))
    deutan = ((0.29275, 0.70725, 0.0), (0.29275, 0.70725, 0.0), (-0.02234, 0.02234, 1.0))

    def linear(colour: str) -> list[float]:
        return [(int(colour[n : n + 2], 16) / 255) ** 2.2 for n in (1, 3, 5)]

    for matrix in (protan, deutan):
        seen = [
            [sum(a * b for a, b in zip(row, linear(c), strict=True)) for row in matrix]
            for c in PALETTE[:4]
        ]
        for one, other in combinations(seen, 2):
            gaps = [
                abs(max(a, 0) ** (1 / 2.2) - max(b, 0) ** (1 / 2.2))
                for a, b in zip(one, other, strict=True)
            ]
            assert max(gaps) > 0.12


def _check(layout: Layout) -> None:
    boxes = [(text.text, text.box) for text in layout.texts]
    boxes += [
        ("sample", (one.x, one.y - SIZE / 2, one.x + SAMPLE, one.y + SIZE / 2))
        for one in layout.samples
    ]
    for text, (left, top, right, bottom) in boxes:
        assert left >= -0.5, text
        assert top >= -0.5, text
        assert right <= layout.width + 0.5, text
        assert bottom <= layout.height + 0.5, text
    plot = ("plot", (layout.left, layout.top, layout.right, layout.bottom))
    for (one, a), (other, b) in combinations([*boxes, plot], 2):
        apart = a[2] <= b[0] + 0.1 or b[2] <= a[0] + 0.1 or a[3] <= b[1] + 0.1 or b[3] <= a[1] + 0.1
        assert apart, f"{one!r} {a} meets {other!r} {b}"


def test_the_estimate_of_widths_is_no_smaller_than_a_font(tmp_path: Path) -> None:
    font_module = pytest.importorskip("PIL.ImageFont")
    from privaudit.figures.words import width

    font = font_module.load_default(size=11)
    if not hasattr(font, "getlength"):
        pytest.skip("this Pillow has no scalable font")
    for text in ("test accuracy (%)", "dense matched to butterfly S=2 L=2", "WMWM", "illi", "0.01"):
        assert width(text, 11) >= font.getlength(text), text
