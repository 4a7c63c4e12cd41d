"""A diff as one page for a browser: no script, nothing loaded, light and dark."""

from __future__ import annotations

from collections.abc import Sequence

from privaudit.diff.columns import attack_columns, change_words, network_columns, shown
from privaudit.diff.sentences import legend, lone_lines, nothing_else
from privaudit.diff.text import SAME_RUN
from privaudit.diff.values import Diff
from privaudit.report.columns import TERMINAL, Column

_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ a }} and {{ b }}</title>
<style>
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --line: #d0d0d0; --soft: #595959; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --paper: #16181b; --line: #3c4046; --soft: #a8adb5; }
}
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: var(--ink);
  background: var(--paper); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; }
.number { text-align: right; white-space: nowrap; }
ul { color: var(--soft); padding-left: 1.2rem; }
</style>
</head>
<body>
<h1>Two runs against one another</h1>
<p>A: {{ a }}<br>B: {{ b }}</p>
{% if same %}<p>{{ same }}</p>{% endif %}
{% if changes %}
<h2>What differs</h2>
<div class="wide"><table>
<thead><tr><th scope="col">part</th><th scope="col">what</th><th scope="col">A</th>
<th scope="col">B</th></tr></thead>
<tbody>{% for change in changes %}
<tr>{% for word in change %}<td>{{ word }}</td>{% endfor %}</tr>{% endfor %}
</tbody></table></div>
{% endif %}
{% for title, heads, rows in tables %}
<h2>{{ title }}</h2>
<div class="wide"><table>
<thead><tr>{% for head, kind in heads %}<th scope="col" class="{{ kind }}">{{ head }}</th>
{% endfor %}</tr></thead>
<tbody>{% for row in rows %}
<tr>{% for cell, kind in row %}<td class="{{ kind }}">{{ cell }}</td>{% endfor %}</tr>{% endfor %}
</tbody></table></div>
{% endfor %}
{% if notes %}<ul>{% for note in notes %}
<li>{{ note }}</li>{% endfor %}
</ul>{% endif %}
</body>
</html>
"""


def as_html(found: Diff, notes: Sequence[str] = ()) -> str:
    """The page; labels are escaped by the template, whatever they hold."""
    from jinja2 import Environment, StrictUndefined

    escape = TERMINAL.escape
    tables = []
    if not found.same_run:
        sentences = [nothing_else(found), *found.untold, *legend(found), *lone_lines(found)]
        notes = [*filter(None, sentences), *notes]
        if found.networks:
            columns = network_columns(found.networks, TERMINAL)
            tables.append(("Accuracy of the networks", *_table(columns)))
        if found.rows and shown(found):
            tables.append(("Attacks: B minus A", *_table(attack_columns(found, TERMINAL))))
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(_TEMPLATE).render(
        a=escape(found.a),
        b=escape(found.b),
        same=SAME_RUN if found.same_run else "",
        changes=[change_words(change, TERMINAL) for change in found.changes],
        tables=tables,
        notes=[*map(escape, notes)],
    )


def _table(
    columns: Sequence[Column],
) -> tuple[list[tuple[str, str]], list[list[tuple[str, str]]]]:
    """Headings and rows, each cell with its kind."""
    kinds = ["name" if column.kind == "name" else "number" for column in columns]
    heads = [" ".join(column.heading) for column in columns]
    rows = [
        [(column.cells[number].strip(), kind) for column, kind in zip(columns, kinds, strict=True)]
        for number in range(len(columns[0].cells))
    ]
    return [*zip(heads, kinds, strict=True)], rows
