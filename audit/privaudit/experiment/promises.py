"""What a defense promises about the networks of a level, and what this engine did beside it."""

from __future__ import annotations

import logging
from dataclasses import replace

from privaudit.api.calls import promised
from privaudit.api.plugin import Defense, Promise, overrides
from privaudit.cohort import Cohort

logger = logging.getLogger(__name__)


def promise_of(defense: Defense, cohort: Cohort) -> Promise | None:
    """The differential privacy of every model's members; None where none is promised.

    It covers all trainings so far: a sequence of levels on the same data costs their sum. What a
    script does to weights alone is paid for with them. What it decides by looking at reference or
    validation examples, as which epoch is best, costs members nothing: no promise is about those.
    Where members were trained on without the defense, or a script has looked at them by itself,
    nothing is promised.
    """
    records = [record for record in cohort.records if record.epochs]
    defended = [record for record in records if record.defended]
    if not overrides(defense, "epsilon") or not defended:
        return None
    members = max(map(len, cohort.rows("member")))
    rate, steps = max(r.rate for r in defended), sum(r.defended for r in defended)
    promise = promised(defense, rate, steps, members)
    if promise is None:
        return None
    if len(defended) < len(records):
        logger.warning(
            "defense %r: no epsilon is reported, as %d of %d trainings on the same members went "
            "without it",
            defense.name,
            len(records) - len(defended),
            len(records),
        )
        return None
    if cohort.looks.members:
        logger.warning(
            "defense %r: no epsilon is reported, as networks were changed by looking at members "
            "beside training (%s), which no noise covers: have it look at reference examples",
            defense.name,
            ", ".join(sorted(cohort.looks.members)),
        )
        return None
    looks = sorted(cohort.looks.others)
    outside = [*promise.outside, *(f"what was decided by {look}" for look in looks)]
    if any(map(len, cohort.rows("validation"))):
        outside.append("the validation examples, which choose an epoch and are no members")
    return replace(promise, outside=tuple(outside), trainings=len(records))
