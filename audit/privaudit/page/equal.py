"""What is left of a gain in privacy once accuracy is held equal."""

from __future__ import annotations

from privaudit.explain.disentangle import LevelView
from privaudit.explain.sentences import answers, cautions, points_text
from privaudit.page.blocks import Block, Folded, Points, Sentences, Table
from privaudit.page.findings import Findings
from privaudit.page.words import SENTENCES, level_name, name


def equal(findings: Findings) -> list[Block]:
    """Questions and answers about the strongest attack, with their numbers."""
    if not findings.explanation.attacks:
        return []
    strongest = findings.explanation.attacks[0]
    opening = (
        f"What follows is by the strongest attack, {name(strongest.attack)} (mean AUC "
        f"{strongest.auc:.3f}). "
        "A network that errs more has less to give away, so that only networks of equal accuracy "
        "compare."
    )
    levels = Table(
        f"Level by level, against {name(strongest.attack)}",
        (
            "network",
            "nonzero %",
            "test %",
            "defense %",
            "accuracy lost against the baseline %",
            "defense gained %",
            "gained / lost",
            "dense network of the same accuracy: test %",
            "defense minus its defense, points",
        ),
        tuple(_level(level, findings.several) for level in strongest.levels),
    )
    return [
        Sentences((opening,)),
        Points("Questions and answers", tuple(answers(strongest, SENTENCES))),
        Folded("The numbers, level by level", [levels]),
        Sentences(tuple(cautions(strongest, len(findings.results), SENTENCES))),
    ]


def _level(level: LevelView, several: bool) -> tuple[str, ...]:
    control = level.control
    return (
        level_name(level.run if several else "", level.subject, level.level),
        f"{100 * level.density:.2f}",
        _share(level.test_accuracy),
        _share(level.defense),
        _share(level.accuracy_loss),
        _share(level.defense_gain),
        _share(level.ratio, 1),
        _share(control.control_accuracy if control else None),
        points_text(control.difference) if control else "–",
    )


def _share(value: float | None, scale: int = 100) -> str:
    return "–" if value is None else f"{scale * value:z.1f}"
