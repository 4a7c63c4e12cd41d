"""What a classifier answers, and about which classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from privaudit.errors import DataError, PrivauditError
from privaudit.messages import plain, show
from privaudit.outputs.estimators.rows import count

Response = Literal["predict_proba", "decision_function"]
METHODS: tuple[Response, ...] = ("predict_proba", "decision_function")
"""What is asked, in this order, where the caller does not say."""

_BINARY = 2
_AGREE = 0.5  # share of rows in which the largest number must be that of the predicted class


def method_of(estimator: Any, wanted: Response | None) -> Response:
    """The method that answers.

    Raises:
        DataError: the estimator has none.
    """
    for name in (wanted,) if wanted else METHODS:
        if callable(getattr(estimator, name, None)):
            return name
    raise DataError(
        f"{_called(estimator)} has no {wanted or ' and no '.join(METHODS)}: attacks need what a "
        "classifier answers for each class"
    )


def classes_of(estimator: Any) -> list[Any]:
    """The classes that a fitted classifier answers about, in its order.

    Raises:
        DataError: it has none, or is about several labels at once.
    """
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        raise DataError(
            f"{_called(estimator)} has no classes_: give a classifier that has been fitted"
        )
    if isinstance(classes, list) and classes and np.ndim(classes[0]) > 0:
        raise DataError(f"{_called(estimator)} predicts several labels at once: audit one of them")
    return list(np.asarray(classes).tolist())


def numbered(labels: Any, classes: Sequence[Any], name: str, rows: int) -> NDArray[np.int64]:
    """Labels (N,) as the places of their classes.

    Raises:
        DataError: they are not one for each example, or the classifier does not know one.
    """
    values = np.asarray(labels)
    if values.shape == (rows, 1):  # a table of one column
        values = values[:, 0]
    if values.shape != (rows,):
        raise DataError(
            f"{name} must hold one label for each of {rows} examples: got shape {values.shape}"
        )
    place = {value: number for number, value in enumerate(classes)}
    found = [place.get(value) for value in values.tolist()]
    if None in found:
        row = found.index(None)
        shown = ", ".join(map(str, classes[:8])) + (", …" if len(classes) > 8 else "")
        raise DataError(
            plain(
                f"{name}: row {row} is {show(values.tolist()[row])}, which the classifier has "
                f"never seen: its classes are {shown}"
            )
        )
    return np.array(found, dtype=np.int64)


def answers(
    estimator: Any, method: Response, examples: Any, classes: Sequence[Any], name: str
) -> NDArray[np.float64]:
    """What it answers about each example, (N, C) in the order of `classes`, or margins (N,).

    A class that it has not seen has the probability 0.

    Raises:
        DataError: the answers have another shape, or hold NaN; or it gives decision values, and
            has not seen a class.
        PrivauditError: it fails.
    """
    try:
        values = getattr(estimator, method)(examples)
    except Exception as error:
        raise PrivauditError(
            plain(f"{method} of {_called(estimator)} fails on {name}: {_first_line(error)}")
        ) from error
    own = classes_of(estimator)
    if isinstance(values, list):
        raise DataError(f"{_called(estimator)} answers about several labels: audit one of them")
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == _BINARY and values.shape[1] == 1:
        values = values[:, 0]
    margin = method == "decision_function" and values.ndim == 1 and len(own) == _BINARY
    rows = count(examples, name)
    if values.shape != ((rows,) if margin else (rows, len(own))):
        raise DataError(
            f"{method} of {_called(estimator)} gives shape {values.shape} for {rows} examples of "
            f"{len(own)} classes"
        )
    wrong = np.isnan(values.reshape(rows, -1)).any(1)
    if wrong.any():
        raise DataError(
            f"{method} of {_called(estimator)} gives NaN for row {int(wrong.argmax())} of {name}"
        )
    if method == "decision_function" and values.ndim == _BINARY:
        _check_columns(estimator, values, examples, own)
    if own == list(classes):
        return values
    return _aligned(values, own, classes, method)


def _check_columns(
    estimator: Any, values: NDArray[np.float64], examples: Any, classes: Sequence[Any]
) -> None:
    """Refuse numbers that are none of classes: three classes have three pairs (ovo) as well."""
    if not hasattr(estimator, "predict"):
        return
    predicted = np.asarray(estimator.predict(examples)).tolist()
    best = [classes[place] for place in values.argmax(axis=1)]
    agree = sum(one == other for one, other in zip(best, predicted, strict=True)) / len(best)
    if agree < _AGREE:
        raise DataError(
            f"decision_function of {_called(estimator)} is largest for the predicted class in "
            f"{100 * agree:.0f} % of rows only, so its columns are no classes: set "
            "decision_function_shape='ovr', or use a classifier with predict_proba"
        )


def _aligned(
    values: NDArray[np.float64], own: Sequence[Any], classes: Sequence[Any], method: str
) -> NDArray[np.float64]:
    if method != "predict_proba":
        lacking = next((one for one in classes if one not in own), own[0])
        raise DataError(
            f"it has not seen the class {show(lacking)}, and decision values of different classes "
            "do not compare: use a classifier with predict_proba, or fewer classes"
        )
    place = {value: number for number, value in enumerate(classes)}
    whole = np.zeros((len(values), len(classes)))
    whole[:, [place[value] for value in own]] = values
    return whole


def _called(estimator: Any) -> str:
    return type(estimator).__name__


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
