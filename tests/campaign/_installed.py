"""A table of what modules do when they are imported, and of what metadata may look like."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

HEAD = """
import os, random, signal, sys, threading, time, warnings
from typing import Literal
import numpy as np
import torch
import privaudit
"""
PLUGIN = """
class Hostile(privaudit.Attack):
    name: Literal["hostile"] = "hostile"

    def score(self, signals):
        return privaudit.AttackScores(-signals.target.logits[0].logsumexp(-1))

@privaudit.hookimpl
def privaudit_provide():
    return [Hostile]
"""

# What ends an import; where a module only changes what all share, the plugin can be used.
IMPORTS: dict[str, str | bytes] = {
    "os._exit(0)": "os._exit(0)",
    "os._exit(3)": "from os import _exit\n_exit(3)",
    "sys.exit(0)": "sys.exit(0)",
    "sys.exit(words)": "sys.exit('bye')",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "a KeyboardInterrupt of its own": "class Mine(KeyboardInterrupt): pass\nraise Mine('mine')",
    "a BaseException of its own": "class Mine(BaseException): pass\nraise Mine('mine')",
    "GeneratorExit": "raise GeneratorExit",
    "an error without words": (
        "class Mine(Exception):\n    def __str__(self): raise RuntimeError('none')\nraise Mine"
    ),
    "an error of many lines": "raise ValueError('a\\nb\\x1b[31m\\n' * 1000)",
    "a missing module": "import no_such_module",
    "a missing name": "from torch import no_such_name",
    "no Python": b"def broken(:",
    "no UTF-8": b"x = '\xff\xfe'\n",
    "zero bytes": b"x = 1\0",
    "nothing": b"",
    "no hook": b"x = 1\n",
    "a deep expression": b"x = " + b"(" * 5000 + b")" * 5000,
    "endless recursion": "def f(): return f()\nf()",
    "StopIteration": "raise StopIteration",
    "MemoryError": "raise MemoryError",
    "an answer of None": b"import privaudit\n@privaudit.hookimpl\ndef privaudit_provide(): pass\n",
    "a class of no kind": (
        b"import privaudit\n@privaudit.hookimpl\ndef privaudit_provide(): return [int]\n"
    ),
    "is never done": "while True: time.sleep(1)",
    "is killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "takes all memory": "x = [bytearray(2**30) for _ in range(10**6)]",
    "the default dtype": "# harmless\ntorch.set_default_dtype(torch.float64)",
    "the number of threads": "# harmless\ntorch.set_num_threads(7)",
    "determinism": "# harmless\ntorch.use_deterministic_algorithms(True)",
    "gradients": "# harmless\ntorch.set_grad_enabled(False)",
    "small numbers": "# harmless\ntorch.set_flush_denormal(True)",
    "seeds": "# harmless\ntorch.manual_seed(1)\nnp.random.seed(1)\nrandom.seed(1)",
    "the folder": "# harmless\nos.chdir('/')",
    "the environment": "# harmless\nos.environ.clear()",
    "warnings": "# harmless\nwarnings.simplefilter('error')",
    "numpy's errors": "# harmless\nnp.seterr(all='raise')",
    "stdout": "# harmless\nprint('hello ' * 1000)",
    "a closed stdout": "# harmless\nsys.stdout = None",
    "signals": "# harmless\nsignal.signal(signal.SIGINT, signal.SIG_IGN)",
    "an alarm": "# harmless\nsignal.alarm(1)",
    "the limit of recursion": "# harmless\nsys.setrecursionlimit(5000)",
    "the mode of files": "# harmless\nos.umask(0o777)",
    "a thread": "# harmless\nthreading.Thread(target=time.sleep, args=(1,), daemon=True).start()",
    "a replaced relu": "# harmless\nlast = torch.relu\ntorch.relu = lambda x: last(x)",
}

_ABOUT = "Metadata-Version: 2.1\nName: hostile\nVersion: 1.5\n"


def _distribution(
    points: bytes, folder: Path, about: bytes | None = _ABOUT.encode(), name: str = "hostile-1.5"
) -> None:
    info = folder / f"{name}.dist-info"
    info.mkdir()
    if about is not None:
        (info / "METADATA").write_bytes(about)
    (info / "entry_points.txt").write_bytes(points)
    (folder / "hostile_module.py").write_text("import os\nos._exit(0)\n")


def _folders(folder: Path) -> None:
    """Folders in the place of files."""
    (folder / "hostile-1.5.dist-info" / "entry_points.txt").mkdir(parents=True)
    (folder / "hostile-1.5.dist-info" / "METADATA").mkdir()


_GOOD = b"[privaudit]\nhostile = hostile_module\n"
# None of these names a plugin that the campaign's recipe does.
METADATA: dict[str, Callable[[Path], None]] = {
    "a line without =": partial(_distribution, b"[privaudit]\nhostile\n"),
    "no section": partial(_distribution, b"hostile = hostile_module\n# privaudit\n"),
    "entry points that are no UTF-8": partial(_distribution, b"[privaudit]\n\xff = \xfe\n"),
    "an entry point to nothing": partial(_distribution, b"[privaudit]\nhostile = \n"),
    "an entry point to no name": partial(_distribution, b"[privaudit]\nhostile = 1 2 !\n"),
    "an entry point to a class": partial(_distribution, b"[privaudit]\nh = hostile_module:A\n"),
    "an entry point to no module": partial(_distribution, b"[privaudit]\nhostile = no.such\n"),
    "an entry point with dots": partial(_distribution, b"[privaudit]\nhostile = ..x\n"),
    "an empty name": partial(_distribution, b"[privaudit]\n = hostile_module\n"),
    "a name with control characters": partial(
        _distribution, b"[privaudit]\n\x1b[31m = hostile_module\n"
    ),
    "no METADATA": partial(_distribution, _GOOD, about=None),
    "METADATA without a name": partial(_distribution, _GOOD, about=b"Version: 1.5\n"),
    "METADATA that is no UTF-8": partial(_distribution, _GOOD, about=b"Name: \xff\n"),
    "empty METADATA": partial(_distribution, _GOOD, about=b""),
    "a folder without a version": partial(_distribution, _GOOD, name="hostile"),
    "a folder without a name": partial(_distribution, _GOOD, name=""),
    "folders in the place of files": _folders,
    "many entry points": partial(
        _distribution,
        b"[privaudit]\n" + b"".join(b"h%d = hostile_module\n" % n for n in range(2000)),
    ),
}

UNREADABLE = {"a line without =", "entry points that are no UTF-8"}
"""Torch and Triton read every distribution's entry points themselves, and fail with these."""
