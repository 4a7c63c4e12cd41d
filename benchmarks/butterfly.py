"""Time of butterfly convolutions against dense ones at ResNet-20's shapes.

    python -m benchmarks.butterfly                       (batch 128: a minute)

Forward and backward, alternating with the dense layer, medians of fifteen after five rounds that
settle the memory.
"""

from __future__ import annotations

import argparse
import statistics
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks._device import add_device, now
from privaudit_plugins.sparsifiers._butterfly_chain import chain
from privaudit_plugins.sparsifiers._butterfly_layers import ButterflyConv2d

# Channels in and out, side of the image, stride.
SHAPES = [(16, 16, 32, 1), (16, 32, 32, 2), (32, 32, 16, 1), (32, 64, 16, 2), (64, 64, 8, 1)]


def passes(layer: nn.Module, x: Tensor) -> Callable[[], None]:
    """One forward and backward pass."""

    def once() -> None:
        for parameter in layer.parameters():
            parameter.grad = None
        layer(x).square().mean().backward()

    return once


def seconds(work: Callable[[], None], device: torch.device) -> float:
    """Wall-clock time of one call."""
    started = now(device)
    work()
    return now(device) - started


def main() -> None:
    """Print one line for each shape and number of factors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=128)
    add_device(parser)
    options = parser.parse_args()
    batch, device = options.batch, options.device
    warnings.simplefilter("ignore")
    print("shape                L   dense ms   butterfly ms   ratio")
    for channels, filters, side, stride in SHAPES:
        x = torch.randn(batch, channels, side, side, device=device, requires_grad=True)
        for factors in (2, 3):
            dense = nn.Conv2d(channels, filters, 3, stride=stride, padding=1, bias=False).to(device)
            sparse = ButterflyConv2d(dense, chain(filters, channels * 9, factors)).to(device)
            works = passes(dense, x), passes(sparse, x)
            rounds = [[seconds(work, device) for work in works] for _ in range(20)][5:]
            plain, fast = (1000 * statistics.median(column) for column in zip(*rounds, strict=True))
            shape = f"{channels}->{filters} at {side}/{stride}"
            print(f"{shape:20} {factors} {plain:10.1f} {fast:14.1f} {fast / plain:7.2f}")


if __name__ == "__main__":
    main()
