"""What attacks need of answers, and that they see no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from privaudit.answers import ORIGINAL, VERSIONS, DerivedTable, Kept, Outputs
from privaudit.api.boundary import broken, guest
from privaudit.api.plugin import Attack, overrides
from privaudit.reductions import REDUCTIONS, reduction


def needed_answers(attack: Attack) -> tuple[str, ...]:
    """What an attack needs of an answer.

    Raises:
        PluginError: it names something that there is not.
    """
    with guest(attack, "needed_answers"):
        names: object = attack.needed_answers()
    known = ", ".join(["'logits'", *map(repr, REDUCTIONS)])
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise broken(attack, "needed_answers", f"must give names among {known}: not {names!r:.60}")
    for name in names:
        if not isinstance(name, str) or (name != "logits" and reduction(name) is None):
            raise broken(attack, "needed_answers", f"names {name!r:.60}: there are {known}")
    return tuple(names)


def suffice(attack: Attack, outputs: Outputs, rows: Tensor) -> bool:
    """Whether an attack can do with answers (M, Q, N) that are reduced, about rows (n,) int64.

    Raises:
        PluginError: it fails.
    """
    if not overrides(attack, "answers_suffice"):
        return True
    with guest(attack, "answers_suffice"):
        answer: object = attack.answers_suffice(outputs, rows)
    if not isinstance(answer, bool):
        raise broken(attack, "answers_suffice", f"must give True or False: not {answer!r:.60}")
    return answer


def sees_logits(attack: Attack, outputs: Outputs) -> bool:
    """Whether an attack sees the logits of these outputs.

    Of an attack that may find its declaration too little (`answers_suffice`), they are not hidden
    where they are at hand.
    """
    wanted = "logits" in needed_answers(attack) or overrides(attack, "answers_suffice")
    return wanted and outputs.has_logits


def versions_seen(attack: Attack, outputs: Outputs) -> Mapping[str, Outputs]:
    """Those of the other versions of M models that an attack asks for."""
    if VERSIONS in attack.signals:
        return outputs.versions
    asked = {ORIGINAL} & attack.signals
    return {name: one for name, one in outputs.versions.items() if name in asked}


def seen_by(attack: Attack, outputs: Outputs, y: Tensor) -> Outputs:
    """What is kept of M models' answers, but no more than an attack has declared.

    So it works alike whatever its neighbours need.
    """
    versions = versions_seen(attack, outputs)
    outputs = outputs.changed(versions={n: seen_by(attack, v, y) for n, v in versions.items()})
    if sees_logits(attack, outputs):
        return outputs.changed(labels=y)
    names = needed_answers(attack)
    if outputs.has_logits:
        kept: dict[str, Kept] = {name: DerivedTable(name, outputs.logits, y) for name in names}
        return outputs.changed(logits=None, kept=kept)
    return outputs.changed(kept={n: outputs.kept[n] for n in names if n in outputs.kept})
