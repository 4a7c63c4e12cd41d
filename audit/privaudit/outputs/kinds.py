"""What the numbers of an audit are, and how each kind becomes the logits that attacks read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from privaudit.doubts.digits import decimals
from privaudit.doubts.numbers import SUM_ERROR, log_probabilities
from privaudit.errors import DataError
from privaudit.messages import unknown

_LARGEST = 1e150

Kind = Literal["logits", "log_probabilities", "probabilities", "margins"]
"""What a network's answers are given as."""


def check_kind(kind: str) -> Kind:
    """The kind itself.

    Raises:
        DataError: there is no such kind.
    """
    for known in get_args(Kind):
        if kind == known:
            return known  # type: ignore[no-any-return]
    raise DataError(f"kind: {unknown('kind', str(kind), get_args(Kind))}")


def as_logits(values: Tensor, kind: Kind, name: str) -> Tensor:
    """The logits of answers (..., N, C), or of margins (..., N, 1), in float32 or float64.

    Raises:
        DataError: they are not of that kind, or hold NaN or infinity; the row is named.
    """
    _check_numbers(values, kind, name)
    return KINDS[kind](values, name)


def _logits(values: Tensor, name: str) -> Tensor:
    return values


def _log_probabilities(values: Tensor, name: str) -> Tensor:
    sums = values.double().logsumexp(-1).exp()
    _refuse(
        (sums - 1).abs() > max(SUM_ERROR, _unit(values)),
        sums,
        name,
        "must be natural logarithms of probabilities, and their exponentials sum to 1",
    )
    return values


def _probabilities(values: Tensor, name: str) -> Tensor:
    """Their logarithms: of log-odds log p - log Σ others nothing is lost, as of 1 - p would be."""
    _refuse(values.amin(-1) < 0, values.amin(-1), name, "must not be negative", "is")
    sums = values.double().sum(-1)
    error = max(SUM_ERROR, values.shape[-1] * _unit(values) / 2 + 1e-6)
    rule = "must be probabilities: each row sums to 1"
    _refuse((sums - 1).abs() > error, sums, name, rule, hint=_instead(values, sums))
    return values.double().log().to(values.dtype)


def _instead(values: Tensor, sums: Tensor) -> str:
    """What numbers that do not sum to one look like, and what to do; empty where nobody knows."""
    if bool(((sums - 100).abs() < 1).all()):
        return "they look like per cent: divide them by 100"
    if bool((values <= 1).all()) and float((sums - 1).abs().median()) > _APART:
        return (
            "they look like one probability a class, each by itself: give the numbers before the "
            "sigmoid as logits"
        )
    return ""


def _unit(values: Tensor) -> float:
    """One of the last decimal that numbers have; 0 where they are not rounded, or are whole."""
    count = decimals(values)
    return 10.0**-count if count else 0.0


def _margins(values: Tensor, name: str) -> Tensor:
    return torch.cat([torch.zeros_like(values), values], dim=-1)


_APART = 0.01  # how far sums of unlike probabilities are from one, on most rows

KINDS: dict[Kind, Callable[[Tensor, str], Tensor]] = {
    "logits": _logits,
    "log_probabilities": _log_probabilities,
    "probabilities": _probabilities,
    "margins": _margins,
}
"""How the numbers of each kind become logits; checked, and named in errors."""


def _check_numbers(values: Tensor, kind: Kind, name: str) -> None:
    """Refuse NaN and infinity, but for the logarithm of a probability that is zero."""
    models = values if values.ndim == 4 else values[None]
    for model, queries in enumerate(models):  # one by one: a mask of all would be a copy of all
        if bool(torch.isfinite(queries).all()):
            _check_size(queries, model, values.ndim, name)
            continue
        endless = kind == "log_probabilities" or (kind == "logits" and _sure(queries))
        wrong = queries.isnan() | (queries == torch.inf)
        wrong |= (queries == -torch.inf).all(-1, keepdim=True) if endless else queries.isinf()
        if not bool(wrong.any()):
            continue
        query, row, _ = wrong.nonzero()[0].tolist()
        worst = queries[query, row]
        value = "NaN" if bool(worst.isnan().any()) else "infinity"
        hint = ""
        if kind == "logits" and bool((queries == -torch.inf).any()) and value == "infinity":
            hint = "; logarithms of probabilities may be -inf: say kind=log_probabilities"
        where = _where((model, query, row), values.ndim, len(queries))
        raise DataError(f"{name} hold {value} in {where}{hint}")


def _check_size(queries: Tensor, model: int, axes: int, name: str) -> None:
    """Refuse numbers whose squares are infinite: attacks compare their variances."""
    if max(map(abs, map(float, queries.aminmax()))) <= _LARGEST:
        return
    query, row, column = (queries.abs() > _LARGEST).nonzero()[0].tolist()
    where = _where((model, query, row), axes, len(queries))
    raise DataError(
        f"{name} hold {float(queries[query, row, column]):.3g} in {where}: no more than "
        f"{_LARGEST:g} can be calculated with"
    )


def _sure(queries: Tensor) -> bool:
    """Whether numbers called logits are log-probabilities, which may be -inf."""
    return not bool((queries.isnan() | (queries == torch.inf)).any()) and log_probabilities(queries)


def _refuse(
    wrong: Tensor, value: Tensor, name: str, rule: str, verb: str = "sums to", hint: str = ""
) -> None:
    """Refuse the first wrong row of (K, Q, N) or (Q, N)."""
    if not bool(wrong.any()):
        return
    first = tuple(wrong.nonzero()[0].tolist())
    queries = wrong.shape[-2]
    where = _where((0,) * (3 - len(first)) + first, wrong.ndim + 1, queries)
    hint = hint or f"if they are something else, say so by kind (--kind): {', '.join(KINDS)}"
    raise DataError(f"{name} {rule}, and {where} {verb} {float(value[first]):.4g}: {hint}")


def _where(place: tuple[int, ...], axes: int, queries: int) -> str:
    """Where a number stands: model (of shadows), query (where there are several), row."""
    model, query, row = place
    parts = [f"model {model}"] if axes == 4 else []
    parts += [f"query {query}"] if queries > 1 else []
    return ", ".join([*parts, f"row {row}"])
