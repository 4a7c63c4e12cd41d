"""Audits level after level: every attack on every target, with what the attacker believes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from math import isfinite
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from privaudit.api.plugin import Attack, Plugin, Promise
from privaudit.doubts.attacks import attacks_doubts
from privaudit.doubts.doubt import Doubt
from privaudit.doubts.promises import promise_doubts
from privaudit.errors import PrivauditError, ShortageError, contained
from privaudit.events import AttackDone, BelievedDone, BelievedStarted
from privaudit.experiment.attack_job import AttackJob, attack_job
from privaudit.experiment.attack_jobs import scores_of
from privaudit.experiment.attacking import advised, measured
from privaudit.experiment.audited_rows import audited_examples, audited_rows
from privaudit.experiment.context import RunContext
from privaudit.experiment.cost import costs
from privaudit.experiment.failing import attributed, without_frames
from privaudit.experiment.level import Level
from privaudit.experiment.levels import levels
from privaudit.experiment.own_answers import confidences, predictions
from privaudit.experiment.untrained import untrained
from privaudit.recipe import Entry, Subject
from privaudit.recipe.knowledge import shadow_subject
from privaudit.statistics.scored import row_sentences
from privaudit.statistics.sensitivity import first_order_sensitivity
from privaudit.store.failure import Failure, lines
from privaudit.store.result import AuditResult
from privaudit.values import AttackScores, Outputs, Role, Split

logger = logging.getLogger(__name__)

Scores = dict[str, NDArray[Any]]

_NETWORK = ("subject", "level", "seed", "target")


class Auditor:
    """Collects the audits of a run, and per-example numbers beside them.

    Attributes:
        audits: in the order of the report.
        doubts: whatever speaks against taking them for verdicts.
        failures: the audits that could not be made.
        errors: what was raised for each failure.
        scores: by name: `example_SEED_TARGET`, `member_...` and `label_...` say which examples a
            target's audits are about; `score_I` holds those of audit I, NaN for rows that the
            attack cannot score, and `decision_I` the attacker's verdicts where it gives any;
            `confidence_I` and `sensitivity_I` what the target answers, with I the first audit of
            its level.
    """

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.audits: list[AuditResult] = []
        self.doubts: list[Doubt] = []
        self.failures: list[Failure] = []
        self.errors: list[PrivauditError] = []
        self.scores = audited_examples(context)
        self._believed: dict[str, list[Level] | PrivauditError] = {}
        self._told: set[str] = set()

    def audit(self, subject: Subject, level: Level, matched: str = "") -> None:
        """Attack every target of every seed at one level.

        Args:
            subject: what is under audit.
            level: its models and their answers.
            matched: of a dense control, the label of the subject it is as accurate as.
        """
        facts = self._facts(subject, level, matched)
        splits = self.context.ensemble.splits
        targets = [(s, t) for s, split in enumerate(splits) for t in range(len(split.targets))]
        entries, shadows = self._ready(subject, level)
        names = [[self._named(target_facts) for target_facts in of_seed] for of_seed in facts]
        self.doubts += untrained(
            self.context.ensemble, self.context.examples.y, names, level, shadows
        )
        jobs = [
            attack_job(self.context, entry.plugin, *target)
            for entry in entries
            for target in targets
        ]
        believed = [shadow_level for shadow_level in shadows for _ in targets]
        before = len(self.audits)
        for number, scores in enumerate(scores_of(self.context, level, believed, jobs)):
            job, entry = jobs[number], entries[number // len(targets)]
            target_facts = facts[job.seed_number][job.target_number]
            if isinstance(scores, AttackScores):
                scores = self._judged(entry.title, job, scores, level, target_facts)
            if isinstance(scores, PrivauditError):
                network = target_facts["seed"], target_facts["target"]
                self.fail(scores, subject, level.label, entry.title, *network)
            if (number + 1) % len(targets) == 0:
                made = [audit for audit in self.audits[before:] if audit.attack == entry.title]
                if made:
                    auc = float(np.mean([audit.metrics["auc"]["value"] for audit in made]))
                    self.context.on_event(AttackDone(entry.title, level.label, auc))
        networks: dict[tuple[int, int], list[AuditResult]] = {}
        for audit in self.audits[before:]:
            networks.setdefault((audit.seed, audit.target), []).append(audit)
        for audits in networks.values():
            self._doubt(audits)

    def fail(
        self,
        error: PrivauditError,
        subject: Subject,
        level: str = "",
        attack: str = "",
        seed: int | None = None,
        target: int | None = None,
    ) -> None:
        """Keep what could not be done, and go on.

        Raises:
            PrivauditError: the same, where nothing else can go on either.
        """
        if not contained(error):
            raise error
        original = getattr(error, "original", "")
        plugins: list[Plugin] = [e.plugin for e in self.context.recipe.attacks if e.title == attack]
        sentence = attributed(error, plugins or [subject.sparsifier, subject.defense])
        failure = Failure(subject.label, sentence, level, attack, seed, target, original)
        if failure.sentence not in {earlier.sentence for earlier in self.failures}:
            logger.warning("%s", lines([failure])[0])
        self.failures.append(failure)
        self.errors.append(without_frames(error))

    def _ready(self, subject: Subject, level: Level) -> tuple[list[Entry[Attack]], list[Level]]:
        """The attacks that can be made, and the shadows of each."""
        entries, shadows = [], []
        for entry in self.context.recipe.attacks:
            try:
                shadows.append(self._shadows(subject, entry, level))
                entries.append(entry)
            except PrivauditError as error:
                self.fail(error, subject, level.label, entry.title)
        return entries, shadows

    def _facts(self, subject: Subject, level: Level, matched: str) -> list[list[dict[str, Any]]]:
        """For each seed and target, what an `AuditResult` says whatever the attack."""
        labels = {
            "subject": subject.label,
            "sparsifier": subject.sparsifier_label,
            "defense": subject.defense_label,
            "matched": matched,
        }
        facts = []
        for s, seed_costs in enumerate(costs(self.context, level)):
            targets = self.context.ensemble.splits[s].targets.tolist()
            models = self.context.ensemble.models(s)[targets].tolist()
            facts.append(
                [
                    labels | self._about(level, s, target, model) | asdict(cost)
                    for target, model, cost in zip(targets, models, seed_costs, strict=True)
                ]
            )
        return facts

    def _about(self, level: Level, s: int, target: int, model: int) -> dict[str, Any]:
        """What a level says about one of its models."""
        split = self.context.ensemble.splits[s]
        role = torch.where(split.ordinary, split.role[target], Role.OUTSIDE)
        right = predictions(level.outputs[model]) == self.context.examples.y
        return {
            "level": level.label,
            "seed": self.context.recipe.seeds[s],
            "target": target,
            "density": float(level.density[model]),
            "parameters": int(level.nonzero[model]),
            "train_accuracy": float(right[role == Role.MEMBER].double().mean()),
            "test_accuracy": float(right[role == Role.NON_MEMBER].double().mean()),
            "notes": {name: _finite(float(v[model])) for name, v in level.notes.items()},
            "promise": level.promise if level.promise and isfinite(level.promise.epsilon) else None,
        }

    def _judged(
        self,
        title: str,
        job: AttackJob,
        scores: AttackScores,
        level: Level,
        facts: Mapping[str, Any],
    ) -> AttackScores | PrivauditError:
        """Keep what an attack's scores of a target are worth; the reason where that is unknown."""
        target, promise = int(job.split.targets[job.target_number]), facts["promise"]
        rows = audited_rows(self.context, job.split, target)
        try:
            metrics, *others = (
                self._measured(answer, job.split, target, promise)
                for answer in (scores, *scores.variants.values())
            )
        except ShortageError as error:
            return advised(title, error)
        variants = dict(zip(scores.variants, others, strict=True))
        self._tell_of_rows(title, metrics)
        self._keep_answers(level, job, facts)
        score, number = scores.score.detach(), len(self.audits)
        if scores.left_out is not None:
            score = score.masked_fill(scores.left_out, torch.nan)
        self.scores[f"score_{number}"] = score[rows].numpy()
        if scores.decision is not None:
            self.scores[f"decision_{number}"] = scores.decision[rows].numpy()
        self.audits.append(AuditResult(**facts, attack=title, metrics=metrics, variants=variants))
        return scores

    def _doubt(self, audits: Sequence[AuditResult]) -> None:
        """Keep what speaks against the numbers of all attacks on one target."""
        entries = self.context.recipe.attacks
        verdicts = [entry.title for entry in entries if entry.plugin.verdicts]
        doubts = attacks_doubts({audit.attack: audit.metrics for audit in audits}, verdicts)
        for audit in audits:
            doubts += promise_doubts(f"attack {audit.attack!r}", audit.metrics, audit.promise)
        name = self._named(vars(audits[0]))
        self.doubts += [replace(doubt, about=f"{doubt.about}, {name}") for doubt in doubts]

    def _named(self, facts: Mapping[str, Any]) -> str:
        """What doubts call a target."""
        level = f" / {facts['level']}" if facts["level"] else ""
        many = any(len(split.targets) > 1 for split in self.context.ensemble.splits)
        number = f", target {facts['target']}" if many else ""
        return f"{facts['subject']}{level}, seed {facts['seed']}{number}"

    def _measured(
        self, scores: AttackScores, split: Split, target: int, promise: Promise | None
    ) -> dict[str, Any]:
        """The metrics of an attack; rows that it leaves out by their numbers in the datasets."""
        metrics = measured(scores, split, target, promise)
        for key in ("left_out", "scored_offline"):
            if key in metrics:
                rows = torch.tensor(metrics[key]["rows"])
                metrics[key]["rows"] = self.context.numbers(rows).sort().values.tolist()
        return metrics

    def _tell_of_rows(self, title: str, metrics: Mapping[str, Any]) -> None:
        """Say which rows an attack leaves out, the first time that it does; all are recorded."""
        if title not in self._told and (sentences := row_sentences(title, metrics)):
            self._told.add(title)
            logger.warning("%s", "; ".join(sentences))

    def _shadows(self, subject: Subject, entry: Entry[Attack], level: Level) -> Level:
        """What the shadows answer: the level itself, or that of what the attacker believes.

        A believed sparsifier's level is the one of the same label, else its last.
        """
        believed = shadow_subject(self.context.recipe, subject, entry)
        if believed is subject:
            return level
        key = "\n".join(
            part.model_dump_json(serialize_as_any=True)
            for part in (believed.sparsifier, believed.defense, believed.training)
        )
        if key not in self._believed:
            self.context.on_event(BelievedStarted(believed.label.rpartition(", believed ")[2]))
            try:
                made = levels(self.context, believed)
                self._believed[key] = [replace(one, weights={}) for one in made]
            except PrivauditError as error:
                self._believed[key] = error
            self.context.on_event(BelievedDone())
        shadows = self._believed[key]
        if isinstance(shadows, PrivauditError):
            raise shadows
        return next((made for made in shadows if made.label == level.label), shadows[-1])

    def _keep_answers(self, level: Level, job: AttackJob, facts: Mapping[str, Any]) -> None:
        """The target's confidence in the labels and its sensitivity, with its first audit."""
        number, network = len(self.audits), [facts[key] for key in _NETWORK]
        if any([getattr(audit, key) for key in _NETWORK] == network for audit in self.audits):
            return
        target = int(job.split.targets[job.target_number])
        outputs = level.outputs[job.models.start + target]
        rows = audited_rows(self.context, job.split, target)
        p = confidences(outputs, rows, self.context.examples.y)
        self.scores[f"confidence_{number}"] = p.numpy()
        if outputs.noisy is not None and outputs.has_logits:
            sensitivity = first_order_sensitivity(outputs, rows)
            self.scores[f"sensitivity_{number}"] = sensitivity.float().numpy()


def test_accuracy(context: RunContext, outputs: Outputs) -> Tensor:
    """(M,) float64: accuracy of each model on its non-members."""
    right = predictions(outputs) == context.examples.y
    tests = context.ensemble.tests
    return (right & tests).sum(1).double() / tests.sum(1)


def _finite(number: float) -> float | None:
    return number if isfinite(number) else None
