"""Which columns and figures the page of each recipe shows: the one table of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

DEFENSE, AUC, BALANCED = ("defense",), ("auc",), ("best_balanced_accuracy",)
RARE = ("tpr@0.01",)
RAREST = ("tpr@0.01", "tpr@0.001")


@dataclass(frozen=True)
class Shown:
    """What a page shows.

    Attributes:
        attacks: metrics of each attack, by its label; empty: all attacks, and those of a report.
        figures: kind, attack and metric of each; a metric that is empty is the figure's own.
        means: whether means stand alone, without deviations and intervals.
    """

    attacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    figures: tuple[tuple[str, str, str], ...] = ()
    means: bool = False


_RANKED = dict.fromkeys(
    (
        "loss",
        "population",
        "confidence",
        "modified_entropy",
        "reference",
        "rmia",
        "rmia offline",
        "lira",
        "lira offline",
    ),
    BALANCED + AUC + RAREST,
)
_SPARSE = dict.fromkeys(("shadow_mlp", "logistic_regression", "loss"), DEFENSE + AUC + RARE)

PAGES: Mapping[str, Shown] = {
    "digits": Shown(_SPARSE, (("tradeoff", "shadow_mlp", ""),)),
    "location30": Shown(_SPARSE, (("tradeoff", "shadow_mlp", ""),)),
    "attacks_digits": Shown(_RANKED, (("roc", "", ""),)),
    "attacks_location30": Shown(_RANKED, (("roc", "", ""),)),
    "cifar_resnet20_quick": Shown(_SPARSE, (("tradeoff", "shadow_mlp", ""),)),
    "gonon_accuracy_matched_quick": Shown(
        {"shadow_mlp": DEFENSE, "lira": DEFENSE + AUC + RARE},
        (("tradeoff", "lira", ""), ("roc", "lira", "")),
    ),
    "wang_min_max_pruning_quick": Shown(
        {"nn_cls": BALANCED + AUC, "lira": BALANCED + AUC + RARE},
        (("tradeoff", "lira", "auc"), ("roc", "lira", "")),
    ),
    "yuan_zhang_pruning_quick": Shown(
        dict.fromkeys(
            ("confidence", "nn_cls", "samia", "samia adaptive", "confidence unknown"), AUC
        ),
        (("tradeoff", "confidence", "auc"),),
    ),
    "fang_kim_cwrf_quick": Shown(
        {"lira": AUC + RARE, "rmia": AUC + RARE},
        (("tradeoff", "lira", "auc"), ("roc", "lira", "")),
    ),
    "cubist_spiral": Shown(
        dict.fromkeys(("loss", "lira"), AUC + RARE), (("tradeoff", "loss", "auc"),)
    ),
    "recurrent_digits": Shown(
        dict.fromkeys(("loss", "rmia", "lira"), AUC + RARE), (("tradeoff", "rmia", "auc"),)
    ),
}
"""By the name of the recipe, in the order of the index."""


def shown(name: str) -> Shown:
    """What the page of a recipe shows; of one without an entry, what a report does."""
    return PAGES.get(name, Shown())
