"""Audits level after level: every attack on every target, with what the attacker believes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from privaudit.attacking import checked, measured
from privaudit.cost import costs
from privaudit.events import AttackDone, BelievedDone, BelievedStarted
from privaudit.levels import Level, Workplace, levels
from privaudit.plugin import Attack
from privaudit.recipe import Entry, Subject
from privaudit.recipe.knowledge import shadow_subject
from privaudit.result import AuditResult
from privaudit.sensitivity import first_order_sensitivity
from privaudit.turns import Turn, scores_of
from privaudit.values import AttackScores, Outputs, Role, audited

Scores = dict[str, NDArray[Any]]


class Auditor:
    """Collects the audits of a run, and per-example numbers beside them.

    Attributes:
        audits: in the order of the report.
        scores: by name: `example_SEED_TARGET`, `member_...` and `label_...` say which examples a
            target's audits are about; `score_I` holds those of audit I; `confidence_I` and
            `sensitivity_I` what the target answers, with I the first audit of its level.
    """

    def __init__(self, place: Workplace) -> None:
        self.place = place
        self.audits: list[AuditResult] = []
        self.scores = _examples(place)
        self._believed: dict[str, list[Level]] = {}

    def audit(self, subject: Subject, level: Level, matched: str = "") -> None:
        """Attack every target of every seed at one level.

        Args:
            subject: what is under audit.
            level: its models and their answers.
            matched: of a dense control, the label of the subject it is as accurate as.
        """
        facts = self._facts(subject, level, matched)
        splits = self.place.ensemble.splits
        targets = [
            (s, turn) for s, split in enumerate(splits) for turn in range(len(split.targets))
        ]
        entries = self.place.recipe.attacks
        shadows = [self._shadows(subject, entry, level) for entry in entries]
        turns = [Turn(entry.plugin, *target) for entry in entries for target in targets]
        believed = [each for each in shadows for _ in targets]
        for number, scores in enumerate(scores_of(self.place, level, believed, turns)):
            turn, entry = turns[number], entries[number // len(targets)]
            if number < len(targets):
                self._keep_answers(level, turn)
            self._judge(entry.title, turn, scores, facts[turn.seed][turn.target])
            if (number + 1) % len(targets) == 0:
                found = self.audits[-len(targets) :]
                auc = float(np.mean([audit.metrics["auc"]["value"] for audit in found]))
                self.place.on_event(AttackDone(entry.title, level.label, auc))

    def _facts(self, subject: Subject, level: Level, matched: str) -> list[list[dict[str, Any]]]:
        """For each seed and target, what an `AuditResult` says whatever the attack."""
        labels = {
            "subject": subject.label,
            "sparsifier": subject.sparsifier_label,
            "defense": subject.defense_label,
            "matched": matched,
        }
        found = []
        for s, each in enumerate(costs(self.place, level)):
            targets = self.place.ensemble.splits[s].targets.tolist()
            places = self.place.ensemble.models(s)[targets].tolist()
            found.append(
                [
                    labels | self._about(level, s, target, place) | asdict(cost)
                    for target, place, cost in zip(targets, places, each, strict=True)
                ]
            )
        return found

    def _about(self, level: Level, s: int, target: int, place: int) -> dict[str, Any]:
        """What a level says about one of its models."""
        role = self.place.ensemble.splits[s].role[target]
        right = level.outputs.logits[place, 0].argmax(-1) == self.place.examples.y
        return {
            "level": level.label,
            "seed": self.place.recipe.seeds[s],
            "target": target,
            "density": float(level.density[place]),
            "parameters": int(level.nonzero[place]),
            "train_accuracy": float(right[role == Role.MEMBER].double().mean()),
            "test_accuracy": float(right[role == Role.NON_MEMBER].double().mean()),
            "notes": {name: _finite(float(v[place])) for name, v in level.notes.items()},
        }

    def _judge(
        self, title: str, turn: Turn, scores: AttackScores, facts: Mapping[str, Any]
    ) -> None:
        """What an attack's scores of a target are worth."""
        split = self.place.ensemble.splits[turn.seed]
        role = split.role[split.targets[turn.target]]
        rows = audited(role)
        checked(turn.attack, scores, rows)
        variants = {
            name: measured(variant, role, rows) for name, variant in scores.variants.items()
        }
        metrics = measured(scores, role, rows)
        self.scores[f"score_{len(self.audits)}"] = scores.score[rows].detach().numpy()
        self.audits.append(AuditResult(**facts, attack=title, metrics=metrics, variants=variants))

    def _shadows(self, subject: Subject, entry: Entry[Attack], level: Level) -> Level:
        """What the shadows answer: the level itself, or that of what the attacker believes.

        A believed sparsifier's level is the one of the same label, else its last.
        """
        believed = shadow_subject(self.place.recipe, subject, entry)
        if believed is subject:
            return level
        key = "\n".join(
            part.model_dump_json(serialize_as_any=True)
            for part in (believed.sparsifier, believed.defense, believed.training)
        )
        if key not in self._believed:
            self.place.on_event(BelievedStarted(believed.label.rpartition(", believed ")[2]))
            self._believed[key] = [
                replace(each, weights={}) for each in levels(self.place, believed)
            ]
            self.place.on_event(BelievedDone())
        known = self._believed[key]
        return next((each for each in known if each.label == level.label), known[-1])

    def _keep_answers(self, level: Level, turn: Turn) -> None:
        """The target's confidence in the labels and its sensitivity, for audits to come."""
        number = len(self.audits)
        split, models = self.place.ensemble.splits[turn.seed], self.place.ensemble.models(turn.seed)
        target = split.targets[turn.target]
        outputs, role = level.outputs[int(models[target])], split.role[target]
        rows = _rows(role)
        y = self.place.examples.y[rows]
        p = outputs.logits[0, rows].double().softmax(-1)
        self.scores[f"confidence_{number}"] = p.gather(1, y[:, None])[:, 0].float().numpy()
        if outputs.noisy is not None:
            sensitivity = first_order_sensitivity(outputs, rows)
            self.scores[f"sensitivity_{number}"] = sensitivity.float().numpy()


def test_accuracy(place: Workplace, outputs: Outputs) -> Tensor:
    """(M,) float64: accuracy of each model on its non-members."""
    right = outputs.logits[:, 0].argmax(-1) == place.examples.y
    tests = place.ensemble.role == Role.NON_MEMBER
    return (right & tests).sum(1).double() / tests.sum(1)


def _finite(number: float) -> float | None:
    return number if isfinite(number) else None


def _rows(role: Tensor) -> Tensor:
    return audited(role).nonzero()[:, 0]


def _examples(place: Workplace) -> Scores:
    """Which examples each target's scores are about, who of them is a member, and what they are."""
    arrays: Scores = {"classes": np.array(place.examples.classes)}

    for seed, split in zip(place.recipe.seeds, place.ensemble.splits, strict=True):
        for target in split.targets.tolist():
            rows = _rows(split.role[target])
            arrays[f"example_{seed}_{target}"] = rows.numpy()
            arrays[f"member_{seed}_{target}"] = (split.role[target][rows] == Role.MEMBER).numpy()
            arrays[f"label_{seed}_{target}"] = place.examples.y[rows].numpy()
    return arrays
