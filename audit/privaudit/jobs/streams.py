"""Calls that wait for a process, and what has come of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from threading import Condition
from typing import Any

# A function of a module, and its arguments after the first, which tells the caller something.
Call = tuple[Callable[..., Any], tuple[Any, ...]]

BESIDES = ("told", "warning", "log")  # what is said about a call before it is done


class Stream:
    """Some calls in their order, and the messages that processes send about them.

    Args:
        calls: what is to be done.
        urgent: before all that are not.

    Attributes:
        left: how many calls have not come to an end that somebody has read.
    """

    def __init__(self, calls: Iterable[Call], urgent: bool) -> None:
        self.urgent = urgent
        self._todo = deque(enumerate(calls))
        self._messages: SimpleQueue[tuple[str, int, Any]] = SimpleQueue()
        self.left = len(self._todo)

    def take(self) -> tuple[int, Call] | None:
        """The next call and its number; None where none waits."""
        return self._todo.popleft() if self._todo else None

    def give_back(self, number: int, call: Call) -> None:
        """Let another process do a call."""
        self._todo.appendleft((number, call))

    def put(self, kind: str, number: int, content: object) -> None:
        """Keep what a process says about a call."""
        self._messages.put((kind, number, content))

    def get(self, wait: bool) -> tuple[str, int, Any] | None:
        """The next message; None where none is to come, or none is there and nobody waits."""
        if not self.left:
            return None
        try:
            message = self._messages.get(block=wait)
        except Empty:
            return None
        if message[0] not in BESIDES:
            self.left -= 1
        return message


class Waiting:
    """The streams that processes serve: the urgent before the others, the earlier before the later.

    All that threads share is read and written under one lock.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._ended = False
        self._streams: list[Stream] = []

    def add(self, stream: Stream) -> None:
        """Serve a stream, too."""
        with self._changed:
            self._streams.append(stream)
            self._streams.sort(key=lambda one: not one.urgent)
            self._changed.notify_all()

    def remove(self, stream: Stream) -> None:
        """Serve it no more."""
        with self._changed:
            self._streams = [one for one in self._streams if one is not stream]

    def take(self) -> tuple[Stream, int, Call] | None:
        """The next call, as soon as there is one; None where whoever asks is to go."""
        with self._changed:
            while not self._ended:
                for stream in self._streams:
                    if (task := stream.take()) is not None:
                        return stream, *task
                self._changed.wait()
            return None

    def lost(self, stream: Stream, number: int, call: Call) -> None:
        """A process went in the middle of a call: as all were to, or all are told of it."""
        with self._changed:
            stream.give_back(number, call)
            if not self._ended:
                for one in {*self._streams, stream}:
                    one.put("killed", number, None)

    def end(self, ended: bool = True) -> None:
        """Whether whoever waits for a call shall go."""
        with self._changed:
            self._ended = ended
            self._changed.notify_all()
