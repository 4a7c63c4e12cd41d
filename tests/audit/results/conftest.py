from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from benchmarks.results import measured as module
from benchmarks.results.asked import resolved
from benchmarks.results.measured import Told, measured
from benchmarks.results.pages import Pages
from benchmarks.results.record import Record
from benchmarks.results.sources import Sources, here

from made_up_runs import made_up_run

COMMIT = "0123456789ab"

Made = tuple[Record, dict[str, bytes]]


@pytest.fixture(scope="session")
def sources() -> Sources:
    """Today's, read once."""
    return here()


@pytest.fixture
def make_run(
    tmp_path_factory: pytest.TempPathFactory, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """A run of `recipes/digits.yaml` whose numbers are made up, by a commit of today's sources."""
    without_git(monkeypatch, sources)
    return lambda *changes, **facts: a_run(tmp_path_factory, sources, *changes, **facts)


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory, sources: Sources) -> Path:
    """One of them, with five epochs."""
    return a_run(tmp_path_factory, sources, "training.epochs=5")


@pytest.fixture(scope="session")
def made_page(run_folder: Path, sources: Sources) -> Made:
    """The record of its page, and its figures."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        without_git(monkeypatch, sources)
        record, figures = measured(run_folder, Told(date="2026-01-31"))
    return record, dict(figures)


@pytest.fixture
def pages(tmp_path: Path) -> Pages:
    """Pages of nothing, with an index."""
    made = Pages(tmp_path / "recipes")
    made.folder.mkdir(parents=True)
    made.index_path.write_text(Pages().index_path.read_text())
    return made


def a_run(
    factory: pytest.TempPathFactory,
    sources: Sources,
    *changes: str,
    git: str | None = COMMIT,
    subjects: Sequence[tuple[str, str]] = (("dense", ""), ("imp", "round 1")),
    **environment: Any,
) -> Path:
    folder = factory.mktemp("run") / "run"
    made_up_run(
        folder,
        "digits",
        subjects=subjects,
        attacks=("shadow_mlp", "logistic_regression", "loss"),
        recipe=resolved(sources, "digits", changes),
        environment={"git": git, "torch": "2.9", "processes": 2, "threads": 2} | environment,
    )
    return folder


def without_git(monkeypatch: pytest.MonkeyPatch, sources: Sources) -> None:
    """Let every commit hold today's sources."""
    monkeypatch.setattr(module, "of_commit", lambda commit, root: sources)
    monkeypatch.setattr(module, "full_name", lambda commit, root: commit.removesuffix("-dirty"))
