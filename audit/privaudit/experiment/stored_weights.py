"""Weights as a file has them, for the network that they belong to.

What training programs put around names is taken off, pruning masks are multiplied in, and half
precision is converted. What still does not fit is refused, by name and with the likely cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

_FEW = 3  # names listed; more would bury the message
_WRAPPERS = (
    "module",  # DataParallel, DistributedDataParallel
    "_orig_mod",  # torch.compile
    "_module",  # Opacus
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
)
"""Modules that only wrap another, wherever they stand in a name."""
_ORIGINAL, _MASK = "_orig", "_mask"  # as torch.nn.utils.prune keeps a weight
_COUNTER = "num_batches_tracked"  # of BatchNorm, from before torch had it; no answer depends on it


class UnfitError(Exception):
    """Weights that do not belong to a network; the message says which, and the likely cause."""


@dataclass
class Fitted:
    """What was made of the weights of a file.

    Attributes:
        tensors: by the names of the network.
        notes: what was changed or left out to get there, to be said.
    """

    tensors: dict[str, Tensor]
    notes: list[str] = field(default_factory=list)


def fitted(stored: Mapping[str, Tensor], network: nn.Module, classes: int) -> Fitted:
    """The weights and buffers of a network, from those of a file.

    Args:
        stored: as the file names them.
        network: they are for; it is not changed.
        classes: of the dataset, for the likely cause of what does not fit.

    Raises:
        UnfitError: something is missing, left over, of another shape or type.
    """
    held = network.state_dict(keep_vars=True)
    wanted = {name: value for name, value in held.items() if isinstance(value, Tensor)}
    notes: list[str] = []
    tensors = _multiplied(stored, wanted, notes)
    tensors = _unwrapped(tensors, wanted, notes)
    _check(tensors, wanted, classes)
    _check_shared(tensors, wanted)
    return Fitted(_converted(tensors, wanted, notes), notes)


def _multiplied(
    stored: Mapping[str, Tensor], wanted: Iterable[str], notes: list[str]
) -> dict[str, Tensor]:
    """Weights times their pruning masks, where torch.nn.utils.prune has left both."""
    tensors = dict(stored)
    own = {name.rpartition(".")[2] for name in wanted}
    pairs = 0
    for name in stored:
        base = name.removesuffix(_ORIGINAL)
        mask = base + _MASK
        pruned = name != base and mask in stored and base not in stored
        if not pruned or name.rpartition(".")[2] in own:
            continue
        if stored[name].shape != stored[mask].shape:
            raise UnfitError(f"{mask} is of another shape than {name}")
        weight = tensors.pop(name)
        tensors[base] = weight * tensors.pop(mask).to(weight.dtype)
        pairs += 1
    if pairs:
        notes.append(f"{pairs} pruned weights were multiplied by their masks")
    return tensors


def _unwrapped(
    tensors: dict[str, Tensor], wanted: Mapping[str, Tensor], notes: list[str]
) -> dict[str, Tensor]:
    """Weights by the names of the network, without what wraps it or stands above it."""
    if not _lacking(tensors, wanted):
        return tensors
    own = {part for name in wanted for part in name.split(".")}
    wrappers = set(_WRAPPERS) - own
    bare: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        short = ".".join(part for part in name.split(".") if part not in wrappers)
        if short in bare:
            raise UnfitError(f"it holds {short} twice, once as {name}: keep one of them")
        bare[short] = tensor
    if bare.keys() != tensors.keys():
        used = {part for name in tensors for part in name.split(".")} & wrappers
        notes.append(f"{listed(sorted(f'{part}.' for part in used))} was taken off names")
    if not _lacking(bare, wanted):
        return bare
    prefixes = _prefixes(bare, wanted)
    whole = [prefix for prefix in prefixes if not _lacking(_below(bare, prefix), wanted)]
    if len(whole) > 1:
        raise UnfitError(
            f"it holds several networks that fit, under {listed(whole)}: save one of them alone"
        )
    if not whole:
        return _nearest(bare, wanted)
    rest = [name for name in bare if not name.startswith(whole[0])]
    notes.append(f"{whole[0]} was taken off names")
    if rest:
        notes.append(f"what does not begin with it was left out: {listed(rest)}")
    return _below(bare, whole[0])


def _prefixes(names: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """What may stand before the names of a network: all that does before its longest."""
    anchor = max((name for name in wanted if not name.endswith(_COUNTER)), key=len)
    ends = [name for name in names if name.endswith(f".{anchor}")]
    return sorted(name.removesuffix(anchor) for name in ends)


def _nearest(tensors: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without that which stands before all names, where more of them are then known."""
    parts = next(iter(tensors), "").split(".")
    tried = [".".join([*parts[:count], ""]) for count in range(1, len(parts))]
    shared = [prefix for prefix in tried if all(name.startswith(prefix) for name in tensors)]
    ways = [tensors, *(_below(tensors, prefix) for prefix in shared)]
    return max(ways, key=lambda names: len(names.keys() & wanted.keys()))


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    cut = len(prefix)
    return {name[cut:]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _lacking(names: Iterable[str], wanted: Mapping[str, Tensor]) -> list[str]:
    """What the network needs and is not there; of the names of a shared weight one is enough."""
    there = {id(wanted[name]) for name in names if name in wanted}
    return [
        name
        for name, tensor in wanted.items()
        if id(tensor) not in there and not name.endswith(_COUNTER)
    ]


def _check(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], classes: int) -> None:
    lacking = _lacking(tensors, wanted)
    foreign = [name for name in tensors if name not in wanted]
    reshaped = [n for n in wanted if n in tensors and tensors[n].shape != wanted[n].shape]
    retyped = [
        n
        for n, tensor in tensors.items()
        if n in wanted and wanted[n].is_floating_point() and not tensor.is_floating_point()
    ]
    shown = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in reshaped
    ]
    problems = [
        f"{what} {listed(names)}"
        for what, names in (
            ("it lacks", lacking),
            ("it holds, and the model has not,", foreign),
            ("of another shape", shown),
            ("not of floating-point numbers", retyped),
        )
        if names
    ]
    if problems:
        cause = _cause(tensors, wanted, lacking, foreign, reshaped, classes)
        raise UnfitError("; ".join(problems) + (f" ({cause})" if cause else ""))


def _cause(
    tensors: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    lacking: list[str],
    foreign: list[str],
    reshaped: list[str],
    classes: int,
) -> str:
    """What has probably happened, empty where nothing speaks for one thing."""
    if not lacking and not foreign and reshaped:
        firsts = {tensors[name].shape[:1] for name in reshaped}
        ends_alike = all(
            tensors[n].shape[1:] == wanted[n].shape[1:] and wanted[n].shape[:1] == (classes,)
            for n in reshaped
        )
        if ends_alike and len(firsts) == 1:
            return f"it was trained for {firsts.pop()[0]} classes, and the dataset has {classes}"
        if len(reshaped) == 1 and tensors[reshaped[0]].ndim == wanted[reshaped[0]].ndim >= 3:
            before, now = tensors[reshaped[0]].shape[1], wanted[reshaped[0]].shape[1]
            if before != now:
                return f"it was trained on images of {before} channels, and these have {now}"
        return "it is the same kind of network with other options, or for another size of examples"
    if lacking and foreign:
        shared = len(wanted) - len(lacking)
        if any(name.endswith((_ORIGINAL, _MASK)) for name in foreign):
            return "it was pruned, and a weight or its mask is missing"
        if shared * 2 < len(wanted):
            return "another architecture, or names that were changed"
        return "a last layer or a part was replaced: it is another architecture"
    if foreign:
        return "it is a larger network: another architecture, or one with other options"
    if lacking:
        return "it is only a part of this network, or another architecture"
    return ""


def _check_shared(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """A weight that the network uses in two places has one value."""
    first: dict[int, str] = {}
    for name in tensors:
        other = first.setdefault(id(wanted[name]), name)
        if other != name and not torch.equal(tensors[name], tensors[other]):
            raise UnfitError(f"{other} and {name} are one weight of the model, and differ there")


def _converted(
    tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], notes: list[str]
) -> dict[str, Tensor]:
    """In the types of the network."""
    kinds = {
        str(tensor.dtype).removeprefix("torch.")
        for name, tensor in tensors.items()
        if tensor.is_floating_point() and tensor.dtype != wanted[name].dtype
    }
    if kinds:
        notes.append(f"weights of {listed(sorted(kinds))} were converted to float32")
    return {name: tensor.to(wanted[name].dtype) for name, tensor in tensors.items()}


def listed(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return ", ".join(name[:200] for name in names[:_FEW]) + more
