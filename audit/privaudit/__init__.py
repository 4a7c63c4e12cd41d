"""privaudit tells whether a neural network leaks who was in its training data.

Everything public is named here and imported on first use, so that `privaudit --help`
does not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from privaudit.version import __version__

if TYPE_CHECKING:
    from privaudit.api.cohort import Cohort as Cohort
    from privaudit.api.hooks import hookimpl as hookimpl
    from privaudit.api.host import load_plugins as load_plugins
    from privaudit.api.plugin import Attack as Attack
    from privaudit.api.plugin import Dataset as Dataset
    from privaudit.api.plugin import Defense as Defense
    from privaudit.api.plugin import Model as Model
    from privaudit.api.plugin import Plugin as Plugin
    from privaudit.api.plugin import Promise as Promise
    from privaudit.api.plugin import Sparsifier as Sparsifier
    from privaudit.api.plugin import Step as Step
    from privaudit.api.plugin import Weights as Weights
    from privaudit.api.plugin import overrides as overrides
    from privaudit.api.plugin import usual_delta as usual_delta
    from privaudit.cohort.models import keep_largest as keep_largest
    from privaudit.errors import DataError as DataError
    from privaudit.errors import PluginError as PluginError
    from privaudit.errors import PrivauditError as PrivauditError
    from privaudit.errors import RecipeError as RecipeError
    from privaudit.errors import ShortageError as ShortageError
    from privaudit.errors import StoreError as StoreError
    from privaudit.experiment.running import run as run
    from privaudit.outputs import OutputAudit as OutputAudit
    from privaudit.outputs import audit_outputs as audit_outputs
    from privaudit.outputs.estimators import audit_classifier as audit_classifier
    from privaudit.outputs.estimators.scorer import make_privacy_scorer as make_privacy_scorer
    from privaudit.readers.file_path import FilePath as FilePath
    from privaudit.recipe import Recipe as Recipe
    from privaudit.recipe import SplitOptions as SplitOptions
    from privaudit.recipe import load_recipe as load_recipe
    from privaudit.statistics import metrics as metrics
    from privaudit.store.result import RunResult as RunResult
    from privaudit.store.result import load_run as load_run
    from privaudit.training import Training as Training
    from privaudit.values import AttackScores as AttackScores
    from privaudit.values import Augmentation as Augmentation
    from privaudit.values import Examples as Examples
    from privaudit.values import Outputs as Outputs
    from privaudit.values import Role as Role
    from privaudit.values import Signals as Signals
    from privaudit.values import Split as Split

_HOME = {
    "api.cohort": ["Cohort"],
    "cohort.models": ["keep_largest"],
    "errors": [
        "DataError", "PluginError", "PrivauditError", "RecipeError", "ShortageError", "StoreError",
    ],
    "api.hooks": ["hookimpl"],
    "api.host": ["load_plugins"],
    "outputs": ["OutputAudit", "audit_outputs"],
    "outputs.estimators": ["audit_classifier"],
    "outputs.estimators.scorer": ["make_privacy_scorer"],
    "api.plugin": [
        "Attack", "Dataset", "Defense", "Model", "Plugin", "Promise", "Sparsifier", "Step",
        "Weights", "overrides", "usual_delta",
    ],
    "readers.file_path": ["FilePath"],
    "recipe": ["Recipe", "SplitOptions", "load_recipe"],
    "store.result": ["RunResult", "load_run"],
    "experiment.running": ["run"],
    "training": ["Training"],
    "values": [
        "AttackScores", "Augmentation", "Examples", "Outputs", "Role", "Signals", "Split",
    ],
}  # fmt: skip
_MODULE = {name: module for module, names in _HOME.items() for name in names}
_SUBMODULES = {"metrics": "statistics.metrics"}

__all__ = ["__version__", *sorted([*_MODULE, *_SUBMODULES])]


def __getattr__(name: str) -> object:
    if name in _SUBMODULES:
        value: object = import_module(f"privaudit.{_SUBMODULES[name]}")
    elif name in _MODULE:
        value = getattr(import_module(f"privaudit.{_MODULE[name]}"), name)
    else:
        raise AttributeError(f"module 'privaudit' has no attribute {name!r}")
    globals()[name] = value
    return value
