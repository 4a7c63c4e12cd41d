"""Networks that were trained elsewhere, read from a file: weights alone, or a whole program."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from hashlib import file_digest
from pathlib import Path
from typing import Literal, cast

import torch
from pydantic import SerializeAsAny
from torch import Tensor, nn

from privaudit.api.boundary import guest
from privaudit.api.plugin import Model, called
from privaudit.errors import DataError
from privaudit.experiment.exported import load_exported
from privaudit.experiment.stored_weights import UnfitError, fitted, listed
from privaudit.messages import plain
from privaudit.networks.bounded import within_memory
from privaudit.readers.budget import check
from privaudit.readers.door import exists, expanded, opened
from privaudit.readers.file_path import sought
from privaudit.readers.pickled import StoredState, read_pickled
from privaudit.readers.saved import SavedKind, saved_kind
from privaudit.readers.tensors import Unreadable, read_tensors
from privaudit.recipe.target import WEIGHTS

logger = logging.getLogger(__name__)


class Checkpoint(Model):
    """The network that a file holds.

    Weights fill the network that the recipe's model builds, and cannot do any harm. A TorchScript
    or torch.export file is a program and comes with its weights: nothing in it is unpickled, yet it
    can do whatever torch's operators can, so it must be trusted.
    """

    name: Literal["checkpoint"] = "checkpoint"
    path: str
    model: SerializeAsAny[Model]
    device: str
    key: str = "target.checkpoint"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """The network as it is in the file; nothing about it is drawn.

        Raises:
            DataError: the file is missing, damaged, or does not fit the model.
        """
        path = existing(self.path, self.key)
        kind = saved_kind(path)
        if kind in _PROGRAMS:
            return Program(_loaded(path, kind, self.device, self.key))
        stored = _stored(path, kind, self.key)
        with guest(self.model, "build"), within_memory(self.model):
            network = self.model.build(shape, classes)
        _fill(network, stored, path, self.model, classes, self.key)
        return network


class Program(nn.Module):
    """A network whose weights the engine neither sees nor changes.

    Attributes:
        parameters_in_all: how many it has.
        nonzero: how many of them are not zero.
        dtype: of what it calculates with.
    """

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        parameters = list(program.parameters())
        self.parameters_in_all = sum(p.numel() for p in parameters)
        self.nonzero = sum(int((p != 0).sum()) for p in parameters)
        self.dtype = next((p.dtype for p in parameters if p.is_floating_point()), torch.float32)
        self._program = (program,)  # in a tuple, or it would be stacked, moved and trained

    def forward(self, x: Tensor) -> Tensor:
        """What the program answers to examples (B, ...), in the precision it was written for.

        Tokens, int64, have none: the program sees them as they are.
        """
        if not x.is_floating_point():
            return cast(Tensor, self._program[0](x))
        logits: Tensor = self._program[0](x.to(self.dtype))
        return logits.to(x.dtype)


def existing(path: str, key: str = "target.checkpoint") -> Path:
    """The file of a checkpoint.

    Args:
        path: as a recipe names it.
        key: of the recipe that does, for messages.

    Raises:
        DataError: there is none.
    """
    file = expanded(path)
    if not exists(file):
        raise DataError(f"{key}: {path}: no such file; {sought(path)}")
    return file


def fingerprint(path: str, key: str = "target.checkpoint") -> str:
    """SHA-256 (hex) of a checkpoint, by which a run knows that it was changed.

    Raises:
        DataError: there is no such file.
    """
    with opened(existing(path, key)) as file:
        return file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def first_line(error: Exception) -> str:
    """What an error says, as far as it fits into a message of one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _exported(path: Path, device: str) -> nn.Module:
    from torch.export.passes import move_to_device_pass

    return move_to_device_pass(load_exported(path), device).module()


def _scripted(path: Path, device: str) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # deprecated, and still what people have
        load = cast("Callable[..., nn.Module]", torch.jit.load)
        return load(str(path), map_location=device).eval()


_PROGRAMS: dict[SavedKind, Callable[[Path, str], nn.Module]] = {
    "torch.export": _exported,
    "TorchScript": _scripted,
}


def _loaded(path: Path, kind: SavedKind, device: str, key: str) -> nn.Module:
    try:
        return _PROGRAMS[kind](path, device)
    except Exception as error:  # whatever torch, or the program, raises
        raise DataError(
            plain(f"{key}: {path} cannot be loaded as {kind}: {first_line(error)}")
        ) from error


def _stored(path: Path, kind: SavedKind, key: str) -> StoredState:
    """The weights in a file.

    Raises:
        DataError: it holds none, is damaged, or takes too much memory.
    """
    if kind == "state_dict":
        try:
            return read_pickled(path)
        except DataError as error:
            raise DataError(f"{key}: {error}") from error
    if kind == "pointer":
        raise DataError(
            plain(
                f"{key}: {path} is what Git keeps in the place of a large file, not the file: "
                "fetch it by `git lfs pull`"
            )
        )
    if kind == "other" and path.suffix != WEIGHTS:
        raise DataError(
            plain(
                f"{key}: {path} is no safetensors, torch.export, TorchScript or state_dict file: "
                "save the weights by torch.save(network.state_dict(), PATH)"
            )
        )
    with opened(path) as file:
        check(path, os.fstat(file.fileno()).st_size, "what it holds")
    try:
        return StoredState(read_tensors(path)[0])
    except Unreadable as error:
        raise DataError(
            plain(f"{key}: {path} cannot be read as safetensors: {first_line(error)}")
        ) from error


def _fill(
    network: nn.Module, stored: StoredState, path: Path, model: Model, classes: int, key: str
) -> None:
    """Give a network the weights and buffers of a file, all of them and no others."""
    try:
        made = fitted(stored.tensors, network, classes)
    except UnfitError as error:
        raise DataError(
            plain(f"{key}: {path} does not fit model {called(model)!r}: {error}")
        ) from error
    network.load_state_dict(made.tensors, strict=False)
    notes = list(made.notes)
    if stored.left_out:
        notes.append(f"what else the file holds was left out: {listed(stored.left_out)}")
    if notes:
        logger.warning("%s", plain(f"{key}: {path}: {'; '.join(notes)}"))
