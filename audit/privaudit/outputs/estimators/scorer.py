"""A scorer of privacy for `cross_validate` and `GridSearchCV`.

A scorer sees the estimator and the rows it was not trained on, and has to know those that it was.
So it is made with all rows and the splits, and finds the split by the rows that it is given. Who is
in no split is refused, never guessed at.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from inspect import signature
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit.api.host import load_plugins
from privaudit.api.plugin import Attack
from privaudit.doubts.doubt import known, lines, still_open
from privaudit.errors import DataError, RecipeError
from privaudit.messages import unknown
from privaudit.outputs.entries import attack_entries
from privaudit.outputs.estimators import audit_classifier, check_attacks
from privaudit.outputs.estimators.rows import count, digest
from privaudit.outputs.estimators.rows import taken as take
from privaudit.statistics import table
from privaudit.statistics.metric import Metric

logger = logging.getLogger(__name__)

Split = tuple[NDArray[np.intp], NDArray[np.intp]]


class PrivacyScorer:
    """`scorer(estimator, X_test, y_test)`: greater is more private. Made by `make_privacy_scorer`.

    It holds all rows, and travels with them to other processes.
    """

    def __init__(
        self,
        rows: Any,
        labels: Any,
        splits: Sequence[Split],
        attack: str | Mapping[str, Any] | Attack,
        metric: Metric,
        accepted: Sequence[str],
        options: Mapping[str, Any],
    ) -> None:
        self.rows, self.labels, self.attack, self.metric = rows, labels, attack, metric
        self.accepted, self.options = tuple(accepted), dict(options)
        self.splits: dict[str, Split] = {}
        for number, (train, test) in enumerate(splits):
            for part in (train, test):  # return_train_score asks about the training rows as well
                key = digest(take(rows, part), take(labels, part))
                other = self.splits.setdefault(key, (train, test))
                if not np.array_equal(other[0], train):
                    raise DataError(
                        f"split {number} cannot be told from another: they have the same rows in "
                        "one part and differ in the other; use three folds or more, no duplicates"
                    )

    def __call__(self, estimator: Any, X: Any, y: Any) -> float:
        """Minus the confidence limit of the leak, or the limit itself where more is safer.

        It is what a gate would be held against: a score above -0.6 is a gate `auc<0.6` kept. NaN
        where it cannot be told, or is doubted; a warning says why.

        Raises:
            DataError: the rows are no part of any split that was given.
        """
        split = self.splits.get(digest(X, y))
        if split is None:
            raise DataError(
                "the scorer was given rows that are a part of none of its splits, so that nobody "
                "knows which rows the estimator was trained on: give the same X, y and "
                "cv=list(splitter.split(X, y)) to make_privacy_scorer and to cross_validate"
            )
        train, test = split
        audits = audit_classifier(
            estimator,
            take(self.rows, train), take(self.labels, train),
            take(self.rows, test), take(self.labels, test),
            [self.attack], quiet=True, **self.options,
        )  # fmt: skip
        ((label, audit),) = audits.items()
        opened = still_open(audits.doubts, self.accepted)
        for line in lines(opened):
            logger.warning("no score, it is doubted: %s", line)
        if opened:
            return nan
        reached = self.metric.reached(audit.metrics)
        if reached is None:
            why = self.metric.why_unknown(audit.metrics)
            logger.warning("no score, %s of %s: %s", self.metric.name, label, why)
            return nan
        return reached.limit if self.metric.gate == ">" else -reached.limit


def make_privacy_scorer(
    X: Any,
    y: Any,
    cv: Iterable[tuple[Any, Any]],
    attack: str | Mapping[str, Any] | Attack = "loss",
    metric: str = "auc",
    *,
    accept_doubts: Sequence[str] = (),
    **options: Any,
) -> PrivacyScorer:
    """A scorer that audits each fold: its training rows are members, its test rows are not.

    Args:
        X: all rows, the very ones that are given to `cross_validate` or `fit` of a search.
        y: (N,) their labels.
        cv: the splits as pairs of row numbers, `list(splitter.split(X, y))`: the same list is
            given to `cross_validate(cv=...)`.
        attack: one, as in `audit_classifier`.
        metric: that a gate can be about: "auc", "tpr@0.01".
        accept_doubts: names of doubts beside which a number still counts.
        options: of `audit_classifier`, such as `shadows` and `seed`.

    Raises:
        DataError: the splits are none, or two cannot be told from each other.
        RecipeError: the attack, the metric, a doubt or an option is unknown, or the attack lacks
            something.
    """
    size = count(X, "X")
    if count(y, "y") != size:
        raise DataError(f"y must hold one label for each of the {size} examples of X")
    chosen = table.spelled(metric) if isinstance(metric, str) else None
    if chosen is None or chosen.gate is None:
        names = table.names(lambda one: one.gate is not None)
        raise RecipeError(f"metric: {unknown('metric', str(metric), names)}")
    try:
        for name in accept_doubts:
            known(name)
    except ValueError as error:
        raise RecipeError(f"accept_doubts: {error}") from error
    if isinstance(cv, int) or hasattr(cv, "split"):
        raise DataError(
            "cv must be the splits themselves, which the scorer and cross_validate must share: "
            "give list(splitter.split(X, y)) to both"
        )
    ((_, plugin),) = attack_entries([attack], options.get("plugins") or load_plugins())
    unknown_options = sorted(set(options) - set(signature(audit_classifier).parameters))
    if unknown_options:
        known_options = list(signature(audit_classifier).parameters)[6:]
        raise RecipeError(unknown("option", unknown_options[0], known_options))
    check_attacks([(plugin.name, plugin)], options.get("shadows", 0), "X_population" in options)
    return PrivacyScorer(X, y, _splits(cv, size), attack, chosen, accept_doubts, options)


def _splits(cv: Iterable[tuple[Any, Any]], size: int) -> list[Split]:
    try:
        splits = [(np.asarray(train), np.asarray(test)) for train, test in cv]
    except (TypeError, ValueError) as error:
        raise DataError("cv must be pairs (train, test) of row numbers") from error
    if not splits:
        raise DataError("cv holds no splits: a generator gives them once; make a list of it")
    for number, parts in enumerate(splits):
        for part in parts:
            if part.ndim != 1 or part.dtype.kind not in "iu" or len(part) == 0:
                raise DataError(f"cv, split {number}: each part must be row numbers, one or more")
            if part.min() < 0 or part.max() >= size:
                raise DataError(f"cv, split {number}: there are rows 0 to {size - 1} only")
        if len(np.intersect1d(*parts)):
            raise DataError(f"cv, split {number}: a row is in both parts")
    return splits
