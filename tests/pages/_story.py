"""A page, told from its first block to its last in one folder and one process."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import yaml
from tests.pages import _tables as tables
from tests.pages._commands import Command, commands, entry
from tests.pages._pages import ROOT, Fence

from privaudit.api.host import load_plugins
from privaudit.cli import main
from privaudit.recipe import find_recipe, load_recipe

WIDTH = 100
"""Columns of the terminal in which commands print; pages show what was printed in as many."""

_SYSTEM = ("ls", "cat", "mkdir", "cp", "rm")
_HERE = dict.fromkeys(("run", "demo"), "--device cpu --processes 1")
_RULE = re.compile(r"^[\s─]*─{3,}[\s─]*$")
_NUMBER = re.compile(r"[+−-]?(?:\d[\d,]*)?\.?\d+(?:e[+-]?\d+)?")
_HASH = re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{8,64}\b")


class Story:
    """Runs the blocks of one page, in order.

    Attributes:
        folder: where they run; `cd` changes it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names: dict[str, Any] = {"__name__": "page"}
        self._printed = ""
        self._output: Literal["none", "left out", "whole", "smaller"] = "none"
        self._smaller = False  # from a command that was made smaller on, numbers are other ones
        self._start()

    def _start(self) -> None:
        recipes = self.folder / "recipes"
        if not recipes.exists():
            recipes.symlink_to(ROOT / "recipes")

    def tell(self, fence: Fence) -> None:
        """Run, read or compare one block.

        Raises:
            AssertionError: with the block's place, where it is not what it seems to be.
        """
        known = fence.language in _HANDLERS
        assert known, (
            f"{fence.place}: ```{fence.info}: a block begins with one of {', '.join(_HANDLERS)} "
            'and nothing else but title="FILE"'
        )
        with self._at_home():
            if fence.title:
                self._write(fence)
            _HANDLERS[fence.language](self, fence)

    @contextlib.contextmanager
    def _at_home(self) -> Iterator[None]:
        variables = {"PRIVAUDIT_CACHE": str(self.folder / "cache"), "COLUMNS": str(WIDTH)}
        quiet = mock.patch("privaudit.cli.run._attach_logging", return_value=None)
        path = mock.patch.object(sys, "path", [str(self.folder), *sys.path])
        here = Path.cwd()
        os.chdir(self.folder)
        try:
            with mock.patch.dict(os.environ, variables), quiet, path:
                yield
        finally:
            self._forget_modules()
            self.folder = Path.cwd() if Path.cwd().is_relative_to(self.folder) else self.folder
            os.chdir(here)

    def _forget_modules(self) -> None:
        """Let no other page import what lies in this one's folder."""
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if file and Path(file).is_relative_to(self.folder):
                del sys.modules[name]

    def _write(self, fence: Fence) -> None:
        path = (Path.cwd() / fence.title).resolve()
        inside = path.is_relative_to(Path.cwd().resolve())
        assert inside, f"{fence.place}: {fence.title} is not below the page's own folder"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(fence.text, encoding="utf-8")

    def _python(self, fence: Fence) -> None:
        code = compile("\n" * fence.line + fence.text, fence.page, "exec")
        if fence.title:
            if "@privaudit.hookimpl" in fence.text:
                load_plugins(files=[fence.title])
            return
        lacking = [needed for sign, needed in tables.PACKAGES.items() if sign in fence.text]
        if not all(map(find_spec, lacking)):
            self._output = "left out"
            return
        self._printed = self._caught(lambda: exec(code, self._names), fence.place)[1]
        self._output = "smaller" if self._smaller else "whole"

    def _console(self, fence: Fence) -> None:
        assert not fence.title, f"{fence.place}: commands are no file"
        try:
            asked = commands(fence.text)
        except ValueError as error:
            raise AssertionError(f"{fence.place}: {error}") from error
        assert asked, f"{fence.place}: there is no command"
        self._printed, self._output = "", "whole"
        for command in asked:
            self._command(command, fence.place)

    def _command(self, command: Command, place: str) -> None:
        if self._left_out(command):
            self._output = "left out"
            return
        more = self._options(command)
        words = [*command.filled(), *shlex.split(more)]
        if words[0] == "privaudit":
            code, printed = self._caught(lambda: _privaudit(words), place)
        elif words[0] == "cd":
            os.chdir(words[1])
            return
        elif words[0] == "python" and words[1].endswith(".py"):
            code, printed = self._caught(lambda: _program(words[1:]), place)
        elif words[0] in _SYSTEM:
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            code, printed = done.returncode, done.stdout + done.stderr
        else:
            raise AssertionError(f"{place}: nobody said why `{command.text}` is not run")
        assert code == command.code, (
            f"{place}: `{command.text}` ended with {code} instead of {command.code}:\n{printed}"
        )
        self._printed += printed
        if self._smaller and self._output == "whole":
            self._output = "smaller"

    def _left_out(self, command: Command) -> bool:
        if entry(tables.NOT_RUN, command.text):
            return True
        if entry(tables.VALIDATED, command.text):
            words = command.filled()
            changes = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
            load_recipe(words[2], changes)
            return True
        return False

    def _options(self, command: Command) -> str:
        """What makes a command small, and keeps it from the other processors and devices."""
        smaller = entry(tables.SMALLER, command.text)
        if smaller:
            self._smaller = True
        here = _HERE.get(command.words[1], "") if command.words[0] == "privaudit" else ""
        return " ".join(filter(None, [smaller, here]))

    def _yaml(self, fence: Fence) -> None:
        data = yaml.safe_load(fence.text)
        if fence.title and isinstance(data, dict) and {"attacks", "dataset"} <= data.keys():
            load_recipe(fence.title)
        elif not fence.title:
            base = entry(tables.FRAGMENTS, fence.opening)
            assert base, f"{fence.place}: FRAGMENTS does not say what this is a part of"
            whole = yaml.safe_load(find_recipe(base).read_text()) | data
            load_recipe(whole)

    def _text(self, fence: Fence) -> None:
        if entry(tables.NOT_PRINTED, fence.opening):
            return
        assert self._output != "none", (
            f"{fence.place}: no command above prints this, and no table says why"
        )
        if self._output != "left out":
            shown = headings(fence.text) if self._output == "smaller" else fence.text
            missing = not_printed(shown, self._printed)
            assert not missing, (
                f"{fence.place}: this is not printed any more:\n{missing}\nbut\n{self._printed}"
            )

    def _toml(self, fence: Fence) -> None:
        tomllib.loads(fence.text)

    def _json(self, fence: Fence) -> None:
        json.loads(fence.text)

    def _diff(self, fence: Fence) -> None:
        """A change to a file that breaks it: `tests/pages/test_hooks.py` makes it and looks."""
        self._output = "left out"

    def _caught(self, work: Callable[[], object], place: str) -> tuple[int, str]:
        """Exit code, and all that was printed."""
        said = io.StringIO()
        code: int | str = 0
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                work()
            except SystemExit as end:
                code = end.code or 0
                if not isinstance(code, int):  # a program's last words
                    said.write(f"{code}\n")
                    code = 1
            except Exception as error:
                raise AssertionError(f"{place}: {type(error).__name__}: {error}") from error
        return int(code), said.getvalue()


_HANDLERS: dict[str, Callable[[Story, Fence], None]] = {
    "console": Story._console,
    "python": Story._python,
    "yaml": Story._yaml,
    "toml": Story._toml,
    "json": Story._json,
    "diff": Story._diff,
    "text": Story._text,
}


def _privaudit(words: list[str]) -> None:
    with mock.patch.object(sys, "argv", words):
        main()


def _program(words: list[str]) -> None:
    with mock.patch.object(sys, "argv", words):
        runpy.run_path(words[0], run_name="__main__")


def headings(text: str) -> str:
    """The lines of a table above its first rule, and nothing else."""
    kept: list[str] = []
    block: list[str] = []
    for line in [*text.splitlines(), ""]:
        if _RULE.match(line):
            kept += block
        block = [*block, line] if line.strip() and not _RULE.match(line) else []
    return "\n".join(" ".join(line.replace("─", " ").split()) for line in kept)


def not_printed(shown: str, printed: str) -> str:
    """The first line that is shown and was not printed, whatever its numbers are.

    A line that is `...` stands for what was cut. Lines may be broken elsewhere than in the page.
    """
    whole = _masked(printed)
    for line in shown.splitlines():
        if _masked(line) not in ("", "...") and _masked(line) not in whole:
            return line
    return ""


def _masked(text: str) -> str:
    """Without numbers, hashes, marks that hang on them, rules, and in single spaces."""
    text = _NUMBER.sub("#", _HASH.sub("#", text))
    return " ".join(re.sub(r"[▲▼*─]", " ", text).split())
