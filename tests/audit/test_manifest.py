"""A finished run is believed where its files and its data are still what they were."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from privaudit import (
    Augmentation,
    Examples,
    Recipe,
    StoreError,
    load_plugins,
    load_recipe,
    load_run,
    run,
)
from privaudit.events import Event, FitDone
from privaudit.experiment.export import export
from privaudit.experiment.identity import about, examples_digest, made_by
from privaudit.store.scores import RunArrays
from run_folders import without_manifest

RECIPE: dict[str, Any] = {
    "name": "kept",
    "dataset": "digits",
    "split": {"members": 40, "non_members": 50},
    "model": {"name": "mlp", "hidden": [8]},
    "training": {"epochs": 1, "lr": 0.1},
    "attacks": ["loss"],
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    for name, changes in (("run", []), ("other", ["training.lr=0.2"])):
        run(load_recipe(RECIPE, changes), folder / name, device="cpu", cache=folder / "cache")
    return folder


@pytest.fixture
def folder(home: Path, tmp_path: Path) -> Path:
    shutil.copytree(home / "run", tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def again(home: Path, folder: Path) -> Callable[..., list[Event]]:
    """Run into the folder once more, and see that it is as it was."""

    def run_again() -> list[Event]:
        events: list[Event] = []
        run(load_recipe(RECIPE), folder, device="cpu", cache=home / "cache", on_event=events.append)
        for name in files_of(home / "run"):
            if name not in ("result.json", "manifest.json"):
                assert (folder / name).read_bytes() == (home / "run" / name).read_bytes()
        assert load_run(folder).audits == load_run(home / "run").audits
        return events

    return run_again


def files_of(folder: Path) -> set[str]:
    """Without the log, to which every attempt adds."""
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    return files - {"events.jsonl"}


def model_of(folder: Path) -> Path:
    (path,) = (folder / "models").glob("*.safetensors")
    return path


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 4
    path.write_bytes(content)


def test_a_manifest_lists_every_file_with_its_checksum(home: Path) -> None:
    manifest = json.loads((home / "run" / "manifest.json").read_text())
    listed = {name: (file["bytes"], file["blake2b"]) for name, file in manifest["files"].items()}
    assert listed == {
        name: (len(content), blake2b(content, digest_size=32).hexdigest())
        for name in files_of(home / "run") - {"manifest.json"}
        for content in [(home / "run" / name).read_bytes()]
    }
    checksum = manifest.pop("checksum")
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    assert checksum == blake2b(text.encode(), digest_size=32).hexdigest()
    record = json.loads((home / "run" / "result.json").read_text())
    assert record["identity"] == manifest["identity"]
    assert manifest["about"]["torch"] == torch.__version__
    told = [one.pop("deviations") for one in record["environment"]["plugins"]]
    assert manifest["about"]["plugins"] == record["environment"]["plugins"]
    assert all(isinstance(deviations, list) for deviations in told)
    assert (home / "run" / "manifest.json").stat().st_mode & 0o777 == 0o600


def test_what_plugins_say_of_their_papers_is_no_part_of_a_run_s_identity(home: Path) -> None:
    result, recipe = load_run(home / "run"), load_recipe(RECIPE)
    known = about(recipe, {}, result.environment)
    assert known["plugins"] == made_by(recipe, load_plugins())["plugins"]
    plugins = [one | {"deviations": ["Another."]} for one in result.environment["plugins"]]
    assert about(recipe, {}, result.environment | {"plugins": plugins}) == known
    sources = [one | {"source": "another"} for one in result.environment["plugins"]]
    assert about(recipe, {}, result.environment | {"plugins": sources}) != known


def test_a_finished_run_that_recorded_no_deviations_is_recognised(home: Path, folder: Path) -> None:
    without_manifest(folder)
    record = json.loads((folder / "result.json").read_text())
    for plugin in record["environment"]["plugins"]:
        del plugin["deviations"]
    (folder / "result.json").write_text(json.dumps(record))
    events: list[Event] = []
    run(load_recipe(RECIPE), folder, device="cpu", cache=home / "cache", on_event=events.append)
    assert events == []


def examples() -> Examples:
    return Examples(
        x=torch.arange(6, dtype=torch.uint8).reshape(3, 2),
        y=torch.tensor([0, 1, 0]),
        classes=("a", "b"),
        mean=torch.zeros(2),
        std=torch.ones(2),
    )


@pytest.mark.parametrize(
    "change",
    [
        {"x": torch.arange(1, 7, dtype=torch.uint8).reshape(3, 2)},
        {"x": torch.arange(6, dtype=torch.uint8).reshape(3, 2, 1)},
        {"y": torch.tensor([0, 1, 1])},
        {"classes": ("a", "c")},
        {"mean": torch.tensor([0.0, 1.0])},
        {"std": torch.tensor([1.0, 2.0])},
        {"augmentation": Augmentation(flip=True)},
    ],
    ids=["x", "shape", "y", "classes", "mean", "std", "augmentation"],
)
def test_another_anything_of_a_dataset_is_another_digest(change: dict[str, Any]) -> None:
    assert examples_digest(examples()) == examples_digest(examples())
    assert examples_digest(replace(examples(), **change)) != examples_digest(examples())


DAMAGED: dict[str, Callable[[Path], object]] = {
    "recipe.yaml": flip,
    "result.json": flip,
    "scores.npz": flip,
    "manifest.json": flip,
    "model": flip,
}
MISSING = {"model": Path.unlink, "manifest.json": Path.unlink, "recipe.yaml": Path.unlink}


@pytest.mark.parametrize(("name", "damage"), [*DAMAGED.items()])
def test_a_damaged_file_is_named_set_aside_and_made_again(
    folder: Path,
    again: Callable[..., list[Event]],
    caplog: pytest.LogCaptureFixture,
    name: str,
    damage: Callable[[Path], object],
) -> None:
    path = model_of(folder) if name == "model" else folder / name
    for number in (1, 2) if name == "model" else (1,):
        damage(path)
        content = path.read_bytes()
        caplog.clear()
        assert not any(isinstance(event, FitDone) for event in again())
        aside = path.with_name(path.name + (".damaged" if number == 1 else ".2.damaged"))
        assert aside.read_bytes() == content
        assert caplog.text.count("WARNING") == 1
        assert f"{path} is damaged" in caplog.text
        assert f"set aside as {aside.name}" in caplog.text
    caplog.clear()
    assert again() == []
    assert caplog.text == ""


@pytest.mark.parametrize(("name", "damage"), [*MISSING.items()])
def test_a_missing_file_is_made_again(
    folder: Path,
    again: Callable[..., list[Event]],
    caplog: pytest.LogCaptureFixture,
    name: str,
    damage: Callable[[Path], object],
) -> None:
    path = model_of(folder) if name == "model" else folder / name
    damage(path)
    again()
    assert f"{path} is missing: the run is made again" in caplog.text
    assert path.is_file()


def test_a_pipe_in_a_file_s_place_keeps_nobody_waiting(
    folder: Path, again: Callable[..., list[Event]]
) -> None:
    for name in ("result.json", "manifest.json", "scores.npz"):
        (folder / name).unlink()
        os.mkfifo(folder / name)
        with pytest.raises(StoreError, match="a pipe, not a file"):
            RunArrays(load_run(folder).folder)
        again()


def test_what_was_not_written_by_the_run_is_not_read(home: Path, folder: Path) -> None:
    flip(folder / "scores.npz")
    with pytest.raises(StoreError, match=r"scores\.npz is damaged.*run its recipe again"):
        RunArrays(load_run(folder).folder)
    shutil.copy(home / "other" / "result.json", folder)
    with pytest.raises(StoreError, match=r"result\.json is damaged.*run its recipe again"):
        load_run(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(StoreError, match=r"manifest\.json: no such file.*run its recipe again"):
        load_run(folder)


def test_a_network_of_another_run_is_not_exported(home: Path, folder: Path) -> None:
    shutil.copy(model_of(home / "other"), model_of(folder))
    with pytest.raises(StoreError, match=r"dense-seed.*is damaged.*run its recipe again"):
        export(folder, "dense")
    record = json.loads((folder / "manifest.json").read_text())
    del record["checksum"], record["files"][f"models/{model_of(folder).name}"]
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    record["checksum"] = blake2b(text.encode(), digest_size=32).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(record))
    with pytest.raises(StoreError, match=r"is not in the run's manifest\.json"):
        export(folder, "dense")


def test_a_result_copied_elsewhere_is_read(home: Path, tmp_path: Path) -> None:
    shutil.copy(home / "run" / "result.json", tmp_path / "kept.json")
    assert load_run(tmp_path / "kept.json").audits == load_run(home / "run").audits


def test_another_recipe_s_run_is_left_alone_damaged_or_not(home: Path, folder: Path) -> None:
    other = load_recipe(RECIPE, ["training.lr=0.2"])
    for damage in (lambda path: None, flip, lambda path: path.write_bytes(b"")):
        damage(folder / "result.json")
        before = {name: (folder / name).read_bytes() for name in files_of(folder)}
        with pytest.raises(StoreError, match=r"another recipe, 'kept'.*--output"):
            run(other, folder, device="cpu", cache=home / "cache")
        assert {name: (folder / name).read_bytes() for name in files_of(folder)} == before


def test_an_old_run_is_taken_with_a_warning(
    folder: Path, again: Callable[..., list[Event]], caplog: pytest.LogCaptureFixture
) -> None:
    without_manifest(folder)
    assert again() == []
    assert "kept no manifest" in caplog.text


def test_models_of_another_run_go_when_a_run_is_finished(
    folder: Path, again: Callable[..., list[Event]]
) -> None:
    stray = folder / "models" / "stray-seed-0-target-0-12345678.safetensors"
    stray.write_bytes(b"x")
    model_of_run = next(path for path in (folder / "models").iterdir() if path != stray)
    flip(model_of_run)
    again()
    assert not stray.exists()
    assert not (folder / "models.unfinished").exists()


class _StoppedError(Exception):
    pass


def test_a_run_that_is_stopped_leaves_the_finished_one_s_files(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise _StoppedError

    recipe = _table(tmp_path, seed=0)
    run(recipe, tmp_path / "t", device="cpu", cache=tmp_path / "cache")
    before = {name: (tmp_path / "t" / name).read_bytes() for name in files_of(tmp_path / "t")}
    _table(tmp_path, seed=1)
    monkeypatch.setattr("privaudit.experiment.running.save_run", stopped)
    with pytest.raises(_StoppedError):
        run(recipe, tmp_path / "t", device="cpu", cache=tmp_path / "cache")
    now = {name: (tmp_path / "t" / name).read_bytes() for name in files_of(tmp_path / "t")}
    assert {name: now[name] for name in before} == before
    assert any(name.startswith("models.unfinished/") for name in now)


def _table(folder: Path, seed: int) -> Recipe:
    random = np.random.default_rng(seed)
    y = np.arange(200) % 2
    x = (random.normal(size=(200, 3)) + y[:, None]).round(4)
    rows = [",".join(map(str, [*row, f"c{label}"])) for row, label in zip(x, y, strict=True)]
    (folder / "t.csv").write_text("\n".join(["a,b,c,label", *rows]) + "\n")
    return load_recipe(RECIPE | {"dataset": {"name": "table", "path": str(folder / "t.csv")}})


def test_changed_data_make_a_new_run_and_say_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def made(name: str) -> Any:
        # As text: who calls from Python need not know of Path.
        return run(recipe, str(tmp_path / name), device="cpu", cache=tmp_path / "cache").audits

    recipe = _table(tmp_path, seed=0)
    first = made("run")
    _table(tmp_path, seed=0)
    assert made("run") == first
    assert caplog.text == ""
    _table(tmp_path, seed=1)
    second = made("run")
    assert caplog.text.count("WARNING") == 1
    assert "t.csv): its examples differ from those of the finished run" in caplog.text
    assert second == made("fresh") != first
    export(tmp_path / "run", "dense")
    model, fresh = model_of(tmp_path / "run"), model_of(tmp_path / "fresh")
    assert model.read_bytes() == fresh.read_bytes()
