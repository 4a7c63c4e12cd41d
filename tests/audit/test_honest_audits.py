"""Twenty audits that are as they should be; `python -m benchmarks.false_alarms` draws 200."""

from __future__ import annotations

import warnings

import pytest
from benchmarks.honest_audits import honest_audit

from privaudit.outputs.arrays import read_answers
from privaudit.outputs.doubts import doubts_about

QUICK = (
    "torch, 5 epochs",
    "logistic regression, C 0.01",
    "random forest, depth 4",
    "naive Bayes",
)


@pytest.mark.parametrize("seed", range(20))
def test_an_honest_audit_is_not_doubted(seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of networks whose training is cut short
        audit = honest_audit(seed, most=300, fits=QUICK, shadows=(0, 2, 4))
    assert doubts_about(read_answers(**audit.arrays)) == [], audit.words
