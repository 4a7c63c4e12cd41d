"""The scorer of privacy, in cross-validation and searches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import load_breast_cancer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    RepeatedKFold,
    ShuffleSplit,
    TimeSeriesSplit,
    cross_validate,
)
from sklearn.tree import DecisionTreeClassifier

from privaudit import DataError, RecipeError, audit_classifier, make_privacy_scorer
from privaudit.doubts.doubt import DOUBTS
from privaudit.outputs.estimators.rows import digest

X, Y = load_breast_cancer(return_X_y=True)
Y = np.where(np.random.default_rng(0).random(len(Y)) < 0.2, 1 - Y, Y)  # something to memorise
TREE = DecisionTreeClassifier(random_state=0)


def splits(splitter: Any = None) -> list[Any]:
    return list((splitter or KFold(3, shuffle=True, random_state=0)).split(X, Y))


@pytest.mark.parametrize(
    "splitter",
    [
        KFold(3),
        RepeatedKFold(n_splits=3, n_repeats=2, random_state=0),
        ShuffleSplit(2, train_size=0.3, test_size=0.3, random_state=0),
        TimeSeriesSplit(3),
    ],
)
def test_members_are_the_rows_that_each_fold_was_trained_on(splitter: Any) -> None:
    cv = splits(splitter)
    tree = DecisionTreeClassifier(max_depth=6, random_state=0)
    scorer = make_privacy_scorer(X, Y, cv, accept_doubts=list(DOUBTS))
    found = cross_validate(
        tree, X, Y, cv=cv, scoring=scorer, return_train_score=True, return_estimator=True,
        error_score="raise",
    )  # fmt: skip
    expected = [
        -audit_classifier(model, X[a], Y[a], X[b], Y[b], quiet=True)["loss"].metrics["auc"]["high"]
        for model, (a, b) in zip(found["estimator"], cv, strict=True)
    ]
    assert found["test_score"] == pytest.approx(expected)
    assert found["train_score"] == pytest.approx(expected)


def test_a_search_in_two_processes_prefers_what_leaks_less() -> None:
    cv = splits()
    search = GridSearchCV(
        RandomForestClassifier(20, random_state=0), {"max_depth": [2, 12]}, cv=cv, n_jobs=2,
        refit="privacy",
        scoring={"accuracy": "accuracy", "privacy": make_privacy_scorer(X, Y, cv)},
    ).fit(X, Y)  # fmt: skip
    assert search.best_params_ == {"max_depth": 2}
    scores = search.cv_results_["mean_test_privacy"]
    assert -1 < scores[1] < scores[0] - 0.1 < -0.4


def test_it_is_the_limit_that_a_gate_is_held_against_in_both_directions() -> None:
    cv = splits()
    train, test = cv[0]

    class Reversed(DecisionTreeClassifier):  # type: ignore[misc]
        def predict_proba(self, x: Any) -> Any:
            return super().predict_proba(x)[:, ::-1]

    model = Reversed(max_depth=8, random_state=0).fit(X[train], Y[train])
    scorer = make_privacy_scorer(X, Y, cv, accept_doubts=["inverted", "below_half", "chance"])
    score = scorer(model, X[test], Y[test])
    assert math.isnan(score) or score < -0.6


def test_what_is_doubted_has_no_score(caplog: pytest.LogCaptureFixture) -> None:
    cv = splits()
    train, test = cv[0]
    model = DummyClassifier(strategy="uniform").fit(X[train], Y[train])
    assert math.isnan(make_privacy_scorer(X, Y, cv)(model, X[test], Y[test]))
    assert "no score, it is doubted: doubt" in caplog.text


def test_rows_of_no_split_are_refused() -> None:
    cv = splits()
    scorer = make_privacy_scorer(X, Y, cv)
    model = TREE.fit(X[cv[0][0]], Y[cv[0][0]])
    for x, y in ((X, Y), (X[:50], Y[:50]), (X[cv[0][1]], 1 - Y[cv[0][1]]), (X[cv[0][1]][::-1], Y)):
        with pytest.raises(DataError, match="a part of none of its splits"):
            scorer(model, x, y)
    with pytest.raises(DataError, match="a part of none of its splits"):
        cross_validate(TREE, X, Y, cv=KFold(5), scoring=scorer, error_score="raise")


def test_splits_that_cannot_be_told_apart_are_refused() -> None:
    # Of two folds each part trains one estimator and tests the other.
    with pytest.raises(DataError, match="use three folds or more"):
        make_privacy_scorer(X, Y, splits(KFold(2)))
    half = np.arange(len(X)) < 200
    cv = [(np.arange(200), np.arange(400, 500)), (np.arange(200, 400), np.arange(400, 500))]
    with pytest.raises(DataError, match="split 1 cannot be told from another"):
        make_privacy_scorer(X, Y, cv)
    twice = np.concatenate([X[:1]] * len(X)), np.zeros(len(X))
    with pytest.raises(DataError, match="cannot be told from another"):
        make_privacy_scorer(
            *twice,
            [(half.nonzero()[0], np.arange(200, 400)), (np.arange(200, 400), half.nonzero()[0])],
        )


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"cv": 5}, "cv must be the splits themselves"),
        ({"cv": KFold(3)}, "cv must be the splits themselves"),
        ({"cv": []}, "cv holds no splits"),
        ({"cv": [1, 2]}, "cv must be pairs"),
        ({"cv": [([0, 1], [])]}, "each part must be row numbers"),
        ({"cv": [([0, 1], [1, 2])]}, "a row is in both parts"),
        ({"cv": [([0, 1], [9999])]}, "there are rows 0 to 568 only"),
        ({"cv": [([True, False], [1])]}, "each part must be row numbers"),
        ({"metric": "acu"}, "unknown metric 'acu'"),
        ({"metric": "fpr"}, "unknown metric 'fpr'"),
        ({"accept_doubts": ["no"]}, "unknown doubt 'no'"),
        ({"X": X[:9]}, "y must hold one label for each of the 9"),
    ],
)
def test_what_is_wrong_is_said_when_it_is_made(change: dict[str, Any], problem: str) -> None:
    given = {"X": X, "y": Y, "cv": splits()} | change
    with pytest.raises((DataError, RecipeError), match=problem) as raised:
        make_privacy_scorer(**given)
    assert "\n" not in str(raised.value)


def test_a_digest_is_of_what_rows_hold() -> None:
    rows = X[:5]
    assert digest(rows, Y[:5]) == digest(np.asfortranarray(rows.copy()), Y[:5].copy())
    assert digest(rows, Y[:5]) != digest(rows[::-1], Y[:5])
    assert digest(rows, Y[:5]) != digest(rows, 1 - Y[:5])
    sparse = scipy.sparse.csr_matrix(rows)
    assert digest(sparse, Y[:5]) == digest(sparse.tocsc(), Y[:5])
    assert digest(["ab", "c"], [0, 1]) != digest(["a", "bc"], [0, 1])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"attack": "los"}, "unknown attack 'los'"),
        ({"attack": "lira"}, r"'lira' needs shadows, 2 or more \(got 0\)"),
        ({"attack": "rmia", "shadows": 4}, "give X_population"),
        ({"shadow": 4}, "unknown option 'shadow'; did you mean 'shadows'"),
    ],
)
def test_what_no_fold_could_score_is_told_before_the_search(
    options: dict[str, Any], words: str
) -> None:
    x, y = load_breast_cancer(return_X_y=True)
    folds = list(KFold(3).split(x, y))
    with pytest.raises(RecipeError, match=words):
        make_privacy_scorer(x, y, folds, **options)
