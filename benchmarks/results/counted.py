"""Which modules can change a number of a page, and which cannot: the one table of both.

A name stands for a module, or a package with all in it; of several that fit a module the longest
holds.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from benchmarks.results.computing import digest
from benchmarks.results.sources import ENGINE, PLUGINS, Sources
from privaudit.errors import StoreError

COUNTED: Mapping[str, str] = {
    "values": "examples, roles and signals: what everything is computed on",
    "answers": "what is made of logits",
    "reductions": "what is kept of answers",
    "keys": "all randomness",
    "learning": "how learned attacks train",
    "optimizers": "steps of training",
    "training": "options of training and their meaning",
    "statistics": "every metric, interval and test",
    "networks": "initial weights, precision, answers",
    "train": "training",
    "cohort": "pruning, rewinding, batches of answers, gradients",
    "channels": "which filters go, and what goes with them",
    "experiment": "who trains on what, which shadows an attacker has, what is measured",
    "recipe.model": "which subjects there are, and how their options combine",
    "recipe.fields": "which seeds a number stands for, and how many shadows",
    "recipe.knowledge": "what the attacker knows",
    "api.kinds": "what a plugin does that does not say otherwise",
    "api.calls": "what is made of that which hooks return",
    "api.scores": "what is made of the scores of attacks",
    "api.needs": "which answers an attack sees",
    "api.float32": "how products of float32 numbers are made",
    "api.world": "random state and threads around hooks",
    "doubts.attacks": "when an attack says nothing, which stands in place of its numbers",
    "store.scores": "the scores that intervals are made of",
    "store.score_units": "scores that are found again",
    "store.units": "weights that are found again",
    "report.aggregate": "means and intervals over networks",
    "report.differences": "changes and their tests",
    "report.evidence": "who was audited where",
    "report.rows": "what counts as significant",
    "report.columns": "how numbers are rounded",
    "report.choose": "what is compared to what",
}
"""Why each counts."""

OF_PAGES = ("statistics", "doubts.attacks", "store.scores", "report")
"""What makes a page's tables of a finished run: it is that of whoever writes the page."""

LEFT_OUT: Mapping[str, str] = {
    "__init__": "names alone",
    "__main__": "a way in",
    "errors": "words",
    "messages": "words",
    "events": "word of what goes on",
    "version": "a name",
    "api": "finds plugins, and says what is wrong with them",
    "jobs": "where work is done, not what",
    "readers": "gives the bytes of files or fails; a page knows the digest of its data",
    "recipe": "recipes are compared as they are once read, with every default",
    "store": "gives back what was put in, under a checksum",
    "doubts": "stand beside numbers and change none",
    "report": "words and signs around the rows",
    "statistics.false_discoveries": "lists of examples stand in no page",
    "statistics.tail": "audits of answers that somebody brings",
    "experiment.cost": "what a network costs stands in no page",
    "experiment.environment": "says where a run was made",
    "experiment.export": "makes files of finished networks",
    "experiment.failing": "words of failures",
    "experiment.forecast": "when a run will end",
    "experiment.identity": "whether a finished run still stands for its recipe",
    "experiment.onnx": "makes files of finished networks",
    "experiment.plan": "says what a run would do",
    "experiment.telling": "word of what goes on",
    "explain": "stands in no page",
    "gate": "stands in no page",
    "figures": "draws the same rows",
    "page": "another kind of page",
    "diff": "compares runs",
    "outputs": "audits of answers that somebody brings",
    "testing": "tests",
    "scaffold": "makes empty plugins",
    "cli": "commands",
}
"""Why each does not."""


def counts(module: str) -> bool:
    """Whether a module of the engine can change a number.

    Raises:
        StoreError: neither table has it.
    """
    parts = module.split(".")
    for end in range(len(parts), 0, -1):
        name = ".".join(parts[:end])
        if name in COUNTED or name in LEFT_OUT:
            return name in COUNTED
    raise StoreError(
        f"privaudit.{module} is in neither table of benchmarks/results/counted.py: say there "
        "whether it can change a number"
    )


def engine_digests(sources: Sources) -> dict[str, str]:
    """The digest of every module of the engine that counts in a run, by its name.

    Raises:
        StoreError: a module is in no table.
        SyntaxError: a module is no Python.
    """
    counted = _counted(sources)
    return {name: digest(text) for name, text in counted.items() if not _in(name, ("report",))}


def page_digests(sources: Sources) -> dict[str, str]:
    """Likewise of what makes the tables of a page.

    Raises:
        StoreError: a module is in no table.
        SyntaxError: a module is no Python.
    """
    counted = _counted(sources)
    return {name: digest(text) for name, text in counted.items() if _in(name, OF_PAGES)}


def plugin_digests(sources: Sources, recipe: Mapping[str, Any]) -> dict[str, str]:
    """Likewise of the modules of all built-in plugins that a recipe names, and what they import.

    Args:
        sources: of the repository.
        recipe: with every default, as a run holds it.

    Raises:
        StoreError: no built-in plugin has a name that the recipe names.
        SyntaxError: a module is no Python.
    """
    files = modules(sources, PLUGINS)
    starts = {module for name in plugins_named(recipe) for module in homes(files, name)}
    used = set[str]().union(*(with_imports(files, module) for module in starts))
    return {module: digest(files[module]) for module in sorted(used)}


def homes(files: Mapping[str, str], plugin: str) -> list[str]:
    """The modules of built-in plugins of a name; kinds share some.

    Raises:
        StoreError: there is none.
    """
    found = [module for module, text in files.items() if plugin in _names(text)]
    if not found:
        raise StoreError(f"no built-in plugin is called {plugin!r}")
    return found


def with_imports(files: Mapping[str, str], module: str) -> set[str]:
    """A module of built-in plugins, and all others that it imports, directly or not."""
    waiting, used = {module}, set[str]()
    while waiting:
        used.add(one := waiting.pop())
        waiting |= (_imports(files[one]) & files.keys()) - used
    return used


def plugins_named(recipe: Mapping[str, Any]) -> set[str]:
    """The names of all plugins in a recipe, those within others, too."""
    return {name for value in recipe.values() for name in _below(value)}


def modules(sources: Sources, folder: str) -> dict[str, str]:
    """The modules in a folder, by their names without the package's."""
    paths = [path for path in sources if path.startswith(f"{folder}/") and path.endswith(".py")]
    return {_module(path[len(folder) + 1 :]): sources[path] for path in paths}


def _counted(sources: Sources) -> dict[str, str]:
    return {name: text for name, text in modules(sources, ENGINE).items() if counts(name)}


def _in(module: str, names: Iterable[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _below(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(value.get("name"), str):
            yield value["name"]
        for inner in value.values():
            yield from _below(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _below(inner)


@lru_cache(maxsize=1024)  # every page asks for the same modules
def _names(text: str) -> frozenset[str]:
    """What the plugins of a module are called: `name: Literal["..."]`."""
    types = [
        node.annotation.slice
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and node.target.id == "name"
        and isinstance(node.annotation, ast.Subscript)
    ]
    values = [
        part.value for one in types for part in ast.walk(one) if isinstance(part, ast.Constant)
    ]
    return frozenset(value for value in values if isinstance(value, str))


@lru_cache(maxsize=1024)
def _imports(text: str) -> frozenset[str]:
    """Built-in modules that a built-in module may import."""
    top = "privaudit_plugins."
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(name.removeprefix(top) for name in found if name.startswith(top))
