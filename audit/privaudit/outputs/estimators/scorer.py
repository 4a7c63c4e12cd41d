"""How little a classifier tells, as scikit-learn's searches and cross-validations score it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit.errors import DataError, RecipeError
from privaudit.messages import unknown
from privaudit.outputs.estimators import audit_classifier
from privaudit.outputs.estimators.rows import count, taken
from privaudit.statistics import table


class PrivacyScorer:
    """Scores a classifier by what an attack finds of who it was trained on; higher is safer.

    A scorer is given a classifier and the examples that were held out, not those that it was
    trained on. So this one has all examples, finds those held out among them, and takes the others
    for the members: which they are in `cross_validate` and `GridSearchCV` over exactly these
    examples, and nowhere else. It is a picklable object, so `n_jobs` may be anything.

    Attributes:
        attack: as `audit_classifier` takes one.
        metric: its name in the table of metrics; if less of it is safer, minus it is the score.
        options: of `audit_classifier`, such as `shadows`.
    """

    def __init__(
        self, X: Any, y: Any, attack: str | Mapping[str, Any], metric: str, options: Any
    ) -> None:
        self.X, self.y, self.attack, self.metric, self.options = X, y, attack, metric, options
        self._keys = _keys(X)
        if len(set(self._keys)) < len(self._keys):
            raise DataError(
                f"{len(self._keys) - len(set(self._keys))} examples stand there more than once, so "
                "that nobody can tell which were held out: drop them (np.unique)"
            )

    def __call__(self, estimator: Any, X: Any, y: Any = None) -> float:
        """The score of a fitted classifier, of which X was held out.

        Raises:
            DataError: X holds an example that is not among those known, or all of them.
            PrivauditError: as `audit_classifier`.
        """
        place = {key: row for row, key in enumerate(self._keys)}
        found = [place.get(key) for key in _keys(X)]
        if None in found:
            raise DataError(
                f"row {found.index(None)} of what is scored is not among the examples that the "
                "scorer was made with: make it with all that the search is given, as they are"
            )
        rows = np.array(found, dtype=np.int64)
        held = np.zeros(len(self._keys), dtype=bool)
        held[rows] = True
        if held.all():
            raise DataError(
                "all examples are scored, so that none is left that was trained on: a search's "
                "training scores cannot be made of this (return_train_score)"
            )
        inside, outside = (~held).nonzero()[0], held.nonzero()[0]
        values = np.asarray(self.y)
        audits = audit_classifier(
            estimator,
            taken(self.X, inside),
            values[inside],
            taken(self.X, outside),
            values[outside],
            [self.attack],
            quiet=True,
            **self.options,
        )
        (audit,) = audits.values()
        wanted = table.named([self.metric])[0]
        value = wanted.read(audit.metrics)
        if value is None:
            raise DataError(f"{self.metric} of {self.attack}: {wanted.why_unknown(audit.metrics)}")
        number = value["value"] if isinstance(value, Mapping) else value
        return float(number if wanted.gate == ">" else -number)


def make_privacy_scorer(
    X: Any,
    y: Any,
    *,
    attack: str | Mapping[str, Any] = "loss",
    metric: str = "auc",
    **options: Any,
) -> PrivacyScorer:
    """A scorer for `cross_validate` and `GridSearchCV` over the examples X with labels y.

    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> import numpy as np
    >>> X, y = load_iris(return_X_y=True)
    >>> X, first = np.unique(X, axis=0, return_index=True)
    >>> scorer = make_privacy_scorer(X, y[first])
    >>> tree = DecisionTreeClassifier(random_state=0)
    >>> scores = cross_val_score(tree, X, y[first], scoring=scorer)
    >>> bool((scores < -0.4).all())
    True

    Args:
        X: all examples that the search is given.
        y: their labels.
        attack: by which it is judged.
        metric: any of the table of metrics; of those where less is safer, the score is minus it.
        options: of `audit_classifier`, such as `shadows` and `seed`.

    Raises:
        DataError: an example stands there twice.
        RecipeError: there is no such metric.
    """
    wanted = table.spelled(metric)
    if wanted is None:
        raise RecipeError(unknown("metric", metric, table.names()))
    if count(X, "X") != count(y, "y"):
        raise DataError(f"y must hold one label for each of the {count(X, 'X')} examples of X")
    return PrivacyScorer(X, y, attack, wanted.name, options)


def _keys(examples: Any) -> list[Any]:
    """What tells examples apart: their content."""
    if hasattr(examples, "iloc"):
        return [tuple(row) for row in examples.itertuples(index=False, name=None)]
    if hasattr(examples, "tocsr"):
        return [_sparse(row) for row in examples.tocsr()]
    if isinstance(examples, list | tuple):
        return [one if isinstance(one, str) else _bytes(np.asarray(one)) for one in examples]
    return [_bytes(row) for row in np.asarray(examples)]


def _bytes(row: NDArray[Any]) -> bytes:
    return repr(row.tolist()).encode() if row.dtype == object else row.tobytes()


def _sparse(row: Any) -> tuple[bytes, bytes]:
    own = row.copy()
    own.sort_indices()
    own.eliminate_zeros()
    return own.indices.astype(np.int64).tobytes(), own.data.tobytes()
