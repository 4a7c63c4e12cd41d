"""Whose hooks are in force in a fit, and what the sparsifier's remember when it begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from privaudit.api.boundary import broken, guest
from privaudit.api.plugin import Defense, Plugin, Sparsifier, acts_while, overrides
from privaudit.errors import PluginError
from privaudit.keys import derive, seeded
from privaudit.networks.network import Network
from privaudit.networks.state import State
from privaudit.networks.vmapped import stacked_results
from privaudit.train.objective import Objective


def defense_in_force(
    own: Defense, companion: Network | None, tune: bool, asked: Plugin | None
) -> tuple[Defense, Network | None]:
    """The defense of a fit, and its second player.

    Args:
        own: the cohort's.
        companion: its second player.
        tune: this is fine-tuning.
        asked: what the script wants instead.

    Raises:
        PluginError: it wants no defense, or one that brings a second player.
    """
    if asked is not None:
        if not isinstance(asked, Defense):
            raise PluginError(f"fit(defense={asked!r}): not a privaudit.Defense")
        if overrides(asked, "companion"):
            raise PluginError(f"fit(defense={asked.name!r}) cannot bring a second network")
        return asked, None
    if tune or acts_while(own) == "all":
        return own, companion
    return Defense(name=""), None


def sparsifier_in_force(own: Sparsifier, asked: Plugin | None) -> Sparsifier:
    """The sparsifier whose hooks of training a fit follows.

    Args:
        own: the cohort's, which has prepared its networks.
        asked: what the script wants instead.

    Raises:
        PluginError: it wants no sparsifier, or one that would have to prepare the networks.
    """
    if asked is None:
        return own
    if not isinstance(asked, Sparsifier):
        raise PluginError(f"fit(sparsifier={asked!r}): not a privaudit.Sparsifier")
    if overrides(asked, "prepare") and type(asked) is not type(own):
        raise PluginError(
            f"fit(sparsifier={asked.name!r}) cannot prepare networks, which are built already"
        )
    return asked


def with_memory(objective: Objective, start: State, seeds: Sequence[int], number: int) -> State:
    """Models (M, ...) on the host where a fit begins: with a new memory, or with none.

    Args:
        objective: whose sparsifier may remember.
        start: the models.
        seeds: M models' own.
        number: how many fits led here.

    Raises:
        PluginError: `memory` fails, or gives what cannot be kept, or other shapes for other models.
    """
    if not objective.remembers:
        return replace(start, memory={}) if start.memory else start
    sparsifier = objective.sparsifier
    each = []
    for flat, seed in zip(start.flat, seeds, strict=True):
        with guest(sparsifier, "memory"), seeded(derive(seed, "memory", number)):
            each.append(objective.start_memory(flat))
    shapes = [{name: (t.shape, t.dtype) for name, t in one.items()} for one in each]
    if any(other != shapes[0] for other in shapes):
        what = "gives other names, shapes or kinds of numbers for some models than for others"
        raise broken(sparsifier, "memory", what)
    return replace(start, memory=stacked_results(each))
