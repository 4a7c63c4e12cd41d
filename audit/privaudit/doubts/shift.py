"""Members and non-members of different origin, which networks tell apart that saw neither."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from privaudit.doubts.doubt import Doubt
from privaudit.doubts.membership import mann_whitney
from privaudit.doubts.networks import ERROR, Networks, ranks

_LITTLE = 0.03  # of an AUC: a shift that large hides or feigns no more leak than this


def shift_doubts(networks: Networks) -> list[Doubt]:
    """Members that are easier, or harder, than non-members to networks that saw neither.

    Membership that was drawn by lot has nothing to do with how hard an example is to a shadow that
    was not trained on it. Where non-members come from elsewhere, it has: an attack then tells the
    origin, and where they are the easier ones, they hide as much of a leak (Das et al. 2024, "Blind
    baselines beat membership inference attacks for foundation models").
    """
    if len(networks) < 2:
        return []
    unseen = networks.known[0] & ~networks.members[1:]
    place = ranks(networks.odds[1:])
    count = unseen.sum(0)
    score = np.full(place.shape[1], np.nan)
    np.divide((place * unseen).sum(0), count, out=score, where=count > 0)
    members = networks.members[0]
    z = float(mann_whitney(score, members[None])[0])
    some = ~np.isnan(score)
    inside, outside = (score[some & side] for side in (members, ~members))
    if abs(z) <= -ndtri(ERROR / 2) or not len(inside) or not len(outside):
        return []
    area = float((np.searchsorted(np.sort(outside), inside) / len(outside)).mean())
    if abs(area - 0.5) <= _LITTLE:
        return []
    words = (
        f"shadows that were not trained on them find members {'easier' if z > 0 else 'harder'} "
        "than non-members: they differ in more than membership, which "
        f"{'looks like a leak where none is' if z > 0 else 'hides a leak'}; draw both by lot from "
        "the same examples"
    )
    return [Doubt("shift", "members", words, f"AUC {area:.2f}")]
