"""Shadows of a classifier: its clones, trained on random halves of the examples at hand."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit.errors import DataError, PrivauditError
from privaudit.keys import derive
from privaudit.messages import plain
from privaudit.outputs.estimators.answering import Response, answers
from privaudit.outputs.estimators.rows import taken

logger = logging.getLogger(__name__)

_LARGEST_SEED = 2**32 - 1  # of NumPy's RandomState, which scikit-learn's estimators take


@dataclass(frozen=True)
class Trained:
    """What K shadows were trained on, and what they answer.

    Attributes:
        inside: (K, N) bool.
        answers: (K, N, C), or margins (K, N).
    """

    inside: NDArray[np.bool_]
    answers: NDArray[np.float64]


def train(
    estimator: Any,
    method: Response,
    examples: Any,
    labels: NDArray[Any],
    numbers: NDArray[np.int64],
    classes: Sequence[Any],
    *,
    pool: NDArray[np.int64],
    shadows: int,
    seed: int,
    n_jobs: int | None,
) -> Trained:
    """Train K clones in complementary pairs, each on half of every class of the pool.

    So each example was in the training data of K / 2 shadows, and no shadow lacks a class that two
    examples have.

    Args:
        estimator: what is cloned; whatever it calls `random_state` is drawn anew for each.
        method: that answers.
        examples: N of any kind.
        labels: (N,), as the estimator takes them.
        numbers: (N,) the same as places in `classes`.
        classes: of the estimator.
        pool: rows that shadows are trained on.
        shadows: K, even.
        seed: of the halves and of the clones.
        n_jobs: how many are trained at once, as `joblib` takes it.

    Raises:
        DataError: the estimator cannot be cloned, or a shadow's answers cannot be aligned.
        PrivauditError: a shadow cannot be trained; it is named.
    """
    from joblib import Parallel, delayed

    inside = np.zeros((shadows, len(numbers)), dtype=bool)
    for pair in range(shadows // 2):
        first, second = _halves(numbers, pool, derive(seed, "shadows", pair))
        inside[2 * pair, first] = inside[2 * pair + 1, second] = True
    clones = [_clone(estimator, derive(seed, "clone", number)) for number in range(shadows)]
    jobs = (
        delayed(_one)(number, clone, method, examples, labels, classes, rows)
        for number, (clone, rows) in enumerate(zip(clones, inside, strict=True))
    )
    try:
        made = Parallel(n_jobs=n_jobs)(jobs)
    except PrivauditError:
        raise
    except Exception as error:  # of joblib: an estimator that cannot be sent to a process
        raise PrivauditError(
            plain(f"shadows cannot be trained in parallel: {error}: set n_jobs to 1")
        ) from error
    told = Counter(line for _, lines in made for line in dict.fromkeys(lines))
    for line, times in told.items():
        logger.warning("%d of %d shadows: %s", times, shadows, line)
    return Trained(inside, np.stack([answered for answered, _ in made]))


def _one(
    number: int,
    clone: Any,
    method: Response,
    examples: Any,
    labels: NDArray[Any],
    classes: Sequence[Any],
    inside: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], list[str]]:
    """Train one and ask it about everybody; with what it warned of."""
    rows = inside.nonzero()[0]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            clone.fit(taken(examples, rows), labels[rows])
        except Exception as error:
            line = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            raise PrivauditError(plain(f"shadow {number} cannot be trained: {line}")) from error
        try:
            answered = answers(clone, method, examples, classes, "the examples")
        except PrivauditError as error:
            raise type(error)(f"shadow {number}: {error}") from error
    kinds = (f"{each.category.__name__}: {str(each.message).split(chr(10))[0]}" for each in caught)
    return answered, [plain(line) for line in kinds]


def _halves(
    numbers: NDArray[np.int64], pool: NDArray[np.int64], seed: int
) -> Iterator[NDArray[np.int64]]:
    """Two halves of a pool, class by class; of an odd class, one more by lot."""
    draw = np.random.default_rng(seed)
    shuffled = draw.permutation(pool)
    order = shuffled[np.argsort(numbers[shuffled], kind="stable")]
    side = np.empty(len(order), dtype=np.int64)
    _, starts = np.unique(numbers[order], return_index=True)
    for part in np.split(np.arange(len(order)), starts[1:]):
        side[part] = (np.arange(len(part)) + draw.integers(2)) % 2
    yield order[side == 0]
    yield order[side == 1]


def _length(estimator: Any) -> dict[str, Any]:
    """Of boosting that was stopped early, options with which clones stop at the same round.

    They have no validation data of their own. XGBoost counts its best round from 0 in
    `best_iteration`, LightGBM from 1 in `best_iteration_`, where 0 is no early end. It may be a
    step of a pipeline; in a search, whose estimator is not fitted, it has no round yet.
    """
    parts = {"": estimator} | {
        f"{name}__": part
        for name, part in estimator.get_params(deep=True).items()
        if hasattr(part, "get_params") and not isinstance(part, type)
    }
    changed: dict[str, Any] = {}
    for prefix, part in parts.items():
        options = part.get_params(deep=False)
        if "n_estimators" not in options:
            continue
        rounds = getattr(part, "best_iteration_", None) or 0
        if options.get("early_stopping_rounds") is not None:
            changed[f"{prefix}early_stopping_rounds"] = None
            rounds = getattr(part, "best_iteration", -1) + 1
        if rounds:
            changed[f"{prefix}n_estimators"] = int(rounds)
    return changed


def _clone(estimator: Any, seed: int) -> Any:
    """An unfitted copy with randomness of its own, trained for as long as the estimator was."""
    from sklearn.base import clone

    try:
        copy = clone(estimator)
        if copy is estimator:
            raise TypeError("it is frozen, so that its clone would be itself")
        random = [
            name
            for name in copy.get_params(deep=True)
            if name == "random_state" or name.endswith("__random_state")
        ]
        return copy.set_params(**dict.fromkeys(random, seed % _LARGEST_SEED), **_length(estimator))
    except (TypeError, RuntimeError, AttributeError) as error:
        line = str(error).strip().partition("\n")[0]
        raise DataError(
            plain(
                f"{type(estimator).__name__} cannot be cloned ({line}): set shadows to 0, or give "
                "their answers to audit_outputs"
            )
        ) from error
