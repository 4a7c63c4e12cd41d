"""Layers whose weight matrix is a product of sparse factors, stored without their zeros.

Factor i of a chain is a tensor (a·d, b, c): one dense block after another. There are two ways to
apply the product. `apply` multiplies the input by one factor after another. `matrix` first
multiplies the factors out: every entry of the product is reached by exactly one path, so that is
one broadcast multiplication for each factor after the first, whatever the batch.

Measured forward and backward on a CPU, as a share of the dense layer's time, float32:

* convolutions, ResNet-20's five shapes, batch 128, two and three factors: `matrix` and one
  ordinary convolution 0.8 to 1.05 (processor time of one thread, medians of 15); unfolding the
  image and `apply` 1.5 to 13; grouped convolutions, one for each factor, 1.4 to 5 (two threads,
  medians of five);
* linear layers, one model or 16 stacked (two threads, medians of five): 128x64 with a batch of
  64, `apply` 1.3 to 2.3 and `matrix` 1.7 to 2.5; 512x784 with a batch of 128, 0.3 to 0.7 and 1.9
  to 2.3; one model of 4096x4096, 0.05 to 0.09 and 1.8 to 2.3.

`python -m benchmarks.butterfly` measures the convolutions again, by the clock. So they use
`matrix`, and linear layers use `apply`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from privaudit_plugins.sparsifiers._butterfly_chain import Factor


def apply(factors: Sequence[Tensor], chain: Sequence[Factor], x: Tensor) -> Tensor:
    """The product of the factors times x, from (columns, N) to (rows, N)."""
    count = x.shape[1]
    for factor, (a, b, c, d) in zip(reversed(factors), reversed(chain), strict=True):
        x = x.reshape(a, c, d, count).transpose(1, 2).reshape(a * d, c, count)
        x = torch.bmm(factor, x)  # (a·d, b, N)
        x = x.reshape(a, d, b, count).transpose(1, 2).reshape(a * b * d, count)
    return x


def matrix(factors: Sequence[Tensor], chain: Sequence[Factor]) -> Tensor:
    """The product of the factors, (rows, columns)."""
    product = factors[-1]  # (a, rows so far, columns so far), one block for each of a
    for factor, (a, b, c, d) in zip(reversed(factors[:-1]), reversed(chain[:-1]), strict=True):
        width = product.shape[-1]
        blocks = factor.view(a, d, b, c).transpose(1, 2).unsqueeze(-1)  # (a, b, d, c, 1)
        right = product.view(a, c, d, width).transpose(1, 2).unsqueeze(1)  # (a, 1, d, c, width)
        product = (blocks * right).reshape(a, b * d, c * width)
    return product[0]


def initial(chain: Sequence[Factor], like: Tensor) -> nn.ParameterList:
    """Random factors whose product's entries vary as PyTorch initialises a dense weight.

    PyTorch draws a dense weight with n columns from U(±1/√n), of variance g/n with g = 1/3. An
    entry of the product is a product of L independent entries, so its variance is that of the
    factors multiplied; g^(1/L) / c_i for factor i, drawn uniformly, gives g/n since the c_i
    multiply to n.

    Args:
        chain: the L factors' patterns.
        like: a tensor of the wanted type and device.
    """
    gain = (1 / 3) ** (1 / len(chain))
    factors = nn.ParameterList()
    for a, b, c, d in chain:
        bound = sqrt(3 * gain / c)  # U(±bound) has variance bound²/3
        factors.append(nn.Parameter(like.new_empty(a * d, b, c).uniform_(-bound, bound)))
    return factors


class ButterflyLinear(nn.Module):
    """A linear layer, from (..., columns) to (..., rows).

    Args:
        dense: the layer it stands for, whose bias it takes over.
        chain: of a (out_features, in_features) matrix.
    """

    bias: Tensor | None

    def __init__(self, dense: nn.Linear, chain: Sequence[Factor]) -> None:
        super().__init__()
        self.chain = tuple(chain)
        self.factors = initial(chain, dense.weight)
        self.bias = dense.bias

    def forward(self, x: Tensor) -> Tensor:
        """The product of the factors times each row of x, plus the bias."""
        y = apply(list(self.factors), self.chain, x.reshape(-1, x.shape[-1]).t()).t()
        if self.bias is not None:
            y = y + self.bias
        return y.reshape(*x.shape[:-1], -1)

    def extra_repr(self) -> str:
        """The chain, for people."""
        return f"chain={[tuple(factor) for factor in self.chain]}"


class ButterflyConv2d(nn.Module):
    """A convolution, from (N, channels in, height, width) to (N, channels out, ...).

    The columns of the product are ordered as in Lin et al.'s published code, which Gonon et al.
    follow: by the position in the kernel first, then by channel.

    Args:
        dense: the layer it stands for, whose bias, stride, padding and dilation it takes over;
            of one group, padded with zeros.
        chain: of a (channels out, kernel height · kernel width · channels in) matrix.
    """

    bias: Tensor | None

    def __init__(self, dense: nn.Conv2d, chain: Sequence[Factor]) -> None:
        super().__init__()
        self.chain = tuple(chain)
        self.factors = initial(chain, dense.weight)
        self.bias = dense.bias
        self.kernel_size = dense.kernel_size
        self.stride = dense.stride
        self.padding = dense.padding
        self.dilation = dense.dilation

    def forward(self, x: Tensor) -> Tensor:
        """Convolve with the product of the factors."""
        weight = matrix(list(self.factors), self.chain)
        weight = weight.view(len(weight), *self.kernel_size, -1).permute(0, 3, 1, 2)
        return conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation)

    def extra_repr(self) -> str:
        """The chain, for people."""
        return f"chain={[tuple(factor) for factor in self.chain]}"
