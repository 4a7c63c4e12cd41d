"""The command line in a child of this process, where torch is imported already.

A case then costs what its work costs. The child is forked before this process has computed
anything in parallel, and computes with one thread.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

_IMPORTED = (
    "privaudit.cli", "privaudit.experiment.running", "privaudit.report", "privaudit.outputs",
    "privaudit.cli.progress", "sklearn.datasets", "sklearn.linear_model", "rich.console",
    "rich.logging", "privaudit.outputs.files", "privaudit.experiment.export",
)  # fmt: skip


@dataclass(frozen=True)
class Ran:
    """What became of a command.

    Attributes:
        code: its exit code; minus the signal's number where one ended it.
        out: what it printed.
        err: what it said on stderr.
        seconds: that it took.
        late: whether it was ended for taking too long.
    """

    code: int
    out: str
    err: str
    seconds: float
    late: bool = False


def privaudit(
    *arguments: str | Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    seconds: float = 60,
    memory: int | None = None,
    kill_after: float | None = None,
    signal_number: int = signal.SIGKILL,
    stdin: Path | None = None,
    before: Callable[[], None] | None = None,
) -> Ran:
    """Run a command to its end.

    Args:
        arguments: of the command line.
        cwd: the current folder; stdout and stderr are kept beside it.
        env: what changes in the environment.
        seconds: after which it is killed, and `late`.
        memory: bytes of address space it may use beside what is there at the start.
        kill_after: seconds after which it is sent a signal.
        signal_number: which.
        stdin: a file; nothing if not given.
        before: called in the child first.
    """
    return start(*arguments, cwd=cwd, env=env, memory=memory, stdin=stdin, before=before).ended(
        seconds, kill_after, signal_number
    )


@dataclass(frozen=True)
class Running:
    """A command that runs.

    Attributes:
        process: its number.
        started: when, on the monotonic clock.
        out: where its stdout goes.
        err: where its stderr goes.
    """

    process: int
    started: float
    out: Path
    err: Path

    def ended(
        self,
        seconds: float = 60,
        kill_after: float | None = None,
        signal_number: int = signal.SIGKILL,
    ) -> Ran:
        """Wait for its end."""
        late, sent = False, kill_after is None
        while True:
            process, status = os.waitpid(self.process, os.WNOHANG)
            passed = time.monotonic() - self.started
            if process:
                break
            if not sent and kill_after is not None and passed >= kill_after:
                os.kill(self.process, signal_number)
                sent = True
            if passed > seconds:
                late = True
                os.kill(self.process, signal.SIGKILL)
            time.sleep(0.005)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process, signal.SIGKILL)  # whatever it has left behind
        out, err = (path.read_text(errors="replace") for path in (self.out, self.err))
        return Ran(os.waitstatus_to_exitcode(status), out, err, passed, late)


_count = iter(range(10**9))


def start(
    *arguments: str | Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    memory: int | None = None,
    stdin: Path | None = None,
    before: Callable[[], None] | None = None,
) -> Running:
    """Start a command; see `privaudit`."""
    torch.set_num_threads(1)
    for name in _IMPORTED:
        importlib.import_module(name)
    number = next(_count)
    out, err = (cwd.parent / f"{cwd.name}.{number}.{kind}" for kind in ("out", "err"))
    sys.stdout.flush()
    sys.stderr.flush()
    ready, begun = os.pipe()
    process = os.fork()
    if process:
        os.close(begun)
        os.read(ready, 1)  # nothing, where the child has ended before
        os.close(ready)
        return Running(process, time.monotonic(), out, err)
    code = 70
    try:
        os.setpgid(0, 0)
        files = stdin, out, err
        code = _child([*map(str, arguments)], cwd, env or {}, memory, files, before, begun)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(code)


def _child(
    arguments: list[str],
    cwd: Path,
    env: Mapping[str, str],
    memory: int | None,
    files: tuple[Path | None, Path, Path],
    before: Callable[[], None] | None,
    begun: int,
) -> int:
    for number, path in enumerate((files[0] or Path(os.devnull), *files[1:])):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(path, flags, 0o600), number)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        for number, mode in ((0, "r"), (1, "w"), (2, "w"))
    )
    os.chdir(cwd)
    os.environ.update({"COLUMNS": "200", "PRIVAUDIT_CACHE": str(cwd / "cache"), **env})
    sys.argv = ["privaudit", *arguments]
    sys.path.insert(0, str(cwd))
    if memory is not None:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
    if before:
        before()
    from privaudit.cli import main

    os.write(begun, b" ")  # from here on the command is its own
    os.close(begun)
    main()
    return 0


def complaint(ran: Ran, *codes: int) -> str:
    """What is wrong with how a command ended; "" where nothing is.

    Args:
        ran: the command.
        codes: exit codes that are right.
    """
    said = ran.err + ran.out
    if ran.late:
        return f"no end after {ran.seconds:.0f} s"
    if "Traceback (most recent call last)" in said or "Exception ignored" in said:
        return f"a traceback: {said.strip().splitlines()[-1][:300]}"
    if ran.code not in codes:
        return f"exit code {ran.code}: {(said.strip() or 'nothing said').splitlines()[-1][:300]}"
    return ""


def digits(folder: Path, name: str = "recipe.yaml", **changes: object) -> Path:
    """A recipe on scikit-learn's digits that takes about a second.

    Args:
        folder: where the file goes.
        name: of the file.
        changes: keys of the recipe, in place of what stands here.
    """
    recipe: dict[str, object] = {
        "name": "tiny",
        "dataset": "digits",
        "split": {"members": 150, "non_members": 150},
        "model": {"name": "mlp", "hidden": [16]},
        "training": {"epochs": 3, "lr": 0.01, "optimizer": "adam", "batch_size": 64},
        "sparsifiers": ["dense", {"name": "imp", "rounds": 1}],
        "attacks": ["loss", {"name": "lira", "mode": "offline"}],
        "shadows": 4,
        "seeds": [0],
    }
    path = folder / name
    path.write_text(yaml.safe_dump(recipe | changes, sort_keys=False))
    return path
