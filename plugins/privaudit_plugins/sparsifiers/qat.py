"""Quantisation-aware training: fine-tuning through the rounding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

import privaudit
from privaudit_plugins.sparsifiers._grid import on_grid

_LATENT, _LAST = "latent ", "last "


class QAT(privaudit.Sparsifier):
    """Train, then fine-tune weights of few bits.

    Each step takes the gradient at the rounded weights and moves latent weights by it, which are
    rounded anew (the straight-through estimator). Values and candidates are those of `quantize`,
    which trains nothing after rounding.
    """

    paper: ClassVar[str] = (
        "Jacob et al. 2018, Quantization and training of neural networks for efficient "
        "integer-arithmetic-only inference, section 3; the straight-through estimator is that of "
        "Bengio et al. 2013, Estimating or propagating gradients through stochastic neurons"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "Only weights are rounded, symmetrically and by channel, where the paper rounds "
        "activations, too, with a zero point, and folds BatchNorm into the weights.",
        "The first step's gradient is that at the weights before rounding.",
        "Weight decay acts on the rounded weights, not on the latent ones.",
    )
    tunes: ClassVar[bool] = True
    name: Literal["qat"] = "qat"
    bits: int = Field(8, ge=2, le=16, description="bits of a weight")
    scale: Literal["channel", "layer"] = Field(
        "channel", description="one spacing for each output channel, or one for each layer"
    )
    epochs: int | None = Field(
        None, ge=1, description="of fine-tuning; as many as of training if not given"
    )
    lr: float | None = Field(
        None, gt=0, description="of fine-tuning; that of training if not given"
    )

    def memory(self, weights: privaudit.Weights) -> Mapping[str, Tensor]:
        """The latent weights, and what the network's were before a step."""
        matrices = {name: w for name, w in weights.items() if w.ndim > 1}
        return {prefix + name: w for prefix in (_LATENT, _LAST) for name, w in matrices.items()}

    def project(self, weights: privaudit.Weights, epoch: Tensor) -> Mapping[str, Tensor]:
        """Move the latent weights as the step has moved the network's, and round them."""
        changed: dict[str, Tensor] = {}
        for name, w in weights.items():
            if w.ndim > 1:
                latent = weights.memory[_LATENT + name] + w - weights.memory[_LAST + name]
                rounded = on_grid(latent, self.bits, self.scale)
                changed |= {name: rounded, _LATENT + name: latent, _LAST + name: rounded}
        return changed

    def sparsify(self, cohort: privaudit.Cohort) -> Iterator[str]:
        """One level: the fine-tuned network of few bits."""
        cohort.fit(sparsifier=privaudit.Sparsifier(name="none"))
        cohort.rewind("best")
        cohort.mark_original()
        yield from self.follow(cohort)

    def follow(self, cohort: privaudit.Cohort) -> Iterator[str]:
        """The same, from networks as they are."""
        cohort.fit(self.epochs, tune=True, lr=self.lr or cohort.training.lr)
        cohort.rewind("best")
        yield f"{self.bits} bits"


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [QAT]
