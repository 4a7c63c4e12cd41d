"""A given target and the dense original that it was made sparse from, read alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from privaudit.errors import DataError
from privaudit.experiment.checkpoint import fingerprint
from privaudit.experiment.repeated import check_non_members
from privaudit.experiment.target import ExternalTarget, given_target
from privaudit.recipe import Recipe, TargetOptions
from privaudit.values import Examples

_ASKED = 500  # examples by which two networks are told apart
DENSE = "target.dense"
_GIVEN, _DENSE = "target.checkpoint:", f"{DENSE}:"
_SETTINGS = "If it is right as it is, set target.accuracy", "if this is right, set target.accuracy"
"""Advice about the given target alone: what `target.accuracy` says is of no other network."""


def given_pair(
    recipe: Recipe,
    target: TargetOptions,
    examples: Examples,
    role: Tensor,
    device: torch.device,
) -> ExternalTarget:
    """The given target with its dense original, where the recipe names one.

    Arguments as of `given_target`.

    Raises:
        DataError: as `given_target`, of either file; or they are no network and its original.
    """
    check_non_members(examples, role)
    given = given_target(recipe, target, examples, role, device)
    if target.dense is None:
        return given
    with _of_dense():
        alone = _alone(target, target.dense)
        original = given_target(recipe, alone, examples, role, device, DENSE)
    _check_pair(target, given, original, examples)
    return replace(given, original=original)


def dense_fingerprint(target: TargetOptions) -> str:
    """SHA-256 (hex) of the dense original's file.

    Raises:
        DataError: there is no such file.
    """
    assert target.dense is not None
    return fingerprint(target.dense, DENSE)


def _alone(target: TargetOptions, path: str) -> TargetOptions:
    return target.model_copy(update={"checkpoint": path, "dense": None, "accuracy": None})


@contextmanager
def _of_dense() -> Iterator[None]:
    """What is wrong is told of the key that names the file."""
    try:
        yield
    except DataError as error:
        message = str(error).replace(_GIVEN, _DENSE, 1)
        for advice in _SETTINGS:
            if advice in message:
                message = message.partition(advice)[0].rstrip(" ;.") + ". If it is right as it is, "
                message += "leave target.dense out: the pair cannot be audited"
        raise DataError(message) from error


def _check_pair(
    target: TargetOptions, given: ExternalTarget, original: ExternalTarget, examples: Examples
) -> None:
    if given.nonzero > original.nonzero and original.parameters and given.parameters:
        raise DataError(
            f"{_DENSE} {target.dense} has {original.nonzero:,} nonzero parameters, and "
            f"target.checkpoint {given.nonzero:,}: a dense original has no fewer; perhaps the two "
            "are swapped"
        )
    rows = examples.x[:_ASKED]
    if torch.equal(given.cohort.logits(rows), original.cohort.logits(rows)):
        raise DataError(
            f"{_DENSE} {target.dense} answers exactly as target.checkpoint does: they are one "
            "network, and there is nothing to compare; name the network before it was made sparse"
        )
