"""What a recipe's file says, on which line, and files that say nothing that can be read."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from privaudit.api.host import Plugins
from privaudit.errors import RecipeError
from privaudit.recipe import load_recipe
from privaudit.recipe.document import dump, parse

# YAML 1.2.2, section 10.3.2, and the examples of its section 2.4 that the core schema keeps.
CORE = {
    "3e-4": 3e-4, "3.0E+4": 3e4, "685.230_15e+03": "685.230_15e+03", "-.inf": float("-inf"),
    "1e5": 1e5, ".5": 0.5, "5.": 5.0, "12345": 12345, "0o14": 12, "0xC": 12, "010": 10,
    "+3": 3, "15_000": 15000, "1:30": "1:30", "no": "no", "on": "on", "true": True,
    "null": None, "~": None, "": None, "'3e-4'": "3e-4", "2024-01-02": "2024-01-02",
}  # fmt: skip


@pytest.mark.parametrize("text", CORE)
def test_scalars_are_those_of_yaml_1_2(text: str) -> None:
    value = parse(f"a: {text}").value["a"]
    assert (type(value), value) == (type(CORE[text]), CORE[text])


@pytest.mark.parametrize("text", [text for text in CORE if text.isprintable()])
def test_text_that_looks_like_something_else_is_quoted(text: str) -> None:
    written = dump({"a": text})
    assert parse(written).value == yaml.safe_load(written) == {"a": text}


def test_aliases_and_merges_keep_their_lines() -> None:
    document = parse("a: &a\n  x: 1\n  y: 2\nb:\n  <<: *a\n  y: 3\nc: [*a, 5]\n")
    assert document.value == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": [{"x": 1, "y": 2}, 5],
    }
    assert document.value["c"][0] is not document.value["a"]
    assert [document.line(path) for path in (("b",), ("b", "y"), ("b", "x"), ("c", 1))] == [
        4, 6, 2, 7,
    ]  # fmt: skip
    assert document.line(("b", "nothing")) == 4
    assert document.mistakes == []


BOMB = "a: &a [0,0,0,0,0,0,0,0,0,0]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 10)}]\n" for old, new in pairwise("abcdef")
)
UNREADABLE: dict[str, tuple[str | bytes, str]] = {
    "syntax": ("name: x\nseeds: [1,\n", "x.yaml:3: is not valid YAML: while parsing a flow node, "
        "expected the node content, but found '<stream end>' (column 1)"),
    "tag": ("name: x\nseeds: !!python/object:os.system {}\n", "x.yaml:2: is not valid YAML: "
        "could not determine a constructor for the tag "
        "'tag:yaml.org,2002:python/object:os.system' (column 8)"),
    "control character": ("name: x\nseeds: \x00", "x.yaml:2: is not valid YAML: "
        "special characters are not allowed"),
    "two documents": ("name: x\n---\nname: y\n", "x.yaml:2: is not valid YAML: expected a single "
        "document in the stream, but found another document (column 1)"),
    "a key that is a list": ("[a]: x", "x.yaml:1: is not valid YAML: a key must be plain text"),
    "empty": ("# nothing\n", "x.yaml:1: is empty; "
        "a recipe is a mapping with name, dataset, model and attacks"),
    "a list": ("\n- a\n", "x.yaml:2: a recipe is a mapping with name, dataset, model and attacks "
        "(got ['a'])"),
    "not UTF-8": (b"name: x\nseeds: \xff", "x.yaml:2: is not UTF-8 text"),
    "deep": ("[" * 3000, "x.yaml:1: is nested more than 50 deep"),
    "alias of itself": ("a: &a [*a]", "x.yaml:1: is nested more than 50 deep"),
    "large": ("#" * (1 << 20) + "\n", "x.yaml: is larger than 1 MiB, which no recipe is"),
    "bomb": (BOMB, "x.yaml:1: its aliases unfold to more than 100000 values"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNREADABLE)
def test_an_unreadable_file_is_one_line(case: str, tmp_path: Path) -> None:
    content, expected = UNREADABLE[case]
    file = tmp_path / "x.yaml"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(RecipeError) as error:
        load_recipe(file, plugins=Plugins((), ()))
    assert error.value.problems == (f"{tmp_path}/{expected}",)
