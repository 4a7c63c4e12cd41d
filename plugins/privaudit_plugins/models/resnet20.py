"""ResNet-20 for CIFAR."""

from __future__ import annotations

from typing import ClassVar, Literal, cast

from torch import Tensor, nn
from torch.nn.functional import relu

import privaudit
from privaudit_plugins.models._shapes import image_shape

_WIDTHS = (16, 32, 64)  # channels of the three segments
_BLOCKS = 3  # residual blocks in a segment: 6·3 + 2 = 20 layers


def _conv3x3(inputs: int, outputs: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)


class Block(nn.Module):
    """Two 3×3 convolutions beside a shortcut: the identity, or a projection (option B)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(inputs, outputs, stride)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = _conv3x3(outputs, outputs, 1)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """From (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        inner = relu(self.norm1(self.conv1(x)))
        return relu(self.norm2(self.conv2(inner)) + self.shortcut(x))


class ResNet20Network(nn.Module):
    """The network that `resnet20` builds.

    Attributes:
        segments: for each of the three segments, the dotted names of its six 3×3 convolutions,
            the strided one included.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.stem = _conv3x3(channels, _WIDTHS[0], 1)
        self.stem_norm = nn.BatchNorm2d(_WIDTHS[0])
        self.segment1 = self._segment(_WIDTHS[0], _WIDTHS[0], stride=1)
        self.segment2 = self._segment(_WIDTHS[0], _WIDTHS[1], stride=2)
        self.segment3 = self._segment(_WIDTHS[1], _WIDTHS[2], stride=2)
        self.output = nn.Linear(_WIDTHS[2], classes)
        self.segments: tuple[tuple[str, ...], ...] = tuple(
            tuple(
                f"segment{number}.{block}.conv{conv}" for block in range(_BLOCKS) for conv in (1, 2)
            )
            for number in (1, 2, 3)
        )

    @staticmethod
    def _segment(inputs: int, outputs: int, stride: int) -> nn.Sequential:
        first = Block(inputs, outputs, stride)
        return nn.Sequential(first, *(Block(outputs, outputs, 1) for _ in range(_BLOCKS - 1)))

    def forward(self, x: Tensor) -> Tensor:
        """From images (B, channels, H, W) to logits (B, classes)."""
        x = relu(self.stem_norm(self.stem(x)))
        x = self.segment3(self.segment2(self.segment1(x)))
        return cast(Tensor, self.output(x.mean((2, 3))))


class ResNet20(privaudit.Model):
    """ResNet-20 for CIFAR with projection shortcuts: 272,474 parameters at 10 classes."""

    paper: ClassVar[str] = (
        "He et al. 2016, Deep residual learning for image recognition, section 4.2; "
        "shortcuts by option B, as Gonon et al. 2023 count them"
    )
    name: Literal["resnet20"] = "resnet20"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """From images (B, channels, height, width) to logits (B, classes).

        Weights start as PyTorch's layers start by default.

        Raises:
            RecipeError: the examples are not images.
        """
        channels, _, _ = image_shape(self.name, shape)
        return ResNet20Network(channels, classes)


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [ResNet20]
