"""`target` in recipes: both forms of its datasets, its mistakes, and what cannot go with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from privaudit.api.host import Plugins, load_plugins
from privaudit.errors import RecipeError
from privaudit.recipe import load_recipe, recipe_schema

TEXT = """\
name: given
dataset: digits
model: mlp
attacks: [loss]
shadows: 2
target:
  checkpoint: models/target.safetensors
  members: digits
  non_members: {name: table, path: out.csv}
"""


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load_plugins()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "given.yaml"
    path.write_text(TEXT)
    return path


def test_datasets_in_both_forms_survive_being_written_out(file: Path, plugins: Plugins) -> None:
    recipe = load_recipe(file, plugins=plugins)
    assert recipe.target is not None
    assert type(recipe.target.members) is plugins.get("dataset", "digits")
    assert recipe.target.non_members.model_dump(mode="json")["path"] == "out.csv"
    assert not recipe.target.opaque
    text = recipe.to_yaml()
    file.write_text(text)
    again = load_recipe(file, plugins=plugins)
    assert (again, again.to_yaml()) == (recipe, text)


def test_the_digest_knows_the_target(file: Path, plugins: Plugins) -> None:
    changes = [
        "target=null",
        "target.checkpoint=other.pt",
        "target.members={name: digits, crop: 1}",
        "target.non_members.path=other.csv",
    ]
    digests = {load_recipe(file, [change], plugins=plugins).digest() for change in changes}
    digests.add(load_recipe(file, plugins=plugins).digest())
    assert len(digests) == 1 + len(changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("models/target.safetensors", "a.pkl"), "7: target.checkpoint: must end in .safetensors"),
        (("members: digits", "members: digts"), "8: target.members: unknown dataset 'digts'"),
        (("path: out.csv", "pth: 1, path: a"), "9: target.non_members.pth: unknown option 'pth'"),
        (("members: digits", "members: mlp"), "8: target.members: 'mlp' names another kind"),
        (("  members: digits\n", ""), "6: target.members: is missing"),
        (("members: digits", "member: digits"), "8: target.member: unknown option 'member'; did"),
        (("shadows: 2", "matched: true"), "5: matched: cannot be used with a given target"),
        (
            ("shadows: 2", "split: {protocol: halves, targets: all}\nshadows: 2"),
            "5: split.targets: must be 1 with a given target",
        ),
    ],
)
def test_a_mistake_is_one_line_with_its_place(
    file: Path, plugins: Plugins, change: tuple[str, str], message: str
) -> None:
    file.write_text(TEXT.replace(*change))
    with pytest.raises(RecipeError) as caught:
        load_recipe(file, plugins=plugins)
    assert any(message in problem for problem in caught.value.problems), caught.value.problems


def test_what_is_not_said_about_a_target_is_not_written(file: Path, plugins: Plugins) -> None:
    """So that the digests of older recipes stay what they were."""
    recipe = load_recipe(file, plugins=plugins)
    written = recipe.model_dump(mode="json", serialize_as_any=True)["target"]
    assert set(written) == {"checkpoint", "members", "non_members"}
    changes = ["target.normalise={mean: [0.5], std: [0.25]}", "target.accuracy={members: 1}"]
    said = load_recipe(file, changes, plugins=plugins)
    file.write_text(said.to_yaml())
    assert load_recipe(file, plugins=plugins) == said
    assert said.digest() != recipe.digest()
    assert said.target is not None
    assert (said.target.expected.members, said.target.expected.non_members) == (1, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("normalise=imagnet", "normalise: must be 'dataset', 'imagenet', 'none' or 'unit' or a"),
        ("normalise={mean: [1], std: [0]}", "target.normalise.std[0]: must be more than 0 (got 0)"),
        ("normalise={mean: [1]}", "target.normalise.std: is missing"),
        ("normalise={mean: [1], sd: [1]}", "unknown option 'sd'"),
        ("accuracy=98", "target.accuracy: must be at most 1 or a mapping"),
        ("accuracy={members: 2}", "target.accuracy.members: must be at most 1 (got 2)"),
    ],
)
def test_what_is_said_wrongly_is_one_line(
    file: Path, plugins: Plugins, change: str, message: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(file, [f"target.{change}"], plugins=plugins)
    assert any(message in problem for problem in caught.value.problems), caught.value.problems
    assert not any("a mapping of options (got {" in problem for problem in caught.value.problems)


def test_a_program_gives_no_gradients(file: Path, plugins: Plugins) -> None:
    attacks = "attacks=[loss, gradient_norm]"
    assert load_recipe(file, [attacks], plugins=plugins).target
    with pytest.raises(RecipeError, match=r"attacks\[1\]: 'gradient_norm' needs gradients"):
        load_recipe(file, [attacks, "target.checkpoint=a.pt2"], plugins=plugins)


def test_the_schema_names_the_datasets_of_a_target(plugins: Plugins) -> None:
    schema: dict[str, Any] = recipe_schema(plugins)
    options = schema["properties"]["target"]["anyOf"]
    names = [each["$ref"].rpartition("/")[2] for each in options if "$ref" in each]
    target = schema["$defs"][names[0]]
    assert set(target["required"]) == {"checkpoint", "members", "non_members"}
    for key in ("members", "non_members"):
        dataset = schema["$defs"][target["properties"][key]["$ref"].rpartition("/")[2]]
        assert {"digits", "table"} <= set(dataset["anyOf"][0]["enum"])


ALONE = TEXT.replace("dataset: digits\n", "").replace("shadows: 2", "shadows: 0")


def test_where_nobody_trains_the_dataset_is_the_non_members(file: Path, plugins: Plugins) -> None:
    whole = load_recipe(file, ["shadows=0", "dataset={name: table, path: out.csv}"])
    file.write_text(ALONE)
    recipe = load_recipe(file, plugins=plugins)
    assert recipe.target is not None
    assert recipe.dataset == recipe.target.non_members
    assert recipe.digest() == whole.digest()
    file.write_text(recipe.to_yaml())
    assert load_recipe(file, plugins=plugins) == recipe
    said = load_recipe(file, ["dataset=digits"], plugins=plugins)
    assert said.dataset.name == "digits"


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (ALONE.replace("shadows: 0", "shadows: 2"), ["1: dataset: is missing: name what"]),
        (ALONE.replace("shadows: 0\n", ""), ["1: dataset: is missing: name what"]),
        (ALONE.replace("shadows: 0", "shadows: false"), ["1: dataset: is missing", "4: shadows: "]),
        (ALONE.replace("name: table", "name: tabl"), ["8: target.non_members.name: unknown"]),
        (ALONE[: ALONE.index("  non_members")], ["5: target.non_members: is missing"]),
        (ALONE[: ALONE.index("target:")], ["1: dataset: is missing"]),
    ],
)
def test_a_dataset_that_nothing_stands_in_for_is_missing(
    file: Path, plugins: Plugins, text: str, problems: list[str]
) -> None:
    file.write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(file, plugins=plugins)
    told = caught.value.problems
    assert len(told) == len(problems), told
    assert all(part in line for part, line in zip(problems, told, strict=True)), told
    assert ("stand in for it" in told[0]) == ("name what" in problems[0] or "false" in text)


@pytest.mark.parametrize(
    ("changes", "labels"),
    [
        ([], ["target"]),
        (["sparsifiers=[dense]"], ["target"]),
        (["sparsifiers=[{name: dense, label: mine}]"], ["mine"]),
        (["sparsifiers=[imp]"], ["imp"]),
        (["sparsifiers=[dense, imp]"], ["dense", "imp"]),
        (["defenses=[none, label_smoothing]"], ["target", "target + label_smoothing"]),
        (["target=null"], ["dense"]),
        (["gates=[{gate: auc<0.6, subjects: [target]}]"], ["target"]),
        (["gates=[{gate: auc<0.6, subjects: [dense]}]"], ["dense"]),
        (["gates=[{gate: auc<0.6, subjects: [dense/original]}]"], ["dense"]),
    ],
)
def test_a_target_that_no_sparsifier_is_named_for_is_called_so(
    file: Path, plugins: Plugins, changes: list[str], labels: list[str]
) -> None:
    recipe = load_recipe(file, changes, plugins=plugins)
    assert [subject.label for subject in recipe.subjects()] == labels
    file.write_text(recipe.to_yaml())
    again = load_recipe(file, plugins=plugins)
    assert [subject.label for subject in again.subjects()] == labels
    assert "target" not in [entry.title for entry in again.sparsifiers]


def test_the_schema_asks_for_a_dataset_or_a_target(plugins: Plugins) -> None:
    schema: dict[str, Any] = recipe_schema(plugins)
    assert "dataset" not in schema["required"]
    assert schema["anyOf"] == [{"required": ["dataset"]}, {"required": ["target"]}]
