"""What is imported for a name, and what a module's source tells without being imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path

import pytest
import torch

from privaudit.api.declared import KIND_OF, declared
from privaudit.api.host import Plugins, load_plugins
from privaudit.api.interrupt import is_interrupt
from privaudit.api.plugin import KINDS
from privaudit.errors import PluginError

PLUGIN = """
import pathlib
from typing import Literal
import privaudit
with pathlib.Path(__file__).with_name("imported.txt").open("a") as log:
    log.write(__name__ + " ")

class A(privaudit.{kind}):
    '''Does {name}.'''
    name: Literal["{name}"] = "{name}"

@privaudit.hookimpl
def privaudit_provide():
    return {answer}
"""


def test_kinds_are_named_as_their_classes_are() -> None:
    assert {kind.__name__: kind.kind for kind in KINDS} == KIND_OF


class Site:
    """A folder of installed distributions, whose modules say when they are imported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(
        self, point: str, name: str, kind: str = "Attack", answer: str = "[A]", start: str = ""
    ) -> None:
        module = f"lazy_{len(list(self.folder.glob('*.py')))}"
        info = self.folder / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[privaudit]\n{point} = {module}\n")
        code = start + PLUGIN.format(kind=kind, name=name, answer=answer)
        (self.folder / f"{module}.py").write_text(code)

    def plugins(self) -> Plugins:
        here: list[Distribution] = list(distributions(path=[str(self.folder)]))
        return load_plugins(entry_points=[point for one in here for point in one.entry_points])

    def imported(self) -> list[str]:
        log = self.folder / "imported.txt"
        return log.read_text().split() if log.exists() else []


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Site(tmp_path)
    for name in [name for name in sys.modules if name.startswith("lazy_")]:
        del sys.modules[name]


def test_only_what_may_be_meant_is_imported(site: Site) -> None:
    site.add("first", "first")
    site.add("second", "second")
    site.add("bundle", "third")
    site.add("dark", "fourth", answer="list((A,))")
    plugins = site.plugins()
    assert site.imported() == []
    assert plugins.find("attack", "second") is not None
    assert site.imported() == ["lazy_1"]
    assert plugins.find("attack", "third") is not None  # lazy_3 does not tell what it provides
    assert site.imported() == ["lazy_1", "lazy_2", "lazy_3"]
    assert plugins.find("attack", "fourth") is not None
    assert plugins.find("attack", "nothing") is None
    assert site.imported() == ["lazy_1", "lazy_2", "lazy_3"]
    assert list(plugins.of("attack")) == ["first", "fourth", "second", "third"]
    assert sorted(site.imported()) == ["lazy_0", "lazy_1", "lazy_2", "lazy_3"]


def test_the_list_and_suggestions_import_nothing(site: Site) -> None:
    site.add("first", "first", "Defense")
    site.add("bundle", "second")
    told = [(one.kind, one.name, one.summary) for one in site.plugins().listed()]
    assert told == [("defense", "first", "Does first."), ("attack", "second", "Does second.")]
    with pytest.raises(PluginError, match="did you mean 'second'"):
        site.plugins().get("attack", "secnd")
    assert site.imported() == []
    lines = site.plugins().listed()
    assert [one.source for one in lines] == [one.source for one in site.plugins().provided]


def test_two_distributions_with_one_entry_point_are_told_from_metadata(site: Site) -> None:
    site.add("same", "same")
    site.add("same", "same")
    with pytest.raises(PluginError, match=r"lazy_0 1\.0 .*lazy_1 1\.0 .*uninstall or rename one"):
        site.plugins().get("attack", "same")
    assert site.imported() == []


def test_one_entry_points_name_serves_two_kinds(site: Site) -> None:
    site.add("same", "same")
    site.add("same", "same", "Defense")
    assert site.plugins().get("defense", "same").kind == "defense"
    assert site.imported() == ["lazy_1"]


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ("import os; os._exit(0)\n", r"os\._exit\(0\)"),
        ("raise KeyboardInterrupt\n", "KeyboardInterrupt"),
        ("class Mine(BaseException): pass\nraise Mine('mine')\n", "Mine: mine"),
        ("raise GeneratorExit\n", "GeneratorExit"),
    ],
)
def test_whatever_ends_an_import_is_a_line(site: Site, start: str, said: str) -> None:
    site.add("first", "first", start=start)
    with pytest.raises(PluginError, match=rf"^plugin 'first' of lazy_0 1\.0 .*{said}"):
        site.plugins().named("first")


def test_what_an_import_changes_is_put_back(site: Site, tmp_path: Path) -> None:
    change = "import os, torch; torch.set_default_dtype(torch.float64); os.chdir('/'); print('x')\n"
    site.add("first", "first", start=change)
    before = Path.cwd()
    assert site.plugins().find("attack", "first") is not None
    assert torch.get_default_dtype() is torch.float32
    assert Path.cwd() == before


def test_a_child_that_an_import_forks_may_end_at_once(site: Site) -> None:
    site.add("first", "first", start="import os\nos.fork() or os._exit(0)\nos.wait()\n")
    exit_now = os._exit
    assert site.plugins().find("attack", "first") is not None
    assert os._exit is exit_now


def test_metadata_that_cannot_be_read_is_a_problem_of_its_own(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = site.folder / "broken-1.0.dist-info"
    broken.mkdir()
    (broken / "entry_points.txt").write_bytes(b"[privaudit]\n\xff = x\n")
    plugins = load_plugins()
    assert plugins.find("attack", "loss") is not None
    assert "entry points of broken cannot be read" in str(plugins.known_problems[0])


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("class B(A):\n    pass\n@hookimpl\ndef privaudit_provide(): return [B]", ["a"]),
        ("@hookimpl\ndef privaudit_provide():\n    'Words.'\n    return [A]", ["a"]),
        ("@hookimpl\ndef privaudit_provide(): return []", []),
        ("@hookimpl\ndef privaudit_provide(): return [A] if x else []", None),
        ("@hookimpl\ndef privaudit_provide(): return [int]", None),
        ("@hookimpl\ndef privaudit_provide(): return [A, more()]", None),
        ("@hookimpl\ndef privaudit_provide():\n    if x: return [A]\n    return []", None),
        ("from elsewhere import privaudit_provide", None),
        ("", None),
    ],
)
def test_a_source_tells_plainly_or_not_at_all(
    site: Site, code: str, names: list[str] | None
) -> None:
    head = (
        "from privaudit import Attack, hookimpl\nclass A(Attack):\n    name: Literal['a'] = 'a'\n"
    )
    (site.folder / "lazy_x.py").write_text(head + code + "\n")
    found = declared(EntryPoint("x", "lazy_x", "privaudit"))
    assert (None if found is None else [one.name for one in found]) == names


def test_every_built_in_plugin_tells_what_it_is() -> None:
    plugins = load_plugins()
    ours = [one for one in plugins.listed() if one.distribution == "privaudit"]
    truly = [one for one in plugins.provided if one.distribution == "privaudit"]
    assert [(one.kind, one.name, one.summary, one.source) for one in ours] == [
        (one.kind, one.name, one.summary, one.source) for one in truly
    ]


def test_ctrl_c_is_no_plugins_error() -> None:
    import signal

    with pytest.raises(KeyboardInterrupt) as caught:
        signal.raise_signal(signal.SIGINT)
    assert is_interrupt(caught.value)
    with pytest.raises(KeyboardInterrupt) as caught:
        exec("raise KeyboardInterrupt", {"__name__": "foreign"})
    assert not is_interrupt(caught.value)
