"""What a run is made from and by, and whether a finished one still stands for it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch

from privaudit.api.calls import loaded
from privaudit.api.host import Plugins
from privaudit.api.plugin import Dataset
from privaudit.errors import StoreError
from privaudit.experiment.checkpoint import fingerprint
from privaudit.experiment.environment import identities_of, used_plugins
from privaudit.experiment.target_pair import dense_fingerprint
from privaudit.messages import plain
from privaudit.recipe import Recipe
from privaudit.recipe.document import dump
from privaudit.recipe.model import GATES, without_speed_options
from privaudit.store.manifest import NAME, DamagedRunError, Manifest, read_manifest
from privaudit.store.models import set_file_aside
from privaudit.store.record import RESULT, read_record
from privaudit.store.restated import restate
from privaudit.store.result import RunResult, load_run
from privaudit.values import Examples
from privaudit.version import __version__

logger = logging.getLogger(__name__)

POOL = "dataset"


@dataclass(frozen=True)
class Data:
    """The examples of a recipe, as their datasets have them.

    Attributes:
        pool: of its `dataset`.
        target: of `target.members` and `target.non_members`, by these names; empty where no
            target is given.
        digests: hash (hex) of each, by name.
    """

    pool: Examples
    target: Mapping[str, Examples]
    digests: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        every = {POOL: self.pool} | dict(self.target)
        digests = {name: examples_digest(examples) for name, examples in every.items()}
        object.__setattr__(self, "digests", digests)


def load_data(recipe: Recipe, root: Path) -> Data:
    """Load every dataset that a recipe names.

    Args:
        recipe: the question.
        root: where datasets keep downloads.

    Raises:
        DataError: files are missing or damaged.
        PluginError: a dataset breaks its contract.
    """
    pool, *target = (loaded(dataset, root) for dataset in _datasets(recipe).values())
    return Data(pool, dict(zip(list(_datasets(recipe))[1:], target, strict=True)))


def _datasets(recipe: Recipe) -> dict[str, Dataset]:
    datasets = {POOL: recipe.dataset}
    if recipe.target is not None:
        datasets["target.members"] = recipe.target.members
        datasets["target.non_members"] = recipe.target.non_members
    return datasets


def examples_digest(examples: Examples) -> str:
    """Hash (hex) of everything that a dataset gives: 32 bytes of BLAKE2b."""
    state = blake2b(digest_size=32)
    augmentation = examples.augmentation
    words = [*examples.classes, "" if augmentation is None else repr(augmentation)]
    state.update(json.dumps(words).encode())
    for tensor in (examples.x, examples.y, examples.mean, examples.std):
        state.update(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
        state.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()


def made_by(recipe: Recipe, plugins: Plugins) -> dict[str, Any]:
    """What a run depends on besides its recipe and data: our version, plugins, a given target."""
    parts = {"privaudit": __version__, "plugins": used_plugins(recipe, plugins)}
    if recipe.target is not None:
        parts["checkpoint"] = fingerprint(recipe.target.checkpoint)
        if recipe.target.dense is not None:
            parts["dense checkpoint"] = dense_fingerprint(recipe.target)
    return parts


def about(
    recipe: Recipe, digests: Mapping[str, str], environment: Mapping[str, Any]
) -> dict[str, Any]:
    """What a manifest says about a run, and what its identity is made of."""
    keys = ("privaudit", "torch", "device", "plugins", "checkpoint", "dense checkpoint")
    made = _identifying(environment)
    return {
        "name": recipe.name,
        "recipe": _recipe_digest(asked(recipe)),
        "data": dict(digests),
        **{key: made[key] for key in keys if key in made},
    }


def _identifying(environment: Mapping[str, Any]) -> dict[str, Any]:
    """An environment without what is told of its plugins beside what they are."""
    known = {key: identities_of(environment[key]) for key in ("plugins",) if key in environment}
    return {**environment, **known}


def asked(recipe: Recipe) -> dict[str, Any]:
    """A recipe as result.json holds it."""
    return recipe.model_dump(mode="json", serialize_as_any=True)


def _recipe_digest(dumped: Mapping[str, Any]) -> str:
    text = json.dumps(without_speed_options(dumped), sort_keys=True)
    return blake2b(text.encode(), digest_size=32).hexdigest()


def has_run(folder: Path) -> bool:
    """Whether a folder holds something of a finished run."""
    return any(os.path.lexists(folder / name) for name in (RESULT, NAME))


def finished(
    folder: Path, recipe: Recipe, data: Data, parts: Mapping[str, Any]
) -> RunResult | None:
    """The finished run in a folder, if it is whole and would come out the same again.

    Whatever is not as it should be is named in a warning; damaged files are set aside.

    Args:
        folder: of a run; see `has_run`.
        recipe: the question.
        data: its examples, as they are now.
        parts: as `made_by` has them, now.

    Raises:
        StoreError: it holds the run of another recipe, or of a newer privaudit.
    """
    manifest, damage = _manifest(folder)
    result = _result(folder, manifest, damage)
    _refuse_another(folder, recipe, manifest, result)
    if manifest is not None and manifest.about.get("recipe") != _recipe_digest(asked(recipe)):
        damage[NAME] = f"{folder / NAME} is that of another run"
    elif manifest is not None:
        for name in manifest.files:
            if problem := manifest.problem(name):
                damage[name] = f"{folder / name} {problem}"
    if damage:
        for name, problem in damage.items():
            aside = set_file_aside(folder, name)
            kept = f"set aside as {aside.name}, and " if aside else ""
            logger.warning("%s: %sthe run is made again", plain(problem), kept)
        return None
    assert result is not None
    if result.failures:
        logger.warning("%s: what failed in the finished run is tried again", folder)
        return None
    before = _identifying(result.environment)
    changed = [key for key, value in parts.items() if before.get(key) != value]
    if changed:
        logger.warning(
            "%s was made by another %s: running again", folder, " and another ".join(changed)
        )
        return None
    if manifest is None:
        logger.warning(
            "%s was finished by a privaudit that kept no manifest: whether its data and its files "
            "are still the same is not known; remove it to run again",
            folder,
        )
        return result
    return None if _changed_data(folder, recipe, data, manifest) else result


def with_gates(done: RunResult, recipe: Recipe) -> RunResult:
    """A finished run with the gates of its recipe as that is now, which its folder keeps.

    Raises:
        StoreError: the folder cannot be written.
    """
    now = asked(recipe)
    if all(done.recipe.get(key, []) == now.get(key, []) for key in GATES):
        return done
    kept = {key: value for key, value in done.recipe.items() if key not in GATES}
    changed = kept | {key: now[key] for key in GATES if key in now}
    if done.folder is None or not os.access(done.folder, os.W_OK):
        logger.warning(
            "%s cannot be written, and keeps the gates of its earlier recipe", done.folder
        )
        return replace(done, recipe=changed)
    return restate(done, changed, dump(changed))


def _changed_data(folder: Path, recipe: Recipe, data: Data, manifest: Manifest) -> bool:
    before, datasets = manifest.about.get("data"), _datasets(recipe)
    earlier = before if isinstance(before, dict) else {}
    changed = [name for name, digest in data.digests.items() if earlier.get(name) != digest]
    for name in changed:
        logger.warning(
            "%s: its examples differ from those of the finished run in %s: running again",
            plain(_spelt(name, datasets[name])),
            folder,
        )
    return bool(changed)


def _spelt(name: str, dataset: Dataset) -> str:
    """A dataset with the options that tell where its files are."""
    options = dataset.model_dump(mode="json", exclude_defaults=True, exclude={"name"})
    texts = [f"{key}: {value}" for key, value in options.items() if isinstance(value, str)]
    return f"{name} {dataset.name}" + (f" ({', '.join(texts)})" if texts else "")


def _manifest(folder: Path) -> tuple[Manifest | None, dict[str, str]]:
    try:
        return read_manifest(folder), {}
    except DamagedRunError as error:
        return None, {NAME: _what(error)}


def _result(folder: Path, manifest: Manifest | None, damage: dict[str, str]) -> RunResult | None:
    """What can be read of result.json; what is wrong with it goes into `damage`."""
    try:
        if manifest is None and "identity" in read_record(folder, verify=False)[1]:
            damage.setdefault(NAME, f"{folder / NAME} is missing")
        return load_run(folder, verify=False)
    except StoreError as error:
        if not os.path.lexists(folder / RESULT):
            damage[RESULT] = f"{folder / RESULT} is missing"
        elif isinstance(error, DamagedRunError) or (manifest and manifest.problem(RESULT)):
            damage[RESULT] = _what(error)
        else:
            raise
    return None


def _what(error: StoreError) -> str:
    return str(error).partition("; run its recipe")[0]


def _refuse_another(
    folder: Path, recipe: Recipe, manifest: Manifest | None, result: RunResult | None
) -> None:
    """A folder belongs to the recipe that its manifest or its result names."""
    wanted, owners = _recipe_digest(asked(recipe)), {}
    if manifest is not None:
        owners[str(manifest.about.get("recipe"))] = str(manifest.about.get("name"))
    if result is not None:
        owners[_recipe_digest(result.recipe)] = result.name
    if owners and wanted not in owners:
        name = [*owners.values()][-1]
        raise StoreError(
            f"{folder} holds the run of another recipe, {plain(repr(name))}: name another --output"
        )
