"""Arrays that pass every check and yet cannot be what the caller means them to be."""

from __future__ import annotations

import logging

import torch

from privaudit.outputs.arrays import Answers
from privaudit.statistics.metrics import roc_auc

logger = logging.getLogger(__name__)


def voice_doubts(answers: Answers) -> None:
    """Warn of probabilities given as logits, and of shadows that give membership away."""
    plain = answers.logits[0]
    sums = plain.double().sum(1)
    if bool((plain >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-3):
        logger.warning(
            "logits look like probabilities (no row is negative, each sums to 1): attacks on "
            "confidence will be wrong; give what comes before the softmax, or the logarithm"
        )
    if len(answers.shadow_members) == 0:
        return
    count = answers.shadow_members[:, answers.audited].sum(0)
    telling = roc_auc(count.numpy(), answers.members[answers.audited].numpy(), confidence=0.9999)
    if not telling.low <= 0.5 <= telling.high:
        # Of shadows that hold each example exactly half of the time, target included, a member
        # has one less.
        logger.warning(
            "how many shadows were trained on an example tells by itself who is a member (AUC "
            "%.2f): results will be too strong; choose the shadows independently of the target, "
            "or in complementary pairs without the target's own complement",
            telling.value,
        )
