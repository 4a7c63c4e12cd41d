"""Audits of classifiers of scikit-learn's kind: whatever has `predict_proba`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from privaudit.api.host import Plugins, load_plugins
from privaudit.api.plugin import Attack
from privaudit.api.split_options import SplitOptions
from privaudit.errors import DataError, RecipeError, ShortageError
from privaudit.messages import show
from privaudit.outputs import OutputAudits, audit_outputs
from privaudit.outputs.entries import attack_entries
from privaudit.outputs.estimators.answering import (
    Response,
    answers,
    classes_of,
    method_of,
    numbered,
)
from privaudit.outputs.estimators.rows import count, names, together
from privaudit.outputs.estimators.shadows import train

__all__ = ["audit_classifier"]


def audit_classifier(
    estimator: Any,
    X_in: Any,
    y_in: Any,
    X_out: Any,
    y_out: Any,
    attacks: str | Sequence[str | Mapping[str, Any] | Attack] | None = None,
    *,
    shadows: int = 0,
    X_population: Any = None,
    y_population: Any = None,
    response_method: Response | None = None,
    seed: int = 0,
    confidence: float = 0.95,
    delta: float | None = None,
    n_jobs: int | None = None,
    plugins: Plugins | None = None,
    quiet: bool = False,
) -> OutputAudits:
    """Attack a fitted classifier of scikit-learn, XGBoost, LightGBM or of the same kind.

    Args:
        estimator: fitted, with `classes_` and `predict_proba` or `decision_function`; also a
            pipeline or a search.
        X_in: the examples that it was trained on, of any kind that it takes.
        y_in: their labels.
        X_out: examples of the same population that it was not trained on.
        y_out: their labels.
        attacks: as `audit_outputs` takes them; all that are possible, if not given.
        shadows: how many clones the attacker trains, an even number: with 0, only attacks without
            shadows are possible. Each is trained on a random half of X_in and X_out together, with
            default `fit` options.
        X_population: examples that nobody was trained on and that are not audited.
        y_population: their labels.
        response_method: which method answers; predict_proba where there is one, if not given.
            decision_function of several classes counts as logits.
        seed: of the halves, the clones and the attacks.
        confidence: of every interval, two-sided.
        delta: δ of the bounds on ε.
        n_jobs: how many shadows are trained at once; None: one after another, -1: on all cores.
        plugins: those installed, if not given.
        quiet: log no doubt.

    Returns:
        What each attack found, with the doubts about it; `verdict` holds it against a gate.

    Raises:
        RecipeError: an option is wrong, or an attack needs what was not given.
        DataError: the examples, the labels or the answers cannot be audited.
        PrivauditError: the classifier, or a shadow, fails.
    """
    if not isinstance(shadows, int) or isinstance(shadows, bool) or shadows < 0 or shadows % 2:
        raise RecipeError(
            f"shadows must be an even number, as they come in pairs (got {show(shadows)})"
        )
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise RecipeError(f"seed must be a whole number from 0 on (got {show(seed)})")
    if (X_population is None) != (y_population is None):
        raise DataError("give X_population and y_population, or neither")
    installed = plugins or load_plugins()
    if attacks is not None:  # what is wrong is told before shadows are trained
        named = [attacks] if isinstance(attacks, str) else attacks
        check_attacks(attack_entries(named, installed), shadows, X_population is not None)
    method, classes = method_of(estimator, response_method), classes_of(estimator)
    sides = [("X_in", X_in, "y_in", y_in), ("X_out", X_out, "y_out", y_out)]
    if X_population is not None:
        sides.append(("X_population", X_population, "y_population", y_population))
    sizes = [count(examples, name) for name, examples, _, _ in sides]
    labels = [
        numbered(y, classes, name, size) for (_, _, name, y), size in zip(sides, sizes, strict=True)
    ]
    numbers = np.concatenate(labels)
    own = [answers(estimator, method, examples, classes, name) for name, examples, _, _ in sides]
    given: dict[str, Any] = {}
    audited = np.arange(len(numbers)) < sizes[0] + sizes[1]
    if shadows:
        trained = train(
            estimator,
            method,
            together([examples for _, examples, _, _ in sides]),
            np.concatenate([np.asarray(y) for _, _, _, y in sides]),
            numbers,
            classes,
            pool=audited.nonzero()[0],
            shadows=shadows,
            seed=seed,
            n_jobs=n_jobs,
        )
        given = {"shadow_logits": trained.answers, "shadow_members": trained.inside}
    margins = own[0].ndim == 1
    try:
        return audit_outputs(
            np.concatenate(own),
            numbers,
            np.arange(len(numbers)) < sizes[0],
            attacks,
            audited=audited,
            ids=names([part for _, part, _, _ in sides], [y for _, _, _, y in sides]),
            kind="margins" if margins else _KINDS[method],
            seed=seed,
            confidence=confidence,
            delta=delta,
            plugins=installed,
            quiet=quiet,
            **given,
        )
    except RecipeError as error:
        raise RecipeError(*map(_reworded, error.problems)) from error
    except DataError as error:
        cause = error.__cause__
        if not isinstance(cause, ShortageError) or cause.lacking not in _REMEDIES:
            raise
        label = str(error).partition(": ")[0]
        raise DataError(f"{label}: {cause}: {_REMEDIES[cause.lacking]}") from error


def check_attacks(entries: Sequence[tuple[str, Attack]], shadows: int, population: bool) -> None:
    """Refuse attacks that lack something whatever the classifier answers.

    Args:
        entries: with their labels.
        shadows: how many will be trained, in pairs.
        population: whether there are examples that are not audited.

    Raises:
        RecipeError: one line for each attack.
    """
    problems = []
    for label, attack in entries:
        some, none = SplitOptions(protocol="halves", members=1), SplitOptions(protocol="halves")
        if attack.shadows > shadows:
            problems.append(
                f"{label!r} needs shadows, {attack.shadows} or more (got {shadows}): lira and its "
                "like want 8 and more"
            )
        elif not population and attack.refusal(none, shadows) and not attack.refusal(some, shadows):
            problems.append(f"{label!r} compares with others: {_REMEDIES['population']}")
    if problems:
        raise RecipeError(*problems)


def _reworded(problem: str) -> str:
    """What arrays lack, as what this function is to be given."""
    return problem.replace("give shadow_logits and shadow_members of them", "give shadows")


_REMEDIES = {
    "shadows": "give more shadows",
    "population": "give X_population and y_population, which nobody was trained on",
}


_KINDS: dict[Response, str] = {"predict_proba": "probabilities", "decision_function": "logits"}
