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
from privaudit.errors import DataError, PrivauditError
from privaudit.testing.attack import check_attack
from privaudit.testing.dataset import check_dataset
from privaudit.testing.defense import check_defense
from privaudit.testing.elsewhere import check_elsewhere
from privaudit.testing.material import C, tiny_cohort
from privaudit.testing.model import check_model
from privaudit.testing.options import check_options
from privaudit.testing.require import require
from privaudit.testing.sparsifier import check_sparsifier

__all__ = ["check_plugin", "tiny_cohort"]


def check_plugin(
    cls: type[Plugin],
    *,
    shape: tuple[int, ...] | None = None,
    classes: int | None = None,
    **options: object,
) -> None:
    """Check that a plugin keeps the contract of its kind.

    Args:
        cls: the plugin class.
        shape: of a model: the examples that it takes, such as (3, 32, 32); by default small images
            and features are tried, of which it may refuse one.
        classes: of a model: how many there are; 3 if not given.
        options: as a recipe would give them; needed where an option has no default, and useful to
            keep a sparsifier's script short. An option of the plugin that is called `shape` or
            `classes` cannot be given: it is checked with its default.

    Raises:
        AssertionError: it does not; the message says what to change.
        DataError: what a plugin needs is not there, as a dataset's files, so that it cannot be
            checked.

    Warns:
        UserWarning: a model works, but many cannot be trained at once; says why.
    """
    plugin = check_options(cls, options)
    require(
        isinstance(plugin, Model) or (shape is None and classes is None),
        f"{cls.__name__} is no model: `shape` and `classes` of check_plugin are for models",
    )
    try:
        count = C if classes is None else classes
        _check(plugin, shape, count)
        check_elsewhere(plugin, shape, count)
    except DataError:
        raise
    except PrivauditError as error:
        raise AssertionError(str(error)) from error


def _check(plugin: Plugin, shape: tuple[int, ...] | None, classes: int) -> None:
    match plugin:
        case Attack() as attack:
            check_attack(attack)
        case Model() as model:
            check_model(model, shape, classes)
        case Dataset() as dataset:
            with tempfile.TemporaryDirectory() as root:
                check_dataset(dataset, Path(root))
        case Defense() as defense:
            check_defense(defense)
        case Sparsifier() as sparsifier:
            check_sparsifier(sparsifier)
