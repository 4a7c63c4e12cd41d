"""`privaudit validate` and `privaudit schema`, as people call them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from privaudit.cli import main

TEXT = """\
name: small
seeds: 3
dataset: digits
model: mlp
sparsifiers: [dense, {name: dense, label: again}]
attacks: [loss]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(TEXT)
    return tmp_path


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["privaudit", *arguments])
    with pytest.raises(SystemExit) as done:
        main()
    return done.value.code


@pytest.mark.usefixtures("folder")
def test_a_right_recipe_is_counted_and_told_what_was_not_tried(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "validate", "small.yaml") == 0
    counted, rest = capsys.readouterr().out.splitlines()
    assert counted == "small.yaml: fine: 2 subjects x 3 seeds x 1 attack"
    assert rest.startswith("this reads the recipe alone; privaudit run --dry-run")


@pytest.mark.usefixtures("folder")
def test_a_wrong_one_prints_every_mistake_and_exits_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = call(
        monkeypatch, "validate", "small.yaml", "--set", "seeds=0", "--set", "training.epochs=0"
    )
    captured = capsys.readouterr()
    assert (code, captured.out) == (2, "")
    assert captured.err == (
        "--set seeds: must be a list of seeds, or how many: 1 to 1000 (got 0)\n"
        "--set training.epochs: must be at least 1 (got 0)\n"
    )


def test_the_schema_is_json_with_a_dialect(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "schema") == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    text = json.dumps(schema)
    for reference in set(text.split('"$ref": "#/$defs/')[1:]):
        assert reference.partition('"')[0] in schema["$defs"]
