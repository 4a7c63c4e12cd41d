"""How a condition on a metric is written, for gates and for what must not change."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from typing import Literal

_FORM = re.compile(r"(?P<bar>\|?)(?P<metric>[^<>=|]+)(?P=bar)(?P<sign>[<>])(?P<number>[^<>=|]+)")


@dataclass(frozen=True)
class Written:
    """A condition as it is written, of which nothing is known to be right but its form.

    Attributes:
        metric: the name.
        sign: between it and the number.
        number: what stands after it.
        absolute: whether bars stand around the name, as in |auc|>0.05.
    """

    metric: str
    sign: Literal["<", ">"]
    number: str
    absolute: bool = False

    @property
    def value(self) -> float | None:
        """The number; None where it is none, or not finite."""
        try:
            value = float(self.number)
        except ValueError:
            return None
        return value if isfinite(value) else None


def written(text: str) -> Written | None:
    """METRIC<NUMBER, METRIC>NUMBER, or either with |METRIC|; None where it is nothing of that.

    Args:
        text: without spaces.

    >>> written("|auc|>0.05")
    Written(metric='auc', sign='>', number='0.05', absolute=True)
    >>> written("auc=0.05")
    """
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    sign: Literal["<", ">"] = "<" if match["sign"] == "<" else ">"
    return Written(match["metric"], sign, match["number"], bool(match["bar"]))


def unknown_metric(name: str, valid_names: Sequence[str]) -> str:
    """What is said of a metric that does not exist: the nearest one, and all there are."""
    near = get_close_matches(name, valid_names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown metric {name!r}; {hint}There are: {', '.join(valid_names)}"
