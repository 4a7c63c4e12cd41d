"""Gates, one by one: every network beside every attack on it."""

from __future__ import annotations

from privaudit.page.blocks import Block, Points, Table
from privaudit.page.findings import Findings
from privaudit.page.words import level_name, name, sentence
from privaudit.report.gates import GateFinding, GateRow

_SIGNS = {"kept": "kept", "broken": "BROKEN", "cannot be told": "?"}


def gates(findings: Findings) -> list[Block]:
    """A table for each gate, and why some of it cannot be told."""
    blocks: list[Block] = []
    for finding in findings.gates:
        if not finding.rows:
            continue
        blocks.append(_table(finding, findings.several))
        reasons = dict.fromkeys(
            sentence(row.why) for row in finding.rows if row.told == "cannot be told"
        )
        if reasons:
            blocks.append(Points("Why ? cannot be told", tuple(("", why) for why in reasons)))
    return blocks


def _table(finding: GateFinding, several: bool) -> Table:
    attacks = list(dict.fromkeys(row.attack for row in finding.rows if row.attack))
    networks: dict[str, dict[str, GateRow]] = {}
    for row in finding.rows:
        label = level_name(row.run if several else "", row.subject, row.level)
        networks.setdefault(label, {})[row.attack] = row
    limit = "proven lower bound" if finding.gate.judged.bound else f"{finding.gate.side} limit"
    return Table(
        f"Gate {finding.gate.text}: the {limit} of the network that fares worst",
        ("network", *map(name, attacks)),
        tuple(
            (label, *(_cell(rows.get(attack) or rows.get("")) for attack in attacks))
            for label, rows in networks.items()
        ),
    )


def _cell(row: GateRow | None) -> str:
    """The answer, and the limit where there is one; nothing where the attack was not tried."""
    if row is None:
        return "–"
    number = "" if row.reached is None else f" {row.reached:.4g}"
    return f"{_SIGNS[row.told]}{number}"
