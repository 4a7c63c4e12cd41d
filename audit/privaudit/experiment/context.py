"""Where and on what an experiment works."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import torch
from torch import Tensor

from privaudit.answers import ORIGINAL
from privaudit.api.needs import suffice
from privaudit.cohort import Cohort, Journal
from privaudit.cohort.answers import answers
from privaudit.events import Event
from privaudit.experiment.ensemble import Ensemble
from privaudit.experiment.kept_kinds import kept_kinds
from privaudit.experiment.target import ExternalTarget
from privaudit.jobs.local import Workers
from privaudit.networks.build import build_networks
from privaudit.recipe import Recipe, Subject
from privaudit.store.journal import digest
from privaudit.train.device_rules import StackLimits
from privaudit.values import Examples, Outputs


@dataclass(frozen=True)
class RunContext:
    """Where and on what an experiment works.

    Attributes:
        recipe: the question.
        examples: the dataset.
        ensemble: who trains on what.
        device: where training happens.
        journal: finished trainings.
        on_event: told about progress.
        memory: bytes that may be used; models whose weights need more make several cohorts.
        given: the target of every seed, where it was trained elsewhere.
        order: (N,) int64 with a given target: as `target.Candidates` has it.
        workers: processes to train in, where they are of its device, and to attack in meanwhile.
        digests: hash (hex) of each dataset's examples, as `identity.Data` has them.
        limits: what the run has learnt about the device's memory.
    """

    recipe: Recipe
    examples: Examples
    ensemble: Ensemble
    device: torch.device
    journal: Journal
    on_event: Callable[[Event], None]
    memory: int = 4 * 2**30
    given: ExternalTarget | None = None
    order: Tensor | None = None
    workers: Workers | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    limits: StackLimits = field(default_factory=StackLimits)

    @property
    def trained(self) -> Tensor:
        """The places (k,) of the models that are trained here: all, but for a given target."""
        every = torch.arange(len(self.ensemble.seeds))
        if self.given is None:
            return every
        return every[~torch.isin(every, self.ensemble.targets)]

    @cached_property
    def given_outputs(self) -> Outputs:
        """What the given target answers, asked once for all levels of all subjects."""
        assert self.given is not None
        audited = self.ensemble.audited[self.ensemble.targets[:1]]
        outputs = asked(self.given.cohort, audited, self.recipe, self.given.noise_unit)
        dense = self.of_dense
        versions = {} if dense is None else {ORIGINAL: dense.given_outputs}
        return outputs.changed(versions=versions)

    @cached_property
    def of_dense(self) -> RunContext | None:
        """The same, but that the given target is its own dense original; None where none is."""
        if self.given is None or self.given.original is None:
            return None
        return replace(self, given=self.given.original)

    @cached_property
    def examples_digest(self) -> str:
        """Of all that attackers know about the examples."""
        return digest(self.examples.x, self.examples.y)

    def numbers(self, rows: Tensor) -> Tensor:
        """What files of scores call the examples of rows (n,) int64.

        That is their place in the dataset; with a given target, among its members and non-members
        one after another, each in the order of their files.
        """
        return rows if self.order is None else self.order[rows]

    def cohort(self, subject: Subject, models: Tensor, plan: bool = False) -> Cohort:
        """Some models, (k,) int64, as one cohort under a subject's plugins."""
        return Cohort(
            self.examples,
            self.ensemble.role[models],
            self.ensemble.seeds[models],
            model=self.recipe.model,
            sparsifier=subject.sparsifier,
            defense=subject.defense,
            training=subject.training,
            device=self.device,
            journal=self.journal,
            plan=plan,
            on_event=self.on_event,
            workers=self.workers,
            limits=self.limits,
        )

    def groups(self, subject: Subject) -> Sequence[Tensor]:
        """All models to be trained, cut where their weights would take too much memory."""
        trained = self.trained
        copies = 8  # now, best, initial, saved, a chunk's own, its momentum, gradient, and some
        network, *_ = build_networks(
            self.recipe.model,
            subject.sparsifier,
            self.examples.shape,
            len(self.examples.classes),
            [0],
            torch.device("cpu"),
            torch.float32,
        )
        most = max(1, self.memory // (network.size * copies * 8))
        return torch.split(trained, min(len(trained), most))


def asked(
    cohort: Cohort, audited: Tensor, recipe: Recipe, noise_unit: Tensor | float = 1.0
) -> Outputs:
    """What all attacks together want to know.

    Raises:
        PluginError: an attack fails at saying what it needs.
    """
    attacks = [attack for _, attack in recipe.attack_entries()]
    ask = partial(
        answers,
        cohort,
        audited,
        queries=max(a.queries for a in attacks),
        noise=max(a.noise for a in attacks),
        gradient_norm=any("gradient_norm" in a.signals for a in attacks),
        noise_unit=noise_unit,
    )
    outputs = ask(kinds=kept_kinds(attacks, len(cohort.data.examples.classes)))
    rows = audited.any(0).nonzero()[:, 0]
    if outputs.has_logits or all(suffice(attack, outputs, rows) for attack in attacks):
        return outputs
    return ask()
