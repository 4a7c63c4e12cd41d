"""The versions we promise: pyproject.toml says them, and whatever else says them says the same."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
README = (ROOT / "README.md").read_text()
PROMISE = next(x for x in README.replace("\n", " ").split(". ") if x.startswith("Python 3."))
BOUND = re.compile(r"([A-Za-z0-9-]+)>=([0-9.]+)")


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(x) for x in re.findall(r"\d+", text.partition("+")[0])[:3])


def bounds(requirements: list[str]) -> dict[str, str]:
    found = (BOUND.fullmatch(x) for x in requirements if not x.startswith("privaudit["))
    return {x[1]: x[2] for x in found if x}


REQUIRED = bounds(PROJECT["dependencies"])
PYTHONS = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["classifiers"]))


def test_every_dependency_has_a_lowest_version_and_nothing_else() -> None:
    extras = PROJECT["optional-dependencies"].values()
    for requirements in (PROJECT["dependencies"], *extras):
        own = [x for x in requirements if not x.startswith("privaudit[")]
        assert len(bounds(own)) == len(own), own


@pytest.mark.parametrize("name", REQUIRED)
def test_what_is_installed_is_allowed(name: str) -> None:
    assert numbers(version(name)) >= numbers(REQUIRED[name])


def test_pythons_are_the_same_everywhere() -> None:
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"
    assert re.findall(r"\b3\.\d+", PROMISE) == [PYTHONS[0], *PYTHONS]
    assert sys.version_info[:2] >= numbers(PYTHONS[0])


def test_the_readme_names_the_lowest_versions() -> None:
    named = dict(re.findall(r"(torch|numpy|pydantic|typer) ([0-9.]*[0-9])", PROMISE))
    assert named == {name: REQUIRED[name] for name in ("torch", "numpy", "pydantic", "typer")}


def test_ci_tries_the_lowest_versions_and_every_python() -> None:
    script = ROOT / ".ci" / "run"
    if not script.exists():  # an sdist has none
        pytest.skip("no checkout")
    text = script.read_text()
    assert "--resolution lowest-direct" in text
    assert f"for version in {' '.join(PYTHONS)}; do" in text
