"""Labels of tables, as positions of the columns that their classes name."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from privaudit.errors import DataError
from privaudit.messages import plain, show
from privaudit.outputs.files.table import Array
from privaudit.outputs.labels import NO_LABEL

_WHOLE = re.compile(r"-?\d+")
_TRUTHS = {"true": True, "false": False}


def by_name(name: str, labels: Array, classes: Sequence[str]) -> Array:
    """Labels (N,) as positions in `classes`, where those are other numbers than 0 to C - 1.

    Of columns p_1, p_2, p_4 the label 2 is the second: its name, and no count from 0. Words, and
    numbers beside columns that are called by words, stay as they are.

    Args:
        name: of the file, for messages.
        labels: of all files together: what one file lacks must not decide how it is read.
        classes: in the order of the answers.

    Raises:
        DataError: a label is no class, and classes are numbers.
    """
    if labels.ndim != 1 or labels.dtype == object or not classes:
        return labels
    if labels.dtype == bool:
        places = {_TRUTHS.get(one.lower()): place for place, one in enumerate(classes)}
        if set(places) != {True, False}:
            return labels
        return np.where(labels, places[True], places[False])
    numbers = {float(one): place for place, one in enumerate(classes) if _WHOLE.fullmatch(one)}
    if not numbers or all(one == place for one, place in numbers.items()):
        return labels
    numbers.setdefault(NO_LABEL, NO_LABEL)
    unknown = next((row for row, one in enumerate(labels.tolist()) if one not in numbers), None)
    if unknown is not None:
        raise DataError(
            plain(
                f"{name}: label {labels[unknown]:g} has no column, and columns are called by the "
                f"classes {', '.join(map(show, classes[:8]))}{', …' * (len(classes) > 8)}: call "
                "labels and columns alike, such as by --columns p_0=NAME,p_1=NAME"
            )
        )
    return np.array([numbers[one] for one in labels.tolist()])
