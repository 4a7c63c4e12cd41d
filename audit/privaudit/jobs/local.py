"""Processes of one thread each, among which a fit's models and a level's attacks are shared out.

Each works on a device of its own: the host's processor, or one GPU of several.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from threading import Thread
from typing import Any

import torch

from privaudit.errors import PrivauditError, ProcessError
from privaudit.jobs.lent import LentFolder, sweep
from privaudit.jobs.memory import keep_freed_memory
from privaudit.jobs.message import unwrapped, wrapped
from privaudit.jobs.shared import SharedTensors, share_tensors
from privaudit.jobs.streams import BESIDES, Call, Stream, Waiting
from privaudit.values import Augmentation, Examples

logger = logging.getLogger(__name__)

Tell = Callable[[Any], None]

_KILLED = (
    "a process that works for this one was killed, perhaps for lack of memory: use fewer "
    "--processes or a smaller training.stack; what is finished is kept"
)


class Workers:
    """A few processes that work, started at once and fed until the end.

    Tensors go to and fro as bytes of safetensors and the examples lie in files that all
    processes map into memory. A model has the same weights wherever it is trained.

    Args:
        count: how many, at least 1.
        prepare: called in each process before it reads what it is sent: they load modules that
            a process cannot find by their names. They must not mind being called often.
        devices: what `own_device` gives in each process; the host's processor if not given.
    """

    def __init__(
        self,
        count: int,
        prepare: Sequence[Callable[[], object]] = (),
        devices: Sequence[str] = (),
    ) -> None:
        self._count, self._prepare = count, tuple(prepare)
        self.devices = tuple(devices) or ("cpu",) * count
        sweep()
        self._folder = LentFolder()
        self._shared: list[tuple[Examples, SharedExamples]] = []
        self._waiting = Waiting()
        self._connections: list[Connection] = []
        self._processes: list[SpawnProcess] = []
        self._threads: list[Thread] = []
        self._start()

    def _start(self) -> None:
        # Forking after OpenMP has run would hang.
        context = multiprocessing.get_context("spawn")
        self._waiting.end(False)
        for _, device in zip(range(self._count), self.devices, strict=True):
            ours, theirs = context.Pipe()
            arguments = theirs, self._prepare, device
            process = context.Process(target=_serve, args=arguments, daemon=True)
            process.start()
            theirs.close()
            self._connections.append(ours)
            self._processes.append(process)
            self._threads.append(Thread(target=_feed, args=(ours, self._waiting), daemon=True))
            self._threads[-1].start()

    def __len__(self) -> int:
        """How many processes there are."""
        return self._count

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        self._stop()
        self._folder.close()

    def _stop(self) -> None:
        self._waiting.end()
        for process in self._processes:
            process.terminate()
            process.join()
        for thread in self._threads:  # each finds that its process is no more
            thread.join()
        for connection in self._connections:
            connection.close()
        self._connections, self._processes, self._threads = [], [], []

    def accept(self, value: object) -> bool:
        """Whether a value can be sent: whether its plugins can be found by their names."""
        try:
            wrapped(value)
        except Exception as error:  # pickle raises whatever a class's own code raises
            logger.info("work stays in this process: %s", error)
            return False
        return True

    def share(self, examples: Examples) -> SharedExamples:
        """Examples, as processes are to be given them."""
        for earlier, shared in self._shared:
            if earlier is examples:
                return shared
        folder = self._folder.path / str(len(self._shared))
        folder.mkdir()
        tensors = {name: getattr(examples, name) for name in ("x", "y", "mean", "std")}
        files = share_tensors(tensors, folder)
        self._shared.append(
            (examples, SharedExamples(files, examples.classes, examples.augmentation))
        )
        return self._shared[-1][1]

    def run(self, calls: Iterable[Call], heard: Tell) -> Iterator[tuple[int, Any]]:
        """The result of each call as soon as it is there, with the call's number.

        They come before calls of `submit`.

        Args:
            calls: what is to be done.
            heard: told what a call tells.

        Raises:
            PrivauditError: what went wrong in a process; the next run starts new ones.
            ProcessError: one was killed.
        """
        stream = self.submit(calls, urgent=True)
        try:
            yield from self.results(stream, heard)
        finally:
            self._waiting.remove(stream)
            if stream.left:  # a process may be in the middle of something
                self._stop()

    def submit(self, calls: Iterable[Call], *, urgent: bool = False) -> Stream:
        """Have calls done while this process goes on; `results` waits for them."""
        stream = Stream(calls, urgent)
        self._waiting.add(stream)
        if not self._processes:
            self._start()
        return stream

    def forget(self, stream: Stream) -> None:
        """Do no more of the calls of `submit`; those under way are given up where there are any."""
        self._waiting.remove(stream)
        if stream.left and self._processes:
            self._stop()

    def results(
        self, stream: Stream, heard: Tell, *, wait: bool = True
    ) -> Iterator[tuple[int, Any]]:
        """The result of each of some calls, as soon as it is there, with the call's number.

        Args:
            stream: the calls.
            heard: told what a call tells.
            wait: for those that are under way; else only what is there.

        Raises:
            PrivauditError: what went wrong in a process.
            ProcessError: one was killed.
        """
        if not self._processes:
            self._start()
        while (message := stream.get(wait)) is not None:
            kind, number, content = message
            if kind == "told":
                heard(content)
            elif kind == "warning":
                said, category = content
                warnings.warn(said, category, stacklevel=2)
            elif kind == "log":
                name, level, said = content
                logging.getLogger(name).log(level, "%s", said)
            elif kind == "failed":
                raise content
            elif kind == "killed":
                self._stop()
                raise ProcessError(_KILLED)
            else:
                yield number, unwrapped(*content)


@dataclass(frozen=True)
class SharedExamples:
    """Examples in files that processes share."""

    tensors: SharedTensors
    classes: tuple[str, ...]
    augmentation: Augmentation | None

    @lru_cache(maxsize=1)  # noqa: B019 - a few folders, for as long as the process lives
    def load(self) -> Examples:
        """The examples, mapped into memory where they need not be changed; read once."""
        tensors: dict[str, Any] = dict(self.tensors.load())
        return Examples(**tensors, classes=self.classes, augmentation=self.augmentation)


class _Sender(logging.Handler):
    """Passes on what a process has to say."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        """Send name, level and message."""
        self._connection.send(("log", (record.name, record.levelno, record.getMessage())))


_own = torch.device("cpu")


def own_device() -> torch.device:
    """What this process was started to work on; elsewhere the host's processor."""
    return _own


def _serve(connection: Connection, prepare: Sequence[Callable[[], object]], device: str) -> None:
    """Do what is asked for until the other end hangs up."""
    global _own
    _own = torch.device(device)
    if _own.type == "cuda":
        torch.cuda.set_device(_own)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to end
    torch.set_num_threads(1)
    keep_freed_memory()
    ours = logging.getLogger("privaudit")
    ours.setLevel(logging.INFO)
    logging.getLogger().addHandler(_Sender(connection))

    def warned(message: Warning | str, category: type[Warning], *location: object) -> None:
        connection.send(("warning", (str(message), category)))

    warnings.showwarning = warned  # type: ignore[assignment]

    with suppress(EOFError, BrokenPipeError):
        while True:
            described, body = connection.recv()
            try:
                for ready in prepare:
                    ready()
                function, arguments = unwrapped(described, body)
                result = function(lambda content: connection.send(("told", content)), *arguments)
                answer: tuple[str, object] = "done", wrapped(result)
            except (EOFError, BrokenPipeError):
                raise
            except PrivauditError as error:
                answer = "failed", error
            except Exception:
                answer = "failed", RuntimeError(f"in a process:\n{traceback.format_exc()}")
            connection.send(answer)


def _feed(connection: Connection, waiting: Waiting) -> None:
    """Have one process do what waits, call after call, until it is to go or is no more."""
    while (task := waiting.take()) is not None:
        stream, number, call = task
        try:
            described = wrapped(call)
        except Exception as error:  # pickle raises whatever a class's own code raises
            stream.put("failed", number, error)
            continue
        try:
            connection.send(described)
            kind = BESIDES[0]
            while kind in BESIDES:
                kind, content = connection.recv()
                stream.put(kind, number, content)
        except (EOFError, OSError):
            waiting.lost(stream, number, call)
            return
        except Exception as error:  # what it says next would be taken for the next call's
            logger.warning("what a process has sent cannot be read: %r", error)
            waiting.lost(stream, number, call)
            return
