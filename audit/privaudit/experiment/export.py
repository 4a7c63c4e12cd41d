"""One network of a finished run in a file of its own: truly smaller, and for use elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import safetensors.torch
import torch
from torch import Tensor, nn

from privaudit.api.calls import loaded, responded
from privaudit.api.plugin import Defense, overrides
from privaudit.channels import compact
from privaudit.errors import PluginError, RecipeError, StoreError
from privaudit.experiment.cost import filled, own_names
from privaudit.experiment.environment import cache_folder
from privaudit.experiment.onnx import as_onnx
from privaudit.messages import plain
from privaudit.networks.build import build_networks
from privaudit.readers.tensors import Unreadable, read_tensors
from privaudit.recipe import Recipe, Subject, load_recipe
from privaudit.store.files import private_folder, write_whole
from privaudit.store.inputs import Inputs, packed
from privaudit.store.manifest import read_manifest
from privaudit.store.models import model_path
from privaudit.store.result import RunResult, load_run
from privaudit.version import __version__

Format = Literal["safetensors", "onnx"]

logger = logging.getLogger(__name__)

T = TypeVar("T", str, int)


@dataclass(frozen=True)
class Exported:
    """What has been written.

    Attributes:
        path: the file.
        size: its bytes.
        dense: parameters of the recipe's network before anything was made sparse.
        parameters: those in the file.
        nonzero: how many of them are not zero.
        inputs: what the network takes.
        left_out: name of the defense that changes answers, which is not part of the file;
            empty where there is none.
    """

    path: Path
    size: int
    dense: int
    parameters: int
    nonzero: int
    inputs: Inputs
    left_out: str


@dataclass(frozen=True)
class _Chosen:
    subject: Subject
    level: str
    seed: int
    target: int


def export(
    run: str | Path,
    subject: str,
    *,
    level: str | None = None,
    seed: int | None = None,
    target: int | None = None,
    format: Format = "safetensors",
    output: Path | None = None,
    cache: Path | None = None,
) -> Exported:
    """Write one audited network to a file, without the channels that are zero.

    A safetensors file holds the state dict of the smaller network as it was trained, and in its
    metadata, under `privaudit`, JSON that tells where it is from and how its inputs are
    normalised. An ONNX file holds a network in float32 that takes examples in the dataset's own
    units, any number at once, and normalises them itself; it holds the same JSON. What the
    defense's `respond` does to answers is in neither.

    Args:
        run: its folder, or its result.json.
        subject: as the report calls it.
        level: likewise; not needed where there is one alone.
        seed: the first if not given.
        target: the first if not given.
        format: of the file.
        output: the file; in the folder `exports` of the run if not given.
        cache: where the dataset lies, which runs of older versions need.

    Raises:
        RecipeError: the run has no such network, or ONNX is not installed.
        StoreError: the run or its weights cannot be read, or the file cannot be written.
    """
    result = load_run(run)
    assert result.folder is not None
    manifest = read_manifest(result.folder)
    if manifest is None:
        logger.warning(
            "%s was made by a privaudit that kept no manifest: whether its files are still what it "
            "wrote is not known",
            result.folder,
        )
    else:
        manifest.check("recipe.yaml")
    recipe = load_recipe(result.folder / "recipe.yaml")
    chosen = _chosen(result, recipe, subject, level, seed, target)
    source = model_path(
        result.folder, chosen.subject.label, chosen.level, chosen.seed, chosen.target
    )
    if manifest is not None:
        manifest.check(source.relative_to(result.folder).as_posix())
    inputs, weights = _read(source)
    if inputs is None:
        inputs = Inputs.of(loaded(recipe.dataset, cache_folder(cache) / "data"))
    network, dense = _rebuilt(recipe, chosen, inputs, weights, source)
    about = packed(_about(recipe, chosen, inputs, network))
    if format == "onnx":
        data = as_onnx(network, inputs, about)
    else:
        data = safetensors.torch.save(_state(network), about)
    if output is None:
        private_folder(result.folder / "exports")
        output = result.folder / "exports" / source.with_suffix(f".{format}").name
    write_whole(output, data)
    defense = chosen.subject.defense
    return Exported(
        path=output,
        size=len(data),
        dense=dense,
        parameters=sum(p.numel() for p in network.parameters()),
        nonzero=sum(int((p != 0).sum()) for p in network.parameters()),
        inputs=inputs,
        left_out=defense.name if _responds(defense, len(inputs.classes)) else "",
    )


def _responds(defense: Defense, classes: int) -> bool:
    """Whether answers pass through the defense: one that wraps another may leave them alone."""
    if not overrides(defense, "respond"):
        return False
    logits = torch.randn(100, classes, generator=torch.Generator().manual_seed(0))
    try:
        return not torch.equal(responded(defense, logits, None), logits)
    except PluginError:  # it misses its second player, say
        return True


def _chosen(
    result: RunResult,
    recipe: Recipe,
    label: str,
    level: str | None,
    seed: int | None,
    target: int | None,
) -> _Chosen:
    if recipe.target is not None:
        raise RecipeError(
            f"{result.folder} audited a network trained elsewhere, so it has none to export: "
            f"that is {recipe.target.checkpoint}"
        )
    # Of dense controls none is kept.
    subjects = {subject.label: subject for subject in recipe.subjects()}
    label = _one("--subject", label, [a.subject for a in result.audits if a.subject in subjects])
    audits = [audit for audit in result.audits if audit.subject == label]
    return _Chosen(
        subject=subjects[label],
        level=_one("--level", level, [a.level for a in audits]),
        seed=_one("--seed", seed, [a.seed for a in audits], first=True),
        target=_one("--target", target, [a.target for a in audits], first=True),
    )


def _one(option: str, wanted: T | None, choices: Sequence[T], first: bool = False) -> T:
    """What was asked for, or what there is to choose without asking."""
    choices = list(dict.fromkeys(choices))
    if wanted in choices:
        return wanted
    if wanted is None and choices and (first or len(choices) == 1):
        return choices[0]
    names = ", ".join(plain(repr(choice)) for choice in choices) or "none"
    if wanted is None:
        raise RecipeError(f"{option} is needed: there are {names}")
    raise RecipeError(f"{option} {plain(repr(wanted))} is not in this run: there are {names}")


def _read(path: Path) -> tuple[Inputs | None, dict[str, Tensor]]:
    try:
        weights, metadata = read_tensors(path)
    except FileNotFoundError as error:
        raise StoreError(f"{path}: no such file; run its recipe again") from error
    except Unreadable as error:
        raise StoreError(f"{path} is damaged: {error}; run its recipe again") from error
    return Inputs.read(metadata), weights


def _rebuilt(
    recipe: Recipe, chosen: _Chosen, inputs: Inputs, weights: dict[str, Tensor], source: Path
) -> tuple[nn.Module, int]:
    """The smaller network, and how many parameters the dense one had."""
    double = any(weight.dtype == torch.float64 for weight in weights.values())
    structure, _, _, dense = build_networks(
        recipe.model,
        chosen.subject.sparsifier,
        inputs.shape,
        len(inputs.classes),
        [chosen.seed],
        torch.device("cpu"),
        torch.float64 if double else torch.float32,
    )
    try:
        return compact(filled(structure.module, weights)), dense
    except (ValueError, RuntimeError) as error:
        raise StoreError(
            f"{source} does not fit the network that {recipe.model.name!r} and "
            f"{chosen.subject.sparsifier.name!r} build now: run its recipe again"
        ) from error


def _about(
    recipe: Recipe, chosen: _Chosen, inputs: Inputs, network: nn.Module
) -> dict[str, object]:
    return {
        "privaudit": __version__,
        "recipe": recipe.name,
        "subject": chosen.subject.label,
        "level": chosen.level,
        "seed": chosen.seed,
        "target": chosen.target,
        "parameters": sum(p.numel() for p in network.parameters()),
        "shapes": {name: list(tensor.shape) for name, tensor in _state(network).items()},
        "inputs": inputs.record(),
    }


def _state(network: nn.Module) -> dict[str, Tensor]:
    names = own_names(network)
    return {n: t.contiguous() for n, t in network.state_dict().items() if n in names}
