"""The answers of dense originals beside those of the sparse networks that were made from them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from privaudit.answers import ORIGINAL
from privaudit.api.needs import versions_seen
from privaudit.api.plugin import Attack
from privaudit.errors import DataError
from privaudit.outputs.arrays import Answers
from privaudit.outputs.convert import as_tensor
from privaudit.outputs.kinds import as_logits
from privaudit.values import Outputs, Signals

NAMES = ("original_logits", "shadow_original_logits")


def with_originals(signals: Signals, answers: Answers, original: Any, shadows: Any) -> Signals:
    """The signals with the answers of the originals of the target and its shadows, where given.

    Args:
        signals: of the sparse networks.
        answers: what they are made of.
        original: like `audit_outputs`' logits, of the network before the target was made sparse.
        shadows: like its shadow_logits, of the shadows' originals.

    Raises:
        DataError: one is given without the other, or has another shape, or holds what cannot be
            audited, or is the same network twice.
    """
    there = bool(len(answers.shadow_logits))
    if original is None and shadows is None:
        return signals
    if original is None or (shadows is None and there):
        missing, given = NAMES if original is None else reversed(NAMES)
        raise DataError(
            f"{given} are given without {missing}: give the originals of the target and of all "
            "shadows, or of none"
        )
    if shadows is not None and not there:
        raise DataError(f"{NAMES[1]} are given without shadow_logits: give both or neither")
    dense = _alike(original, NAMES[0], answers, answers.logits)
    if torch.equal(dense, answers.logits):
        raise DataError(
            f"{NAMES[0]} are the same as the target's own answers: give those of the network "
            "before it was made sparse"
        )
    theirs = answers.shadow_logits
    if there:
        theirs = _alike(shadows, NAMES[1], answers, answers.shadow_logits)
    return replace(
        signals,
        target=signals.target.changed(versions={ORIGINAL: Outputs(dense)}),
        shadows=signals.shadows.changed(versions={ORIGINAL: Outputs(theirs)}),
    )


def shown(attack: Attack, outputs: Outputs) -> Outputs:
    """The outputs without what an attack does not ask for."""
    return outputs.changed(
        noisy=outputs.noisy if attack.noise else None,
        versions=versions_seen(attack, outputs),
    )


def _alike(values: Any, name: str, answers: Answers, sparse: Tensor) -> Tensor:
    """The logits of originals, of one shape with those of the sparse networks."""
    tensor = as_tensor(values, name)
    if tensor.dtype == torch.bool or tensor.is_complex():
        raise DataError(f"{name} must be real numbers, got {str(tensor.dtype)[6:]}")
    if tensor.dtype not in (torch.float32, torch.float64):
        tensor = tensor.float() if tensor.is_floating_point() else tensor.double()
    classes = 1 if answers.kind == "margins" else sparse.shape[-1]
    wanted = *sparse.shape[:-1], classes
    fitting = {wanted, wanted[:-1] if classes == 1 else wanted}
    if sparse.shape[-3] == 1:  # queries
        fitting |= {(*shape[: sparse.ndim - 3], *shape[sparse.ndim - 2 :]) for shape in fitting}
    if tuple(tensor.shape) not in fitting:
        raise DataError(
            f"{name} must have one answer for each of the sparse networks', in the same shape: "
            f"{min(fitting, key=len)}, got {tuple(tensor.shape)}"
        )
    return as_logits(tensor.reshape(wanted), answers.kind, name)
