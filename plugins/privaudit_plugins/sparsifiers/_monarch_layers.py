"""Layers whose weight matrix is a Monarch matrix: two block-diagonal factors and a permutation.

With b blocks the first factor is a tensor (b, q, p), block k of which turns inputs k·p to k·p+p-1
into q numbers. Those b·q numbers are dealt out in turn to the b blocks of the second factor
(b, s, q), and so are the b·s outputs of these (Dao et al. 2022, section 3.1 and definition 3.1,
for rectangles as in their code, github.com/HazyResearch/fly).

Convolutions multiply the factors out and convolve once, as those of `_butterfly_layers` do.
"""

from __future__ import annotations

from math import isqrt, sqrt

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad


def usual_blocks(rows: int, columns: int) -> int:
    """√n, rounded down, of the shorter side n: as many as blocks have rows, so that all meet.

    Each pair of an input and an output is then joined by one path, with the fewest parameters.
    """
    return isqrt(min(rows, columns))


def sizes(rows: int, columns: int, blocks: int) -> tuple[tuple[int, int, int], ...]:
    """The shapes of both factors of a (rows, columns) matrix.

    Where blocks do not divide a side it is filled up. The vector between the factors is as long
    as the shorter side.

    >>> sizes(16, 16, 4), sizes(10, 64, 3)
    (((4, 4, 4), (4, 4, 4)), ((3, 4, 22), (3, 4, 4)))
    """
    p, s = -(-columns // blocks), -(-rows // blocks)
    q = min(p, s)
    return (blocks, q, p), (blocks, s, q)


def apply(first: Tensor, second: Tensor, x: Tensor) -> Tensor:
    """The Monarch matrix times each row of x, from (N, b·p) to (N, b·s)."""
    b, q, p = first.shape
    y = torch.bmm(x.view(-1, b, p).transpose(0, 1), first.mT)  # (b, N, q)
    y = y.transpose(0, 1).reshape(-1, q, b).permute(2, 0, 1)  # number j goes to block j mod b
    y = torch.bmm(y, second.mT)  # (b, N, s)
    return y.permute(1, 2, 0).reshape(len(x), -1)


def matrix(first: Tensor, second: Tensor) -> Tensor:
    """The Monarch matrix itself, (b·s, b·p)."""
    columns = first.shape[0] * first.shape[2]
    eye = torch.eye(columns, dtype=first.dtype, device=first.device)
    return apply(first, second, eye).t()


def initial(rows: int, columns: int, blocks: int, like: Tensor) -> nn.ParameterList:
    """Both factors, drawn from U(±1/√columns of a block), as in the paper's code.

    What stands for inputs and outputs that only fill up a side has no effect; it starts at 0, so
    that it does not count as a weight.

    Args:
        rows: outputs of the layer.
        columns: inputs of the layer.
        blocks: of each factor.
        like: a tensor of the wanted type and device.
    """
    (b, q, p), (_, s, _) = sizes(rows, columns, blocks)
    k = torch.arange(b, device=like.device)
    inputs = k[:, None] * p + torch.arange(p, device=like.device)  # (b, p)
    outputs = k[:, None] + torch.arange(s, device=like.device) * b  # (b, s)
    first = like.new_empty(b, q, p).uniform_(-1 / sqrt(p), 1 / sqrt(p))
    second = like.new_empty(b, s, q).uniform_(-1 / sqrt(q), 1 / sqrt(q))
    first *= (inputs < columns)[:, None, :]
    second *= (outputs < rows)[:, :, None]
    return nn.ParameterList([nn.Parameter(first), nn.Parameter(second)])


class MonarchLinear(nn.Module):
    """A linear layer, from (..., columns) to (..., rows).

    Args:
        dense: the layer it stands for, whose bias it takes over.
        blocks: of each factor.
    """

    bias: Tensor | None

    def __init__(self, dense: nn.Linear, blocks: int) -> None:
        super().__init__()
        self.rows, self.columns = dense.weight.shape
        self.factors = initial(self.rows, self.columns, blocks, dense.weight.detach())
        self.bias = dense.bias

    def forward(self, x: Tensor) -> Tensor:
        """The matrix times each row of x, plus the bias."""
        first, second = self.factors
        missing = first.shape[0] * first.shape[2] - self.columns
        y = apply(first, second, pad(x.reshape(-1, self.columns), (0, missing)))[:, : self.rows]
        if self.bias is not None:
            y = y + self.bias
        return y.reshape(*x.shape[:-1], -1)

    def extra_repr(self) -> str:
        """The sizes, for people."""
        return f"{self.columns}, {self.rows}, blocks={len(self.factors[0])}"


class MonarchConv2d(nn.Module):
    """A convolution, from (N, channels in, height, width) to (N, channels out, ...).

    Its matrix is (channels out, kernel height · kernel width · channels in), columns ordered by
    the position in the kernel first, as those of the butterfly are.

    Args:
        dense: the layer it stands for, whose bias, stride, padding and dilation it takes over;
            of one group, padded with zeros.
        blocks: of each factor.
    """

    bias: Tensor | None

    def __init__(self, dense: nn.Conv2d, blocks: int) -> None:
        super().__init__()
        self.rows, self.columns = dense.weight.flatten(1).shape
        self.factors = initial(self.rows, self.columns, blocks, dense.weight.detach())
        self.bias = dense.bias
        self.kernel_size = dense.kernel_size
        self.stride = dense.stride
        self.padding = dense.padding
        self.dilation = dense.dilation

    def forward(self, x: Tensor) -> Tensor:
        """Convolve with the product of the factors."""
        weight = matrix(*self.factors)[: self.rows, : self.columns]
        weight = weight.reshape(self.rows, *self.kernel_size, -1).permute(0, 3, 1, 2)
        return conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation)

    def extra_repr(self) -> str:
        """The sizes, for people."""
        return f"{self.columns}, {self.rows}, blocks={len(self.factors[0])}"
