"""Classifiers of scikit-learn's kind, audited and scored, against scikit-learn's own numbers."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from privaudit import audit_classifier
from privaudit.errors import DataError, PrivauditError, RecipeError
from privaudit.outputs.estimators.rows import names

_X, _Y = load_breast_cancer(return_X_y=True)
_ORDER = np.random.default_rng(0).permutation(len(_X))
_IN, _OUT, _REST = _ORDER[:200], _ORDER[200:400], _ORDER[400:]
_NAMES = np.array(["malignant", "benign"])


def audited(model: Any, attacks: Any = "loss", X: Any = _X, y: Any = _Y, **options: Any) -> Any:
    model.fit(X[_IN], y[_IN])
    return audit_classifier(model, X[_IN], y[_IN], X[_OUT], y[_OUT], attacks, quiet=True, **options)


@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(20, random_state=0),
        make_pipeline(LogisticRegression(C=0.01, solver="liblinear")),
        GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [2, 4]}, cv=2),
    ],
    ids=["forest", "pipeline", "search"],
)
def test_the_auc_of_the_loss_is_scikit_learns(model: Any) -> None:
    found = audited(model)["loss"]
    p = model.predict_proba(_X)[np.arange(len(_X)), _Y]
    expected = roc_auc_score(np.r_[np.ones(200), np.zeros(200)], np.r_[p[_IN], p[_OUT]])
    assert found.metrics["auc"]["value"] == pytest.approx(expected, abs=1e-9)


def test_who_was_never_seen_is_not_told() -> None:
    model = RandomForestClassifier(20, random_state=0).fit(_X[_REST], _Y[_REST])
    found = audit_classifier(
        model, _X[_IN], _Y[_IN], _X[_OUT], _Y[_OUT], ["loss", "reference"], shadows=2, quiet=True
    )
    for audit in found.values():
        assert audit.metrics["auc"]["low"] < 0.5 < audit.metrics["auc"]["high"]


def test_decision_values_are_margins_of_two_classes() -> None:
    model = RidgeClassifier()
    found = audited(model)["loss"]
    margin = model.decision_function(_X) * np.where(_Y == 1, 1, -1)
    expected = roc_auc_score(np.r_[np.ones(200), np.zeros(200)], np.r_[margin[_IN], margin[_OUT]])
    assert found.metrics["auc"]["value"] == pytest.approx(expected, abs=1e-9)


def test_shadows_are_halves_in_pairs_and_make_attacks_stronger() -> None:
    forest = RandomForestClassifier(20, random_state=0)
    attacks = ["loss", "lira"]
    found = audited(forest, attacks, shadows=4)
    assert found["lira"].metrics["auc"]["value"] > found["loss"].metrics["auc"]["value"] + 0.05
    again = audited(forest, attacks, shadows=4, n_jobs=2)
    np.testing.assert_array_equal(found["lira"].scores, again["lira"].scores)
    other = audited(forest, attacks, shadows=4, seed=1)
    assert not np.array_equal(found["lira"].scores, other["lira"].scores)


def test_labels_are_whatever_the_classifier_calls_them() -> None:
    forest = RandomForestClassifier(20, random_state=0)
    named = audited(forest, ["loss", "reference"], y=_NAMES[_Y], shadows=2)
    # Named classes are sorted: benign first.
    plain = audited(forest, ["loss", "reference"], y=1 - _Y, shadows=2)
    for name in named:
        assert named[name].metrics["auc"] == plain[name].metrics["auc"]


def test_texts_sparse_matrices_and_lists() -> None:
    words = [f"{'good' if y else 'bad'} {i} {i % 7}" for i, y in enumerate(_Y)]
    pipe = make_pipeline(CountVectorizer(), MultinomialNB())
    y = _Y.tolist()
    sides = [[words[i] for i in _IN], _Y[_IN], [words[i] for i in _OUT], _Y[_OUT]]
    pipe.fit(sides[0], sides[1])
    found = audit_classifier(
        pipe, sides[0], sides[1], sides[2], sides[3], ["loss", "reference"], shadows=2, quiet=True
    )
    assert found["loss"].metrics["members"] == 200
    assert y[0] in (0, 1)
    matrix = sparse.csr_matrix(_X)
    found = audited(MultinomialNB(), ["loss", "reference"], X=matrix, shadows=2)
    dense = audited(MultinomialNB(), ["loss", "reference"], shadows=2)
    assert found["reference"].metrics["auc"] == dense["reference"].metrics["auc"]


def test_pandas_tables() -> None:
    pandas = pytest.importorskip("pandas", reason="a table of pandas needs pandas")
    frame = pandas.DataFrame(_X, columns=[f"c{i}" for i in range(_X.shape[1])])
    labels = pandas.Series(_Y)
    model = DecisionTreeClassifier(random_state=0).fit(frame.iloc[_IN], labels.iloc[_IN])
    found = audit_classifier(
        model, frame.iloc[_IN], labels.iloc[_IN], frame.iloc[_OUT], labels.iloc[_OUT],
        ["loss", "reference"], shadows=2, quiet=True,
    )  # fmt: skip
    assert found["loss"].metrics["members"] == 200


def test_a_population_is_not_audited() -> None:
    found = audited(
        RandomForestClassifier(20, random_state=0),
        ["population", "rmia"],
        shadows=2,
        X_population=_X[_REST],
        y_population=_Y[_REST],
    )
    assert len(found["rmia"].scores) == 400


def test_a_shadow_without_a_class_gives_it_the_probability_0() -> None:
    y = _Y.copy()
    y[_IN[0]] = 2  # one example of a third class
    model = DecisionTreeClassifier(random_state=0).fit(_X[_IN], y[_IN])
    found = audit_classifier(
        model, _X[_IN], y[_IN], _X[_OUT], y[_OUT], "reference", shadows=2, quiet=True
    )
    assert np.isfinite(found["reference"].scores).all()
    ridge = RidgeClassifier().fit(_X[_IN], y[_IN])
    with pytest.raises(DataError, match=r"shadow \d: it has not seen the class 2"):
        audit_classifier(ridge, _X[_IN], y[_IN], _X[_OUT], y[_OUT], "reference", shadows=2)


def test_a_network_that_knows_its_members_by_heart_is_told() -> None:
    found = audited(KNeighborsClassifier(1))
    assert found["loss"].metrics["auc"]["value"] > 0.53
    assert found.verdict("auc<0.51").told == "broken"
    verdict = audited(LogisticRegression(C=1e-4, solver="liblinear")).verdict("auc<0.9")
    assert (verdict.passed, verdict.sentence()[:21]) == (True, "gate auc<0.9: passed,")
    with pytest.raises(RecipeError, match="less is safer"):
        found.verdict("auc>0.5")


class Odd(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    def __init__(self, how: str = "") -> None:
        self.how = how

    def fit(self, X: Any, y: Any) -> Odd:
        if self.how == "unfit" and hasattr(self, "classes_"):
            raise ValueError("two\nlines")
        self.classes_ = np.unique(y)
        if self.how == "warns":
            warnings.warn("so so", stacklevel=1)
        return self

    def predict_proba(self, X: Any) -> Any:
        p = np.full((len(X), 2), 0.5)
        if self.how == "nan":
            p[3] = np.nan
        if self.how == "fails":
            raise ValueError("no\nway")
        return p[:, :1] if self.how == "one" else [p, p] if self.how == "many" else p


class Stubborn(Odd):
    def __init__(self, *args: Any) -> None:  # scikit-learn cannot copy what it cannot name
        super().__init__("")


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (Odd("nan"), {}, "predict_proba of Odd gives NaN for row 3 of X_in"),
        (Odd("fails"), {}, "predict_proba of Odd fails on X_in: ValueError: no"),
        (Odd("one"), {}, r"gives shape \(200,\) for 200 examples of 2 classes"),
        (Odd("many"), {}, "answers about several labels"),
        (Odd(), {"shadows": 3}, r"shadows must be an even number, as they come in pairs \(got 3\)"),
        (Odd(), {"seed": -1}, "seed must be a whole number"),
        (Odd(), {"response_method": "decision_function"}, "Odd has no decision_function"),
        (Odd(), {"X_population": _X}, "give X_population and y_population, or neither"),
        (Stubborn(), {"shadows": 2}, "Stubborn cannot be cloned .*: set shadows to 0"),
    ],
)
def test_what_cannot_be_audited_is_one_line(model: Any, options: Any, message: str) -> None:
    with pytest.raises(PrivauditError, match=message) as caught:
        audited(model, **options)
    assert "\n" not in str(caught.value)


def test_what_is_no_classifier_is_one_line() -> None:
    sides = _X[_IN], _Y[_IN], _X[_OUT], _Y[_OUT]
    with pytest.raises(DataError, match="DecisionTreeClassifier has no classes_: give a class"):
        audit_classifier(DecisionTreeClassifier(), *sides)
    with pytest.raises(DataError, match="object has no predict_proba and no decision_function"):
        audit_classifier(object(), *sides)
    model = DecisionTreeClassifier().fit(_X[_IN], _Y[_IN])
    with pytest.raises(DataError, match="y_out: row 0 is 7, which the classifier has never seen"):
        audit_classifier(model, *sides[:3], np.full(200, 7))
    with pytest.raises(DataError, match="y_in must hold one label for each of 200 examples"):
        audit_classifier(model, sides[0], sides[1][:9], *sides[2:])


class Unlucky(Odd):
    """Fits once, and then no more: its copies are told apart by their randomness."""

    def __init__(self, random_state: int | None = None) -> None:
        self.random_state, self.how = random_state, ""

    def fit(self, X: Any, y: Any) -> Odd:
        if self.random_state is not None:
            raise ValueError("two\nlines")
        return super().fit(X, y)


def test_a_shadow_that_fails_is_named() -> None:
    with pytest.raises(PrivauditError, match=r"shadow 0 cannot be trained: ValueError: two$"):
        audited(Unlucky(), "reference", shadows=2)


def test_warnings_of_shadows_are_said_once(caplog: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        audited(Odd("warns"), "reference", shadows=4)
    lines = [r.getMessage() for r in caplog.records if "so so" in r.getMessage()]
    assert lines == ["4 of 4 shadows: UserWarning: so so"]


def test_pairs_of_three_classes_are_no_classes() -> None:
    x, y = load_digits(n_class=3, return_X_y=True)
    for shape in ("ovr", "ovo"):
        model = SVC(decision_function_shape=shape).fit(x[::2], y[::2])
        given = (model, x[::2], y[::2], x[1::2], y[1::2], ["loss"])
        if shape == "ovr":
            assert 0.4 < audit_classifier(*given, quiet=True)["loss"].metrics["auc"]["value"] < 0.9
        else:
            with pytest.raises(DataError, match="so its columns are no classes: set decision"):
                audit_classifier(*given)


def test_the_clone_of_what_is_frozen_is_no_shadow() -> None:
    model = DecisionTreeClassifier(max_depth=3, random_state=0).fit(_X[:200], _Y[:200])
    frozen = pytest.importorskip("sklearn.frozen", reason="scikit-learn is older than 1.6")
    given = (frozen.FrozenEstimator(model), _X[:200], _Y[:200], _X[200:], _Y[200:], ["lira"])
    with pytest.raises(DataError, match="cannot be cloned"):
        audit_classifier(*given, shadows=4)


@pytest.mark.parametrize("given", ["array", "table", "words", "sparse"])
def test_the_same_examples_on_both_sides_are_found_whatever_the_forest_votes(given: str) -> None:
    rows: Any = _X.round(1)
    if given == "table":
        rows = pytest.importorskip("pandas", reason="pandas is not installed").DataFrame(rows)
    model = RandomForestClassifier(20, random_state=0).fit(_X[_IN].round(1), _Y[_IN])
    if given == "words":
        texts = np.array([" ".join(f"w{round(v)}" for v in row) for row in _X], dtype=object)
        rows, model = texts, make_pipeline(CountVectorizer(), RandomForestClassifier(20))
        model.fit(texts[_IN], _Y[_IN])
    if given == "sparse":
        rows = sparse.csr_matrix(rows)

    def doubts(inside: Any, outside: Any) -> set[str]:
        def part(which: Any) -> Any:
            return rows.iloc[which] if hasattr(rows, "iloc") else rows[which]

        found = audit_classifier(
            model, part(inside), _Y[inside], part(outside), _Y[outside], "loss", quiet=True
        )
        return {doubt.name for doubt in found.doubts}

    everybody = np.concatenate([_IN, _OUT])
    assert "duplicate_rows" in doubts(_OUT, _OUT)
    assert "duplicate_rows" in doubts(everybody, _OUT)
    assert "duplicate_rows" not in doubts(_IN, _OUT)


def test_the_accuracy_is_said_and_the_exit_code_is_the_verdicts() -> None:
    model = RandomForestClassifier(20, random_state=0)
    found = audited(model)
    inside, outside = (float((model.predict(_X[r]) == _Y[r]).mean()) for r in (_IN, _OUT))
    assert found.accuracy == pytest.approx((inside, outside))
    assert f"right about {100 * inside:.1f} % of the members, {100 * outside:.1f} %" in str(found)
    assert (found.verdict("auc<0.99").exit_code, found.verdict("auc<0.51").exit_code) == (0, 3)
    with pytest.raises(RecipeError, match=r"a gate is a text such as 'auc<0.6'.*0.55"):
        found.verdict(0.55)


class Stopped(LogisticRegression):  # type: ignore[misc]
    """Boosting as XGBoost has it: no clone can be fitted while it waits for validation data."""

    def __init__(self, n_estimators: int = 100, early_stopping_rounds: int | None = None) -> None:
        super().__init__(max_iter=2000)
        self.n_estimators, self.early_stopping_rounds = n_estimators, early_stopping_rounds

    def fit(self, X: Any, y: Any, validation: bool = False) -> Any:
        if self.early_stopping_rounds is not None and not validation:
            raise ValueError("Must have at least 1 validation dataset for early stopping.")
        self.best_iteration = 36
        SEEN.append(self.n_estimators)
        return super().fit(X, y)


SEEN: list[int] = []


def test_shadows_of_what_was_stopped_early_are_trained_for_as_many_rounds() -> None:
    SEEN.clear()
    model = Stopped(early_stopping_rounds=5).fit(_X[_IN], _Y[_IN], validation=True)
    audit_classifier(
        model, _X[_IN], _Y[_IN], _X[_OUT], _Y[_OUT], "reference", shadows=2, quiet=True
    )
    assert SEEN == [100, 37, 37]


def test_a_step_of_a_pipeline_that_was_stopped_early_is_as_well() -> None:
    SEEN.clear()
    model = make_pipeline(FunctionTransformer(), Stopped(early_stopping_rounds=5))
    model.fit(_X[_IN], _Y[_IN], stopped__validation=True)
    given = (model, _X[_IN], _Y[_IN], _X[_OUT], _Y[_OUT])
    audit_classifier(*given, "reference", shadows=2, quiet=True)
    assert SEEN == [100, 37, 37]


@pytest.mark.parametrize("kind", [np.float32, list, "table"])
def test_copies_that_were_loaded_otherwise_are_found(kind: Any) -> None:
    model = RandomForestClassifier(20, random_state=0).fit(_X[_IN], _Y[_IN])
    again: Any = _X[_IN].astype(np.float32)
    if kind is list:
        again = _X[_IN].tolist()
    if kind == "table":
        again = pytest.importorskip("pandas", reason="pandas is not installed").DataFrame(_X[_IN])
    with warnings.catch_warnings(action="ignore"):
        found = audit_classifier(model, _X[_IN], _Y[_IN], again, _Y[_IN], "loss", quiet=True)
    assert "duplicate_rows" in {doubt.name for doubt in found.doubts}


def test_names_are_of_examples_and_not_of_how_they_are_held() -> None:
    rows = [[1, -0.0, "a"], [2, 0.5, "b"], [1, 0.0, "a"]]
    first, _, third = names([rows], [[0, 0, 0]])
    assert first == third
    assert names([np.array([[1, 2]])], [[0]]) == names([np.array([[1.0, 2.0]])], [[0]])
    assert names([np.array([[1, 2]])], [[0]]) != names([np.array([[1, 2]])], [[1]])
    assert names([["a b"]], [[0]]) != names([["a c"]], [[0]])


class Unfit:
    """Answers like another, and cannot be trained again."""

    def __init__(self, model: Any) -> None:
        self.model, self.classes_ = model, model.classes_

    def predict_proba(self, x: Any) -> Any:
        return self.model.predict_proba(x)


def test_what_an_attack_lacks_is_said_in_words_of_this_function() -> None:
    model = LogisticRegression(max_iter=2000).fit(_X[:200], _Y[:200])
    given = (model, _X[:200], _Y[:200], _X[200:], _Y[200:])
    with pytest.raises(RecipeError, match=r"^'lira' needs shadows, 2 or more \(got 0\)"):
        audit_classifier(*given, ["lira"])
    with pytest.raises(RecipeError, match=r"^'rmia' compares with others: give X_population and"):
        audit_classifier(Unfit(model), *given[1:], ["rmia"], shadows=4)  # before any is trained


@pytest.mark.parametrize(
    ("module", "name"), [("xgboost", "XGBClassifier"), ("lightgbm", "LGBMClassifier")]
)
def test_boosted_trees(module: str, name: str) -> None:
    library = pytest.importorskip(module, reason=f"{module} is not installed")
    options = {"n_estimators": 20, "verbosity": 0 if module == "xgboost" else -1}
    found = audited(getattr(library, name)(**options), ["loss", "lira"], shadows=4)
    assert found["lira"].metrics["auc"]["value"] > 0.55


def test_a_wrong_attack_is_told_before_any_shadow_is_trained() -> None:
    with pytest.raises(RecipeError, match="unknown attack 'los'; did you mean 'loss'"):
        audited(Unlucky(), "los", shadows=2)
