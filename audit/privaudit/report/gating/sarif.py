"""Gates that are not kept as SARIF 2.1.0, which code scanning shows as alerts.

SARIF has a kind for what a tool could not decide ("open", section 3.27.9), and then wants the level
to be "none". GitHub reads levels alone, and would hide it: so what cannot be told is an error here,
as it ends a release, and its message and properties say which of the two it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from privaudit.gate import Gate
from privaudit.messages import plain
from privaudit.report.gates import GateFinding
from privaudit.report.gating.asked import Accepted
from privaudit.statistics import table
from privaudit.version import __version__

_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_HELP = (
    "A gate is kept if the confidence limit that speaks against the network lies on the safe side "
    "of its number, for every attack, and no doubt about the audit is open. It is broken, or it "
    "cannot be told: the message says which, and what to do."
)


@dataclass(frozen=True)
class Source:
    """The file that an alert points to.

    Attributes:
        path: of a recipe, or of the outputs that were audited.
        lines: where in it gates stand, from 1; the first line if not known.
    """

    path: Path
    lines: Mapping[Gate, int] = field(default_factory=dict)


def as_sarif(
    findings: Sequence[GateFinding],
    sources: Mapping[str, Source],
    accepted: Sequence[Accepted] = (),
) -> str:
    """The JSON document: a result for each gate and run in which it is not kept.

    Args:
        findings: what holding gates against audits came to.
        sources: by the run's name; the first of them for a gate that no run was held against.
        accepted: doubts that were passed over.
    """
    metrics = list(dict.fromkeys(finding.gate.metric for finding in findings))
    results = [
        _result(part, source, metrics)
        for finding in findings
        for part, source in _parts(finding, sources)
        if part.failed
    ]
    driver = {
        "name": "privaudit",
        "semanticVersion": __version__,
        "rules": [_rule(metric) for metric in metrics],
    }
    run = {
        "tool": {"driver": driver},
        "automationDetails": {"id": "privaudit/"},
        "invocations": [{"executionSuccessful": True, "exitCode": 3 if results else 0}],
        "results": results,
        "properties": {
            "gates": [finding.record() for finding in findings],
            "acceptedDoubts": [
                {"run": one.run, "name": one.doubt.name, "source": one.source} for one in accepted
            ],
        },
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1) + "\n"


def _parts(finding: GateFinding, sources: Mapping[str, Source]) -> list[tuple[GateFinding, Source]]:
    """What was found in each run; what could not be read has no file of its own."""
    first = next(iter(sources.values()))
    if not finding.rows:
        return [(finding, first)]
    runs = dict.fromkeys(row.run for row in finding.rows)
    return [
        (
            replace(finding, rows=tuple(row for row in finding.rows if row.run == run)),
            sources.get(run, first),
        )
        for run in runs
    ]


def _result(finding: GateFinding, source: Source, metrics: Sequence[str]) -> dict[str, Any]:
    text = " ".join(f"{plain(line)}." for line in finding.sentences())
    where = _location(source.path)
    who = json.dumps([where, finding.gate.title, sorted({row.run for row in finding.rows})])
    return {
        "ruleId": _rule_id(finding.gate.metric),
        "ruleIndex": metrics.index(finding.gate.metric),
        "level": "error",
        "message": {"text": text},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": where,
                    "region": {"startLine": source.lines.get(finding.gate, 1)},
                }
            }
        ],
        "partialFingerprints": {"primaryLocationLineHash": sha256(who.encode()).hexdigest()},
        "properties": {"told": finding.told},
    }


def _location(path: Path) -> dict[str, str]:
    """Relative to where the command runs, as a repository's root; absolute where it is outside."""
    absolute, here = path.absolute(), Path.cwd()
    if absolute.is_relative_to(here):
        return {"uri": quote(absolute.relative_to(here).as_posix()), "uriBaseId": "%SRCROOT%"}
    return {"uri": absolute.as_uri()}


def _rule_id(metric: str) -> str:
    return f"gate/{metric}"


def _rule(metric: str) -> dict[str, Any]:
    legend = table.named([metric])[0].legend
    says = f"{legend[:1].upper()}{legend[1:]} {_HELP}" if legend else _HELP
    return {
        "id": _rule_id(metric),
        "name": f"Gate on {metric}",
        "shortDescription": {"text": f"The network may leak its members: gate on {metric}"},
        "fullDescription": {"text": _HELP},
        "help": {"text": says},
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": ["privacy", "membership-inference"]},
    }
