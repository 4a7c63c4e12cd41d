"""Processes of one thread each, among which the models of a fit are shared out."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from privaudit.cohort.batches import Batches
from privaudit.cohort.fit import Fit, Match, Told, made
from privaudit.cohort.packing import Unit
from privaudit.cohort.parcel import unwrapped, wrapped
from privaudit.errors import PrivauditError
from privaudit.memory import keep_freed_memory
from privaudit.values import Augmentation, Examples

logger = logging.getLogger(__name__)

Part = tuple[Fit, Match | None]

_KILLED = (
    "a process that trains was killed, perhaps for lack of memory: use fewer --processes or a "
    "smaller training.stack; what is finished is kept"
)


class Workers:
    """A few processes that train, started at once and fed until the end.

    Weights go to and fro as bytes of safetensors and the examples lie in one file that all
    processes map into memory. A model has the same weights wherever it is trained.

    Args:
        count: how many, at least 1.
    """

    def __init__(self, count: int) -> None:
        # Forking after OpenMP has run would hang.
        context = multiprocessing.get_context("spawn")
        self._folder = tempfile.TemporaryDirectory(prefix="privaudit-")
        self._files: dict[str, Path] = {}
        self._connections: list[Connection] = []
        self._processes = []
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self._connections.append(ours)
            self._processes.append(process)

    def __len__(self) -> int:
        """How many processes there are."""
        return len(self._processes)

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            process.terminate()
            process.join()
        self._connections, self._processes = [], []
        self._folder.cleanup()

    def accept(self, part: Part) -> bool:
        """Whether a fit can be sent: whether its plugins can be found by their names."""
        try:
            wrapped(part)
        except Exception as error:  # pickle raises whatever a class's own code raises
            logger.info("training stays in this process: %s", error)
            return False
        return True

    def made(
        self, parts: Sequence[Part], data: Batches, source: str, told: Told
    ) -> Iterator[tuple[int, list[Unit]]]:
        """The units of each part as soon as they are done, with the part's number.

        Args:
            parts: fits of some models each.
            data: their examples.
            source: tells these examples from others.
            told: about every epoch of every part.

        Raises:
            PrivauditError: what went wrong in a process, or that it was killed.
        """
        where = self._shared(data, source)
        todo = iter(enumerate(parts))
        busy: dict[Connection, int] = {}
        idle = list(self._connections)
        finished = False
        try:
            while True:
                while idle and (following := next(todo, None)) is not None:
                    connection = idle.pop()
                    busy[connection] = following[0]
                    _send(connection, wrapped((where, following[1])))
                if not busy:
                    break
                for ready in wait(list(busy)):
                    assert isinstance(ready, Connection)
                    kind, content = _received(ready)
                    if kind == "epoch":
                        told(content[0], torch.tensor(content[1]))
                    elif kind == "failed":
                        raise content
                    else:
                        idle.append(ready)
                        yield busy.pop(ready), unwrapped(*content)
            finished = True
        finally:
            if not finished:  # a process may be in the middle of something
                self.close()

    def _shared(self, data: Batches, source: str) -> _Source:
        """Where processes find the examples."""
        examples = data.examples
        if source not in self._files:
            path = Path(self._folder.name) / f"{len(self._files)}.safetensors"
            tensors = {n: getattr(examples, n).contiguous() for n in ("x", "y", "mean", "std")}
            safetensors.torch.save_file(tensors, path)
            self._files[source] = path
        path = self._files[source]
        return _Source(path, examples.classes, examples.augmentation, data.dtype)


@dataclass(frozen=True)
class _Source:
    """Examples in a file that processes share."""

    path: Path
    classes: tuple[str, ...]
    augmentation: Augmentation | None
    dtype: torch.dtype

    def load(self) -> Batches:
        """The examples, mapped into memory where they need not be changed."""
        with safetensors.safe_open(self.path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        examples = Examples(**tensors, classes=self.classes, augmentation=self.augmentation)
        return Batches(examples, torch.device("cpu"), self.dtype)


def _serve(connection: Connection) -> None:
    """Train what is asked for until the other end hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to end
    torch.set_num_threads(1)
    keep_freed_memory()
    source: _Source | None = None
    data: Batches | None = None

    def told(epoch: int, history: Tensor) -> None:
        connection.send(("epoch", (epoch, history.tolist())))

    with suppress(EOFError, BrokenPipeError):
        while True:
            described, body = connection.recv()
            try:
                where, (fit, match) = unwrapped(described, body)
                if data is None or where != source:
                    source, data = where, where.load()
                answer: tuple[str, object] = "done", wrapped(made(fit, match, data, told))
            except (EOFError, BrokenPipeError):
                raise
            except PrivauditError as error:
                answer = "failed", error
            except Exception:
                answer = "failed", RuntimeError(f"in a process:\n{traceback.format_exc()}")
            connection.send(answer)


def _send(connection: Connection, parcel: tuple[bytes, bytes]) -> None:
    try:
        connection.send(parcel)
    except OSError as error:
        raise PrivauditError(_KILLED) from error


def _received(connection: Connection) -> tuple[str, Any]:
    try:
        kind, content = connection.recv()
    except (EOFError, OSError) as error:
        raise PrivauditError(_KILLED) from error
    return kind, content
