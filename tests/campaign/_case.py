"""One thing that must not go wrong, and a part of the campaign: many of one kind."""

from __future__ import annotations

import os
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import tests.campaign


@dataclass(frozen=True)
class Case:
    """One case.

    Attributes:
        name: unique within its part.
        run: gets an empty folder of its own; answers "" where all was right, and otherwise one
            line that says what was wrong.
        count: how many things it tries, where it tries several.
    """

    name: str
    run: Callable[[Path], str]
    count: int = 1

    def outcome(self) -> str:
        """What went wrong; an error of the case itself is wrong, too."""
        with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
            try:
                return self.run(Path(folder))
            except Exception:
                return traceback.format_exc().strip().splitlines()[-1]


def apart(function: Callable[[], object]) -> None:
    """Do something in a child: autograd that has run here would keep cases from being forked.

    Raises:
        RuntimeError: it has failed.
    """
    process = os.fork()
    if not process:
        code = 1
        try:
            function()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    if os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]):
        raise RuntimeError("what a case needs could not be made")


@dataclass(frozen=True)
class Part:
    """Many cases of one kind.

    Attributes:
        name: of its module.
        question: what it asks, in one line.
        cases: from a seed to its cases.
    """

    name: str
    question: str
    cases: Callable[[int], Iterator[Case]]


def parts() -> dict[str, Part]:
    """Every part by name: the modules of this folder that have cases."""
    found = {}
    for module in iter_modules(tests.campaign.__path__):
        if not module.name.startswith(("_", "test_")):
            part = import_module(f"tests.campaign.{module.name}")
            found[module.name] = Part(module.name, part.QUESTION, part.cases)
    return found
