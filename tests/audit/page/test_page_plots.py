"""The numbers behind a plot, as its table has them."""

from __future__ import annotations

from privaudit.figures.figure import Axis, Figure, Series, Zone
from privaudit.page.plots import numbers, safe


def _figure(*series: Series, zones: tuple[Zone, ...] = ()) -> Figure:
    x, y = Axis("false positive rate", percent=True), Axis("loss")
    return Figure("roc", "A plot", "It rises.", x, y, series, zones, ("a note", "a doubt"))


def test_every_point_and_bar_has_its_row_with_its_limits() -> None:
    points = Series(
        "imp", "points", (0.5, 0.25), (1.0, 2.0), low=(0.5, 1.5), high=(1.5, 2.5),
        x_low=(0.4, 0.2), x_high=(0.6, 0.3), names=("round 1", "round 2"),
    )  # fmt: skip
    bars = Series("members", "bars", tuple(n / 40 for n in range(40)), (1.0,) * 40)
    table = numbers(_figure(points, bars))
    assert table.heads == ("series", "point", "false positive rate, %", "loss", "interval")
    assert table.rows[:2] == (
        ("imp", "round 1", "50.00 [40.00, 60.00]", "1", "[0.5, 1.5]"),
        ("imp", "round 2", "25.00 [20.00, 30.00]", "2", "[1.5, 2.5]"),
    )
    assert len(table.rows) == 42
    assert "at most" not in table.caption


def test_a_long_line_is_told_by_some_points_with_the_limits_of_its_band() -> None:
    x = tuple(n / 100 for n in range(101))
    low, high = tuple(v - 1 for v in x), tuple(v + 1 for v in x)
    band = Series("", "band", x, x, low=low, high=high, colour=3)
    thread = Series("", "line", x, x, colour=3, thin=True)
    table = numbers(_figure(band, thread, Series("loss", "line", x, x, colour=3)))
    assert {row[0] for row in table.rows} == {"loss"}
    assert len(table.rows) == 12
    assert table.rows[0][2:] == ("0.00", "0", "[-1, 1]")
    assert table.rows[-1][2:] == ("100.00", "1", "[0, 2]")
    assert "at most 12 points of each line" in table.caption


def test_what_cannot_be_told_has_a_row() -> None:
    table = numbers(_figure(zones=(Zone(0.001, 0.01, "too few non-members"),)))
    assert table.rows == (("too few non-members", "cannot be told", "0.10 to 1.00", "", ""),)


def test_what_the_page_says_elsewhere_is_not_said_below_each_plot() -> None:
    assert safe(_figure(), frozenset({"a doubt"})).notes == ("a note",)
