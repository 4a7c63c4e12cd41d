"""Right recipes: short and long forms, defaults, subjects, overrides, writing out, the schema."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from privaudit.api.host import Plugins, load_plugins
from privaudit.api.plugin import KINDS
from privaudit.errors import RecipeError
from privaudit.recipe import Recipe, load_recipe, recipe_schema, shipped_recipes
from privaudit.recipe.document import parse
from privaudit.training import Training

TEXT = """\
name: small
dataset: digits
model: {name: mlp, hidden: [16]}
training: &base
  lr: 3e-4
  epochs: 15_000
  schedule: step
sparsifiers:
  - dense
  - {name: dense, label: "no", weights: last, training: {lr: 1e-1, milestones: [2, 5]}}
defenses:
  - none
  - {name: none, label: slow, training: {lr: 5, stack: 2}}
attacks: [loss]
"""


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load_plugins()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(TEXT)
    return path


def test_short_and_long_forms_and_defaults(file: Path, plugins: Plugins) -> None:
    recipe = load_recipe(file, plugins=plugins)
    assert type(recipe.sparsifiers[1].plugin) is plugins.get("sparsifier", "dense")
    assert recipe.sparsifiers[1].plugin.model_dump() == {"name": "dense", "weights": "last"}
    assert recipe.model.model_dump()["hidden"] == (16,)
    assert (recipe.training.lr, recipe.training.epochs) == (0.0003, 15000)
    assert (recipe.seeds, recipe.shadows, recipe.split.validation) == ((0,), 1, 0.1)
    assert [label for label, _ in recipe.attack_entries()] == ["loss"]


def test_subjects_are_sparsifiers_times_defenses(file: Path, plugins: Plugins) -> None:
    subjects = load_recipe(file, plugins=plugins).subjects()
    assert [subject.label for subject in subjects] == ["dense", "dense + slow", "no", "no + slow"]
    assert [subject.training.lr for subject in subjects] == [3e-4, 5, 0.1, 5]
    assert [subject.training.milestones for subject in subjects] == [(), (), (2, 5), (2, 5)]
    assert {subject.training.epochs for subject in subjects} == {15000}
    assert [subject.defense_label for subject in subjects[:2]] == ["none", "slow"]


def test_seeds_and_shadows_as_count_list_and_mapping(file: Path, plugins: Plugins) -> None:
    for override, expected in {"seeds=3": (0, 1, 2), "seeds=[7, 4]": (7, 4)}.items():
        assert load_recipe(file, [override], plugins=plugins).seeds == expected
    for override in ("shadows=4", "shadows={count: 4}"):
        assert load_recipe(file, [override], plugins=plugins).shadows == 4


def test_overrides_reach_everywhere(file: Path, plugins: Plugins) -> None:
    overrides = [
        "training.lr=3e-4",
        "model.hidden=[4, 5]",
        "dataset.name=breast_cancer",
        "sparsifiers.0.weights=last",
        "sparsifiers[1].training.lr=0.5",
        "sparsifiers[0].label=first",
        "split.members=10",
        "attacks=[loss, {name: loss, label: a=b}]",
    ]
    recipe = load_recipe(file, overrides, plugins=plugins)
    assert recipe.training.lr == 0.0003
    assert recipe.model.model_dump()["hidden"] == (4, 5)
    assert recipe.dataset.name == "breast_cancer"
    assert recipe.sparsifiers[0].plugin.model_dump()["weights"] == "last"
    assert recipe.sparsifiers[0].title == "first"
    assert recipe.sparsifiers[1].training == {"lr": 0.5, "milestones": [2, 5]}
    assert recipe.split.members == 10
    assert recipe.attacks[1].title == "a=b"


def test_data_is_left_as_it_was(plugins: Plugins) -> None:
    data = yaml.safe_load(TEXT)
    before = yaml.safe_dump(data)
    load_recipe(data, ["sparsifiers.0.weights=last"], plugins=plugins)
    assert yaml.safe_dump(data) == before


def test_written_out_it_is_complete_and_loads_back(file: Path, plugins: Plugins) -> None:
    recipe = load_recipe(file, plugins=plugins)
    text = recipe.to_yaml()
    written = yaml.safe_load(text)
    nothing = {"plugins", "folders", "gates", "accept_doubts"}
    assert set(written) == set(Recipe.model_fields) - nothing  # there are none
    assert set(written["training"]) == set(Training.model_fields)
    file.write_text(text)
    again = load_recipe(file, plugins=plugins)
    assert (again, again.digest(), again.to_yaml()) == (recipe, recipe.digest(), text)


def test_the_digest_is_of_what_changes_results(file: Path, plugins: Plugins) -> None:
    def digest(*overrides: str) -> str:
        return load_recipe(file, overrides, plugins=plugins).digest()

    assert digest("training.stack=4", "defenses.1.training.stack=1") == digest()
    assert digest("seeds=1", "shadows=1", "model.name=mlp") == digest()
    for change in ("training.lr=1e-3", "seeds=2", "sparsifiers.0.weights=last", "split.seed=0"):
        assert digest(change) != digest()


LABEL = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=12)
LABEL = LABEL.filter(lambda text: text.isprintable() and text.strip() != "")


@settings(max_examples=60, deadline=None)
@given(
    label=LABEL
    | st.sampled_from(["3e-4", "no", "null", "0o17", "1:30", "010", "<<", "~", "#", "-"]),
    seeds=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4, unique=True),
    lr=st.floats(1e-30, 1e30),
    validation=st.integers(0, 10**9) | st.floats(0, 1, exclude_max=True),
)
def test_any_recipe_loads_back_equal(
    label: str, seeds: list[int], lr: float, validation: float, tmp_path_factory: Any
) -> None:
    plugins = load_plugins_once()
    data = {**yaml.safe_load(TEXT), "seeds": seeds, "split": {"validation": validation}}
    data |= {
        "training": {"lr": lr, "schedule": "step"},
        "attacks": [{"name": "loss", "label": label}],
    }
    recipe = load_recipe(data, plugins=plugins)
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(recipe.to_yaml(), encoding="utf-8")
    again = load_recipe(file, plugins=plugins)
    assert again == recipe
    assert (again.seeds, again.training.lr, again.split.validation) == (
        tuple(seeds),
        lr,
        validation,
    )
    assert again.attacks[0].label == label


_LOADED: list[Plugins] = []


def load_plugins_once() -> Plugins:
    if not _LOADED:
        _LOADED.append(load_plugins())
    return _LOADED[0]


def test_every_shipped_recipe_is_right(plugins: Plugins) -> None:
    for name, path in shipped_recipes().items():
        assert load_recipe(name, plugins=plugins) == load_recipe(path, plugins=plugins)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(RecipeError) as error:
        load_recipe("digitz")
    assert str(error.value) == "unknown recipe 'digitz'; did you mean 'digits'?"


def test_the_schema_names_every_plugin_in_both_forms(plugins: Plugins) -> None:
    schema = recipe_schema(plugins)
    assert set(schema["properties"]) == set(Recipe.model_fields)
    assert set(schema["required"]) == {"name", "model", "attacks"}
    assert schema["anyOf"] == [{"required": ["dataset"]}, {"required": ["target"]}]
    assert schema["additionalProperties"] is False
    for kind in KINDS:
        forms = schema["$defs"][kind.__name__]["anyOf"]
        assert forms[0]["enum"] == sorted(plugins.of(kind.kind))
        options = [form for form in forms if "$ref" in form]
        assert len(options) == len(plugins.of(kind.kind))


def accepts(schema: dict[str, Any], value: Any, root: dict[str, Any]) -> bool:
    """The part of JSON Schema that the schema of recipes uses, read from its specification."""
    types = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    number = isinstance(value, int | float) and not isinstance(value, bool)
    for key, wanted in schema.items():
        right: Callable[[Any], bool] = {
            "$ref": lambda g: accepts(root["$defs"][g.rpartition("/")[2]], value, root),
            "anyOf": lambda g: any(accepts(each, value, root) for each in g),
            "not": lambda g: not accepts(g, value, root),
            "enum": lambda g: value in g,
            "const": lambda g: value == g,
            "type": lambda g: (
                number and (g == "number" or isinstance(value, int))
                if g in ("number", "integer")
                else isinstance(value, types[g])
            ),
            "required": lambda g: not isinstance(value, dict) or set(g) <= set(value),
            "properties": lambda g: (
                not isinstance(value, dict)
                or all(accepts(g[k], v, root) for k, v in value.items() if k in g)
            ),
            "additionalProperties": lambda g: (
                not isinstance(value, dict)
                or g is not False
                or set(value) <= set(schema.get("properties", ()))
            ),
            "items": lambda g: (
                not isinstance(value, list) or all(accepts(g, v, root) for v in value)
            ),
            "minItems": lambda g: not isinstance(value, list) or len(value) >= g,
            "pattern": lambda g: not isinstance(value, str) or bool(re.search(g, value)),
            "minimum": lambda g: not number or value >= g,
            "exclusiveMinimum": lambda g: not number or value > g,
        }.get(key, lambda g: True)  # titles, defaults, descriptions, bounds not tried below
        if not right(wanted):
            return False
    return True


def test_the_schema_takes_right_recipes_and_refuses_wrong_ones(plugins: Plugins) -> None:
    schema = recipe_schema(plugins)
    good = parse(TEXT).value
    assert accepts(schema, good, schema)
    written = load_recipe(good, plugins=plugins).to_yaml()
    assert accepts(schema, parse(written).value, schema)
    wrong: list[dict[str, Any]] = [
        {"sed": 3}, {"seeds": 0}, {"seeds": []}, {"attacks": []}, {"attacks": ["los"]},
        {"attacks": [{"label": "x"}]}, {"attacks": [{"name": "loss", "training": {}}]},
        {"sparsifiers": [{"name": "dense", "training": {"lr": 0}}]}, {"shadows": {"n": 1}},
        {"dataset": {"name": "digits", "label": "x"}}, {"split": {"targets": 2}}, {"model": "loss"},
    ]  # fmt: skip
    assert [change for change in wrong if accepts(schema, good | change, schema)] == []
