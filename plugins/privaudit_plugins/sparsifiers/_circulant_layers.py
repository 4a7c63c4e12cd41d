"""Layers whose weight matrix consists of circulant blocks, stored by their first columns.

A circulant block of size b is b numbers v: its entry (i, j) is v[(i - j) mod b]. A convolution has
such a matrix of (channels out, channels in) at each position of the kernel.

Each step gathers the whole matrix from the vectors and applies it as usual. Measured forward and
backward on one thread of a CPU (float32, blocks of 4 to 16, one model or 16 stacked), as a share
of the dense layer's time: convolutions 0.9 to 1.1; linear layers 1.2 to 2.1. Multiplying by fast
Fourier transforms, as CirCNN's hardware does, took linear layers of 64 to 128 units 1.4 to 2.7,
and only from about 512 units gains, down to 0.7; convolutions would have to be unfolded for it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear


def matrix(vectors: Tensor, rows: int, columns: int) -> Tensor:
    """The weight (rows, columns, *kernel) of blocks with the given first columns.

    Args:
        vectors: (block rows, block columns, b, *kernel); where b does not divide rows or columns,
            the last blocks are cut.
        rows: outputs of the layer.
        columns: inputs of the layer.
    """
    down, across, size, *kernel = vectors.shape
    i = torch.arange(size, device=vectors.device)
    shift = (i[:, None] - i) % size
    entries = vectors.index_select(2, shift.flatten())
    blocks = entries.view(down, across, size, size, *kernel).transpose(1, 2)
    return blocks.reshape(down * size, across * size, *kernel)[:rows, :columns]


def first_columns(weight: Tensor, size: int) -> Tensor:
    """Vectors (block rows, block columns, size, *kernel) found in a dense weight.

    They are the first columns of its blocks, or where `size` does not divide the rows, so that
    columns are cut, the first rows, which is the same vector read backwards. So the circulant
    layer starts as the dense one does, however that is.
    """
    rows, columns, *kernel = weight.shape
    if rows % size == 0:
        first = weight[:, ::size].reshape(rows // size, size, -1, *kernel).transpose(1, 2)
    else:
        backwards = -torch.arange(size, device=weight.device) % size
        first = weight[::size].reshape(-1, columns // size, size, *kernel)[:, :, backwards]
    return first.clone(memory_format=torch.contiguous_format)


class CirculantLinear(nn.Module):
    """A linear layer, from (..., columns) to (..., rows).

    Args:
        dense: the layer it stands for, whose bias it takes over.
        size: of a block; it divides rows or columns.
    """

    bias: Tensor | None

    def __init__(self, dense: nn.Linear, size: int) -> None:
        super().__init__()
        self.rows, self.columns = dense.weight.shape
        self.vectors = nn.Parameter(first_columns(dense.weight.detach(), size))
        self.bias = dense.bias

    def forward(self, x: Tensor) -> Tensor:
        """The matrix times each row of x, plus the bias."""
        return linear(x, matrix(self.vectors, self.rows, self.columns), self.bias)

    def extra_repr(self) -> str:
        """The sizes, for people."""
        return f"{self.columns}, {self.rows}, block={self.vectors.shape[2]}"


class CirculantConv2d(nn.Module):
    """A convolution, from (N, channels in, height, width) to (N, channels out, ...).

    Args:
        dense: the layer it stands for, whose bias, stride, padding and dilation it takes over;
            of one group, padded with zeros.
        size: of a block; it divides channels in or channels out.
    """

    bias: Tensor | None

    def __init__(self, dense: nn.Conv2d, size: int) -> None:
        super().__init__()
        self.rows, self.columns = dense.weight.shape[:2]
        self.vectors = nn.Parameter(first_columns(dense.weight.detach(), size))
        self.bias = dense.bias
        self.stride = dense.stride
        self.padding = dense.padding
        self.dilation = dense.dilation

    def forward(self, x: Tensor) -> Tensor:
        """Convolve with the kernel of circulant blocks."""
        weight = matrix(self.vectors, self.rows, self.columns)
        return conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation)

    def extra_repr(self) -> str:
        """The sizes, for people."""
        return f"{self.columns}, {self.rows}, block={self.vectors.shape[2]}"
