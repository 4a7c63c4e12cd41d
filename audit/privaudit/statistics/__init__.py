"""What an audit's numbers are and how sure they are: curves, intervals, privacy bounds.

For scores of your own, as NumPy arrays, torch tensors on the CPU, or lists: `roc` gives the curve,
`auc` and `tpr_at_fpr` what is read off it, with their intervals; `epsilon_lower_bound` and
`one_run_epsilon` what it proves about differential privacy. They are imported on first use.

>>> from privaudit.statistics import auc, roc
>>> auc([0.9, 0.8, 0.3, 0.1], [True, False, True, False]).value
0.75
>>> roc([0.9, 0.8, 0.3, 0.1], [True, False, True, False]).tpr.tolist()
[0.0, 0.5, 0.5, 1.0, 1.0]
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from privaudit.statistics.curve import roc_curve as roc
    from privaudit.statistics.epsilon import epsilon_lower_bound, one_run_epsilon
    from privaudit.statistics.metrics import roc_auc as auc
    from privaudit.statistics.metrics import tpr_at_fpr

__all__ = ["auc", "epsilon_lower_bound", "one_run_epsilon", "roc", "tpr_at_fpr"]

_HOME = {
    "auc": ("metrics", "roc_auc"),
    "epsilon_lower_bound": ("epsilon", "epsilon_lower_bound"),
    "one_run_epsilon": ("epsilon", "one_run_epsilon"),
    "roc": ("curve", "roc_curve"),
    "tpr_at_fpr": ("metrics", "tpr_at_fpr"),
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, function = _HOME[name]
    return getattr(import_module(f"{__name__}.{module}"), function)
