import sys
from collections.abc import Iterator
from hashlib import sha256
from importlib import metadata
from pathlib import Path

import pytest

from privaudit.api.host import Plugins, load_plugins
from privaudit.api.source import source_digest
from privaudit.errors import PluginError

ATTACK = '''
from typing import Literal
import privaudit

class {cls}(privaudit.Attack):
    """Scores {name}.

    And more.
    """
    name: Literal["{name}"] = "{name}"

@privaudit.hookimpl
def privaudit_provide():
    return [{cls}]
'''


class Site:
    """A folder of installed distributions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, module: str, code: str, distribution: str = "stranger", value: str = "") -> None:
        """Install a distribution with one module, named by one entry point."""
        info = self.folder / f"{distribution.replace('-', '_')}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.5\n"
        )
        (info / "entry_points.txt").write_text(f"[privaudit]\n{module} = {value or module}\n")
        (self.folder / f"{module}.py").write_text(code)

    def load(self) -> Plugins:
        """Only what is installed here."""
        return load_plugins(
            entry_points=[
                entry_point
                for distribution in metadata.distributions(path=[str(self.folder)])
                for entry_point in distribution.entry_points
            ]
        )

    def problem(self) -> str:
        """The one problem there is."""
        loaded = self.load()
        assert len(loaded.problems) == 1
        return str(loaded.problems[0])


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield Site(tmp_path)
    for module in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[module], "__file__", "")):
            del sys.modules[module]


def test_a_plugin_is_found_with_its_distribution_version_and_summary(site: Site) -> None:
    site.add("mod_a", ATTACK.format(cls="A", name="guess"), "privaudit-guess")
    loaded = site.load()
    assert loaded.problems == ()
    (provided,) = loaded.provided
    assert (provided.kind, provided.name) == ("attack", "guess")
    assert (provided.distribution, provided.version) == ("privaudit-guess", "1.5")
    assert provided.summary == "Scores guess."
    assert loaded.get("attack", "guess") is provided.cls
    assert loaded.of("attack") == {"guess": provided.cls}
    assert loaded.of("defense") == {}
    assert loaded.provider(provided.cls) is provided


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("def broken(:", "SyntaxError"),
        ("raise SystemExit('bye')", "SystemExit: bye"),
        ("x = 1", "no function privaudit_provide marked @privaudit.hookimpl"),
        (
            "import privaudit\n@privaudit.hookimpl\ndef privaudit_provides(): return []",
            "unknown hook 'privaudit_provides'",
        ),
        (
            "import privaudit\n@privaudit.hookimpl\ndef privaudit_provide(registry): return []",
            "registry",
        ),
        (
            "import privaudit\n@privaudit.hookimpl\ndef privaudit_provide(): return 3",
            "with 3, not with a list of classes",
        ),
        (
            "import privaudit\n@privaudit.hookimpl\ndef privaudit_provide(): pass",
            "with None, not with a list of classes",
        ),
        (
            "import privaudit\n@privaudit.hookimpl\ndef privaudit_provide(): return ['loss']",
            "provides 'loss', which is not a class",
        ),
        (
            "import privaudit\n@privaudit.hookimpl\ndef privaudit_provide(): return [int]",
            "class int is of no known kind",
        ),
        (
            "import privaudit\n@privaudit.hookimpl\n"
            "def privaudit_provide(): return [privaudit.Plugin]",
            "class Plugin is of no known kind",
        ),
        (
            "import privaudit\n@privaudit.hookimpl\n"
            "def privaudit_provide(): raise ValueError('two\\nlines')",
            "ValueError: two lines",
        ),
    ],
)
def test_a_broken_module_is_named_with_its_distribution_and_stops_nothing(
    site: Site, code: str, expected: str
) -> None:
    site.add("mod_a", ATTACK.format(cls="A", name="guess"), "good")
    site.add("mod_b", code, "bad")
    problem = site.problem()
    assert problem.startswith("plugin 'mod_b' of bad 1.5")
    assert expected in problem
    assert "\n" not in problem
    assert list(site.load().of("attack")) == ["guess"]


HEAD = """
from __future__ import annotations
from typing import Literal, TYPE_CHECKING
import privaudit
if TYPE_CHECKING:
    from decimal import Decimal

@privaudit.hookimpl
def privaudit_provide():
    return [A]

"""


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("class A(privaudit.Attack):\n    pass", "no fixed name"),
        ("class A(privaudit.Attack):\n    name: Literal['a', 'b'] = 'a'", "no fixed name"),
        ("class A(privaudit.Attack):\n    name: Literal['a']", "no fixed name"),
        ("class A(privaudit.Attack):\n    name: str = 'a'", "no fixed name"),
        (
            "class A(privaudit.Attack, privaudit.Defense):\n    name: Literal['a'] = 'a'",
            "Defense and Attack at once",
        ),
        *(
            (
                f"class A(privaudit.Attack):\n    name: Literal['a'] = 'a'\n    {key}: int = 0",
                f"the option '{key}', which recipes use for themselves",
            )
            for key in ("label", "training", "shadow_sparsifier", "shadow_defense")
        ),
        (
            "class A(privaudit.Attack):\n    name: Literal['a'] = 'a'\n    queries: int = 2",
            "write `queries: ClassVar[...]`",
        ),
        (
            "class A(privaudit.Attack):\n    name: Literal['a'] = 'a'\n    rate: Decimal = 1",
            "import it outside `if TYPE_CHECKING`",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Field name:UserWarning")
def test_a_class_that_breaks_the_contract_is_named(site: Site, body: str, expected: str) -> None:
    site.add("mod_a", HEAD + body)
    problem = site.problem()
    assert problem.startswith("plugin 'mod_a' of stranger 1.5: class A ")
    assert expected in problem


def test_an_option_without_a_default_is_allowed(site: Site) -> None:
    body = "class A(privaudit.Attack):\n    name: Literal['a'] = 'a'\n    rounds: int"
    site.add("mod_a", HEAD + body)
    assert site.load().problems == ()


def test_an_entry_point_that_names_a_class_is_told_to_name_its_module(site: Site) -> None:
    site.add("mod_a", ATTACK.format(cls="A", name="guess"), value="mod_a:A")
    assert "its entry point must name a module" in site.problem()


def test_a_name_claimed_twice_is_an_error_naming_both_and_neither_is_used(site: Site) -> None:
    site.add("mod_a", ATTACK.format(cls="A", name="guess"), "first")
    site.add("mod_b", ATTACK.format(cls="B", name="guess"), "second")
    site.add("mod_c", ATTACK.format(cls="C", name="other"), "third")
    problem = site.problem()
    assert "attack 'guess' is provided by" in problem
    assert "first 1.5 (mod_a.A)" in problem
    assert "second 1.5 (mod_b.B)" in problem
    loaded = site.load()
    assert list(loaded.of("attack")) == ["other"]
    with pytest.raises(PluginError, match=r"first 1\.5 .* second 1\.5"):
        loaded.get("attack", "guess")


def test_one_name_may_serve_two_kinds(site: Site) -> None:
    site.add("mod_a", ATTACK.format(cls="A", name="guess"), "first")
    site.add("mod_b", ATTACK.format(cls="B", name="guess").replace("Attack", "Defense"), "second")
    loaded = site.load()
    assert loaded.problems == ()
    assert loaded.get("attack", "guess").__name__ == "A"
    assert loaded.get("defense", "guess").__name__ == "B"
    assert [each.kind for each in loaded.named("guess")] == ["defense", "attack"]


def test_an_unknown_name_suggests_the_nearest_or_lists_what_there_is(site: Site) -> None:
    site.add("mod_a", ATTACK.format(cls="A", name="guess"))
    loaded = site.load()
    with pytest.raises(PluginError, match="no attack is called 'gues': did you mean 'guess'"):
        loaded.get("attack", "gues")
    with pytest.raises(PluginError, match="there are guess"):
        loaded.get("attack", "zzz")
    with pytest.raises(PluginError, match="no model is called 'guess': there are none"):
        loaded.get("model", "guess")


def test_asking_for_a_broken_plugin_quotes_why_it_is_broken(site: Site) -> None:
    site.add("mod_a", "import no_such_library")
    with pytest.raises(PluginError, match=r"attack 'mod_a' cannot be used.*no_such_library"):
        site.load().get("attack", "mod_a")
    with pytest.raises(PluginError, match="no_such_library"):
        site.load().named("mod_a")


def test_a_class_nobody_installed_has_no_provider(site: Site) -> None:
    site.add("mod_a", ATTACK.format(cls="A", name="guess"))
    loaded = site.load()
    copied = type("Copied", (loaded.get("attack", "guess"),), {"__module__": "nowhere"})
    with pytest.raises(PluginError, match=r"nowhere\.Copied is not provided"):
        loaded.provider(copied)


def test_each_load_asks_anew(site: Site) -> None:
    site.add("mod_a", ATTACK.format(cls="A", name="guess"))
    assert load_plugins(entry_points=()).provided == ()
    assert len(site.load().provided) == 1


def test_the_source_of_one_module_is_its_files_digest(site: Site) -> None:
    code = ATTACK.format(cls="A", name="guess")
    site.add("mod_a", code)
    assert site.load().provided[0].source == sha256(code.encode()).hexdigest()


def test_the_source_covers_what_its_package_lends_it_and_nothing_else(site: Site) -> None:
    package = site.folder / "pack"
    package.mkdir()
    files = {
        "__init__": "",
        "plugin": "from . import helper\nfrom pack.base import Base\n"
        + ATTACK.format(cls="A", name="guess").replace("privaudit.Attack", "Base"),
        "base": "import privaudit\nclass Base(privaudit.Attack):\n    pass\n",
        "helper": "def lazily():\n    from pack.deep import x\n",
        "deep": "x = 1\n",
        "other": "y = 1\n",
    }
    for name, code in files.items():
        (package / f"{name}.py").write_text(code)
    site.add("mod_a", "from pack.plugin import privaudit_provide")

    (provided,) = site.load().provided
    before = provided.source
    for changed in ("base", "helper", "deep"):
        (package / f"{changed}.py").write_text(files[changed] + "# changed\n")
        assert source_digest(provided.cls) != before, changed
        (package / f"{changed}.py").write_text(files[changed])
    (package / "other.py").write_text("y = 2\n")
    assert source_digest(provided.cls) == before
