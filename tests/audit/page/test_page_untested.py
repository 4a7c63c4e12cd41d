"""What was not tested, as the page says it."""

from __future__ import annotations

from pathlib import Path

from made_up_runs import RECIPE, made_up_run
from privaudit.page import page
from privaudit.store.failure import Failure
from read_pages import ReadPage


def _told(text: str) -> str:
    whole = ReadPage(text).text
    start = whole.rindex("What was not tested ")  # the section, after links to it
    return whole[start : whole.index("Plots", start)]


def test_numbers_that_take_more_examples_are_named(tmp_path: Path) -> None:
    told = _told(page([made_up_run(tmp_path / "run")]))
    assert "TPR % @ 0.1 %: not resolvable with 60 non-members: it takes 1000 or more" in told
    assert "(every attack)" in told
    assert "TPR % @ 10 %" not in told  # which 60 non-members do resolve


def test_attacks_that_the_recipe_cannot_serve_are_named_with_the_reason(tmp_path: Path) -> None:
    told = _told(page([made_up_run(tmp_path / "run")]))
    assert "lira: cannot work with this recipe: it needs at least 2 shadow models" in told
    left_out = told.partition("left out of the recipe:")[2].partition(".")[0]
    assert "rmia" in left_out
    assert "loss" not in left_out.split(", ")


def test_an_attacker_who_does_not_know_the_defense_is_named(tmp_path: Path) -> None:
    recipe = RECIPE | {
        "shadow_defense": {"name": "none"},
        "attacks": [
            {"name": "loss"},
            {"name": "rmia", "label": "adaptive", "shadow_defense": "same"},
        ],
    }
    told = _told(page([made_up_run(tmp_path / "run", recipe=recipe)]))
    assert "loss: trains its shadows with the defense none, whatever the network's is" in told
    assert "adaptive" not in told
    assert "whatever" not in _told(page([made_up_run(tmp_path / "other")]))


def test_what_failed_and_what_was_not_repeated_are_named(tmp_path: Path) -> None:
    failures = [Failure("imp", "it broke", "round 2", "rmia", 0, 0)]
    told = _told(page([made_up_run(tmp_path / "run", seeds=1, failures=failures)]))
    assert "attack 'rmia' on imp / round 2, seed 0, target 0: it broke" in told
    assert "one network of each kind" in told
    assert "matched: true" in told
    assert "one network" not in _told(page([made_up_run(tmp_path / "other", seeds=2)]))
