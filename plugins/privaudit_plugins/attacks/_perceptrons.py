"""Many small perceptrons trained at once.

One after another they would spend their time on calls, not on numbers. Here all of them see the
same minibatches: those that differ in nothing but their learning rate are stacked, G deep, and
one step of training passes through every shape. The backward pass is written out, since for
networks as small as these recording the forward pass costs as much as running it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from math import ceil

import torch
from torch import Tensor

Layers = list[tuple[Tensor, Tensor]]  # of one shape: weight (G, in, out) and bias (G, 1, out)


class Perceptrons:
    """ReLU networks with one logit: A shapes, each once for every one of G learning rates.

    They start as PyTorch's linear layers do, uniform in ±1/√fan_in, and each on its own.

    Attributes:
        rates: the G learning rates.
        layers: A shapes' layers, views into one tensor of all weights.
    """

    def __init__(
        self,
        inputs: int,
        hidden: tuple[tuple[int, ...], ...],
        rates: tuple[float, ...],
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Draw the initial weights.

        Args:
            inputs: number of features F.
            hidden: the A shapes: widths of their hidden layers.
            rates: the G learning rates.
            generator: of the initial weights.
            dtype: of all that follows.
        """
        self.rates = rates
        shapes = [list(pairwise((inputs, *widths, 1))) for widths in hidden]
        sizes = [size for shape in shapes for a, b in shape for size in (a * b, b)]
        self._weights = torch.empty(len(rates), sum(sizes), dtype=dtype)  # (G, P)
        self._gradients = torch.zeros_like(self._weights)
        self.layers = _views(self._weights, shapes, sizes)
        for shape, layers in zip(shapes, self.layers, strict=True):
            for (fan_in, _), layer in zip(shape, layers, strict=True):
                for part in layer:
                    draw = torch.rand(part.shape, generator=generator, dtype=torch.float64)
                    part.copy_((2 * draw - 1) / fan_in**0.5)
        self._layer_gradients = _views(self._gradients, shapes, sizes)

    def logits(self, x: Tensor) -> Tensor:
        """The answers about x (n, F), one network after another: (A·G, n), shape by shape."""
        return torch.cat([_forward(layers, x)[-1][..., 0] for layers in self.layers])

    @torch.no_grad()
    def train(
        self,
        x: Tensor,
        y: Tensor,
        weight: Tensor,
        *,
        epochs: int,
        batch_size: int,
        generator: torch.Generator,
    ) -> None:
        """Minimise the weighted binary cross-entropy with Adam, all networks in step.

        Args:
            x: (n, F).
            y: (n,) 0 or 1, of x's type.
            weight: (n,) of each example in the mean over its batch.
            epochs: passes over the data, each in a new order.
            batch_size: at most so many examples in a batch; an epoch's batches are of one size,
                give or take one.
            generator: of the order.
        """
        adam = _Adam(self._weights, self.rates)
        batches = ceil(len(x) / batch_size)
        with _one_thread():
            for _ in range(epochs):
                order = torch.randperm(len(x), generator=generator)
                parts = (values[order].tensor_split(batches) for values in (x, y, weight))
                for batch_x, batch_y, batch_weight in zip(*parts, strict=True):
                    share = (batch_weight / len(batch_x))[:, None]
                    for layers, gradients in zip(self.layers, self._layer_gradients, strict=True):
                        reached = _forward(layers, batch_x)
                        _backward(layers, gradients, reached, batch_y[:, None], share)
                    adam.step(self._gradients)


class _Adam:
    """Kingma & Ba 2015, "Adam", algorithm 1, with a learning rate for each row of weights.

    Written here because the first use of `torch.optim.Adam` imports torch's compiler, which
    takes longer than all of the training.
    """

    def __init__(self, weights: Tensor, rates: tuple[float, ...]) -> None:
        self._weights = weights  # (G, P)
        self._rates = torch.tensor(rates, dtype=weights.dtype)[:, None]
        self._mean = torch.zeros_like(weights)
        self._square = torch.zeros_like(weights)
        self._steps = 0

    def step(self, gradients: Tensor) -> None:
        """Move the weights by their gradients (G, P)."""
        self._steps += 1
        self._mean.lerp_(gradients, 1 - 0.9)
        self._square.mul_(0.999).addcmul_(gradients, gradients, value=1 - 0.999)
        spread = (self._square / (1 - 0.999**self._steps)).sqrt_().add_(1e-8)
        rates = self._rates / (1 - 0.9**self._steps)
        self._weights.addcdiv_(self._mean, spread.div_(rates), value=-1)


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread for tensors so small that sharing them out costs more than it saves."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _views(
    flat: Tensor, shapes: list[list[tuple[int, int]]], sizes: list[int]
) -> tuple[Layers, ...]:
    pieces = iter(torch.split(flat, sizes, dim=1))
    depth = len(flat)
    return tuple(
        [(next(pieces).view(depth, a, b), next(pieces).view(depth, 1, b)) for a, b in shape]
        for shape in shapes
    )


def _forward(layers: Layers, x: Tensor) -> list[Tensor]:
    """What each layer of one shape receives, (G, B, width), and last the logits (G, B, 1)."""
    *hidden, (weight, bias) = layers
    reached = [x.expand(len(weight), *x.shape)]
    for below, above in hidden:
        reached.append(torch.baddbmm(above, reached[-1], below).relu_())
    # A product with one column is four times slower as a matrix product than as a sum.
    reached.append((reached[-1] * weight.mT).sum(-1, keepdim=True) + bias)
    return reached


def _backward(
    layers: Layers, gradients: Layers, reached: list[Tensor], y: Tensor, share: Tensor
) -> None:
    """Write the gradient of Σ share · cross-entropy(logit, y) over; y and share are (B, 1)."""
    *below, logits = reached
    error = (logits.sigmoid() - y) * share
    for depth in range(len(layers) - 1, -1, -1):
        weight, bias = gradients[depth]
        if weight.shape[-1] == 1:
            torch.sum(below[depth] * error, 1, keepdim=True, out=weight.mT)
        else:
            torch.bmm(below[depth].mT, error, out=weight)
        torch.sum(error, 1, keepdim=True, out=bias)
        if depth:
            # sign() of a ReLU's output is its derivative.
            error = torch.matmul(error, layers[depth][0].mT) * below[depth].sign()
