"""Networks whose training diverged, named as their reader knows them."""

from __future__ import annotations

from torch import Tensor

from privaudit.errors import PrivauditError
from privaudit.experiment.context import RunContext
from privaudit.recipe import Subject


def diverged(
    context: RunContext, subject: Subject, models: Tensor, epochs: Tensor, lost: Tensor
) -> PrivauditError:
    """That training has diverged: whose, when, and what to do.

    Args:
        context: where and on what.
        subject: under audit, or what an attacker believes it to be.
        models: (k,) int64, their places in the ensemble.
        epochs: (k,) as `Cohort.lost`.
        lost: (k,) bool: whose weights or answers are no numbers.
    """
    first = int(lost.nonzero()[0])
    epoch, others = int(epochs[first]), int(lost.sum()) - 1
    when = f" in epoch {epoch}" if epoch else ""
    what = "its loss became NaN or infinite" if epoch else "its answers are NaN or infinite"
    more = f" (and {others} of the {len(lost) - 1} others)" if others else ""
    return PrivauditError(
        f"{context.ensemble.named(int(models[first]), context.recipe.seeds)} of subject "
        f"{subject.label!r} diverged{when}{more}: {what}. Lower training.lr (now "
        f"{subject.training.lr:g}); every training that is finished is kept"
    )
