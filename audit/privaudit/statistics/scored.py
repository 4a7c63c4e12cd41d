"""The metrics of an attack on the rows that it scores, and word of those that it does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from privaudit.errors import ShortageError
from privaudit.statistics.metrics import evaluate

if TYPE_CHECKING:
    from torch import Tensor

    from privaudit.values import AttackScores

LEAST_SCORED = 0.9
"""The share of the audited rows that an attack must score for its metrics to stand for all."""

_NAMED = 20  # rows that a record names


def evaluate_scored(
    scores: AttackScores,
    members: Tensor,
    audited: Tensor,
    *,
    confidence: float = 0.95,
    delta: float | None = None,
    coins: bool = False,
) -> dict[str, Any]:
    """Every metric of an attack, on the audited rows that it scores.

    Args:
        scores: of N examples.
        members: (N,) bool.
        audited: (N,) bool.
        confidence: of every interval.
        delta: as `evaluate` takes it.
        coins: as `evaluate` takes it; rows are left out by their shadows, never by their coin.

    Returns:
        As `evaluate`; and where rows are left out, or scored offline, `left_out` and
        `scored_offline`: their `count`, the number of audited rows `of` which they are, the first
        twenty `rows`, and what they `lack`.

    Raises:
        ShortageError: fewer than 90 % of the audited rows are scored.
        PrivauditError: as `evaluate`.
    """
    kept = audited if scores.left_out is None else audited & ~scores.left_out
    record = {
        "left_out": _rows(audited & ~kept, audited, scores.lacks),
        "scored_offline": _rows(
            None if scores.offline is None else kept & scores.offline, audited, ""
        ),
    }
    if int(kept.sum()) < LEAST_SCORED * int(audited.sum()):
        _refuse(record["left_out"])
    decision = None if scores.decision is None else scores.decision[kept].numpy()
    score = scores.score[kept].detach().double().numpy()
    metrics = evaluate(
        score, members[kept].numpy(), decision, confidence=confidence, delta=delta, coins=coins
    )
    return metrics | {key: rows for key, rows in record.items() if rows["count"]}


def row_sentences(label: str, record: Mapping[str, Any]) -> list[str]:
    """Which rows an attack left out or scored offline, from its metrics; mostly nothing.

    Args:
        label: of the attack.
        record: as `evaluate_scored` makes it.
    """
    sentences = []
    if left_out := record.get("left_out"):
        sentences.append(
            f"{label} leaves out {left_out['count']} of {left_out['of']} audited rows, as they "
            f"lack {left_out.get('lack', 'what it needs')}: {_named(left_out)}"
        )
    if offline := record.get("scored_offline"):
        sentences.append(
            f"{label} scores {offline['count']} of {offline['of']} audited rows with too few "
            f"shadows that were trained on them: {_named(offline)}"
        )
    return sentences


def _rows(which: Tensor | None, audited: Tensor, lack: str) -> dict[str, Any]:
    rows = [] if which is None else which.nonzero()[:, 0].tolist()
    named = {"count": len(rows), "of": int(audited.sum()), "rows": rows[:_NAMED]}
    return named | ({"lack": lack} if lack else {})


def _refuse(left_out: Mapping[str, Any]) -> None:
    count, total = left_out["count"], left_out["of"]
    raise ShortageError(
        f"only {total - count} of {total} audited rows can be scored, and {LEAST_SCORED:.0%} must "
        f"be: {count} lack {left_out.get('lack', 'what it needs')} ({_named(left_out)})",
        "shadows" if "lack" in left_out else "untold",
    )


def _named(rows: Mapping[str, Any]) -> str:
    """The first rows by their numbers."""
    numbers = ", ".join(map(str, rows["rows"]))
    noun = "row" if rows["count"] == 1 else "rows"
    return f"{noun} {numbers}{', ...' if rows['count'] > len(rows['rows']) else ''}"
