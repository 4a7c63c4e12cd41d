"""Canaries: examples made up to be remembered, each in each training by a coin of its own.

What differentially private training hides of an ordinary example is hard to see. An example that
fits nothing else is remembered by itself or not at all, and with independent coins a single
training proves a bound on ε (Steinke, Nasr & Jagielski 2023, "Privacy auditing with one (1)
training run"; mislabelled examples are their black-box canaries).
"""

from __future__ import annotations

from dataclasses import replace
from math import comb

import torch
from torch import Tensor

from privaudit.errors import DataError, RecipeError
from privaudit.keys import derive
from privaudit.recipe import SplitOptions
from privaudit.values import Examples, Role, Split

_LIT = 16  # a blank canary has one in so many of its numbers lit, and at least one


def canary_rows(options: SplitOptions, count: int) -> Tensor:
    """The rows (n,) int64 of `count` examples that become canaries; the same for every seed.

    Raises:
        RecipeError: there are fewer examples than canaries.
    """
    if options.canaries is None:
        return torch.empty(0, dtype=torch.int64)
    wanted = options.canaries.count
    if wanted >= count:
        raise RecipeError(
            f"split.canaries: {wanted} canaries leave none of the dataset's {count} examples: "
            "ask for fewer"
        )
    generator = torch.Generator().manual_seed(_key(options))
    return torch.randperm(count, generator=generator)[:wanted]


def inserted(examples: Examples, options: SplitOptions) -> Examples:
    """The examples, with canaries in the place of some of them.

    A mislabelled one has any of the other classes. A blank one is as dark as the darkest number
    there is, but for some lit numbers that tell it from the others, under any class; of features,
    which have scales of their own, the darkest and the brightest of each.

    Raises:
        RecipeError: there are fewer examples than canaries.
        DataError: blank tokens, which mean nothing.
    """
    if options.canaries is None:
        return examples
    rows = canary_rows(options, len(examples))
    classes = len(examples.classes)
    generator = torch.Generator().manual_seed(derive(_key(options), options.canaries.kind))
    x, y = examples.x, examples.y.clone()
    if options.canaries.kind == "mislabelled":
        y[rows] = (y[rows] + torch.randint(1, classes, (len(rows),), generator=generator)) % classes
        return replace(examples, y=y, names=_names(examples, rows))
    if examples.tokens:
        raise DataError(
            "split.canaries: tokens cannot be blank, as each is a word: use kind mislabelled"
        )
    numbers = x[0].numel()
    order = torch.rand(len(rows), numbers, generator=generator).argsort(1)
    lit = (order < _lit(numbers, len(rows))).view(len(rows), *examples.shape)
    images = len(examples.shape) == 3
    dark, bright = (x.min(), x.max()) if images else (x.amin(0), x.amax(0))
    x = x.clone()
    x[rows] = torch.where(lit, bright, dark)
    y[rows] = torch.randint(classes, (len(rows),), generator=generator)
    return replace(examples, x=x, y=y, names=_names(examples, rows))


def _names(examples: Examples, rows: Tensor) -> tuple[str, ...] | None:
    """The names of examples, where those that became canaries say so."""
    if examples.names is None:
        return None
    names = list(examples.names)
    for row in rows.tolist():
        names[row] = f"canary in the place of {names[row]}"
    return tuple(names)


def with_canaries(split: Split, options: SplitOptions, rows: Tensor, seed: int) -> Split:
    """A split of all other examples, completed by the canaries, which alone are audited.

    Args:
        split: of all examples but the canaries.
        options: the recipe's `split`.
        rows: (n,) of the canaries among all examples.
        seed: of the run; the coins follow `options.seed` instead where it is given.
    """
    models, others = split.role.shape
    role = torch.empty((models, others + len(rows)), dtype=torch.uint8)
    canary = torch.zeros(others + len(rows), dtype=torch.bool)
    canary[rows] = True
    role[:, ~canary] = split.role
    partition = seed if options.seed is None else options.seed
    for m in range(models):
        generator = torch.Generator().manual_seed(derive(partition, "canaries", m))
        inside = torch.rand(len(rows), generator=generator) < 0.5
        role[m, rows] = torch.where(inside, Role.MEMBER, Role.NON_MEMBER).to(torch.uint8)
    return replace(split, role=role, canary=canary, coins=True)


def _lit(numbers: int, canaries: int) -> int:
    """How many numbers of a blank canary are lit, so that hardly any two are the same."""
    lit = max(1, numbers // _LIT)
    while lit < numbers // 2 and comb(numbers, lit) < canaries**2:
        lit += 1
    return lit


def _key(options: SplitOptions) -> int:
    return derive(options.seed or 0, "canaries")
