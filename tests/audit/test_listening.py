"""Plugins that hear what runs tell: all, in order, and without harm to run or number."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from privaudit import events as told
from privaudit import load_recipe, run
from privaudit.api import listening
from privaudit.api.host import Plugins, load_plugins
from privaudit.api.interrupt import TooLong, time_limit
from privaudit.cli import main
from privaudit.errors import PluginError, PrivauditError
from privaudit.events import EVENTS, EpochDone, Event, RunDone, RunOpened, RunStarted, RunStopped
from privaudit.recipe import Recipe
from privaudit.store.result import RunResult

RECIPE = """
name: heard
dataset: digits
split: {members: 40, non_members: 40}
model: {name: mlp, hidden: [8]}
training: {epochs: 3}
sparsifiers: [dense, {name: imp, rounds: 1}]
attacks: [loss]
"""
EAR = """
import privaudit

@privaudit.hookimpl
def privaudit_event(event):
    with open({path!r}, "a") as file:
        file.write(repr(event) + "\\n")
    {more}
"""


class Home:
    """A folder with listeners and runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "heard.yaml").write_text(RECIPE)
        self.recipe: Recipe = load_recipe(folder / "heard.yaml")

    def ear(self, name: str, more: str = "pass") -> str:
        """A file that listens, writes what it hears into NAME.txt, and does something more."""
        path = self.folder / f"{name}.py"
        path.write_text(EAR.format(path=str(self.folder / f"{name}.txt"), more=more))
        return str(path)

    def heard(self, name: str) -> list[str]:
        """What a listener has heard, as text."""
        path = self.folder / f"{name}.txt"
        return path.read_text().splitlines() if path.exists() else []

    def run(
        self,
        name: str,
        *ears: str,
        on_event: Callable[[Event], None] | None = None,
        plugins: Plugins | None = None,
    ) -> RunResult:
        """A run with a cache of its own."""
        return run(
            self.recipe,
            self.folder / name,
            device="cpu",
            cache=self.folder / f"cache of {name}",
            plugins=plugins or load_plugins(files=ears),
            on_event=on_event,
        )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def test_the_list_of_events_is_complete_and_each_is_frozen() -> None:
    kinds = [v for v in vars(told).values() if isinstance(v, type) and issubclass(v, Event)]
    assert set(EVENTS) == {*kinds} - {Event}
    with pytest.raises(AttributeError):
        RunStopped("x").reason = "y"  # type: ignore[misc]


def test_all_that_happens_is_heard_by_all_in_order(home: Home) -> None:
    events: list[Event] = []
    home.run("a", home.ear("one"), home.ear("two"), on_event=events.append)
    assert home.heard("one") == home.heard("two") == [repr(event) for event in events]
    assert isinstance(events[0], RunOpened)
    assert isinstance(events[1], RunStarted)
    assert isinstance(events[-1], RunDone)
    assert sum(isinstance(event, EpochDone) for event in events) == 6
    home.run("b", str(home.folder / "one.py"))  # nobody else asks
    again = home.heard("one")[len(events) :]
    assert [e.partition("(")[0] for e in again] == [type(e).__name__ for e in events]


def test_a_run_that_is_read_back_and_one_that_fails_are_heard_too(home: Home) -> None:
    ear = home.ear("one")
    first = home.run("a", ear)
    before = len(home.heard("one"))
    log = (home.folder / "a" / "events.jsonl").read_bytes()
    assert home.run("a", ear).audits == first.audits
    opened, done = home.heard("one")[before:]
    assert opened.startswith("RunOpened(name='heard'")
    assert done.startswith("RunDone(")
    assert "found=True" in done
    assert (home.folder / "a" / "events.jsonl").read_bytes() == log

    def fail(event: Event) -> None:
        if isinstance(event, EpochDone):
            raise PrivauditError("no\nmore")

    with pytest.raises(PrivauditError):
        home.run("b", ear, on_event=fail)
    assert home.heard("one")[-1] == "RunStopped(reason='PrivauditError: no more')"


@pytest.mark.parametrize(
    "mischief",
    [
        "import torch, random, numpy\n    torch.manual_seed(1)\n    numpy.random.seed(1)\n"
        "    random.seed(1)",
        "import torch\n    torch.set_default_dtype(torch.float64); torch.set_grad_enabled(False)",
        "import torch\n    torch.use_deterministic_algorithms(True)\n"
        "    torch.set_flush_denormal(True)",
        "object.__setattr__(event, list(vars(event))[0] if vars(event) else 'x', 'broken')",
        "import os\n    os.chdir('/'); os.environ.clear()",
    ],
)
def test_what_a_listener_does_changes_no_number(home: Home, mischief: str) -> None:
    quiet, events = list[Event](), list[str]()
    torch.manual_seed(5)
    before = home.run("quiet", on_event=quiet.append)
    after = home.run(
        "loud",
        home.ear("bad", mischief),
        home.ear("good"),
        on_event=lambda e: events.append(repr(e)),
    )
    assert after.audits == before.audits
    models = [sorted((home.folder / n / "models").iterdir()) for n in ("quiet", "loud")]
    assert len(models[0]) == 3
    for one, other in zip(*models, strict=True):
        assert one.read_bytes() == other.read_bytes()
    scores = [np.load(home.folder / n / "scores.npz") for n in ("quiet", "loud")]
    assert all((scores[0][key] == scores[1][key]).all() for key in scores[0].files)
    assert home.heard("good") == events
    assert [e.partition("(")[0] for e in events] == [type(event).__name__ for event in quiet]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("raise ValueError('two\\nlines')", "ValueError: two lines"),
        ("raise SystemExit('bye')", "SystemExit: bye"),
        ("import os; os._exit(3)", "SystemExit: os._exit(3)"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_listener_that_fails_is_told_once_and_the_others_go_on(
    home: Home, more: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    result = home.run("a", home.ear("bad", more), home.ear("good"))
    assert len(result.audits) == 3
    heard = len(home.heard("good"))
    assert len(home.heard("bad")) == heard > 10  # and is called again: a server may be back
    first, last = warnings_of(caplog)
    assert first.startswith(f"privaudit_event of {home.folder}/bad.py fails at RunOpened (bad.py:")
    assert words in first
    assert "\n" not in first
    assert last.endswith(f"bad.py: {heard} events failed")


def test_who_interrupts_a_listener_interrupts_the_run(home: Home) -> None:
    with pytest.raises(KeyboardInterrupt):
        home.run("a", home.ear("bad", "raise KeyboardInterrupt"), home.ear("good"))
    assert [line.partition("(")[0] for line in home.heard("bad")] == ["RunOpened", "RunStopped"]
    assert [line.partition("(")[0] for line in home.heard("good")] == []


@pytest.mark.parametrize(
    "more",
    [
        "import time; time.sleep(60)",
        "import time\n    try: time.sleep(60)\n    except Exception: time.sleep(60)",
    ],
)
def test_a_listener_that_hangs_is_interrupted_and_hears_no_more(
    home: Home, more: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listening, "LIMIT", 0.2)
    result = home.run("a", home.ear("slow", more), home.ear("good"))
    assert len(result.audits) == 3
    assert len(home.heard("slow")) == 1
    assert len(home.heard("good")) > 10
    (line,) = warnings_of(caplog)
    assert "slow.py takes longer than 0 s over RunOpened: it is interrupted" in line


def test_a_time_limit_interrupts_what_is_too_slow_and_leaves_no_alarm() -> None:
    with pytest.raises(TooLong), time_limit(0.05):
        sum(1 for _ in count())
    with time_limit(0.05):
        pass
    for _ in range(10**6):  # longer than the limit: nothing rings any more
        pass


def test_what_a_listener_costs_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def hear(event: Event) -> None:
        now[0] += 4.0

    hearing = listening.Listening(
        [listening.Listener("t", "1", "plugin 't' of t 1", "t", "", hear)]
    )
    for reason in "abc":
        hearing(RunStopped(reason))
    hearing.close()
    assert warnings_of(caplog) == ["privaudit_event of plugin 't' of t 1 took 12 s of the run"]


def test_a_listener_whose_failures_take_long_hears_no_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now, heard = [0.0], list[Event]()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def hear(event: Event) -> None:
        heard.append(event)
        now[0] += 25.0
        raise ConnectionError

    listener = listening.Listener("t", "1", "plugin 't' of t 1", "t", "", hear)
    hearing = listening.Listening([listener])
    for reason in "abcdef":
        hearing(RunStopped(reason))
    assert len(heard) == 3
    assert [line.partition(" 1 ")[2] for line in warnings_of(caplog)] == [
        "fails at RunStopped: ConnectionError; the run goes on, and further failures are only "
        "counted",
        "has taken 75 s over events that failed: it hears no more of this run",
    ]


def test_what_a_listener_prints_is_not_the_command_s_answer(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    home.run("a", home.ear("loud", "print('heard')"))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("heard") == len(home.heard("loud"))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def privaudit_event(event): yield", "as a generator or a coroutine"),
        ("async def privaudit_event(event): pass", "as a generator or a coroutine"),
        ("def privaudit_event(happening): pass", "happening"),
        ("def privaudit_events(event): pass", "unknown hook 'privaudit_events'"),
    ],
)
def test_a_listener_that_would_hear_nothing_is_refused(
    tmp_path: Path, code: str, words: str
) -> None:
    path = tmp_path / "ear.py"
    path.write_text(f"import privaudit\n@privaudit.hookimpl\n{code}\n")
    with pytest.raises(PluginError, match=words) as refused:
        load_plugins(files=[path])
    assert "\n" not in str(refused.value)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Makes a module that an entry point names."""
    monkeypatch.syspath_prepend(str(tmp_path))
    names: list[str] = []

    def add(name: str, code: str) -> metadata.EntryPoint:
        (tmp_path / f"{name}.py").write_text(code)
        names.append(name)
        return metadata.EntryPoint(name, name, "privaudit")

    yield add
    for name in names:
        sys.modules.pop(name, None)


LISTENS = "import privaudit\n@privaudit.hookimpl\ndef privaudit_event(event): pass\n"
BOTH = f"""{LISTENS}
from typing import Literal
class Guess(privaudit.Attack):
    "Guesses."
    name: Literal["guess"] = "guess"
@privaudit.hookimpl
def privaudit_provide(): return [Guess]
"""


def test_installed_listeners_are_found_by_their_source_and_no_others_are_imported(
    installed: Callable[..., Any],
) -> None:
    points = [
        installed("ear_only", LISTENS),
        installed("ear_and_attack", BOTH),
        installed("ear_less", "raise SystemExit('imported')"),
        installed("ear_broken", f"{LISTENS}\nraise OSError('no server')"),
        metadata.EntryPoint("ear_twice", "ear_only", "privaudit"),
        metadata.EntryPoint("ear_gone", "ear_that_is_not_there", "privaudit"),
    ]
    plugins = load_plugins(entry_points=points)
    assert [one.name for one in plugins.listed() if one.kind] == ["guess"]
    assert "ear_only" not in [one.name for one in plugins.listed()]
    listeners, problems = plugins.listening()
    assert sorted(one.module for one in listeners) == ["ear_and_attack", "ear_only"]
    (problem,) = problems
    assert "OSError: no server" in str(problem)
    assert "ear_less" not in sys.modules
    assert plugins.of("attack").keys() == {"guess"}
    assert plugins.listening() == (listeners, ())


def test_an_installed_listener_that_cannot_be_used_is_named_and_the_run_goes_on(
    home: Home, installed: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    points = [*metadata.entry_points(group="privaudit")]
    points.append(installed("ear_broken", f"{LISTENS}\nraise OSError('no server')"))
    assert home.run("a", plugins=load_plugins(entry_points=points)).audits
    (line,) = warnings_of(caplog)
    assert line.startswith("plugin 'ear_broken' of ear_broken cannot be loaded: OSError: no server")
    assert line.endswith("the run goes on without it")


@pytest.mark.parametrize("columns", ["80", "200"])
def test_plugins_shows_who_listens(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: str
) -> None:
    ear = home.ear("one")
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(sys, "argv", ["privaudit", "plugins", "--plugin", ear])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    out = capsys.readouterr().out
    assert "Listening to runs: one.py" in out
    monkeypatch.setattr(sys, "argv", ["privaudit", "plugins", "--kind", "attack"])
    with pytest.raises(SystemExit):
        main()
    assert "Listening" not in capsys.readouterr().out
