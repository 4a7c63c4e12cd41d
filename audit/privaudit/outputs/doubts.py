"""Arrays that pass every check and yet cannot be what the caller means them to be."""

from __future__ import annotations

from privaudit.doubts.doubt import Doubt
from privaudit.outputs.arrays import Answers
from privaudit.statistics.metrics import roc_auc


def doubts_about(answers: Answers) -> list[Doubt]:
    """What speaks against taking the arrays for what they are said to be."""
    return _shadow_counts(answers)


def _shadow_counts(answers: Answers) -> list[Doubt]:
    """Shadows that give membership away."""
    if len(answers.shadow_members) == 0:
        return []
    count = answers.shadow_members[:, answers.audited].sum(0)
    telling = roc_auc(count.numpy(), answers.members[answers.audited].numpy(), confidence=0.9999)
    if telling.low <= 0.5 <= telling.high:
        return []
    # Of shadows that hold each example exactly half of the time, target included, a member has
    # one less.
    return [
        Doubt(
            "shadow_counts",
            "shadow_members",
            "how many shadows were trained on an example tells by itself who is a member (AUC "
            f"{telling.value:.2f}): results will be too strong; choose the shadows independently "
            "of the target, or in complementary pairs without the target's own complement",
        )
    ]
