"""What a gate is, and how it is written: on the command line, or in a recipe."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isinf
from typing import Literal

from privaudit.errors import RecipeError
from privaudit.statistics import table
from privaudit.statistics.conditions import unknown_metric, written
from privaudit.statistics.metric import Metric

_MEAN = re.compile(r"mean\((?P<metric>[^()]*)\)")
_LONGEST = 80  # characters, which no gate needs


@dataclass(frozen=True)
class Gate:
    """A limit on one metric of every attack.

    Attributes:
        text: as the user wrote it, without spaces.
        metric: its name in `statistics.table`.
        limit: strictly within the metric's bounds: for most, between 0 and 1.
        mean: whether the mean over a row's networks is judged, and not each network.
        subjects: labels of the subjects that it is about, or SUBJECT/LEVEL; empty: all of them.
        attacks: labels of the attacks that it is about; empty: all of them.
    """

    text: str
    metric: str
    limit: float
    mean: bool = False
    subjects: tuple[str, ...] = ()
    attacks: tuple[str, ...] = ()

    @property
    def judged(self) -> Metric:
        """What the table says of the metric."""
        return table.named([self.metric])[0]

    @property
    def side(self) -> Literal["upper", "lower"]:
        """The confidence limit that must keep the gate."""
        return self.judged.side

    @property
    def title(self) -> str:
        """The text, and what it is about where that is not everything."""
        words = [self.text]
        words += ["on", ", ".join(self.subjects)] if self.subjects else []
        words += ["by", ", ".join(self.attacks)] if self.attacks else []
        return " ".join(words)

    @property
    def caveat(self) -> str:
        """What has to be said where it is kept; empty where nothing has."""
        mean = "a mean says nothing of a single network, which may leak more" if self.mean else ""
        return "; ".join(filter(None, [self.judged.caveat, mean]))

    def kept_by(self, reached: float) -> bool:
        """Whether a confidence limit keeps the gate; NaN never does."""
        return reached > self.limit if self.side == "lower" else reached < self.limit

    def covers(self, subject: str, level: str, attack: str) -> bool:
        """Whether an audit is one that the gate is about."""
        return (not self.attacks or attack in self.attacks) and self._about(subject, level)

    def covers_failure(self, subject: str, level: str, attack: str) -> bool:
        """Whether what failed could have been such an audit: where it is not said, it could."""
        named = not attack or not self.attacks or attack in self.attacks
        below = not level and any(name.startswith(f"{subject}/") for name in self.subjects)
        return named and (below or self._about(subject, level))

    def _about(self, subject: str, level: str) -> bool:
        names = (subject, f"{subject}/{level}")
        return not self.subjects or any(name in self.subjects for name in names)


def parse_gate(text: str) -> Gate:
    """Read a gate of the command line, as `read_gate` does.

    >>> parse_gate("tpr@1e-3 < 0.01").metric
    'tpr@0.001'

    Raises:
        RecipeError: it is none.
    """
    try:
        return read_gate(text)
    except ValueError as error:
        raise RecipeError(f"--gate {''.join(text.split())}: {error}") from error


def read_gate(text: str) -> Gate:
    """Read METRIC<NUMBER, METRIC>NUMBER where more is safer, or either with mean(METRIC).

    >>> read_gate("mean(auc) < 0.6").mean
    True

    Raises:
        ValueError: it is not of that form, the metric is unknown, has no interval, or no mean of
            it can be judged, the sign points the wrong way, or the number is out of bounds.
    """
    text = "".join(text.split())
    condition = written(text) if len(text) <= _LONGEST else None
    if condition is None or condition.absolute:
        raise ValueError(f"is not {_forms()}")
    mean = _MEAN.fullmatch(condition.metric)
    metric = _metric(condition.metric if mean is None else mean["metric"])
    if mean and (metric.bound or metric.influence is None):
        raise ValueError(f"no mean of {metric.name} can be judged, only {_averaged()}")
    if condition.sign != metric.gate:
        better = "more" if metric.side == "lower" else "less"
        right = f"{condition.metric}{metric.gate}{condition.number}"
        raise ValueError(f"{better} is safer, so write {right}")
    limit = condition.value
    low, high = metric.bounds
    if limit is None or not low < limit < high:
        within = f"above {low:g}" if isinf(high) else f"between {low:g} and {high:g}"
        raise ValueError(f"{condition.number!r} must be a number {within}")
    return Gate(text, metric.name, limit, mean is not None)


def _averaged() -> str:
    """The metrics whose mean over networks can be judged: what they share is known by example."""
    names = table.names(lambda metric: metric.gate and not metric.bound and metric.influence)
    return ", ".join(names)


def _forms() -> str:
    """How a gate is written, by the first metric of the table and those where more is safer."""
    example = next(metric.name for metric in table.METRICS if metric.gate == "<")
    others = table.names(lambda metric: metric.gate == ">")
    forms = [f"METRIC<NUMBER, such as {example}<0.6", *(f"{name}>NUMBER" for name in others)]
    return ", or ".join([*forms, f"mean({example})<0.6"])


def _metric(name: str) -> Metric:
    """The metric of that name; the number after @ may be spelled in any way."""
    metric = table.spelled(name)
    if metric is not None and metric.gate is not None:
        return metric
    if metric is not None:
        raise ValueError(f"{name} {metric.ungated}")
    valid_names = table.names(lambda metric: metric.gate is not None)
    raise ValueError(unknown_metric(name, valid_names))
