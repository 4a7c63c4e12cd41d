"""The vision transformer, tiny."""

from __future__ import annotations

from typing import ClassVar, Literal, Self, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

import privaudit
from privaudit_plugins.models._shapes import image_shape

_WIDER = 4  # hidden units of each perceptron, as a multiple of the width


class Attention(nn.Module):
    """Multi-head self-attention with plain linear layers, which pruning and butterfly know."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """From tokens (B, T, width) to (B, T, width)."""
        parts = self.qkv(x).view(x.size(0), x.size(1), 3, self.heads, self.size)
        query, key, value = parts.transpose(1, 3).unbind(2)  # (B, heads, T, size)
        # not scaled_dot_product_attention, whose fused kernels have no rule for stacked models
        weight = (query @ key.transpose(-2, -1) / self.size**0.5).softmax(-1)
        return cast(Tensor, self.proj((weight @ value).transpose(1, 2).flatten(2)))


class Block(nn.Module):
    """Attention and a perceptron, each normalised before and added to what it read."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.fc1 = nn.Linear(width, _WIDER * width)
        self.gelu = nn.GELU()
        self.fc2 = nn.Linear(_WIDER * width, width)
        self.dropout1, self.dropout2, self.dropout3 = (nn.Dropout(dropout) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """From tokens (B, T, width) to (B, T, width)."""
        x = x + self.dropout1(self.attention(self.norm1(x)))
        hidden = self.dropout2(self.gelu(self.fc1(self.norm2(x))))
        return cast(Tensor, x + self.dropout3(self.fc2(hidden)))


class VisionTransformer(nn.Module):
    """The network that `vit_tiny` builds.

    Attributes:
        segments: for each block, the dotted names of its four linear layers.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        dropout: float,
    ) -> None:
        super().__init__()
        channels, height, across = shape
        self.patch, self.width = patch, width
        self.embed = nn.Linear(channels * patch * patch, width)
        # of one axis, because what has two and more is pruned as a layer's matrix
        self.token = nn.Parameter(torch.zeros(width))
        self.position = nn.Parameter(
            torch.zeros((1 + (height // patch) * (across // patch)) * width)
        )
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(Block(width, heads, dropout) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.output = nn.Linear(width, classes)
        self.segments: tuple[tuple[str, ...], ...] = tuple(
            tuple(
                f"blocks.{n}.{part}" for part in ("attention.qkv", "attention.proj", "fc1", "fc2")
            )
            for n in range(depth)
        )
        nn.init.trunc_normal_(self.token, std=0.02)
        nn.init.trunc_normal_(self.position, std=0.02)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """From images (B, channels, H, W) to logits (B, classes)."""
        size = self.patch
        cut = x.reshape(x.size(0), x.size(1), x.size(2) // size, size, x.size(3) // size, size)
        patches = cut.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)  # (B, T, C·patch²)
        tokens = torch.cat([self.token.expand(x.size(0), 1, -1), self.embed(patches)], dim=1)
        x = self.blocks(self.dropout(tokens + self.position.view(-1, self.width)))
        return cast(Tensor, self.output(self.norm(x[:, 0])))


class ViTTiny(privaudit.Model):
    """A vision transformer of width 192 and depth 12: 5,362,762 parameters on CIFAR-10.

    Patches of 4×4 pixels, a class token and learned positions; weights start as in DeiT-Ti, normal
    of standard deviation 0.02, biases at 0.
    """

    paper: ClassVar[str] = (
        "Dosovitskiy et al. 2021, An image is worth 16x16 words, section 3.1; "
        "the tiny size: Touvron et al. 2021, table 1, DeiT-Ti"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "Patches have 4×4 pixels unless told, for images of 32×32 pixels, where the papers' "
        "have 16×16.",
        "There is no stochastic depth, which Touvron et al. train with.",
    )
    name: Literal["vit_tiny"] = "vit_tiny"
    patch: int = Field(4, ge=1, description="pixels of a patch's side")
    width: int = Field(192, ge=1, description="numbers in a token")
    depth: int = Field(12, ge=1, description="blocks of attention and a perceptron")
    heads: int = Field(3, ge=1, description="attention heads; they divide the width")
    dropout: float = Field(
        0.0, ge=0, lt=1, description="share dropped after the embedding, attention and perceptrons"
    )

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide a width of {self.width}")
        return self

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """From images (B, channels, height, width) to logits (B, classes).

        Raises:
            RecipeError: the examples are not images, or patches do not divide them.
        """
        channels, height, width = image_shape(self.name, shape)
        if height % self.patch or width % self.patch:
            raise privaudit.RecipeError(
                f"model vit_tiny cuts images into patches of {self.patch}×{self.patch} pixels, "
                f"which do not divide this dataset's {height}×{width}: choose another `patch`"
            )
        return VisionTransformer(
            (channels, height, width),
            classes,
            patch=self.patch,
            width=self.width,
            depth=self.depth,
            heads=self.heads,
            dropout=self.dropout,
        )


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [ViTTiny]
