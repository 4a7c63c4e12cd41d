"""Audits level after level: every attack on every target, with what the attacker believes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
from privaudit.events import AttackDone
from privaudit.experiment.attack_job import AttackJob, attack_job
from privaudit.experiment.attack_jobs import MOST_SHARED, AttackRound
from privaudit.experiment.attacking import advised, measured
from privaudit.experiment.audit_facts import audit_facts
from privaudit.experiment.audited_rows import audited_examples, audited_rows
from privaudit.experiment.believed import BelievedShadows
from privaudit.experiment.context import RunContext
from privaudit.experiment.failing import Warnings, attributed, without_frames
from privaudit.experiment.level import Level
from privaudit.experiment.own_answers import confidences, predictions
from privaudit.experiment.untrained import untrained
from privaudit.recipe import Entry, Subject
from privaudit.statistics.scored import row_sentences
from privaudit.statistics.sensitivity import first_order_sensitivity
from privaudit.store.failure import Failure
from privaudit.store.result import AuditResult
from privaudit.store.scores import epochs_kept
from privaudit.values import AttackScores, Outputs, Split

logger = logging.getLogger(__name__)

Scores = dict[str, NDArray[Any]]

MOST_UNDER_WAY = 2  # levels whose attacks may wait while later ones train
_NETWORK = ("subject", "level", "seed", "target")


@dataclass(frozen=True)
class _UnderWay:
    """A level whose attacks have begun.

    Attributes:
        subject: what is under audit.
        level: its models' answers.
        facts: for each seed and target, what an `AuditResult` says whatever the attack.
        entries: the attacks that are made.
        errors: why the others are not, by title.
        doubts: about the networks.
        attacks: on all targets, entry by entry.
    """

    subject: Subject
    level: Level
    facts: list[list[dict[str, Any]]]
    entries: list[Entry[Attack]]
    errors: dict[str, PrivauditError]
    doubts: list[Doubt]
    attacks: AttackRound


class Auditor:
    """Collects the audits of a run, and per-example numbers beside them.

    Attributes:
        audits: in the order of the report.
        doubts: whatever speaks against taking them for verdicts.
        failures: the audits that could not be made.
        errors: what was raised for each failure.
        left_out: a sentence for each attack that does not suit a level.
        scores: by name: `example_SEED_TARGET`, `member_...` and `label_...` say which examples a
            target's audits are about; `score_I` holds those of audit I, NaN for rows that the
            attack cannot score, and `decision_I` the attacker's verdicts where it gives any;
            `confidence_I` and `sensitivity_I` what the target answers, with I the first audit of
            its level, and `store.scores.EPOCHS` how it was trained for it.
    """

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.audits: list[AuditResult] = []
        self.doubts: list[Doubt] = []
        self.failures: list[Failure] = []
        self.errors: list[PrivauditError] = []
        self.scores = audited_examples(context)
        self._shadows = BelievedShadows(context)
        self.left_out = self._shadows.left_out
        self._under_way: list[_UnderWay] = []
        counts = [len(split.targets) for split in context.ensemble.splits]
        self._targets = [(s, t) for s, count in enumerate(counts) for t in range(count)]
        self._told: set[str] = set()
        self._warnings = Warnings()

    def audit(self, subject: Subject, level: Level, matched: str = "") -> None:
        """Attack every target of every seed at one level, and wait for it.

        Args:
            subject: what is under audit.
            level: its models and their answers.
            matched: of a dense control, the label of the subject it is as accurate as.
        """
        self.begin(subject, level, matched)
        self.finish()

    def begin(self, subject: Subject, level: Level, matched: str = "") -> None:
        """Attack every target of every seed at one level, in other processes where there are any.

        This one goes on meanwhile; where there are none, or answers of several levels are too
        much for the memory, it waits. `finish` has to follow. Arguments as of `audit`.
        """
        context = self.context
        facts = audit_facts(context, subject, level, matched)
        level = replace(level, weights={})  # they are not asked again, and large
        if not matched:
            self._shadows.reached(subject, level)
        entries, shadows, errors = self._shadows.of_all(subject, level)
        names = [[self._named(one) for one in of_seed] for of_seed in facts]
        doubts = untrained(context.ensemble, context.examples.y, names, level, shadows)
        jobs = [attack_job(context, e.plugin, *target) for e in entries for target in self._targets]
        believed = [shadow_level for shadow_level in shadows for _ in self._targets]
        coming = {key for other in self._under_way for key in other.attacks.keys}
        attacks = AttackRound(context, level, believed, jobs, coming)
        self._under_way.append(_UnderWay(subject, level, facts, entries, errors, doubts, attacks))
        self.finish(most=MOST_UNDER_WAY if attacks.elsewhere else 0)

    def complete(self, subject: Subject) -> None:
        """A subject has reached all its levels."""
        self._shadows.complete(subject)

    def finish(self, most: int = 0) -> None:
        """Keep the audits of all levels under way but the last so many, in their order."""
        answers = sum(one.attacks.elsewhere for one in self._under_way)
        while self._under_way and (
            len(self._under_way) > most or answers > min(MOST_SHARED, self.context.memory // 4)
        ):
            one = self._under_way.pop(0)
            answers -= one.attacks.elsewhere
            self._collect(one)

    def keep_finished(self) -> None:
        """Keep what other processes have finished on disk, so that a kill costs little."""
        for one in self._under_way:
            one.attacks.keep_finished()

    def abandon(self, error: BaseException) -> None:
        """Give up what is under way, for an error that is told where it ends the run."""
        self._warnings.going_on(error not in self.errors)
        for one in self._under_way:
            one.attacks.close()
        self._under_way.clear()

    def _collect(self, one: _UnderWay) -> None:
        """Wait for the attacks on one level, and keep what comes of them."""
        for title, error in one.errors.items():
            self.fail(error, one.subject, one.level.label, title)
        self.doubts += one.doubts
        before, count = len(self.audits), len(self._targets)
        with one.attacks as attacks:
            for number, scores in enumerate(attacks.outcomes()):
                job, entry = attacks.jobs[number], one.entries[number // count]
                target_facts = one.facts[job.seed_number][job.target_number]
                if isinstance(scores, AttackScores):
                    scores = self._judged(entry.title, job, scores, one.level, target_facts)
                if isinstance(scores, PrivauditError):
                    network = target_facts["seed"], target_facts["target"]
                    self.fail(scores, one.subject, one.level.label, entry.title, *network)
                if (number + 1) % count == 0:
                    self._tell_done(one, entry.title, self.audits[before:])
        self._warnings.going_on(bool(self.audits))
        networks: dict[tuple[int, int], list[AuditResult]] = {}
        for audit in self.audits[before:]:
            networks.setdefault((audit.seed, audit.target), []).append(audit)
        for audits in networks.values():
            self._doubt(audits)

    def _tell_done(self, one: _UnderWay, title: str, audits: Sequence[AuditResult]) -> None:
        """Tell of an attack that has scored all targets of a level, some of them well."""
        if made := [audit for audit in audits if audit.attack == title]:
            auc = float(np.mean([audit.metrics["auc"]["value"] for audit in made]))
            self.context.on_event(AttackDone(title, one.level.label, auc, one.subject.label))

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
        sentence = attributed(error, plugins or subject.plugins)
        failure = Failure(subject.label, sentence, level, attack, seed, target, original)
        self._warnings.failed(failure, bool(self.audits))
        self.failures.append(failure)
        self.errors.append(without_frames(error))

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
        if level.history is not None:
            history = level.history[job.models.start + target].numpy()
            self.scores |= epochs_kept(history, number)


def test_accuracy(context: RunContext, outputs: Outputs) -> Tensor:
    """(M,) float64: accuracy of each model on its non-members."""
    right = predictions(outputs) == context.examples.y
    tests = context.ensemble.tests
    return (right & tests).sum(1).double() / tests.sum(1)
