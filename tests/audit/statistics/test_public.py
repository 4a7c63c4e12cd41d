"""`privaudit.statistics` for scores of one's own."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from privaudit import statistics
from privaudit.statistics.epsilon import epsilon_lower_bound, one_run_epsilon


def test_the_public_names_are_what_they_say() -> None:
    generator = np.random.default_rng(0)
    members = generator.random(300) < 0.5
    scores = generator.normal(members, 1).round(1)  # some tie
    curve = statistics.roc(scores, members)
    assert statistics.auc(scores, members).value == pytest.approx(
        sklearn_metrics.roc_auc_score(members, scores)
    )
    fpr, tpr, _ = sklearn_metrics.roc_curve(members, scores, drop_intermediate=False)
    assert np.allclose(curve.fpr, fpr)
    assert np.allclose(curve.tpr, tpr)
    at = statistics.tpr_at_fpr(scores, members, 0.1)
    assert at is not None
    assert at.value == pytest.approx(max(tpr[fpr <= 0.1]))
    assert statistics.epsilon_lower_bound is epsilon_lower_bound
    assert statistics.one_run_epsilon is one_run_epsilon
    with pytest.raises(AttributeError, match="no attribute 'rock'"):
        _ = statistics.rock


def test_naming_the_package_imports_nothing_slow() -> None:
    program = (
        "import sys, privaudit.statistics as s; assert 'roc' in s.__all__; "
        "print([m for m in ('numpy', 'scipy', 'torch') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
