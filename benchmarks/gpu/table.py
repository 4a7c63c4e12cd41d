"""Tables as text and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Cell = str | float | int | bool | None


@dataclass
class Table:
    """What a part has found.

    Attributes:
        part: its name, and that of its files.
        columns: headings, in order; a row may lack some.
        rows: a cell by heading.
        facts: what holds for all rows, by name: the device, versions, settings.
        notes: what else there is to say, a paragraph each.
        wrong: what is not as it must be, a line each.
        seconds: that the part took.
    """

    part: str
    columns: tuple[str, ...]
    rows: list[dict[str, Cell]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def text(self) -> str:
        """For people."""
        lines = [f"{self.part} ({self.seconds:.0f} s)"]
        lines += [*(f"  {name}: {value}" for name, value in self.facts.items()), ""]
        shown = [self.columns, *([_shown(r.get(c)) for c in self.columns] for r in self.rows)]
        widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
        for cells in shown:
            pairs = zip(cells, widths, strict=True)
            lines.append("  ".join(f"{cell:{width}}" for cell, width in pairs).rstrip())
        lines += [f"\n{note}" for note in self.notes]
        lines += [f"WRONG: {line}" for line in self.wrong]
        return "\n".join(lines) + "\n"

    def write(self, folder: Path) -> None:
        """Keep both forms; a file is whole, or as it was before."""
        folder.mkdir(parents=True, exist_ok=True)
        for ending, text in (("txt", self.text()), ("json", json.dumps(asdict(self), indent=1))):
            new = folder / f"{self.part}.{ending}.new"
            new.write_text(text)
            new.replace(folder / f"{self.part}.{ending}")


def kept_rows(folder: Path, part: str, facts: dict[str, Any]) -> list[dict[str, Cell]]:
    """The rows of an earlier table that was made under the same facts; none, if there is none."""
    try:
        kept = json.loads((folder / f"{part}.json").read_text())
    except (OSError, ValueError):
        return []
    if not isinstance(kept, dict) or kept.get("facts") != json.loads(json.dumps(facts)):
        return []
    rows: list[dict[str, Cell]] = kept["rows"]
    return rows


def _shown(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return f"{cell:.3g}" if abs(cell) < 100 else f"{cell:,.0f}"
    return str(cell)
