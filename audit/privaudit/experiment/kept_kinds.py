"""What a run keeps of its networks' answers: what attacks need, or logits where they are less."""

from __future__ import annotations

from collections.abc import Iterable

from privaudit.api.needs import needed_answers
from privaudit.api.plugin import Attack
from privaudit.cohort.kept import bytes_kept

_OWN = {"label_probability": 1, "predicted": 1}  # of which reports and doubts are made
_LOGIT = 4  # bytes


def kept_kinds(attacks: Iterable[Attack], classes: int) -> dict[str, int] | None:
    """Names of reductions, each with how many queries are kept; None: logits.

    Scores are the same either way, to the last bit.

    Raises:
        PluginError: an attack names something that there is not.
    """
    kinds: dict[str, int] = {}
    queries = 1
    for attack in attacks:
        names = needed_answers(attack)
        if "logits" in names:
            return None
        for name in names:
            kinds[name] = max(kinds.get(name, 0), attack.queries)
        queries = max(queries, attack.queries)
    if bytes_kept(kinds) >= _LOGIT * classes * queries:
        return None
    return {name: max(kinds.get(name, 0), _OWN.get(name, 0)) for name in kinds | _OWN}


def answer_bytes(attacks: Iterable[Attack], classes: int) -> int:
    """Bytes that are kept of one network's answers to one example, noisy copies included."""
    attacks = list(attacks)
    kinds = kept_kinds(attacks, classes)
    noise = max(attack.noise for attack in attacks)
    if kinds is not None:
        return bytes_kept(kinds) + _LOGIT * classes * noise
    return _LOGIT * classes * (max(attack.queries for attack in attacks) + noise)
