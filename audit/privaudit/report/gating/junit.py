"""Gates as JUnit XML, which continuous integration shows beside tests.

As Jenkins (xunit-plugin, `junit-10.xsd`), GitLab and the common actions of GitHub read it: a suite
for each gate, a case for each attack on each network or row. A broken gate is a failure; one that
cannot be told is an error, and so is one that nothing was held against, as no reader counts those
as passed. There is no time and no name of a machine in it: the same audits give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from privaudit.gate import Told
from privaudit.messages import plain
from privaudit.report.gates import GateFinding, GateRow
from privaudit.report.gating.asked import Accepted

_ELEMENTS: dict[Told, str] = {"broken": "failure", "cannot be told": "error"}
_NOTHING = GateRow("", "nothing", "", "", "cannot be told", "nothing was audited")


def as_junit(findings: Sequence[GateFinding], accepted: Sequence[Accepted] = ()) -> str:
    """The XML document, in ASCII.

    Args:
        findings: what holding gates against audits came to.
        accepted: doubts that were passed over; each is told in the cases of its run.
    """
    root = ET.Element("testsuites", name="privaudit")
    for finding in findings:
        _suite(root, finding, accepted)
    for count in ("tests", "failures", "errors"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in root)))
    ET.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, "unicode") + "\n"


def _suite(root: ET.Element, finding: GateFinding, accepted: Sequence[Accepted]) -> None:
    rows = finding.rows or (_NOTHING,)
    told = [row.told for row in rows]
    suite = ET.SubElement(
        root,
        "testsuite",
        name=plain(finding.opening.rstrip(":")),
        tests=str(len(rows)),
        failures=str(told.count("broken")),
        errors=str(told.count("cannot be told")),
        skipped="0",
    )
    for row in rows:
        _case(suite, finding, row, [one for one in accepted if one.run == row.run])


def _case(
    suite: ET.Element, finding: GateFinding, row: GateRow, accepted: Sequence[Accepted]
) -> None:
    where = row.where(several=finding.several)
    attack = row.attack or "every attack"
    case = ET.SubElement(
        suite,
        "testcase",
        classname=plain(where),
        name=plain(f"{finding.gate.title}: {attack}"),
        time="0",
    )
    if element := _ELEMENTS.get(row.told):
        says = plain(f"{finding.opening} {row.told.upper()} for {row.name(finding.several)}")
        problem = ET.SubElement(case, element, type=row.told, message=f"{says}: {plain(row.why)}")
        problem.text = f"{says}: {plain(row.why)}"
    if accepted:
        lines = [f"accepted ({one.source}): {one.doubt.line()}" for one in accepted]
        ET.SubElement(case, "system-out").text = "\n".join(map(plain, lines))
