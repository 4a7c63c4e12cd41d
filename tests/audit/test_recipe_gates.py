"""The gates of a recipe: read with all of it, and no part of what is trained."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from privaudit.api.host import load_plugins
from privaudit.cli import main
from privaudit.errors import RecipeError
from privaudit.recipe import Recipe, load_recipe, recipe_schema
from privaudit.store.manifest import read_manifest
from privaudit.store.result import load_run
from run_folders import without_manifest

BASE: dict[str, Any] = {
    "name": "small",
    "dataset": "digits",
    "split": {"members": 40, "validation": 10, "non_members": 50},
    "model": {"name": "mlp", "hidden": [8]},
    "training": {"epochs": 1},
    "sparsifiers": ["dense", {"name": "imp", "rounds": 1, "label": "pruned"}],
    "attacks": ["loss"],
}
Said = tuple[int, str, str]


def _recipe(**more: Any) -> Recipe:
    return load_recipe({**BASE, **more})


def test_gates_are_short_or_say_what_they_are_about() -> None:
    about = {"gate": "tpr@1e-2 < 0.05", "subjects": ["pruned/round 1"], "attacks": ["loss"]}
    recipe = _recipe(gates=["auc < 0.6", about], accept_doubts=["chance"])
    first, second = (rule.limit for rule in recipe.gates)
    assert (first.text, first.subjects, first.attacks) == ("auc<0.6", (), ())
    assert second.title == "tpr@1e-2<0.05 on pruned/round 1 by loss"
    assert second.metric == "tpr@0.01"
    written = yaml.safe_load(recipe.to_yaml())
    assert written["gates"] == ["auc<0.6", {**about, "gate": "tpr@1e-2<0.05"}]
    assert load_recipe(written) == recipe


def test_a_recipe_is_the_same_whatever_judges_it() -> None:
    plain, gated = _recipe(), _recipe(gates=["auc<0.6"], accept_doubts=["chance"])
    assert plain.digest() == gated.digest()
    assert not {"gates", "accept_doubts"} & yaml.safe_load(plain.to_yaml()).keys()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"gates": "auc<0.6"}, "gates: must be a list (got 'auc<0.6')"),
        ({"gates": ["auk<0.6"]}, "gates[0]: 'auk<0.6': unknown metric 'auk'; did you mean 'auc'"),
        ({"gates": ["auc>0.6"]}, "gates[0]: 'auc>0.6': less is safer, so write auc<0.6"),
        ({"gates": ["mean(auc)>0.6"]}, "less is safer, so write mean(auc)<0.6"),
        ({"gates": [0.6]}, "gates[0]: must be a gate such as auc<0.6, or a mapping of gate"),
        ({"gates": [None]}, "gates[0]: must be a gate such as auc<0.6"),
        ({"gates": [{"subjects": ["dense"]}]}, "gates[0].gate: is missing"),
        ({"gates": [{"gate": 3}]}, "gates[0].gate: must be text (got 3)"),
        ({"gates": [{"gate": "auc<1", "subjects": ["a"]}]}, "must be a number between 0 and 1"),
        ({"gates": [{"gate": "auc<0.6", "subject": "a"}]}, "did you mean 'subjects'"),
        ({"gates": [{"gate": "auc<0.6", "subjects": "dense"}]}, "subjects: must be a list"),
        (
            {"gates": [{"gate": "auc<0.6", "subjects": ["dens"]}]},
            "gates[0].subjects[0]: unknown subject 'dens'; did you mean 'dense'? There are: dense",
        ),
        (
            {"gates": [{"gate": "auc<0.6", "attacks": ["lira"]}]},
            "gates[0].attacks[0]: unknown attack 'lira'. There are: loss",
        ),
        ({"gates": ["mean(auc)<0.6"]}, "leave out mean(), give more seeds, or set split.targets"),
        ({"gates": ["mean(epsilon)<3"]}, "no mean of epsilon can be judged"),
        ({"gates": ["a" * 10_000]}, "is not METRIC<NUMBER"),
        ({"accept_doubts": ["lables"]}, "accept_doubts[0]: unknown doubt 'lables'; did you mean"),
        ({"accept_doubts": "labels"}, "accept_doubts: must be a list"),
    ],
)
def test_a_wrong_gate_is_one_line_with_its_place(more: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        _recipe(**more)
    (line,) = str(caught.value).splitlines()
    assert message in line
    assert len(line) < 500


def test_wrong_gates_are_told_with_all_other_mistakes_and_nothing_that_follows_from_them() -> None:
    wrong = {
        "attacks": ["los"],
        "seeds": "two",
        "gates": ["auk<0.6", {"gate": "auc<0.6", "subjects": ["a"], "attacks": ["loss"]}],
        "accept_doubts": ["x"],
        "training": {"epocs": 1},
    }
    with pytest.raises(RecipeError) as caught:
        _recipe(**wrong)
    places = [line.split(": ")[1] for line in str(caught.value).splitlines()]
    assert sorted(places) == [
        "accept_doubts[0]",
        "attacks[0]",
        "gates[0]",
        "seeds",
        "training.epocs",
    ]
    right = {**wrong, "gates": [{"gate": "auc<0.6", "subjects": ["a"], "attacks": ["loss"]}]}
    with pytest.raises(RecipeError) as caught:
        _recipe(**right)
    lines = str(caught.value)
    assert "gates[0].subjects[0]: unknown subject 'a'" in lines
    assert "gates[0].attacks" not in lines  # as the attacks are not known


def test_the_schema_for_editors_takes_both_forms() -> None:
    gates = recipe_schema(load_plugins())["properties"]["gates"]
    short, long = gates["items"]["anyOf"]
    assert short == {"type": "string"}
    assert long["required"] == ["gate"]
    assert set(long["properties"]) == {"gate", "subjects", "attacks"}


@pytest.fixture
def privaudit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """Runs a command in a folder of its own: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("privaudit.cli.run._attach_logging", lambda console: None)

    def call(*words: str, **recipe: Any) -> Said:
        Path("r.yaml").write_text(yaml.safe_dump({**BASE, **recipe}, sort_keys=False))
        more = ["--cache=cache", "--device=cpu", "--processes=1", "-q"] * (words[0] == "run")
        monkeypatch.setattr(sys, "argv", ["privaudit", *words, *more])
        with pytest.raises(SystemExit) as caught:
            main()
        said = capsys.readouterr()
        return int(caught.value.code or 0), said.out, said.err

    return call


ACCEPT = ["chance", "labels", "shadows_at_chance", "says_nothing", "unlike"]


def test_changed_gates_train_nothing_again_and_stand_in_the_run(
    privaudit: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {"gates": ["auc<0.999"], "accept_doubts": ACCEPT}
    code, out, _ = privaudit("run", "r.yaml", **kept)
    assert (code, "gate auc<0.999 (recipe): kept by all 3" in out) == (0, True)
    (folder,) = Path("runs").iterdir()
    before = load_run(folder)

    def never(*given: object, **options: object) -> None:
        raise AssertionError("a finished run is made again")

    monkeypatch.setattr("privaudit.experiment.running._audited", never)
    strict = {"gates": [{"gate": "auc<0.51", "subjects": ["dense"]}], "accept_doubts": ACCEPT}
    code, out, err = privaudit("run", "r.yaml", **strict)
    assert (code, err) == (3, "")
    assert "gate auc<0.51 on dense (recipe): CANNOT BE TOLD for 1 of 1" in out
    after = load_run(folder)
    assert (after.audits, after.environment) == (before.audits, before.environment)
    assert list(Path("runs").iterdir()) == [folder]
    manifest = read_manifest(folder)
    assert manifest is not None
    assert [manifest.problem(name) for name in manifest.files if manifest.problem(name)] == []
    assert load_recipe(folder / "recipe.yaml") == load_recipe("r.yaml")

    # What the run holds now is what a report judges by.
    code, out, err = privaudit("report", str(folder))
    assert (code, out.count("gate "), err) == (3, 1, "")
    code, out, err = privaudit("report", str(folder), "--format=csv")
    assert (code, "gate auc<0.51 on dense (recipe): CANNOT BE TOLD" in err) == (3, True)
    code, out, _ = privaudit("report", str(folder), "--gate=auc<0.999", "--format=json")
    gates = json.loads(out)["gates"]
    assert [(gate["gate"], gate["sources"], gate["told"]) for gate in gates] == [
        ("auc<0.51", ["recipe"], "cannot be told"),
        ("auc<0.999", ["--gate"], "kept"),
    ]
    # Without any it is the run that it would have been.
    code, out, _ = privaudit("run", "r.yaml")
    assert (code, "gate" in out) == (0, False)
    assert "gates" not in load_run(folder).recipe
    assert privaudit("report", str(folder))[0] == 0


def test_gates_are_judged_in_runs_without_a_manifest_and_in_those_that_cannot_be_written(
    privaudit: Callable[..., Said],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert privaudit("run", "r.yaml")[0] == 0
    (folder,) = Path("runs").iterdir()
    strict = {"gates": ["auc<0.51"], "accept_doubts": ACCEPT}
    with monkeypatch.context() as patch:
        access = os.access
        patch.setattr(os, "access", lambda path, mode: Path(path) != folder and access(path, mode))
        assert privaudit("run", "r.yaml", **strict)[0] == 3
    assert "keeps the gates of its earlier recipe" in caplog.text
    assert "gates" not in load_run(folder).recipe
    without_manifest(folder)
    assert privaudit("run", "r.yaml", **strict)[0] == 3
    assert load_run(folder).recipe["gates"] == ["auc<0.51"]
    assert not (folder / "manifest.json").exists()


def test_files_for_a_pipeline_point_to_the_recipe_and_need_a_gate(
    privaudit: Callable[..., Said],
) -> None:
    files = ("--junit=gates.xml", "--sarif=gates.sarif")
    code, _, err = privaudit("run", "r.yaml", *files)
    assert (code, err) == (
        2,
        "--junit and --sarif tell of gates: give --gate, or gates in the recipe\n",
    )
    assert not Path("cache").exists()
    code, _, err = privaudit("run", "r.yaml", "--junit=r.yaml", gates=["auc<0.51"])
    assert (code, "is what the command reads, too" in err) == (2, True)
    code, _, err = privaudit("run", "r.yaml", "--junit=no/gates.xml", gates=["auc<0.51"])
    assert (code, err.startswith("cannot write no/gates.xml: ")) == (1, True)
    assert not Path("cache").exists()  # before anything is trained
    code, _, _ = privaudit("run", "r.yaml", *files, gates=["auc<0.51"], accept_doubts=ACCEPT)
    assert code == 3
    (run,) = json.loads(Path("gates.sarif").read_text())["runs"]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "r.yaml"
    line = Path("r.yaml").read_text().splitlines()[place["region"]["startLine"] - 1]
    assert line == "- auc<0.51"
    assert Path("gates.xml").read_text().count("<error") == 3
    (folder,) = Path("runs").iterdir()
    code, _, err = privaudit("report", str(folder), f"--sarif={folder}/result.json")
    assert (code, "is what the command reads, too" in err) == (2, True)
    assert privaudit("report", str(folder), *files)[0] == 3
    (run,) = json.loads(Path("gates.sarif").read_text())["runs"]
    uri = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == f"{folder}/recipe.yaml"


def test_a_run_that_is_not_finished_keeps_no_gate(privaudit: Callable[..., Said]) -> None:
    privaudit("run", "r.yaml", gates=["auc<0.999"], accept_doubts=ACCEPT)
    (folder,) = Path("runs").iterdir()
    assert privaudit("report", str(folder))[0] == 0
    Path("begun").mkdir()
    code, out, err = privaudit("report", str(folder), "begun", "--junit=gates.xml")
    assert code == 3
    assert "CANNOT BE TOLD for 1 of 4" in out
    assert err.startswith("left out: begun has no result.json")
    assert Path("gates.xml").read_text().count("<error") == 1
