"""A target that was trained elsewhere: its examples beside the attacker's, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b

import torch
from torch import Tensor, nn

from privaudit.api.plugin import Defense, Sparsifier
from privaudit.cohort import Cohort
from privaudit.doubts.doubt import Doubt
from privaudit.errors import DataError
from privaudit.experiment.checkpoint import Checkpoint, Program
from privaudit.experiment.contents import content_keys
from privaudit.experiment.normalisation import as_the_target_takes_them, is_images
from privaudit.experiment.target_accuracy import check_accuracy
from privaudit.experiment.target_answers import check_answers
from privaudit.messages import show
from privaudit.recipe import Recipe, TargetOptions
from privaudit.values import Examples

_LISTED = 8  # names of classes in a message


@dataclass(frozen=True)
class ExternalTarget:
    """A target that is audited as it is.

    Attributes:
        cohort: it alone, to be asked.
        parameters: how many it has, zero or not.
        nonzero: how many of them are not zero.
        noise_unit: as `cohort.answers.answers` takes it.
        original: the dense network that it was made sparse from, where that is given, too.
        doubts: about how it is asked.
    """

    cohort: Cohort
    parameters: int
    nonzero: int
    noise_unit: Tensor
    original: ExternalTarget | None = None
    doubts: tuple[Doubt, ...] = ()

    @property
    def density(self) -> float:
        """Nonzero parameters over all; 1 where the file has them written into its code."""
        return self.nonzero / self.parameters if self.parameters else 1.0


@dataclass(frozen=True)
class Candidates:
    """The target's examples, in an order that tells nothing, and the attacker's own after them.

    Attributes:
        examples: all, normalised as the attacker's own.
        members: how many the target was trained on.
        non_members: how many it was not.
        order: (N,) int64: where each stood among the members, the non-members and the attacker's
            own one after another, each in the order of their files.
    """

    examples: Examples
    members: int
    non_members: int
    order: Tensor


def joined(parts: Mapping[str, Examples], pool: Examples) -> Candidates:
    """The target's members and non-members, shuffled, and the attacker's own examples.

    Members first would be an answer to the question: the place of a row would tell what it is.

    Args:
        parts: the first two, by name.
        pool: the recipe's `dataset`.

    Raises:
        DataError: the three are not of one kind.
    """
    for name, part in parts.items():
        _check_alike(name, part, pool)
    candidates = [*parts.values()]
    x, y = torch.cat([part.x for part in candidates]), torch.cat([part.y for part in candidates])
    order = content_order(x, y)
    names = [name for part in candidates for name in part.names or [""] * len(part)]
    every = replace(
        pool,
        x=torch.cat([x[order], pool.x]),
        y=torch.cat([y[order], pool.y]),
        names=(*(names[row] for row in order.tolist()), *(pool.names or [""] * len(pool))),
    )
    order = torch.cat([order, torch.arange(len(x), len(every))])
    members, non_members = map(len, candidates)
    return Candidates(every, members, non_members, order)


def content_order(x: Tensor, y: Tensor) -> Tensor:
    """An order (n,) of examples by a hash of what each holds, which is the same in every run.

    Where an example is, then, depends on which others there are and not on where they came from.
    Examples that are alike would keep their order, so they are dealt out by lot.
    """
    keys = content_keys(x, y)
    seed = int.from_bytes(blake2b(b"".join(sorted(keys)), digest_size=7).digest(), "little")
    lot = torch.randperm(len(keys), generator=torch.Generator().manual_seed(seed)).tolist()
    return torch.tensor(sorted(lot, key=keys.__getitem__))


def given_target(
    recipe: Recipe,
    target: TargetOptions,
    examples: Examples,
    role: Tensor,
    device: torch.device,
    key: str = "target.checkpoint",
) -> ExternalTarget:
    """Read a target from its file, and see that it answers, and knows its members.

    Args:
        recipe: the question.
        target: its `target`.
        examples: as `joined`.
        role: (N,) uint8: the target's.
        device: where it answers.
        key: of the recipe that names the file, for messages about reading it.

    Raises:
        DataError: the file is missing, damaged, does not fit the model or the data, or does not
            answer with finite logits that depend on each example alone, and better on its members
            than by guessing.
    """
    pool, examples = examples, as_the_target_takes_them(target, examples)
    cohort = Cohort(
        examples,
        role[None],
        torch.tensor([0]),
        model=Checkpoint(path=target.checkpoint, model=recipe.model, device=str(device), key=key),
        sparsifier=Sparsifier(name="given"),
        defense=Defense(name="given"),
        training=recipe.training,
        device=device,
    )
    check_answers(cohort, examples, target.checkpoint)
    doubts = check_accuracy(target, cohort, examples, pool, role)
    check_gradients(recipe, cohort.network.module)
    program = cohort.network.module
    parameters, nonzero = cohort.dense_parameters, int(cohort.nonzero())
    if isinstance(program, Program):
        parameters, nonzero = program.parameters_in_all, program.nonzero
    unit = pool.std / examples.std
    return ExternalTarget(cohort, parameters, nonzero, unit, doubts=doubts)


def check_gradients(recipe: Recipe, network: nn.Module) -> None:
    """See that no attack asks a program for gradients by its weights.

    Raises:
        DataError: one does.
    """
    asking = [attack for _, attack in recipe.attack_entries() if "gradient_norm" in attack.signals]
    if asking and isinstance(network, Program):
        raise DataError(
            f"target.checkpoint: {asking[0].name!r} needs gradients, which a program does not "
            "give: leave it out, or give the weights alone"
        )


def _check_alike(name: str, part: Examples, pool: Examples) -> None:
    size = "; `size` makes images so" if is_images(part) and is_images(pool) else ""
    for what, theirs, ours, remedy in (
        ("of shape", part.shape, pool.shape, size),
        ("of type", str(part.x.dtype), str(pool.x.dtype), ""),
    ):
        if theirs != ours:
            raise DataError(
                f"{name} has examples {what} {show(theirs)}, and dataset {show(ours)}: "
                f"they must be alike{remedy}"
            )
    if part.classes != pool.classes:
        raise DataError(f"{name} {_other_classes(part.classes, pool.classes)}")


def _other_classes(theirs: tuple[str, ...], ours: tuple[str, ...]) -> str:
    """How classes differ from those of the recipe's dataset, and what to do."""
    lacking = [name for name in ours if name not in theirs]
    more = [name for name in theirs if name not in ours]
    parts = [f"lacks {_classes(lacking)} of dataset"] if lacking else []
    parts += [f"has {_classes(more)}, which dataset has not"] if more else []
    told = " and ".join(parts) or "has the classes of dataset in another order"
    spelled = {name.casefold() for name in lacking} & {name.casefold() for name in more}
    remedy = "spell classes alike" if spelled else "give both all classes"
    every = ", ".join(map(str, (*ours, *more)[:_LISTED])) + (", ..." if len(ours) > _LISTED else "")
    if not spelled:
        remedy += f", in the network's order, as `classes: [{every}]`"
    return f"{told}: {remedy}"


def _classes(names: list[str]) -> str:
    listed = ", ".join(map(show, names[:_LISTED])) + (", ..." if len(names) > _LISTED else "")
    return f"the class{'' if len(names) == 1 else 'es'} {listed}"
