"""A target that was trained elsewhere: its examples beside the attacker's, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from privaudit.api.calls import loaded
from privaudit.api.plugin import Defense, Sparsifier
from privaudit.cohort import Cohort
from privaudit.errors import DataError
from privaudit.experiment.checkpoint import Checkpoint, Program, first_line
from privaudit.messages import show
from privaudit.networks.answer import Answers
from privaudit.recipe import Recipe, TargetOptions
from privaudit.values import Examples

_TRIED = 1000  # examples asked before anything is trained: as many as are asked at once later


@dataclass(frozen=True)
class ExternalTarget:
    """A target that is audited as it is.

    Attributes:
        cohort: it alone, to be asked.
        parameters: how many it has, zero or not.
        nonzero: how many of them are not zero.
    """

    cohort: Cohort
    parameters: int
    nonzero: int

    @property
    def density(self) -> float:
        """Nonzero parameters over all; 1 where the file has them written into its code."""
        return self.nonzero / self.parameters if self.parameters else 1.0


def joined(target: TargetOptions, pool: Examples, root: Path) -> tuple[Examples, tuple[int, int]]:
    """The target's members, its non-members and the attacker's own examples, in this order.

    All are normalised as the attacker's own, and so must the target have been.

    Args:
        target: names the first two.
        pool: the recipe's `dataset`.
        root: where datasets keep downloads.

    Returns:
        The examples, and how many are members and non-members.

    Raises:
        DataError: the three are not of one kind.
    """
    parts = {
        "target.members": loaded(target.members, root),
        "target.non_members": loaded(target.non_members, root),
    }
    for name, part in parts.items():
        _check_alike(name, part, pool)
    every = [*parts.values(), pool]
    x, y = torch.cat([part.x for part in every]), torch.cat([part.y for part in every])
    members, non_members = (len(part) for part in parts.values())
    return replace(pool, x=x, y=y), (members, non_members)


def given_target(
    recipe: Recipe,
    target: TargetOptions,
    examples: Examples,
    role: Tensor,
    device: torch.device,
) -> ExternalTarget:
    """Read a target from its file, and see that it answers.

    Args:
        recipe: the question.
        target: its `target`.
        examples: as `joined`.
        role: (N,) uint8: the target's.
        device: where it answers.

    Raises:
        DataError: the file is missing, damaged, does not fit the model or the data, or does not
            answer with finite logits that depend on each example alone.
    """
    cohort = Cohort(
        examples,
        role[None],
        torch.tensor([0]),
        model=Checkpoint(path=target.checkpoint, model=recipe.model, device=str(device)),
        sparsifier=Sparsifier(name="given"),
        defense=Defense(name="given"),
        training=recipe.training,
        device=device,
    )
    _check_answers(cohort, examples, target.checkpoint)
    program = cohort.network.module
    if isinstance(program, Program):
        return ExternalTarget(cohort, program.parameters_in_all, program.nonzero)
    return ExternalTarget(cohort, cohort.dense_parameters, int(cohort.nonzero()))


def _check_alike(name: str, part: Examples, pool: Examples) -> None:
    for what, theirs, ours in (
        ("of shape", part.shape, pool.shape),
        ("of type", str(part.x.dtype), str(pool.x.dtype)),
        ("of the classes", part.classes, pool.classes),
    ):
        if theirs != ours:
            raise DataError(
                f"{name} has examples {what} {show(theirs)}, and dataset {show(ours)}: "
                "they must be alike"
            )


def _differ(one: Tensor, other: Tensor) -> bool:
    """Whether answers to the same examples differ by more than rounding; TF32 comes to 0.001."""
    return bool((one - other).abs().max() > 0.01 * one.abs().max())


def _check_answers(cohort: Cohort, examples: Examples, path: str) -> None:
    x = examples.x[:_TRIED]
    answers, state = Answers(cohort.network, keyed=False), cohort.states()[0]

    def ask(x: Tensor) -> Tensor:
        data = cohort.data.on(x)
        return answers(state, data.plain(torch.arange(len(x), device=data.y.device))).cpu()

    try:
        try:
            ask(x)
        except RuntimeError:  # it may take images in the usual order of memory only
            cohort.network.contiguous = True
        whole, again, alone = (ask(x), ask(x), ask(x[:1]))
    except Exception as error:  # a program may raise anything
        raise DataError(
            f"target.checkpoint: {path} cannot answer {len(x)} examples, or a single one, of shape "
            f"{examples.shape}: {first_line(error)}"
        ) from error
    wanted = (len(x), len(examples.classes))
    if whole.shape != wanted:
        problem = f"answers {len(x)} examples with shape {tuple(whole.shape)} instead of {wanted}"
    elif not bool(torch.isfinite(whole).all()):
        problem = "answers NaN or infinity: it is damaged, or its training diverged"
    elif _differ(whole, again) or _differ(whole[:1], alone):
        problem = "answers otherwise in other company: save it after .eval()"
    elif bool((whole >= 0).all()) and torch.allclose(whole.sum(1), whole.new_ones(()), atol=1e-3):
        problem = "answers with probabilities: save it without the softmax at its end"
    else:
        return
    raise DataError(f"target.checkpoint: {path} {problem}")
