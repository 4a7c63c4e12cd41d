"""What GPUs can do at most, as their makers publish it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """One GPU's published limits.

    Attributes:
        words: all of which its name in CUDA holds.
        bandwidth: bytes of memory a second.
        flops: dense floating-point operations a second, by precision.
        source: where that is published.
    """

    words: tuple[str, ...]
    bandwidth: float
    flops: dict[str, float]
    source: str


_HOPPER = {"fp32": 66.9e12, "tf32": 494.7e12, "bf16": 989.4e12}
_AMPERE = {"fp32": 19.5e12, "tf32": 156e12, "bf16": 312e12}

CARDS = (
    Card(("H200",), 4.8e12, _HOPPER, "NVIDIA H200 datasheet; operations as H100 SXM5"),
    Card(("H100", "HBM3"), 3.35e12, _HOPPER, "NVIDIA H100 datasheet, SXM5; without sparsity"),
    Card(("A100", "SXM", "80GB"), 2.039e12, _AMPERE, "NVIDIA A100 datasheet; without sparsity"),
    Card(("A100", "SXM", "40GB"), 1.555e12, _AMPERE, "NVIDIA A100 datasheet; without sparsity"),
    Card(("A100", "PCIe", "80GB"), 1.935e12, _AMPERE, "NVIDIA A100 datasheet; without sparsity"),
)


def card_named(name: str) -> Card | None:
    """The card that CUDA calls by this name; None for one that no line tells about."""
    here = name.lower()
    return next((c for c in CARDS if all(word.lower() in here for word in c.words)), None)
