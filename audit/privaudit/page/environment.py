"""Where the numbers come from: recipe, versions, and the plugins with their papers."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from privaudit.api.host import Plugins
from privaudit.errors import PluginError
from privaudit.page.blocks import Block, Folded, Points, Sentences, Source, Table
from privaudit.page.findings import Findings
from privaudit.page.words import name, sentence
from privaudit.version import __version__

_SHOWN = ("privaudit", "git", "torch", "python", "device", "threads", "processes", "seconds")


def environment(findings: Findings) -> list[Block]:
    """Versions, recipe and plugins of each run."""
    blocks: list[Block] = []
    for run, result in findings.named:
        known = result.environment
        facts = [(key, name(str(known[key]))) for key in _SHOWN if known.get(key) is not None]
        blocks.append(Points(f"Run {name(run)}", tuple(facts)))
        if result.recipe:
            text = yaml.safe_dump(result.recipe, sort_keys=False, allow_unicode=True)
            lines = tuple(sentence(line) for line in text.splitlines())
            blocks.append(Folded(f"The recipe of {name(run)}, every default written out",
                                 [Source(lines)]))  # fmt: skip
    used = {
        (str(entry.get("kind")), str(entry.get("name"))): entry
        for result in findings.results
        for entry in result.environment.get("plugins", [])
    }
    if used:
        blocks.append(_papers(used, findings.plugins))
        blocks.append(_departures(findings))
        told = tuple(_told(used, findings.plugins))
        if told:
            says = Points("In the words of the plugins that are installed here", told)
            blocks.append(Folded("What each method does", [says]))
    blocks.append(Sentences((f"This page was made by privaudit {__version__}.",)))
    return blocks


def _papers(used: Mapping[tuple[str, str], Mapping[str, Any]], plugins: Plugins) -> Table:
    rows = []
    for (kind, label), entry in used.items():
        origin = f"{entry.get('distribution', '')} {entry.get('version', '')}".strip()
        cls, note = _installed(kind, label, entry, plugins)
        paper = str(cls.paper) if cls is not None else ""
        rows.append((name(kind), name(label), sentence(paper) or "–", name(origin), note))
    return Table(
        "Plugins, and where their methods were published",
        ("kind", "name", "paper", "from", "here"),
        tuple(rows),
        words=5,
    )


def _departures(findings: Findings) -> Block:
    """Where the methods differ from their papers, as the runs recorded it, and nobody else."""
    items: dict[tuple[str, str], None] = {}
    silent: dict[str, None] = {}
    none: dict[str, None] = {}
    for result in findings.results:
        for entry in result.environment.get("plugins", []):
            label = f"{entry.get('kind')} {entry.get('name')}"
            recorded = entry.get("deviations")
            if not isinstance(recorded, list):
                silent[name(label)] = None
                continue
            sentences = [sentence(text) for text in recorded if isinstance(text, str)]
            items |= dict.fromkeys((name(label), text) for text in sentences)
            if not sentences:
                none[name(label)] = None
    if none:
        items["no departure is known of", f"{', '.join(none)}."] = None
    if silent:
        text = (
            f"{', '.join(silent)}: the run was made by a privaudit that did not record it yet."
            if items
            else "The privaudit that made this run did not record it yet."
        )
        items["cannot be told", text] = None
    return Points("Where methods depart from their papers", tuple(items))


def _told(
    used: Mapping[tuple[str, str], Mapping[str, Any]], plugins: Plugins
) -> Iterator[tuple[str, str]]:
    for (kind, label), entry in used.items():
        cls, _ = _installed(kind, label, entry, plugins)
        words = inspect.cleandoc(cls.__doc__ or "") if cls is not None else ""
        if words:
            yield f"{name(kind)} {name(label)}", sentence(words)


def _installed(
    kind: str, label: str, entry: Mapping[str, Any], plugins: Plugins
) -> tuple[Any, str]:
    """The plugin's class where it is installed, and whether it is the one that the run used."""
    try:
        cls = plugins.get(kind, label)
        same = plugins.provider(cls).source == entry.get("source")
    except PluginError:
        return None, "not installed where this page was made"
    return cls, "as in the run" if same else "its source is not that of the run any more"
