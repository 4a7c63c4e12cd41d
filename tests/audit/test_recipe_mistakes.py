"""Wrong recipes: every mistake at once, each one line with its file, line, path and remedy."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import pytest
from pydantic import Field
from torch import Tensor

from privaudit.api.host import LoadError, Plugins, Provided
from privaudit.api.plugin import Attack, Dataset, Defense, Model, Plugin, Sparsifier
from privaudit.errors import RecipeError
from privaudit.recipe import load_recipe


class Coins(Dataset):
    name: Literal["coins"] = "coins"


class Line(Model):
    name: Literal["line"] = "line"
    width: tuple[int, ...] = Field((8,), min_length=1)


class Plain(Sparsifier):
    name: Literal["dense"] = "dense"


class Cut(Sparsifier):
    tunes: ClassVar[bool] = True
    name: Literal["cut"] = "cut"
    rounds: int = Field(3, ge=2, le=9)
    amount: float = Field(0.2, gt=0, lt=1)
    scope: Literal["global", "layer"] = "global"
    biases: bool = False
    until: int | Literal["end"] = "end"


class Nothing(Defense):
    name: Literal["none"] = "none"


class Late(Defense):
    during: ClassVar[str] = "tune"
    name: Literal["late"] = "late"
    strength: float = 1


class Referring(Defense):
    reference: ClassVar[bool] = True
    name: Literal["referring"] = "referring"


class Around(Defense):
    name: Literal["around"] = "around"
    inner: Defense = Nothing()  # without SerializeAsAny: nothing may be lost all the same

    def respond(self, logits: Tensor, companion: object) -> Tensor:
        return self.inner.respond(logits, None)


class Guess(Attack):
    name: Literal["guess"] = "guess"


class Hungry(Attack):
    shadows: ClassVar[int] = 2
    name: Literal["hungry"] = "hungry"


CLASSES: list[type[Plugin]] = [
    Coins, Line, Plain, Cut, Nothing, Late, Referring, Around, Guess, Hungry,
]  # fmt: skip
PLUGINS = Plugins(
    tuple(
        Provided(cls, cls.kind, str(cls.model_fields["name"].default), "fake", "1", "0")
        for cls in CLASSES
    ),
    (LoadError("plugin 'sour' of lemon 2.0 cannot be loaded: SyntaxError", "sour"),),
)
# Six lines; a case adds its own from line 7 on, in the place of a default.
GOOD = "name: x\nseeds: 2\nshadows: 2\ndataset: coins\nmodel: line\nattacks: [guess]\n"


def mistakes(folder: Path, text: str | bytes, *overrides: str) -> list[str]:
    """The lines of the error, without the folder's own path."""
    file = folder / "x.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(RecipeError) as error:
        load_recipe(file, overrides, plugins=PLUGINS)
    assert str(error.value) == "\n".join(error.value.problems)
    return [line.replace(f"{folder}/", "") for line in error.value.problems]


ONE_LINE = {
    "unknown key": ("sed: 4", "x.yaml:7: sed: unknown option 'sed'; did you mean 'seeds'?"),
    "unknown option": ("sparsifiers:\n- dense\n- name: cut\n  roundz: 4",
        "x.yaml:10: sparsifiers[1].roundz: unknown option 'roundz'; did you mean 'rounds'? "
        "There are: amount, biases, label, name, rounds, scope, then, training, until"),
    "unknown plugin, short": ("sparsifiers: [kut]", "x.yaml:7: sparsifiers[0]: "
        "unknown sparsifier 'kut'; did you mean 'cut'? There are: cut, dense"),
    "unknown plugin, long": ("sparsifiers:\n-\n  name: kut", "x.yaml:9: sparsifiers[0].name: "
        "unknown sparsifier 'kut'; did you mean 'cut'? There are: cut, dense"),
    "broken plugin": ("sparsifiers: [sour]", "x.yaml:7: sparsifiers[0]: unknown sparsifier "
        "'sour'. There are: cut, dense (what could not be loaded: "
        "plugin 'sour' of lemon 2.0 cannot be loaded: SyntaxError)"),
    "another kind": ("defenses: [cut]", "x.yaml:7: defenses[0]: "
        "'cut' names another kind of plugin: sparsifier, not defense"),
    "no name": ("sparsifiers: [{rounds: 3}]", "x.yaml:7: sparsifiers[0].name: is missing"),
    "no plugin": ("sparsifiers: [dense, 5]", "x.yaml:7: sparsifiers[1]: "
        "must be the name of a plugin, or a mapping with its name (got 5)"),
    "no list": ("sparsifiers: dense", "x.yaml:7: sparsifiers: must be a list (got 'dense')"),
    "empty list": ("defenses: []", "x.yaml:7: defenses: must have at least 1 entry (got 0)"),
    "too small": ("sparsifiers: [{name: cut, rounds: 0}]",
        "x.yaml:7: sparsifiers[0].rounds: must be at least 2 (got 0)"),
    "too large": ("sparsifiers: [{name: cut, amount: 1.5}]",
        "x.yaml:7: sparsifiers[0].amount: must be less than 1 (got 1.5)"),
    "no whole number": ("sparsifiers: [{name: cut, rounds: abc}]",
        "x.yaml:7: sparsifiers[0].rounds: must be a whole number (got 'abc')"),
    "no number": ("training: {lr: fast}", "x.yaml:7: training.lr: must be a number (got 'fast')"),
    "true is no number": ("training: {epochs: true}",
        "x.yaml:7: training.epochs: must be a number (got true)"),
    "no yes or no": ("sparsifiers: [{name: cut, biases: perhaps}]",
        "x.yaml:7: sparsifiers[0].biases: must be true or false (got 'perhaps')"),
    "no such choice": ("sparsifiers: [{name: cut, scope: all}]",
        "x.yaml:7: sparsifiers[0].scope: must be 'global' or 'layer' (got 'all')"),
    "neither of two": ("sparsifiers: [{name: cut, until: x}]",
        "x.yaml:7: sparsifiers[0].until: must be a whole number or 'end' (got 'x')"),
    "no mapping": ("training: 5", "x.yaml:7: training: must be a mapping of options (got 5)"),
    "label": ('sparsifiers: [{name: cut, label: "a\\eb"}]', "x.yaml:7: sparsifiers[0].label: "
        "must be 1 to 80 printable characters (got 'a\\x1bb')"),
    "entry's training": ("sparsifiers: [{name: cut, training: {lr: -1}}]",
        "x.yaml:7: sparsifiers[0].training.lr: must be more than 0 (got -1)"),
    "true in an entry's training": ("sparsifiers: [{name: cut, training: {epochs: true}}]",
        "x.yaml:7: sparsifiers[0].training.epochs: must be a number (got true)"),
    "entry's unknown training": ("sparsifiers: [{name: cut, training: {momentun: 0}}]",
        "x.yaml:7: sparsifiers[0].training.momentun: unknown option 'momentun'; "
        "did you mean 'momentum'?"),
    "an attack does not train": ("attacks: [{name: guess, training: {lr: 1}}]",
        "x.yaml:6: attacks[0].training: unknown option 'training'. There are: label, name, "
        "shadow_defense, shadow_sparsifier"),
    "same label": ("sparsifiers: [cut, {name: cut, rounds: 5}]",
        "x.yaml:7: sparsifiers[1]: is called 'cut' like sparsifiers[0]: give one a label"),
    "same label of defenses": ("defenses: [none, around, {name: none, label: around}]",
        "x.yaml:7: defenses[2]: is called 'around' like defenses[1]: give one a label"),
    "two that do nothing": ("defenses: [none, referring]\nsplit: {reference: 9}",
        "x.yaml:7: defenses[1]: makes a second subject called 'dense': give it a label"),
    "odd halves": ("split: {protocol: halves}\nshadows: 3", "x.yaml:8: shadows: "
        "must be even with split.protocol halves, in pairs (got 3)"),
    "unequal halves": ("split:\n  protocol: halves\n  members: 5\n  non_members: 6",
        "x.yaml:10: split.non_members: must equal split.members, 5, or be left out, "
        "with split.protocol halves (got 6)"),
    "all targets": ("split: {targets: all}", "x.yaml:7: split.targets: 'all' needs "
        "split.protocol halves or coin: only there can every model be the target"),
    "share without a coin": ("split: {protocol: halves, members: 0.7}", "x.yaml:7: split.members: "
        "must be a count with split.protocol halves: only coin takes a share (got 0.7)"),
    "share of members and a count": ("split: {protocol: coin, members: 0.7, non_members: 9}",
        "x.yaml:7: split.non_members: is told by the share of members with split.protocol coin: "
        "leave it out, or give split.members as a count, too (got 9)"),
    "half a member": ("split: {members: 5.5}", "x.yaml:7: split.members: must be a count "
        "(1, 2, ...), or with protocol coin a share between 0.0 and 1.0 (got 5.5)"),
    "two targets": ("split: {targets: 2}", "x.yaml:7: split.targets: must be 1 or 'all' (got 2)"),
    "share": ("split: {validation: 1.5}", "x.yaml:7: split.validation: must be a count "
        "(0, 1, 2, ...) or a share (0.0 to below 1.0) (got 1.5)"),
    "shadows' mapping": ("shadows: {count: -1}",
        "x.yaml:7: shadows.count: must be at least 0 (got -1)"),
    "too few shadows": ("shadows: 1\nattacks:\n- guess\n- hungry", "x.yaml:10: attacks[1]: "
        "'hungry' needs at least 2 shadow models: set shadows to 2 or more (got 1)"),
    "no reference": ("defenses: [referring]", "x.yaml:7: defenses[0]: 'referring' trains with "
        "reference examples: set split.reference to more than 0 (got 0)"),
    "never tunes": ("defenses: [none, late]", "x.yaml:7: defenses[1]: "
        "'late' acts in fine-tuning only, and no sparsifier of this recipe fine-tunes: "
        "leave it out, or add one that does"),
    "a wrong sparsifier may tune": ("sparsifiers: [{name: cut, rounds: 1}]\ndefenses: [none, late]",
        "x.yaml:7: sparsifiers[0].rounds: must be at least 2 (got 1)"),
    "no defense left": ("sparsifiers: [cut, dense]\ndefenses: [late]", "x.yaml:7: sparsifiers[1]: "
        "'dense' never fine-tunes, and every defense of this recipe acts in fine-tuning only: "
        "add the defense none, or leave it out"),
    "milestones": ("training: {schedule: step, milestones: [3, 1]}",
        "x.yaml:7: training.milestones: "
        "must be epochs from 0 on, each later than the last (got [3, 1])"),
    "entry's milestones": (
        "sparsifiers: [{name: dense, training: {schedule: step, milestones: [-1]}}]",
        "x.yaml:7: sparsifiers[0].training.milestones: "
        "must be epochs from 0 on, each later than the last (got [-1])"),
    "nested option": ("defenses: [{name: around, inner: {name: late, x: 1}}]",
        "x.yaml:7: defenses[0].inner.x: unknown option 'x'. There are: during, name, strength"),
    "nested plugin": ("defenses: [{name: around, inner: lat}]", "x.yaml:7: defenses[0].inner: "
        "unknown defense 'lat'; did you mean 'late'? There are: around, late, none, referring"),
    "seed count": ("seeds: true", "x.yaml:7: seeds: "
        "must be a list of seeds, or how many: 1 to 1000 (got true)"),
    "same seed": ("seeds: [1, 2, 1]",
        "x.yaml:7: seeds: must be different from each other (got 1 more than once)"),
    "seed": ("seeds: [1, -2]", "x.yaml:7: seeds[1]: must be at least 0 (got -2)"),
    "seed is no number": ("seeds: [1, true]", "x.yaml:7: seeds[1]: "
        "must be a whole number (got true)"),
    "name": ("name: ../x", "x.yaml:7: name: must be fit for a folder's name: at most 100 "
        "letters, digits, '.', '_' and '-', a letter or digit first (got '../x')"),
    "key is no text": ("5: x", "x.yaml:7: 5: unknown option '5'."),
    "duplicate": ("training:\n  lr: 1\n  epochs: 2\n  lr: 2",
        "x.yaml:10: training.lr: is given twice, here and on line 8"),
}  # fmt: skip


@pytest.mark.parametrize("case", ONE_LINE)
def test_a_mistake_is_one_line_with_its_place(case: str, tmp_path: Path) -> None:
    text, expected = ONE_LINE[case]
    key = text.partition(":")[0]
    kept = ["\n" if line.startswith(f"{key}:") else line for line in GOOD.splitlines(True)]
    for extra in ("shadows", "attacks"):
        if f"\n{extra}:" in text:
            kept = ["\n" if line.startswith(f"{extra}:") else line for line in kept]
    if expected.startswith("x.yaml:6:"):  # a case that stands in the place of the last line
        kept = kept[:-1]
    assert mistakes(tmp_path, "".join(kept) + text) == [expected]


def test_all_mistakes_come_at_once_in_the_file_s_order(tmp_path: Path) -> None:
    text = """\
dataset: {name: coins, side: 2}
model: lines
shadows: 1
training:
  epochs: 0
  epochs: 9
  lr: x
split: {protocol: halves, validation: -1}
sparsifiers:
  - {name: cut, rounds: 1, amount: x}
  - {name: dense, label: 5}
attacks:
  - hungry
  - {label: x}
"""
    found = mistakes(tmp_path, text, "split.targets=3", "seeds=[]", "attacks[0].label=", "nothing")
    assert [line.partition(": ")[0] for line in found] == [
        *(f"x.yaml:{line}" for line in (1, 1, 2, 3, 5, 6, 7, 8, 10, 10, 11, 13, 14)),
        "--set split.targets",
        "--set seeds",
        "--set nothing",
    ]
    assert found[1] == "x.yaml:1: name: is missing"
    assert found[0] == "x.yaml:1: dataset.side: unknown option 'side'. There are: name"
    assert (
        found[3] == "x.yaml:3: shadows: must be even with split.protocol halves, in pairs (got 1)"
    )
    assert found[10] == "x.yaml:11: sparsifiers[1].label: must be text (got 5)"
    assert found[-1] == "--set nothing: has no '=': write it as --set a.b.c=VALUE"


WRONG_SET = {
    "sparsifiers[0].rounds=0": "sparsifiers[0].rounds: must be at least 2 (got 0)",
    "sparsifiers.0.roundz=4": "sparsifiers[0].roundz: unknown option 'roundz'; did you mean "
    "'rounds'? There are: amount, biases, label, name, rounds, scope, then, training, until",
    "attacks=[guess, gues]": "attacks[1]: unknown attack 'gues'; did you mean 'guess'? "
    "There are: guess, hungry",
    "sparsifiers.2.rounds=4": "sparsifiers.2.rounds: sparsifiers has 1 entry, counted from 0",
    "sparsifiers.cut=4": "sparsifiers.cut: sparsifiers is a list: "
    "write sparsifiers[0].cut or the like",
    "name.first=4": "name.first: name is 'x', which has nothing inside to set",
    "defenses.0.label=x": "defenses.0.label: "
    "the recipe has no list of defenses to change: set all of it",
    "training..lr=4": "training..lr: is not a path such as training.lr or attacks[1].label",
    "seeds=[1": "seeds: '[1' is not valid YAML: while parsing a flow sequence, "
    "expected ',' or ']', but got '<stream end>' (column 3)",
    "training={lr: 1, lr: 2}": "training: lr is given twice in '{lr: 1, lr: 2}'",
}


@pytest.mark.parametrize("override", WRONG_SET)
def test_a_wrong_override_names_itself(override: str, tmp_path: Path) -> None:
    text = GOOD + "sparsifiers: [cut]\n"
    assert mistakes(tmp_path, text, override) == [f"--set {WRONG_SET[override]}"]


def test_what_is_not_a_file_is_one_line(tmp_path: Path) -> None:
    for source, expected in {
        tmp_path: f"{tmp_path}: is a folder; name a recipe's file",
        tmp_path / "no.yaml": f"{tmp_path}/no.yaml: there is no such file",
    }.items():
        with pytest.raises(RecipeError) as error:
            load_recipe(source, plugins=PLUGINS)
        assert error.value.problems == (expected,)


def test_data_without_a_file_has_no_line() -> None:
    data = {"name": "x", "dataset": Coins(), "model": "line", "attacks": ["guess"], "seeds": 0}
    with pytest.raises(RecipeError, match=r"^recipe: seeds: must be a list of seeds, or how many"):
        load_recipe(data, plugins=PLUGINS)


def test_a_broken_plugin_that_is_not_used_does_not_matter() -> None:
    data = {"name": "x", "dataset": "coins", "model": "line", "attacks": ["guess"]}
    assert load_recipe(data, plugins=PLUGINS).name == "x"


def test_nested_plugins_survive_being_written_out(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(
        GOOD + "sparsifiers: [cut]\ndefenses: [{name: around, inner: {name: late, strength: 2}}]\n"
    )
    recipe = load_recipe(file, plugins=PLUGINS)
    assert recipe.defenses[0].plugin == Around(inner=Late(strength=2))
    file.write_text(recipe.to_yaml())
    assert load_recipe(file, plugins=PLUGINS) == recipe
    stronger = load_recipe(file, ["defenses[0].inner.strength=3"], plugins=PLUGINS)
    assert stronger.digest() != recipe.digest()
