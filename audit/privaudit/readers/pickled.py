"""Tensors of what torch.save wrote: read in a process of its own, where they can do no harm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor

from privaudit.errors import DataError
from privaudit.messages import plain
from privaudit.readers.budget import allowed
from privaudit.readers.door import amount, opened
from privaudit.readers.tensors import Unreadable, read_tensors

_MODULE = "privaudit.readers.unpickling"


@dataclass(frozen=True)
class StoredState:
    """A state dict as a file has it.

    Attributes:
        tensors: by name, on the host; those that share memory in the file do so here.
        left_out: what else the file holds, such as "optimizer".
    """

    tensors: dict[str, Tensor]
    left_out: tuple[str, ...] = ()


def read_pickled(path: Path) -> StoredState:
    """The state dict in a file that torch.save wrote, bare or wrapped.

    Only tensors and plain values are unpickled (`torch.load` with `weights_only`), by a process
    that may take no more memory than a run may use.

    Raises:
        DataError: it holds something else, is damaged, or takes too much memory or time; the
            message begins with the file.
    """
    memory = allowed()
    with TemporaryDirectory(prefix="privaudit-") as folder:
        try:
            with opened(path) as file:
                done = subprocess.run(
                    [sys.executable, "-m", _MODULE, folder, str(memory)],
                    stdin=file,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env=_environment(),
                    check=False,
                )
            said = json.loads(done.stdout)
        except OSError as error:
            raise DataError(plain(f"{path}: no process reads it: {error}")) from error
        except ValueError as error:
            raise DataError(
                plain(
                    f"{path}: whoever reads it is ended by the system (exit code "
                    f"{done.returncode}): it takes too much memory or time, or is damaged"
                )
            ) from error
        if said.get("wrong") == "memory":
            raise DataError(
                plain(
                    f"{path}: what it holds takes more memory than the {amount(memory)} that may "
                    "be used: make it smaller, or give more by --memory"
                )
            )
        if "wrong" in said:
            raise DataError(plain(f"{path}: cannot be read as a state dict: {said['wrong']}"))
        try:
            tensors, _ = read_tensors(Path(folder) / "tensors.safetensors")
        except Unreadable as error:
            raise DataError(plain(f"{path}: cannot be read: {error}")) from error
    state = {name: tensors[place] for name, place in said["names"].items()}
    return StoredState(state, tuple(said["left_out"]))


def _environment() -> dict[str, str]:
    """Of the process: what this one finds, and no switch that would have torch unpickle more."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TORCH_FORCE")}
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
