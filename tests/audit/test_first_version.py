"""What the first version wrote is still read: its cache, its run, its keys."""

from __future__ import annotations

import shutil
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch

from privaudit import load_plugins, load_recipe, load_run, run
from privaudit.api.host import Plugins
from privaudit.events import Event, FitDone, FitStarted
from privaudit.report import render
from privaudit.store.unit_file import Label, decoded

HERE = Path(__file__).parents[1] / "fixtures" / "first_version"


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Plugins:
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.delitem(sys.modules, "first_version", raising=False)
    found = load_plugins(entry_points=[EntryPoint("first_version", "first_version", "privaudit")])
    assert not found.problems
    return found


def test_its_cache_is_found_and_nothing_is_trained_again(tmp_path: Path, plugins: Plugins) -> None:
    cache = tmp_path / "cache"
    shutil.copytree(HERE / "cache", cache)
    before = {path: path.read_bytes() for path in cache.rglob("*.unit")}
    events: list[Event] = []
    recipe = load_recipe(HERE / "recipe.yaml", plugins=plugins)
    result = run(
        recipe, tmp_path / "run", cache=cache, plugins=plugins, device="cpu", on_event=events.append
    )
    fits = [event for event in events if isinstance(event, FitStarted)]
    assert [(fit.models, fit.found) for fit in fits] == [(2, 2), (2, 2)]
    assert not any(isinstance(event, FitDone) for event in events)
    after = {path: path.read_bytes() for path in cache.rglob("*.unit")}
    assert before.keys() <= after.keys()
    for path, content in before.items():
        tensors, label = decoded(after[path])
        assert label == Label(path.stem, "fit", 2)  # written anew, with its key
        earlier, none = decoded(content)
        assert none is None
        assert tensors.keys() == earlier.keys()
        assert all(torch.equal(tensors[name], earlier[name]) for name in earlier)
    for audit, first in zip(result.audits, load_run(HERE / "run").audits, strict=True):
        assert (audit.subject, audit.level) == (first.subject, first.level)
        assert audit.density == first.density
        assert audit.metrics["auc"] == pytest.approx(first.metrics["auc"])


def test_its_run_is_recognised_as_finished(tmp_path: Path, plugins: Plugins) -> None:
    folder = tmp_path / "run"
    shutil.copytree(HERE / "run", folder)
    events: list[Event] = []
    recipe = load_recipe(HERE / "recipe.yaml", plugins=plugins)
    result = run(
        recipe, folder, cache=tmp_path / "c", plugins=plugins, device="cpu", on_event=events.append
    )
    assert events == []
    assert result == load_run(folder)


def test_its_run_is_reported() -> None:
    text = render([load_run(HERE / "run")])
    assert "halved + smoothed" in text
    assert "0.589 [0.433, 0.729]" in text
