"""The five kinds of plugin.

A plugin is its options: a frozen pydantic model with `name: Literal["..."]`, its fields, and one
or two methods. Authors write for one model; the engine trains many at once.
What a plugin needs from the engine is a `ClassVar`, never an option.
"""

from __future__ import annotations

from privaudit.api.kinds.attack import Attack as Attack
from privaudit.api.kinds.base import Plugin as Plugin
from privaudit.api.kinds.base import called as called
from privaudit.api.kinds.dataset import Dataset as Dataset
from privaudit.api.kinds.defense import Defense as Defense
from privaudit.api.kinds.defense import Step as Step
from privaudit.api.kinds.defense import acts_in_training as acts_in_training
from privaudit.api.kinds.defense import acts_while as acts_while
from privaudit.api.kinds.model import Model as Model
from privaudit.api.kinds.promise import Promise as Promise
from privaudit.api.kinds.promise import usual_delta as usual_delta
from privaudit.api.kinds.sparsifier import Sparsifier as Sparsifier
from privaudit.api.kinds.sparsifier import Weights as Weights

KINDS: tuple[type[Plugin], ...] = (Dataset, Model, Sparsifier, Defense, Attack)


def overrides(plugin: Plugin, method: str) -> bool:
    """Whether a plugin writes a method of its kind itself."""
    base = next(kind for kind in KINDS if isinstance(plugin, kind))
    return getattr(type(plugin), method) is not getattr(base, method)
