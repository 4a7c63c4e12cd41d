"""Trains a subject and asks its models at every level."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from privaudit.cohort import Cohort, Journal
from privaudit.cohort.answers import answers
from privaudit.cohort.build import build_networks
from privaudit.cohort.workers import Workers
from privaudit.ensemble import Ensemble
from privaudit.errors import PluginError
from privaudit.events import Event, LevelReached
from privaudit.given import Given
from privaudit.plugin import Defense, Sparsifier, overrides
from privaudit.recipe import Recipe, Subject
from privaudit.recipe.model import combined
from privaudit.values import Examples, Outputs, Role

DENSE = 0.999  # a network with a smaller share of nonzero parameters is sparse


@dataclass(frozen=True)
class Workplace:
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
        workers: processes to train in.
    """

    recipe: Recipe
    examples: Examples
    ensemble: Ensemble
    device: torch.device
    journal: Journal
    on_event: Callable[[Event], None]
    memory: int = 4 * 2**30
    given: Given | None = None
    workers: Workers | None = None

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
        return _asked(self.given.cohort, audited, self.recipe)

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


@dataclass(frozen=True)
class Level:
    """The M models of a subject at one level, and what they answer.

    Attributes:
        label: the sparsifier's name for it.
        outputs: of all models.
        density: (M,) nonzero parameters over the dense network's.
        nonzero: (M,) nonzero parameters.
        weights: (M, ...) by name, all that a state dict holds; empty with a given target.
        network: the structure that the weights fill; its own weights mean nothing.
        notes: (M,) by name: what the sparsifier and the defense have noted about the models.
        stack: how many models shared a step of their training.
    """

    label: str
    outputs: Outputs
    density: Tensor
    nonzero: Tensor
    weights: dict[str, Tensor]
    network: nn.Module
    notes: dict[str, Tensor] = field(default_factory=dict)
    stack: int = 1


def levels(place: Workplace, subject: Subject) -> Iterator[Level]:
    """Every level of a subject, as soon as all models have reached it.

    Raises:
        PluginError: the sparsifier's script is not the same for every cohort, or has no level.
    """

    def script(models: Tensor) -> Iterator[tuple[str, Cohort]]:
        cohort = place.cohort(subject, models)
        seen: set[str] = set()
        for label in subject.sparsifier.sparsify(cohort):
            if label in seen:
                raise PluginError(f"sparsifier {subject.sparsifier.name!r} yields {label!r} twice")
            seen.add(label)
            yield label, cohort
        if not seen:
            raise PluginError(
                f"sparsifier {subject.sparsifier.name!r} yields no level: there is nothing to audit"
            )

    yield from _together(place, subject, script)


def control_of(recipe: Recipe, subject: Subject) -> Subject:
    """What a sparse subject is compared with: dense, under the same defense."""
    defense = next(each for each in recipe.defenses if each.title == subject.defense_label)
    return replace(
        subject,
        label=f"dense matched to {subject.label}",
        sparsifier=Sparsifier(name="control"),
        sparsifier_label="dense control",
        training=combined(recipe.training, defense.training),
    )


def controls(place: Workplace, control: Subject, wanted: Mapping[str, Tensor]) -> Iterator[Level]:
    """A dense control for each level of a sparse subject: as accurate, but not sparse.

    Args:
        place: where and on what.
        control: of the sparse subject.
        wanted: (M,) test accuracies, float64, by level.
    """

    def script(models: Tensor) -> Iterator[tuple[str, Cohort]]:
        cohort = place.cohort(control, models)
        tests = (place.ensemble.role == Role.NON_MEMBER)[models]
        accuracy = torch.stack(list(wanted.values()), 1)[models]
        yield from zip(wanted, cohort.match(tests, accuracy), strict=True)

    yield from _together(place, control, script)


def _together(
    place: Workplace, subject: Subject, script: Callable[[Tensor], Iterable[tuple[str, Cohort]]]
) -> Iterator[Level]:
    """The levels of all models: of those trained here, and of a given target beside them."""
    trained: Iterable[Level | None] = [None]
    if len(place.trained):
        trained = _trained(place, subject, script)
    for own in trained:
        level = own if place.given is None else _beside(place, place.given, own)
        assert level is not None  # without a given target every model is trained
        place.on_event(LevelReached(level.label, float(level.density.mean())))
        yield level
        del own, level


def _trained(
    place: Workplace, subject: Subject, script: Callable[[Tensor], Iterable[tuple[str, Cohort]]]
) -> Iterator[Level]:
    """The levels of all cohorts that a subject's models are cut into, joined."""
    groups = place.groups(subject)
    if len(groups) == 1:
        yield from _audited(place, subject, groups[0], script)
        return
    parts = [list(_audited(place, subject, models, script)) for models in groups]
    if len({len(part) for part in parts}) > 1:
        raise PluginError(
            f"sparsifier {subject.sparsifier.name!r} yields more levels for some models than for "
            "others: it must not choose by what it finds in the weights"
        )
    for part in zip(*parts, strict=True):
        yield _joined(part)


def _audited(
    place: Workplace,
    subject: Subject,
    models: Tensor,
    script: Callable[[Tensor], Iterable[tuple[str, Cohort]]],
) -> Iterator[Level]:
    """What one cohort answers each time its script reaches a level."""
    for label, cohort in script(models):
        shown = cohort
        if overrides(subject.defense, "finish"):
            shown = cohort.fork()
            subject.defense.finish(shown)
        outputs = _asked(shown, place.ensemble.audited[models], place.recipe)
        notes = shown.take_notes() | _promised(subject.defense, shown)
        cohort.take_notes()  # a fork has had its own copy
        stack = max((record.stack for record in cohort.records), default=1)
        state, network = shown.weights | shown.buffers, shown.network.module
        yield Level(label, outputs, shown.density(), shown.nonzero(), state, network, notes, stack)
        del outputs, state  # before the next level's answers are made: they are large


def _promised(defense: Defense, cohort: Cohort) -> dict[str, Tensor]:
    """The ε of differential privacy of every model, where its defense promises one.

    It covers all trainings so far: a sequence of levels on the same data costs their sum.
    """
    defended = [record for record in cohort.records if record.defended]
    if not overrides(defense, "epsilon") or not defended:
        return {}
    rate, steps = max(r.rate for r in defended), sum(r.defended for r in defended)
    epsilon = defense.epsilon(rate, steps)
    if epsilon is None:
        return {}
    return {"epsilon": torch.full((len(cohort),), epsilon, dtype=torch.float64)}


def _beside(place: Workplace, given: Given, shadows: Level | None) -> Level:
    """A level of the shadows, completed by the given target: the same for every seed."""
    density, nonzero = torch.tensor([[given.density], [given.nonzero]], dtype=torch.float64)
    label = "" if shadows is None else shadows.label
    network = given.cohort.network.module
    both = Level(label, place.given_outputs, density, nonzero, {}, network)
    if shadows is not None:
        both = _joined([both, shadows])
    order = torch.zeros(len(place.ensemble.seeds), dtype=torch.int64)
    order[place.trained] = 1 + torch.arange(len(place.trained))
    density, nonzero = both.density[order], both.nonzero[order]
    return Level(label, both.outputs[order], density, nonzero, {}, network, stack=both.stack)


def _asked(cohort: Cohort, audited: Tensor, recipe: Recipe) -> Outputs:
    """What all attacks together want to know."""
    attacks = [attack for _, attack in recipe.attack_entries()]
    return answers(
        cohort,
        audited,
        queries=max(a.queries for a in attacks),
        noise=max(a.noise for a in attacks),
        gradient_norm=any("gradient_norm" in a.signals for a in attacks),
    )


def _joined(parts: Sequence[Level]) -> Level:
    if len({part.label for part in parts}) > 1:
        names = ", ".join(repr(part.label) for part in parts)
        raise PluginError(f"a sparsifier's cohorts reached different levels: {names}")

    def cat(tensors: Sequence[Tensor | None]) -> Tensor | None:
        given = [t for t in tensors if t is not None]
        return torch.cat(given) if given else None

    outputs = Outputs(
        torch.cat([p.outputs.logits for p in parts]),
        cat([p.outputs.noisy for p in parts]),
        cat([p.outputs.gradient_norm for p in parts]),
        parts[0].outputs.noise_scale,
    )
    return Level(
        parts[0].label,
        outputs,
        torch.cat([p.density for p in parts]),
        torch.cat([p.nonzero for p in parts]),
        {n: torch.cat([p.weights[n] for p in parts]) for n in parts[0].weights},
        parts[0].network,
        {n: torch.cat([p.notes[n] for p in parts]) for n in parts[0].notes},
        max(p.stack for p in parts),
    )
