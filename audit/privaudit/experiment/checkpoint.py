"""Networks that were trained elsewhere, read from a file: weights alone, or a whole program."""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import file_digest
from pathlib import Path
from typing import Literal, cast

import torch
from pydantic import SerializeAsAny
from torch import Tensor, nn

from privaudit.api.boundary import guest
from privaudit.api.plugin import Model
from privaudit.errors import DataError
from privaudit.networks.bounded import within_memory
from privaudit.readers.budget import check
from privaudit.readers.door import exists, expanded, opened
from privaudit.readers.file_path import sought
from privaudit.readers.tensors import Unreadable, read_tensors
from privaudit.recipe.target import EXPORTED, WEIGHTS

_FEW = 5  # names listed; more would bury the message
_SCRIPT_MARKS = ("/constants.pkl",)
_EXPORT_MARKS = ("archive_format", "serialized_exported_program.json")  # since torch 2.8, before
_SAFE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
_CODE = ("constants/custom_obj_", "constants/opaque_obj_", "data/aotinductor/")


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

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """The network as it is in the file; nothing about it is drawn.

        Raises:
            DataError: the file is missing, damaged, or does not fit the model.
        """
        path = existing(self.path)
        if path.suffix == WEIGHTS:
            with guest(self.model, "build"), within_memory(self.model):
                network = self.model.build(shape, classes)
            _fill(network, path, self.model.name)
            return network
        if path.suffix == EXPORTED:
            return Program(_loaded(path, "torch.export", _EXPORT_MARKS, self._exported))
        return Program(_loaded(path, "TorchScript", _SCRIPT_MARKS, self._scripted))

    def _exported(self, path: Path) -> nn.Module:
        """A graph of torch's operators, and tensors: whatever else there is, is not unpickled."""
        from torch.export.passes import move_to_device_pass

        with opened(path) as file:
            names = zipfile.ZipFile(file).namelist()
        if any(part in name for name in names for part in _CODE):
            raise ValueError("it holds pickled objects or machine code, which is not run")
        with _no_pickle():
            program = torch.export.load(path)
        return move_to_device_pass(program, self.device).module()

    def _scripted(self, path: Path) -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # deprecated, and still what people have
            load = cast("Callable[..., nn.Module]", torch.jit.load)
            return load(str(path), map_location=self.device).eval()


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


def existing(path: str) -> Path:
    """The file of a checkpoint.

    Raises:
        DataError: there is none.
    """
    file = expanded(path)
    if not exists(file):
        raise DataError(f"target.checkpoint: {path}: no such file; {sought(path)}")
    return file


def fingerprint(path: str) -> str:
    """SHA-256 (hex) of a checkpoint, by which a run knows that it was changed.

    Raises:
        DataError: there is no such file.
    """
    with opened(existing(path)) as file:
        return file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def _loaded(
    path: Path, what: str, marks: tuple[str, ...], load: Callable[[Path], nn.Module]
) -> nn.Module:
    """A program, after a look at whether the file is one: torch's own complaints fill a screen."""
    names: list[str] = []
    with suppress(zipfile.BadZipFile, ValueError, NotImplementedError), opened(path) as file:
        names = zipfile.ZipFile(file).namelist()
    if not any(name.endswith(marks) for name in names):
        raise DataError(
            f"target.checkpoint: {path} is no {what} file; save a state_dict of tensors as "
            f"{WEIGHTS}, and name the model it belongs to"
        )
    try:
        return load(path)
    except Exception as error:  # whatever torch, or the program, raises
        raise DataError(
            f"target.checkpoint: {path} cannot be loaded as {what}: {first_line(error)}"
        ) from error


@contextmanager
def _no_pickle() -> Iterator[None]:
    """Torch's own switch: `torch.load` then takes tensors alone, whoever calls it and how."""
    before = {
        name: os.environ.pop(name, None) for name in ("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", _SAFE)
    }
    os.environ[_SAFE] = "1"
    try:
        yield
    finally:
        del os.environ[_SAFE]
        os.environ.update({name: value for name, value in before.items() if value is not None})


def first_line(error: Exception) -> str:
    """What an error says, as far as it fits into a message of one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _fill(network: nn.Module, path: Path, model: str) -> None:
    """Give a network the weights and buffers of a file, all of them and no others."""
    with opened(path) as file:
        check(path, os.fstat(file.fileno()).st_size, "what it holds")
    try:
        stored, _ = read_tensors(path)
    except Unreadable as error:
        raise DataError(
            f"target.checkpoint: {path} cannot be read as safetensors: {first_line(error)}"
        ) from error
    state = network.state_dict()  # names a shared weight twice; of the two one is enough
    needed = {n for n, _ in [*network.named_parameters(), *network.named_buffers()]} & state.keys()
    problems = [
        *_listed("it lacks", [n for n in state if n in needed - stored.keys()]),
        *_listed("it holds, and the network has not,", sorted(stored.keys() - state.keys())),
        *_listed("of another shape", _reshaped(stored, state)),
    ]
    if problems:
        raise DataError(
            f"target.checkpoint: {path} does not fit model {model!r}: {'; '.join(problems)}"
        )
    network.load_state_dict(stored, strict=False)


def _reshaped(stored: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    return [
        f"{name} {tuple(stored[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in state.items()
        if name in stored and stored[name].shape != tensor.shape
    ]


def _listed(what: str, names: list[str]) -> list[str]:
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return [f"{what} {', '.join(names[:_FEW])}{more}"] if names else []
