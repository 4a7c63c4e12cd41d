"""Every module is in one of two tables, and a page's plugins are all that its recipe names."""

from __future__ import annotations

from typing import Any

import pytest
from benchmarks.results.asked import resolved
from benchmarks.results.counted import (
    COUNTED,
    LEFT_OUT,
    OF_PAGES,
    counts,
    engine_digests,
    modules,
    page_digests,
    plugin_digests,
    plugins_named,
)
from benchmarks.results.proof import check_plugins
from benchmarks.results.sources import ENGINE, Sources

import privaudit
from privaudit.api.host import load_plugins

LIRA = "plugins/privaudit_plugins/attacks/_lira.py"


def test_every_module_of_the_engine_is_told_to_count_or_not(sources: Sources) -> None:
    for module in modules(sources, ENGINE):
        counts(module or "__init__")
    with pytest.raises(privaudit.StoreError, match=r"privaudit\.newroom\.thing is in neither"):
        counts("newroom.thing")


@pytest.mark.parametrize("name", sorted({*COUNTED, *LEFT_OUT, *OF_PAGES}))
def test_no_table_speaks_of_what_is_gone(name: str, sources: Sources) -> None:
    assert any(f"{module}.".startswith(f"{name}.") for module in modules(sources, ENGINE))


def test_no_name_stands_in_both_tables() -> None:
    assert not COUNTED.keys() & LEFT_OUT.keys()


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("statistics.curve", True),
        ("train.ways.chain_step", True),
        ("recipe.knowledge", True),
        ("recipe.messages", False),
        ("experiment.split", True),
        ("experiment.forecast", False),
        ("report.verdict.leak", False),
        ("cli.run", False),
    ],
)
def test_the_longest_name_decides(module: str, expected: bool) -> None:
    assert counts(module) is expected


def test_what_makes_the_tables_is_apart_from_what_makes_a_run(sources: Sources) -> None:
    engine, page = engine_digests(sources), page_digests(sources)
    assert "train.loop" in engine
    assert "train.loop" not in page
    assert "report.aggregate" in page
    assert "report.aggregate" not in engine
    assert engine["statistics.curve"] == page["statistics.curve"]


def test_plugins_within_plugins_count_and_so_do_their_helpers(sources: Sources) -> None:
    recipe = resolved(sources, "fang_kim_cwrf_quick")
    assert {"cwrf", "relaxloss", "dp_sgd", "lira", "image_folder", "cnn"} <= plugins_named(recipe)
    used = plugin_digests(sources, recipe)
    assert {"defenses.relaxloss", "attacks._lira", "datasets._images"} <= used.keys()
    assert not {"attacks.shadow_mlp", "models.mlp"} & used.keys()
    edited = {**sources, LIRA: sources[LIRA] + "\nMORE = 1\n"}
    changed = plugin_digests(edited, recipe)
    assert {name for name in used if used[name] != changed[name]} == {"attacks._lira"}


def test_plugins_are_named_at_any_depth_and_the_recipe_is_none() -> None:
    recipe = {
        "name": "mine",
        "model": {"name": "mlp"},
        "defenses": [{"name": "cwrf", "defense": {"name": "hamp"}}],
        "attacks": [{"name": "loss", "shadow_defense": "same"}],
    }
    assert plugins_named(recipe) == {"mlp", "cwrf", "hamp", "loss"}


def test_a_plugin_that_is_none_of_ours_is_named(sources: Sources) -> None:
    recipe: dict[str, Any] = {"attacks": [{"name": "of a stranger"}]}
    with pytest.raises(privaudit.StoreError, match="called 'of a stranger'"):
        plugin_digests(sources, recipe)


def test_what_a_run_recorded_of_its_plugins_proves_its_commit(sources: Sources) -> None:
    plugins = load_plugins()
    used = [
        {"kind": kind, "name": name, "source": plugins.provider(plugins.get(kind, name)).source}
        for kind, name in (("attack", "lira"), ("dataset", "digits"), ("sparsifier", "butterfly"))
    ]
    check_plugins(used, sources, "abc")
    edited = {**sources, LIRA: sources[LIRA] + "# another word\n"}
    with pytest.raises(privaudit.StoreError, match="abc does not hold the attack lira"):
        check_plugins(used, edited, "abc")
