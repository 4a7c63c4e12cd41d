"""The first screen: what leaks, how sure that is, what was not tested, who is safest."""

from __future__ import annotations

from collections.abc import Mapping

from privaudit.gate import Told
from privaudit.page.blocks import Block, Card, Cards, Tone
from privaudit.page.findings import Findings
from privaudit.page.safest import surely_safest
from privaudit.page.untested import in_short
from privaudit.page.words import sentence
from privaudit.report.doubtful import doubt_lines
from privaudit.report.gates import GateFinding
from privaudit.report.verdict import leak, sentences_of
from privaudit.report.verdict.leak import Leaks
from privaudit.report.verdict.words import counted

_LEAKS: Mapping[Leaks, tuple[str, Tone]] = {
    "yes": ("it leaks", "bad"),
    "no": ("no leak was found", "plain"),
    "untold": ("cannot be told", "open"),
}
_GATES: Mapping[Told, tuple[str, Tone]] = {
    "broken": ("broken", "bad"),
    "cannot be told": ("cannot be told", "open"),
    "kept": ("kept", "plain"),
}


def verdict(findings: Findings) -> list[Block]:
    """The sentences of every report, as answers to what a newcomer asks."""
    first, *others, last = map(sentence, sentences_of(findings.rows, findings.results))
    answer, tone = _LEAKS[leak(findings.rows, findings.results)[0]]
    cards = [Card("What leaks?", (first,), answer, tone, "comparison", wide=True)]
    if others:
        cards.append(Card("What makes a difference?", tuple(others), more="plots"))
    cards += [_certainty(findings, last), _safest(findings), _untested(findings)]
    if findings.gates:
        cards.append(_gates(findings.gates))
    return [Cards(tuple(card for card in cards if card.lines))]


def _certainty(findings: Findings, last: str) -> Card:
    doubts = sum(len(result.doubts) for result in findings.results)
    failures = sum(len(result.failures) for result in findings.results)
    counts = [(doubts, "open doubt"), (failures, "failure")]
    answer = ", ".join(counted(number, noun) for number, noun in counts if number)
    told = doubt_lines(findings.results, sentence)
    return Card(
        "How sure is that?",
        (last, *told),
        answer or "no doubt is open",
        "open" if answer else "plain",
    )


def _safest(findings: Findings) -> Card:
    told = surely_safest(findings)
    sure = all(beyond for beyond, _ in told)
    return Card(
        "Which network is safest at equal accuracy?",
        tuple(said for _, said in told),
        "" if sure else "cannot be told beyond chance",
        "plain" if sure else "open",
        "equal",
    )


def _untested(findings: Findings) -> Card:
    return Card("What was not tested?", tuple(in_short(findings)), more="untested")


def _gates(every: tuple[GateFinding, ...]) -> Card:
    worst = next(told for told in _GATES if any(gate.told == told for gate in every))
    lines = tuple(sentence(line) for gate in every for line in gate.sentences())
    answer, tone = _GATES[worst]
    return Card("Do the gates hold?", lines, answer, tone, "gates")
