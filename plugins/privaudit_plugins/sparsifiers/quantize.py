"""Uniform quantisation of the weights to few bits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

import privaudit

Bits = Annotated[int, Field(ge=2, le=16)]


class Quantize(privaudit.Sparsifier):
    """Round the trained weights to 2^bits - 1 evenly spaced values; each number of bits is a level.

    The values are symmetric about zero, and the largest weight of a channel (or of a layer) is the
    outermost. Rounded are the weights of convolutions and linear layers; biases, normalisation
    and activations stay as they are, and nothing is trained afterwards: `qat` does. Weights that
    round to zero lower the density; otherwise it says nothing about the bits saved.
    """

    paper: ClassVar[str] = (
        "Jacob et al. 2018, Quantization and training of neural networks for efficient "
        "integer-arithmetic-only inference, section 2.1, with zero as the zero point"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "Only weights are rounded, symmetrically, by channel and after training, where the "
        "paper rounds activations, too, with a zero point, and trains through the rounding.",
    )
    name: Literal["quantize"] = "quantize"
    bits: Bits | tuple[Bits, ...] = Field(
        8, description="bits of a weight; a list gives a level for each"
    )
    scale: Literal["channel", "layer"] = Field(
        "channel", description="one spacing for each output channel, or one for each layer"
    )

    @field_validator("bits")
    @classmethod
    def _each_once(cls, bits: int | tuple[int, ...]) -> int | tuple[int, ...]:
        if isinstance(bits, tuple) and (not bits or len(set(bits)) < len(bits)):
            raise ValueError("name each number of bits once, and at least one")
        return bits

    def sparsify(self, cohort: privaudit.Cohort) -> Iterator[str]:
        """One level for each number of bits, all from one trained network."""
        cohort.fit()
        cohort.rewind("best")
        cohort.mark_original()
        yield from self.follow(cohort)

    def follow(self, cohort: privaudit.Cohort) -> Iterator[str]:
        """The same levels, from networks as they are."""
        trained = {n: w for n, w in cohort.weights.items() if w.ndim > 2}
        for bits in (self.bits,) if isinstance(self.bits, int) else self.bits:
            cohort.set({n: rounded(w, bits, self.scale) for n, w in trained.items()})
            yield f"{bits} bits"


def rounded(weights: Tensor, bits: int, scale: Literal["channel", "layer"]) -> Tensor:
    """Stacked weights (M, channels, ...) rounded to the nearest of 2^bits - 1 values.

    torch's fake quantisation, on all models at once: each channel of each model, or each model,
    is a row with a spacing of its own.
    """
    rows = weights.flatten(0, 1).flatten(1) if scale == "channel" else weights.flatten(1)
    outermost = 2 ** (bits - 1) - 1
    peak = rows.abs().amax(1).float()
    spacing = torch.where(peak > 0, peak, 1.0) / outermost
    zero = torch.zeros_like(spacing, dtype=torch.int32)
    near = torch.fake_quantize_per_channel_affine(rows, spacing, zero, 0, -outermost, outermost)
    return near.view_as(weights)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [Quantize]
