"""What the metrics in a result.json have to look like, as the table of metrics says."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import GenericAlias
from typing import Any

from pydantic import BaseModel, ConfigDict, create_model

from privaudit.statistics import table
from privaudit.statistics.metric import Metric

_STRICT = ConfigDict(strict=True, allow_inf_nan=False)


class _Interval(BaseModel):
    model_config = _STRICT
    value: float
    low: float
    high: float


def check_metrics(audit: Mapping[str, Any]) -> None:
    """Check the `metrics` of an audit, and those of its `variants`.

    A metric that is younger than the file may be missing; keys that no metric has are left alone.

    Raises:
        ValidationError: of pydantic: one is missing, or is no number.
    """
    _measured(table.METRICS).model_validate(audit)


@cache
def _measured(metrics: tuple[Metric, ...]) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for metric in metrics:
        kind = _kind(metric)
        if len(metric.path) > 1:
            kind = GenericAlias(dict, (str, kind))
        # A family is required if one of its metrics is. What stands for a missing metric is never
        # looked at: the audit keeps what the file has.
        required = any(other.required for other in metrics if other.path[0] == metric.path[0])
        fields[metric.path[0]] = (kind, ... if required else None)
    record = create_model("Metrics", __config__=_STRICT, **fields)
    variants: Any = GenericAlias(dict, (str, record))
    return create_model("Measured", metrics=(record, ...), variants=(variants, {}))


def _kind(metric: Metric) -> Any:
    if not metric.interval:
        return float | None
    return _Interval | float | None if metric.bare else _Interval | None
