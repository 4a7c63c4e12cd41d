"""What a plugin's author tests it with.

`check_plugin` holds a plugin to everything the engine will ask of it, on examples and networks
small enough for a unit test:

    from privaudit.testing import check_plugin

    def test_margin_keeps_the_contract() -> None:
        check_plugin(Margin)
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from privaudit.api.plugin import Attack, Dataset, Defense, Model, Plugin, Sparsifier
from privaudit.testing.attack import check_attack
from privaudit.testing.dataset import check_dataset
from privaudit.testing.defense import check_defense
from privaudit.testing.material import tiny_cohort
from privaudit.testing.model import check_model
from privaudit.testing.options import check_options
from privaudit.testing.sparsifier import check_sparsifier

__all__ = ["check_plugin", "tiny_cohort"]


def check_plugin(cls: type[Plugin], **options: object) -> None:
    """Check that a plugin keeps the contract of its kind.

    Args:
        cls: the plugin class.
        options: as a recipe would give them; needed where an option has no default, and useful to
            keep a sparsifier's script short.

    Raises:
        AssertionError: it does not; the message says what to change.
        DataError: a dataset's files are not there, so that it cannot be checked.
    """
    match check_options(cls, options):
        case Attack() as attack:
            check_attack(attack)
        case Model() as model:
            check_model(model)
        case Dataset() as dataset:
            with tempfile.TemporaryDirectory() as root:
                check_dataset(dataset, Path(root))
        case Defense() as defense:
            check_defense(defense)
        case Sparsifier() as sparsifier:
            check_sparsifier(sparsifier)
