"""Arrays that pass every check and yet cannot be what the caller means them to be."""

from __future__ import annotations

import numpy as np

from privaudit.doubts.agreement import agreement_doubts, query_doubts
from privaudit.doubts.doubt import Doubt
from privaudit.doubts.membership import membership_doubts
from privaudit.doubts.networks import (
    Networks,
    duplicate_doubts,
    label_doubts,
    named,
    unlike_doubts,
)
from privaudit.doubts.numbers import MEANINGS
from privaudit.doubts.own_labels import own_label_doubts
from privaudit.doubts.rows import duplicate_rows
from privaudit.doubts.shift import shift_doubts
from privaudit.outputs.arrays import Answers
from privaudit.statistics.metrics import roc_auc

_TIE = 0.05  # share of audited rows with one log-odds from which rounding may hide a leak


def doubts_about(answers: Answers) -> list[Doubt]:
    """What speaks against taking the arrays for what they are said to be."""
    networks = _networks(answers)
    doubts = _kinds(answers)
    doubts += _rounded(answers, networks)
    doubts += label_doubts(networks) + own_label_doubts(networks)
    doubts += agreement_doubts(networks)
    doubts += query_doubts(
        [answers.logits, *answers.shadow_logits], answers.labels, answers.audited.numpy()
    )
    doubts += unlike_doubts(networks)
    doubts += membership_doubts(networks)
    doubts += duplicate_doubts(networks)
    doubts += shift_doubts(networks)
    doubts += duplicate_rows(
        networks.logits,
        networks.odds,
        answers.x if answers.ids is None else answers.ids[:, None],
        networks.labels,
        answers.members.numpy(),
        answers.audited.numpy(),
    )
    return doubts + _shadow_counts(answers)


def _networks(answers: Answers) -> Networks:
    shadows = answers.shadow_members.numpy()
    asked = answers.audited.numpy()
    # The population may be of another origin; only what some network was trained on compares.
    used = asked | shadows.any(0)
    return Networks.of(
        [answers.logits[0], *answers.shadow_logits[:, 0]],
        answers.labels,
        np.concatenate([answers.members.numpy()[None], shadows]),
        np.concatenate([asked[None], np.broadcast_to(used, shadows.shape)]),
    )


def _kinds(answers: Answers) -> list[Doubt]:
    """Numbers that look like something else than what they are said to be."""
    return [
        Doubt("kind", named(k), f"the numbers {MEANINGS[seeming]}")
        for k, seeming in enumerate(answers.seeming)
        if seeming
    ]


def _rounded(answers: Answers, networks: Networks) -> list[Doubt]:
    """Numbers made so coarse that many examples come to the same."""
    doubts = []
    for k, words in enumerate(answers.coarse):
        if not words:
            continue
        odds = networks.odds[k][networks.known[k]]
        tie = float(np.unique(odds, return_counts=True)[1].max() / len(odds))
        tie = max(tie, _at_an_end(networks, k) if "cut off" in words else 0.0)
        if tie > _TIE:
            sentence = (
                f"the numbers {words}, and many examples come to one log-odds, which hides what "
                "tells them apart: give them in full, best as logits or log-probabilities"
            )
            doubts.append(Doubt("rounded", named(k), sentence, f"{100 * tie:.0f} % of examples"))
    return doubts


def _at_an_end(networks: Networks, k: int) -> float:
    """The share of examples whose true class has the lowest or the highest of all numbers."""
    rows = networks.known[k]
    numbers = networks.logits[k].numpy()
    own = numbers[np.arange(len(numbers)), networks.labels][rows]
    finite = numbers[np.isfinite(numbers)]
    return float(np.isin(own, (finite.min(), finite.max())).mean())


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
