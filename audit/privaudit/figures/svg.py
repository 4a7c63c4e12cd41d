"""A figure as an SVG element: text is text, no script, nothing fetched, for light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from html import escape

from privaudit.figures.figure import Figure, Zone
from privaudit.figures.layout import GAP, SAMPLE, SIZE, Layout, Sample, laid_out
from privaudit.figures.palette import PALETTE
from privaudit.figures.svg_marks import Pen, drawn, number, sample
from privaudit.report.escape import plain

_STYLE = (
    ".pa-figure{font-family:system-ui,'Helvetica Neue',Arial,sans-serif}"
    ".pa-figure text{fill:currentColor;stroke:none}"
    ".pa-title{font-weight:600}.pa-note{opacity:.8}"
    ".pa-frame,.pa-tick{fill:none;stroke:currentColor;stroke-opacity:.55}"
    ".pa-grid{stroke:currentColor;stroke-opacity:.12}"
    ".pa-line{fill:none;stroke:currentColor;stroke-width:1.8;stroke-linejoin:round}"
    ".pa-thin{stroke-width:.9;stroke-opacity:.5}"
    ".pa-dashed{stroke-dasharray:5 3}"
    ".pa-error{stroke:currentColor;stroke-width:1.1;stroke-opacity:.6}"
    ".pa-fill{fill:currentColor;stroke:currentColor;stroke-width:1.2}"
    ".pa-hollow{fill:none;stroke:currentColor;stroke-width:1.4}"
    ".pa-band{fill:currentColor;fill-opacity:.16;stroke:none}"
    ".pa-bars{fill:currentColor;fill-opacity:.4;stroke:none}"
    ".pa-zone{fill:currentColor;fill-opacity:.07}"
    ".pa-hatch{stroke:currentColor;stroke-opacity:.35}"
) + "".join(f".pa-c{n}{{color:{colour}}}" for n, colour in enumerate(PALETTE))


def svg(figure: Figure, *, width: int = 640, height: int = 400, caption: bool = False) -> str:
    """A complete `<svg>` element, to be inlined or to be a file.

    Lines and words without a colour of their own take the page's `currentColor`.

    Args:
        figure: what to draw.
        width: in pixels; 320 is a column of 3.3 inches.
        height: in pixels, or more where legend and caption need it.
        caption: whether to write the title above and the notes below it, for a file that stands
            alone; both are in its description in any case.
    """
    layout = laid_out(figure, width, height, caption=caption)
    key = blake2b(repr((figure, width, height)).encode(), digest_size=5).hexdigest()
    described = " ".join([figure.alternative, *figure.notes])
    wide, high = number(layout.width), number(layout.height)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="pa-figure" role="img" '
        f'viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" font-size="{SIZE:g}" '
        f'aria-labelledby="pa-t-{key} pa-d-{key}">',
        f'<title id="pa-t-{key}">{words(figure.title)}</title>',
        f'<desc id="pa-d-{key}">{words(described)}</desc>',
        f"<style>{_STYLE}</style>",
        "<defs>",
        f'<clipPath id="pa-k-{key}">{_box(layout)}</clipPath>',
        f'<pattern id="pa-h-{key}" width="6" height="6" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><path class="pa-hatch" d="M0 0V6"/></pattern>',
        "</defs>",
        *_grid(layout),
        f'<g clip-path="url(#pa-k-{key})">',
        *(_zone(layout, zone, key) for zone in figure.zones),
        "</g>",
        *(part for series in figure.series for part in drawn(series, Pen(layout, key))),
        _box(layout, "pa-frame"),
        *(_sample(one, key) for one in layout.samples),
        *_texts(layout),
        "</svg>",
    ]
    return "\n".join(parts)


def words(text: str) -> str:
    """A stranger's words as the content of an element or attribute, and nothing else.

    >>> words("<script>"), words('"a" & b')
    ('&lt;script&gt;', '&quot;a&quot; &amp; b')
    """
    return escape(plain(text))


def _box(layout: Layout, kind: str = "") -> str:
    corner = f'x="{number(layout.left)}" y="{number(layout.top)}"'
    size = f'width="{number(layout.right - layout.left)}" '
    size += f'height="{number(layout.bottom - layout.top)}"'
    return f"<rect {f'class={chr(34)}{kind}{chr(34)} ' if kind else ''}{corner} {size}/>"


def _grid(layout: Layout) -> Sequence[str]:
    left, right, top, bottom = map(number, (layout.left, layout.right, layout.top, layout.bottom))
    across = [number(layout.place(layout.x.low, tick)[1]) for tick in layout.y_ticks]
    along = [number(layout.place(tick, layout.y.low)[0]) for tick in layout.x_ticks]
    return [
        *(f'<path class="pa-grid" d="M{left} {y}H{right}"/>' for y in across),
        *(f'<path class="pa-grid" d="M{x} {top}V{bottom}"/>' for x in along),
    ]


def _zone(layout: Layout, zone: Zone, key: str) -> str:
    left, top = layout.place(zone.low, layout.y.high)
    right, bottom = layout.place(zone.high, layout.y.low)
    size = (
        f'x="{number(left)}" y="{number(top)}" width="{number(max(right - left, 0))}" '
        f'height="{number(bottom - top)}"'
    )
    return (
        f'<g><title>{words(zone.label)}</title><rect class="pa-zone" {size}/>'
        f'<rect fill="url(#pa-h-{key})" {size}/></g>'
    )


def _sample(one: Sample, key: str) -> str:
    if not isinstance(one.of, Zone):
        return "".join(sample(one.of, one.x, one.y))
    size = (
        f'x="{number(one.x)}" y="{number(one.y - SIZE / 2)}" width="{SAMPLE:g}" height="{SIZE:g}"'
    )
    return f'<rect class="pa-zone" {size}/><rect fill="url(#pa-h-{key})" {size}/>'


def _texts(layout: Layout) -> Sequence[str]:
    ticks = [
        f'<path class="pa-tick" d="M{number(layout.place(tick, layout.y.low)[0])} '
        f'{number(layout.bottom)}v{GAP / 2:g}"/>'
        for tick in layout.x_ticks
    ]
    lines = []
    for text in layout.texts:
        x, y = number(text.x), number(text.y)
        turned = f' transform="rotate(-90 {x} {y})"' if text.upright else ""
        lines.append(
            f'<text class="pa-{text.kind}" x="{x}" y="{y}" text-anchor="{text.anchor}"{turned}>'
            f"{words(text.text)}</text>"
        )
    return [*ticks, *lines]
