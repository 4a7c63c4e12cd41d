"""Where a run happened: device, versions, the code of every plugin, folders."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import platformdirs
import torch

from privaudit.api.contract import kind_of, name_of
from privaudit.api.host import Plugins
from privaudit.api.plugin import Plugin
from privaudit.errors import RecipeError
from privaudit.recipe import Recipe
from privaudit.version import __version__


def choose_device(name: str) -> torch.device:
    """The device of `--device`: auto, cpu, cuda or cuda:i.

    Raises:
        RecipeError: no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise RecipeError(f"--device {name}: must be auto, cpu, cuda or cuda:NUMBER")
    if kind == "cuda":
        there = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(number or 0) >= there:
            raise RecipeError(f"--device {name}: this machine has {there} CUDA devices; try auto")
    return torch.device(name)


def devices_of_processes(name: str, processes: int) -> tuple[str, ...]:
    """What each process of a run works on; empty where the run's own process is enough.

    Args:
        name: of `--device`; auto and cuda mean every GPU that can be seen, one process each, and
            cuda:i that one. With a single GPU the run's own process trains.
        processes: how many work on a CPU.
    """
    device = choose_device(name)
    if device.type == "cuda" and device.index is None and torch.cuda.device_count() > 1:
        return tuple(f"cuda:{number}" for number in range(torch.cuda.device_count()))
    return ("cpu",) * processes if processes > 1 else ()


def cache_folder(given: Path | None = None) -> Path:
    """The cache that all runs share: `--cache`, else PRIVAUDIT_CACHE, else the user's own."""
    if given is not None:
        return given
    named = os.environ.get("PRIVAUDIT_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("privaudit")


def used_plugins(recipe: Recipe, plugins: Plugins) -> list[dict[str, str]]:
    """Kind, name, distribution, version and source hash of each plugin a recipe names."""
    identities = {}
    for plugin in _named(recipe):
        provided = plugins.provider(type(plugin))
        identities[provided.kind, provided.name] = {
            "kind": provided.kind,
            "name": provided.name,
            "distribution": provided.distribution,
            "version": provided.version,
            "source": provided.source,
        }
    return list(identities.values())


def with_deviations(recipe: Recipe, identities: list[dict[str, str]]) -> list[dict[str, Any]]:
    """The identities, and where each plugin departs from its paper.

    That is words, which decide no number: they are told of a run, and are no part of what it is.
    """
    classes = {type(plugin) for plugin in _named(recipe)}
    told = {(kind_of(cls).kind, name_of(cls)): cls.deviations for cls in classes}
    return [{**one, "deviations": list(told[one["kind"], one["name"]])} for one in identities]


def identities_of(plugins: object) -> object:
    """Of what a result says about its plugins, what tells them apart; it may hold anything."""
    if not isinstance(plugins, list):
        return plugins
    return [
        {key: value for key, value in one.items() if key != "deviations"}
        if isinstance(one, dict)
        else one
        for one in plugins
    ]


def _named(recipe: Recipe) -> list[Plugin]:
    named: list[Plugin] = [
        recipe.dataset,
        recipe.model,
        *(entry.plugin for entry in recipe.sparsifiers),
        *(entry.then for entry in recipe.sparsifiers if entry.then is not None),
        *(entry.plugin for entry in recipe.defenses),
        *(entry.plugin for entry in recipe.attacks),
    ]
    if recipe.target is not None:
        named += [recipe.target.members, recipe.target.non_members]
    beliefs: list[object] = [recipe.shadow_sparsifier, recipe.shadow_defense]
    for entry in recipe.attacks:
        beliefs += [entry.shadow_sparsifier, entry.shadow_defense]
    return [*named, *(belief for belief in beliefs if isinstance(belief, Plugin))]


def describe(device: torch.device, plugins: list[dict[str, str]]) -> dict[str, Any]:
    """What a result says about where it was made."""
    shown = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "privaudit": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": shown,
        "threads": torch.get_num_threads(),
        "git": _commit(Path(__file__).parent),
        "plugins": plugins,
    }


def _commit(folder: Path) -> str | None:
    """The commit that privaudit runs from, where it runs from a checkout."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
