"""Residual networks for small images, as He et al. 2016 build them from basic blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn.functional import relu

from privaudit_plugins.models._norm import Norm, normalisation


def _conv3x3(inputs: int, outputs: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)


class Block(nn.Module):
    """Two 3×3 convolutions beside a shortcut: the identity, or a projection (option B)."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = _conv3x3(inputs, outputs, stride)
        self.norm1 = normalisation(norm, outputs)
        self.conv2 = _conv3x3(outputs, outputs, 1)
        self.norm2 = normalisation(norm, outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False),
                normalisation(norm, outputs),
            )

    def forward(self, x: Tensor) -> Tensor:
        """From (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        inner = relu(self.norm1(self.conv1(x)))
        return relu(self.norm2(self.conv2(inner)) + self.shortcut(x))


class ResidualNetwork(nn.Module):
    """A 3×3 convolution of stride 1, segments of blocks, the mean over pixels, a linear layer.

    With `pooled`, a 3×3 max-pool of stride 2 follows the first convolution.

    Args:
        channels: of the images.
        classes: how many logits.
        widths: channels of each segment; every segment but the first halves the image.
        blocks: how many each segment has.
        norm: after each convolution.
        pooled: whether the first convolution's output is pooled.

    Attributes:
        segments: for each segment, the dotted names of its 3×3 convolutions, the strided one
            included.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        widths: Sequence[int],
        blocks: int,
        norm: Norm,
        pooled: bool = False,
    ) -> None:
        super().__init__()
        self.stem = _conv3x3(channels, widths[0], 1)
        self.stem_norm = normalisation(norm, widths[0])
        self.stem_pool = nn.MaxPool2d(3, stride=2, padding=1) if pooled else None
        self.body = [f"segment{number}" for number in range(1, len(widths) + 1)]
        inputs = widths[0]
        for name, width in zip(self.body, widths, strict=True):
            first = Block(inputs, width, 1 if name == "segment1" else 2, norm)
            others = (Block(width, width, 1, norm) for _ in range(blocks - 1))
            self.add_module(name, nn.Sequential(first, *others))
            inputs = width
        self.output = nn.Linear(inputs, classes)
        self.segments: tuple[tuple[str, ...], ...] = tuple(
            tuple(f"{name}.{block}.conv{conv}" for block in range(blocks) for conv in (1, 2))
            for name in self.body
        )

    def forward(self, x: Tensor) -> Tensor:
        """From images (B, channels, H, W) to logits (B, classes)."""
        x = relu(self.stem_norm(self.stem(x)))
        if self.stem_pool is not None:
            x = self.stem_pool(x)
        for name in self.body:
            x = self.get_submodule(name)(x)
        return cast(Tensor, self.output(x.mean((2, 3))))
