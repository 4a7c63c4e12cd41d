"""A plugin in one file is used like an installed one, without packaging."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import privaudit
from privaudit.api.blame import origin
from privaudit.api.host import load_plugins
from privaudit.api.single_file import OneFile
from privaudit.api.source import source_digest
from privaudit.cli import main
from privaudit.cohort import making
from privaudit.errors import PluginError, RecipeError
from privaudit.experiment.running import run_folder
from privaudit.jobs.local import Workers
from privaudit.recipe import Recipe, load_recipe
from privaudit.recipe.schema import recipe_schema
from privaudit_plugins.models.mlp import MLP

CODE = '''
from __future__ import annotations
from dataclasses import dataclass
from typing import Literal
import privaudit
from pydantic import Field
from torch.nn.functional import cross_entropy

@dataclass
class Held:
    number: int

class Halved(privaudit.Defense):
    """Halves the loss."""

    name: Literal["halved"] = "halved"
    factor: float = Field(0.5, description="of the loss")

    def loss(self, step: privaudit.Step):
        return self.factor * cross_entropy(step.logits, step.y)

class Margin(privaudit.Attack):
    """By the largest logit."""

    name: Literal["largest"] = "largest"

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        return privaudit.AttackScores(signals.target.logits[0].amax(-1))

@privaudit.hookimpl
def privaudit_provide():
    return [Halved, Margin]
'''
RECIPE = """
name: file
dataset: digits
split: {members: 40, validation: 10, non_members: 50}
model: {name: mlp, hidden: [8]}
training: {epochs: 2}
defenses: [halved]
attacks: [largest, loss]
plugins: [./more/mine.py]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    before = set(sys.modules)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "mine.py").write_text(CODE)
    (tmp_path / "file.yaml").write_text(RECIPE)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("privaudit_file_"):
            del sys.modules[name]


def command(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Exit code of `privaudit`."""
    monkeypatch.setattr(sys, "argv", ["privaudit", *words])
    monkeypatch.setattr("privaudit.cli.run._attach_logging", lambda console: None)
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_the_plugins_of_a_file_are_of_its_name_and_content(folder: Path) -> None:
    path = folder / "more" / "mine.py"
    loaded = load_plugins(files=[path, path])
    assert len(loaded.files) == 1
    for kind, name in (("defense", "halved"), ("attack", "largest")):
        provided = loaded.provider(loaded.get(kind, name))
        assert (provided.distribution, provided.version) == ("mine.py", "")
        assert provided.source == sha256(CODE.encode()).hexdigest()
        assert origin(provided.cls) == "mine.py"
    assert loaded.get("attack", "loss") is load_plugins().get("attack", "loss")


def test_a_file_is_one_module_for_as_long_as_it_is_the_same(folder: Path) -> None:
    path = folder / "more" / "mine.py"
    first = load_plugins(files=[path]).get("defense", "halved")
    assert load_plugins(files=[path]).get("defense", "halved") is first
    path.write_text(CODE.replace("0.5", "0.25"))
    second = load_plugins(files=[path]).get("defense", "halved")
    assert (first().factor, second().factor) == (0.5, 0.25)  # type: ignore[attr-defined, call-arg]
    assert source_digest(first) == sha256(CODE.encode()).hexdigest()
    assert source_digest(second) != source_digest(first)


def test_a_recipe_names_files_from_its_own_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder / "more")
    recipe = load_recipe(folder / "file.yaml")
    assert recipe.plugins == (str(folder / "more" / "mine.py"),)
    assert [subject.label for subject in recipe.subjects()] == ["dense + halved"]
    with pytest.raises(RecipeError, match=r"--set plugins\[0\]: .*more/more/mine.py: there is no"):
        load_recipe(folder / "file.yaml", ["plugins=[more/mine.py]"])
    assert load_recipe(folder / "file.yaml", ["plugins=[mine.py]"]) == recipe


def test_data_and_options_name_files_from_the_current_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    recipe = load_recipe("file.yaml")
    data = recipe.model_dump(mode="json", serialize_as_any=True)
    assert load_recipe(data | {"plugins": ["more/mine.py"]}) == recipe
    bare = {key: value for key, value in data.items() if key != "plugins"}
    assert load_recipe(bare, files=["more/mine.py"]) == recipe
    assert load_recipe(data, files=["more/mine.py"]) == recipe
    assert "plugins" not in bare


def test_a_stored_recipe_can_be_run_again_from_anywhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(folder / "file.yaml")
    (folder / "stored").mkdir()
    (folder / "stored" / "recipe.yaml").write_text(recipe.to_yaml())
    monkeypatch.chdir("/")
    assert load_recipe(folder / "stored" / "recipe.yaml") == recipe


def test_where_a_file_lies_does_not_name_the_run(folder: Path) -> None:
    recipe = load_recipe(folder / "file.yaml")
    (folder / "mine.py").write_text(CODE)
    moved = load_recipe(folder / "file.yaml", [f"plugins=[{folder}/mine.py]"])
    assert moved.plugins != recipe.plugins
    assert run_folder(moved) == run_folder(recipe)


def test_a_recipe_without_files_is_written_as_before(folder: Path) -> None:
    recipe = load_recipe("digits")
    assert "plugins" not in recipe.to_yaml()
    for mode in ("json", "python"):
        assert "plugins" not in recipe.model_dump(mode=mode, serialize_as_any=True)
    assert Recipe.model_validate(recipe).plugins == ()


def test_the_schema_knows_the_key_and_the_plugins(folder: Path) -> None:
    schema = recipe_schema(load_plugins(files=[folder / "more" / "mine.py"]))
    assert schema["properties"]["plugins"]["type"] == "array"
    assert "Halved" in json.dumps(schema["$defs"])
    assert "plugins" not in schema["required"]


BROKEN = {
    "no hook": ("x = 1\n", "mine.py has no function privaudit_provide marked @privaudit.hookimpl"),
    "raises": ("import privaudit\n\n1 / 0\n", "mine.py:3: ZeroDivisionError: division by zero"),
    "ends": ("import sys\nsys.exit('bye')\n", "mine.py:2: SystemExit: bye"),
    "no Python": ("x = 1\ndef broken(:\n", "mine.py:2: SyntaxError: "),
    "lacks": ("import no_such\n", "mine.py:1: ModuleNotFoundError: No module named 'no_such'"),
    "no list": (
        "import privaudit\n@privaudit.hookimpl\ndef privaudit_provide(): return 3\n",
        "mine.py answers privaudit_provide with 3, not with a list of classes",
    ),
    "no plugin": (
        "import privaudit\n@privaudit.hookimpl\ndef privaudit_provide(): return [int]\n",
        "mine.py: class int is of no known kind",
    ),
}


@pytest.mark.parametrize(("code", "expected"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_one_line_that_says_where(
    folder: Path, code: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "more" / "mine.py"
    path.write_text(code)
    with pytest.raises(PluginError) as caught:
        load_plugins(files=[path])
    assert str(path.parent / expected) in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(RecipeError) as told:
        load_recipe(folder / "file.yaml")
    assert any(
        line.startswith(f"{folder / 'file.yaml'}:9: plugins[0]: {path.parent / expected}")
        for line in told.value.problems
    )
    monkeypatch.chdir(folder)
    assert command(monkeypatch, "plugins", "--plugin", "more/mine.py") == 2


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("[gone.py]", "gone.py: there is no such file"),
        ("[mine.txt]", "mine.txt does not end in .py: a plugin is a Python file"),
        ("[more/folder.py]", "folder.py: cannot be read: it is a folder, not a file"),
        ("[3]", "plugins[0]: must be text (got 3)"),
        ("mine.py", "plugins: must be a list (got 'mine.py')"),
    ],
)
def test_what_names_no_file_is_a_mistake(folder: Path, value: str, expected: str) -> None:
    (folder / "more" / "folder.py").mkdir()
    (folder / "file.yaml").write_text(RECIPE.replace("[./more/mine.py]", value))
    with pytest.raises(RecipeError) as caught:
        load_recipe(folder / "file.yaml")
    (line,) = [line for line in caught.value.problems if expected in line]
    assert line.startswith(f"{folder / 'file.yaml'}:9: plugins")


def test_a_name_that_is_taken_is_told(folder: Path) -> None:
    (folder / "loss.py").write_text(CODE.replace('"largest"', '"loss"'))
    loaded = load_plugins(files=[folder / "loss.py"])
    (clash,) = [str(problem) for problem in loaded.problems if "'loss'" in str(problem)]
    assert "loss.py" in clash
    assert f"privaudit {privaudit.__version__}" in clash


@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_uses_a_file_here_and_in_other_processes(
    folder: Path, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "_WORTH", 0)
    monkeypatch.chdir(folder)
    recipe = load_recipe("file.yaml", ["seeds=2", "attacks=[largest]"])
    result = privaudit.run(
        recipe, folder / "out", device="cpu", cache=folder / "cache", processes=processes
    )
    named = {plugin["name"]: plugin for plugin in result.environment["plugins"]}
    assert named["halved"]["distribution"] == "mine.py"
    assert named["halved"]["version"] == ""
    assert named["largest"]["source"] == sha256(CODE.encode()).hexdigest()
    monkeypatch.chdir("/")
    again = load_recipe(folder / "out" / "recipe.yaml")
    kept = privaudit.run(again, folder / "out", device="cpu", cache=folder / "cache")
    assert kept.environment == result.environment  # finished: nothing was done again


def test_other_processes_run_what_was_read_even_if_the_file_has_changed(
    folder: Path, make_cohort: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "_WORTH", 0)
    path = folder / "more" / "mine.py"
    file = OneFile.read(path)
    defense = load_plugins(files=[path]).get("defense", "halved").model_validate({})
    path.write_text("broken(")
    with Workers(2, [file.load]) as workers:
        cohorts = [
            make_cohort([20, 20], model=MLP(hidden=(8,)), defense=defense, workers=helpers)
            for helpers in (workers, None)
        ]
        for cohort in cohorts:
            cohort.fit()
    there, here = (cohort.weights for cohort in cohorts)
    assert cohorts[0].records[0].stack == 1  # two models for two processes
    assert all((there[name] - here[name]).abs().max() < 1e-11 for name in here)


def test_commands_take_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    (folder / "file.yaml").write_text(RECIPE.replace("plugins: [./more/mine.py]", ""))
    assert command(monkeypatch, "validate", "file.yaml") == 2
    assert command(monkeypatch, "validate", "file.yaml", "--plugin", "more/mine.py") == 0
    assert command(monkeypatch, "plugins", "--json", "--plugin", "more/mine.py") == 0
    assert command(monkeypatch, "plugins", "show", "halved", "--plugin", "more/mine.py") == 0
    assert "halved: defense of mine.py\n" in capsys.readouterr().out
    assert command(monkeypatch, "schema", "--plugin", "more/mine.py") == 0
    assert "halved" in capsys.readouterr().out


def test_a_validator_that_fails_is_told(folder: Path) -> None:
    code = CODE.replace("Field(0.5,", "Field(default_factory=lambda: {}['factor'],")
    (folder / "more" / "mine.py").write_text(code)
    expected = "^defense 'halved' of mine.py: validation of its options: KeyError: 'factor'$"
    with pytest.raises(PluginError, match=expected):
        load_recipe(folder / "file.yaml")


RAISING = CODE.replace("signals.target.logits[0].amax(-1)", "signals.target.logit")


def test_an_error_of_a_plugin_has_a_traceback_with_debug_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    (folder / "more" / "mine.py").write_text(RAISING)
    words = ["run", "file.yaml", "--cache", "cache", "--device", "cpu", "--processes", "1"]
    assert command(monkeypatch, *words) == 1
    line = 1 + RAISING.splitlines().index(
        "        return privaudit.AttackScores(signals.target.logit)"
    )
    err = capsys.readouterr().err
    assert (
        f"attack 'largest' of mine.py: score (more/mine.py:{line}): AttributeError: 'Outputs' "
        "object has no attribute 'logit'. Did you mean 'logits'?\n"
    ) in err
    assert "Traceback" not in err
    assert command(monkeypatch, "--debug", *words) == 1
    err = capsys.readouterr().err
    message, _, trace = err.partition("Traceback (most recent call last)")
    assert message.rstrip().endswith("Did you mean 'logits'?")
    assert f'mine.py", line {line}, in score' in trace
    (folder / "more" / "mine.py").write_text("1 / 0")
    assert command(monkeypatch, "--debug", "plugins", "--plugin", "more/mine.py") == 2
    assert "ZeroDivisionError" in capsys.readouterr().err.partition("Traceback")[2]
