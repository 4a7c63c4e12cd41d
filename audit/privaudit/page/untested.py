"""What an audit does not tell: attacks that were not tried, numbers too few examples carry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from privaudit.api.calls import refused_by_attack
from privaudit.api.plugin import Attack
from privaudit.api.split_options import SplitOptions
from privaudit.errors import PluginError
from privaudit.page.blocks import Block, Points
from privaudit.page.findings import Findings
from privaudit.page.words import name, sentence
from privaudit.statistics import table
from privaudit.store.failure import lines
from privaudit.store.result import RunResult

Item = tuple[str, str]
"""What it is about, and what there is to say."""


def untested(findings: Findings) -> list[Block]:
    """Everything that the numbers leave open, by its reason."""
    found = _parts(findings)
    return [Points(heading, items) for heading, items in found.items() if items]


def in_short(findings: Findings) -> list[str]:
    """The same in a sentence for each reason."""
    found = _parts(findings)
    told = []
    if tried := _tried(findings):
        every = tried | {*_left_out(findings)}
        told.append(f"{len(tried)} of {len(every)} attacks that are installed here were tried.")
    if metrics := [about for about, _ in found[UNRESOLVED]]:
        told.append(f"Too few examples: {', '.join(metrics)} cannot be resolved.")
    if failures := len(found[FAILED]):
        told.append(f"What failed: {failures}, named below.")
    if found[TOLD]:
        told.append("Some attackers were not told which defense or sparsifier the network has.")
    return [*told, *dict.fromkeys(text for _, text in found[ONCE])]


FAILED = "What failed"
UNRESOLVED = "Numbers that these examples cannot resolve"
UNTRIED = "Attacks that were not tried"
SILENT = "Attacks that say little here"
TOLD = "What the attacker was not told"
ONCE = "What was not repeated"


def _parts(findings: Findings) -> dict[str, tuple[Item, ...]]:
    parts = {
        FAILED: _failed(findings),
        UNRESOLVED: _unresolved(findings),
        UNTRIED: _untried(findings),
        SILENT: _silent(findings),
        TOLD: _told(findings),
        ONCE: _once(findings),
    }
    return {heading: tuple(items) for heading, items in parts.items()}


def _failed(findings: Findings) -> Iterator[Item]:
    for line in lines(failure for result in findings.results for failure in result.failures):
        yield "", sentence(line)


def _unresolved(findings: Findings) -> Iterator[Item]:
    """Metrics that no number stands for, with the attacks that lack them, and why."""
    lacking: dict[tuple[str, str], dict[str, None]] = {}
    for result in findings.results:
        for audit in result.audits:
            for metric in table.METRICS:
                if metric.absence.sign is not None and metric.read(audit.metrics) is None:
                    reason = metric.absence.reason(metric, audit.metrics)
                    lacking.setdefault((" ".join(metric.heading), reason), {})[audit.attack] = None
    everyone = set(findings.attacks)
    for (metric_name, reason), attacks in lacking.items():
        whose = "every attack" if everyone <= {*attacks} else ", ".join(map(name, attacks))
        yield metric_name, f"{reason} ({whose})."


def _untried(findings: Findings) -> Iterator[Item]:
    """Attacks that are installed here and that no run tried, and whether a recipe forbids them."""
    willing = []
    for label in _left_out(findings):
        refusals = [_refusal(findings, label, result) for result in findings.results]
        if all(refusals):
            yield name(label), sentence(f"cannot work with this recipe: it {refusals[0]}.")
        else:
            willing.append(name(label))
    if willing:
        yield "left out of the recipe", f"{', '.join(willing)}."


def _left_out(findings: Findings) -> list[str]:
    tried = _tried(findings)
    return [label for label in findings.plugins.names("attack") if label not in tried]


def _tried(findings: Findings) -> set[str]:
    return {
        str(entry.get("name"))
        for result in findings.results
        for entry in result.recipe.get("attacks", [])
    }


def _refusal(findings: Findings, label: str, result: RunResult) -> str:
    """Why an attack cannot work with a run's recipe, as far as that is known; else nothing."""
    try:
        cls = findings.plugins.get("attack", label)
        assert issubclass(cls, Attack)
        attack = cls.model_validate({})
        split = SplitOptions.model_validate(result.recipe.get("split", {}))
        shadows = int(result.recipe.get("shadows", 0))
        if attack.shadows > shadows:
            return f"needs at least {attack.shadows} shadow models, and there are {shadows}"
        return refused_by_attack(attack, split, shadows) or ""
    except (PluginError, ValidationError, TypeError, ValueError):
        return ""


def _silent(findings: Findings) -> Iterator[Item]:
    mute: dict[str, int] = {}
    undecided: dict[str, int] = {}
    left_out: dict[str, int] = {}
    for row in findings.audited:
        for label, attack in row.attacks.items():
            mute[label] = mute.get(label, 0) + attack.mute
            undecided[label] = undecided.get(label, 0) + (attack.silent and not attack.mute)
            left_out[label] = max(left_out.get(label, 0), attack.left_out)
    yield from _counted(mute, "gives all or most examples of {} the same score: it tells nothing")
    yield from _counted(undecided, "calls all or nearly all examples of {} the same")
    for label, count in left_out.items():
        if count:
            yield name(label), f"leaves out up to {count} audited examples of a network."


def _counted(counts: Mapping[str, int], text: str) -> Iterator[Item]:
    for label, count in counts.items():
        if count:
            networks = f"{count} row{'' if count == 1 else 's'} of the comparison"
            yield name(label), f"{text.format(networks)}."


def _told(findings: Findings) -> Iterator[Item]:
    """Attackers whose shadows are not trained as the network under audit is."""
    for run, result in findings.named:
        which = f"{name(run)}: " if findings.several else ""
        for part in ("defense", "sparsifier"):
            key = f"shadow_{part}"
            attackers: dict[str, list[str]] = {}
            for entry in result.recipe.get("attacks", []):
                choice = entry.get(key) or result.recipe.get(key, "same")
                if isinstance(choice, Mapping):
                    attackers.setdefault(_title(choice), []).append(_title(entry))
            for choice, labels in attackers.items():
                yield (
                    f"{which}{', '.join(labels)}",
                    f"trains its shadows with the {part} {choice}, whatever the network's is: an "
                    f"attacker that knows the {part} may tell more.",
                )


def _title(entry: Mapping[str, Any]) -> str:
    return name(str(entry.get("label") or entry.get("name")))


def _once(findings: Findings) -> Iterator[Item]:
    for run, result in findings.named:
        which = f"{name(run)}" if findings.several else ""
        seeds = len({audit.seed for audit in result.audits})
        networks = len({(audit.seed, audit.target) for audit in result.audits})
        if networks == 1:
            yield which, "There is one network of each kind: trained again, it may tell otherwise."
        elif seeds == 1:
            yield which, "There is one seed: other splits and other shadows may tell otherwise."
        if result.audits and not result.recipe.get("matched"):
            yield (
                which,
                "No dense networks were stopped at the accuracy of the sparse ones (`matched: "
                "true` in the recipe): what sparsity does at equal accuracy was not measured.",
            )
