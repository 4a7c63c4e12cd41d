"""The verdict in words, and what speaks against believing it yet."""

from __future__ import annotations

from privaudit.page.blocks import Block, Points, Sentences
from privaudit.page.findings import Findings
from privaudit.page.words import sentence
from privaudit.report.doubtful import doubt_lines


def verdict(findings: Findings) -> list[Block]:
    """The sentences, then failures and doubts."""
    blocks: list[Block] = []
    doubts = doubt_lines(findings.results, sentence)
    if doubts:
        blocks.append(Points("Doubts and failures", tuple(("", line) for line in doubts)))
    else:
        blocks.append(Sentences(("No doubt was raised about these numbers, and nothing failed.",)))
    return blocks
