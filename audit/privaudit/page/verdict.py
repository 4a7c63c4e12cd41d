"""The verdict in words, and what speaks against believing it yet."""

from __future__ import annotations

from privaudit.page.blocks import Block, Points, Sentences
from privaudit.page.findings import Findings
from privaudit.page.words import sentence
from privaudit.report.doubtful import doubt_lines
from privaudit.report.verdict import sentences_of


def verdict(findings: Findings) -> list[Block]:
    """The sentences, the first as the answer; then failures and doubts."""
    answer, *others = map(sentence, sentences_of(findings.rows, findings.results))
    blocks: list[Block] = [Sentences((answer,), lead=True), Sentences(tuple(others))]
    doubts = doubt_lines(findings.results, sentence)
    if doubts:
        blocks.append(Points("Doubts and failures", tuple(("", line) for line in doubts)))
    return blocks
