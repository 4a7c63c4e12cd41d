"""What the engine itself wants to know of answers, whatever is kept of them."""

from __future__ import annotations

import torch
from torch import Tensor

from privaudit.doubts.training import Fitness, fitness, fitness_of
from privaudit.values import Outputs


def predictions(outputs: Outputs) -> Tensor:
    """The likeliest classes (M, N), without M of one model."""
    if outputs.has_logits:
        return outputs.logits[..., 0, :, :].argmax(-1)
    return outputs.of("predicted")[..., 0, :].long()


def confidences(outputs: Outputs, rows: Tensor, y: Tensor) -> Tensor:
    """The probability that one model gives the labels of rows (n,) int64, float32."""
    return outputs.changed(queries=1).of("label_probability", rows, y)[0]


def lost(outputs: Outputs) -> Tensor:
    """(M,) bool: which models answer NaN or infinity."""
    if outputs.has_logits:
        return torch.stack([~one.isfinite().all() for one in outputs.logits])
    assert outputs.extremes is not None  # wherever there are no logits
    return ~outputs.extremes.isfinite().all(1)


def fitnesses(outputs: Outputs, y: Tensor, members: Tensor) -> list[Fitness]:
    """How well each of M models knows its own members, (M, N) bool."""
    if outputs.has_logits:
        pairs = zip(outputs.logits[:, 0], members, strict=True)
        return [fitness(logits, y, rows) for logits, rows in pairs]
    assert outputs.extremes is not None
    found = []
    for model, rows in enumerate(members):
        one, inside = outputs[model], rows.nonzero()[:, 0]
        low, high = outputs.extremes[model].tolist()
        found.append(
            fitness_of(
                one.of("predicted", inside)[0].long(),
                one.of("label_probability", inside)[0],
                y[inside],
                outputs.classes,
                bounded=low >= 0 and 0.5 < high <= 1,
            )
        )
    return found
