"""Many small perceptrons trained at once.

One after another they would spend their time on calls, not on numbers. Here those of one shape
are stacked, T·R deep: of T problems, each with R learning rates. The backward pass is written
out, since for networks as small as these recording the forward pass costs as much as running it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, pairwise

import torch
from torch import Tensor

from privaudit.learning import Batch, Problem, learn, learning_device

Layers = list[tuple[Tensor, Tensor]]  # of one shape: weight (T·R, in, out), bias (T·R, 1, out)


class Perceptrons:
    """ReLU networks with one logit: A shapes, each once for every one of R rates of T problems.

    They start as PyTorch's linear layers do, uniform in ±1/√fan_in, and each on its own.

    Attributes:
        rates: the R learning rates.
        layers: A shapes' layers, views into one tensor of all weights; rate by rate of the first
            problem, then those of the second.
    """

    def __init__(
        self,
        inputs: int,
        hidden: tuple[tuple[int, ...], ...],
        rates: tuple[float, ...],
        generators: Sequence[torch.Generator],
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Draw the initial weights.

        Args:
            inputs: number of features F.
            hidden: the A shapes: widths of their hidden layers.
            rates: the R learning rates.
            generators: of the T problems' initial weights.
            dtype: of all that follows.
        """
        self.rates = rates
        self._problems = len(generators)
        shapes = [list(pairwise((inputs, *widths, 1))) for widths in hidden]
        count = sum((a + 1) * b for shape in shapes for a, b in shape)
        depth = len(rates) * len(generators)
        self._shapes, self._depth = shapes, depth
        weights = torch.empty(depth * count, dtype=dtype)
        for problem, generator in enumerate(generators):
            _draw(_views(weights, shapes, depth), self._own(problem), generator)
        self._weights = weights.to(learning_device())
        self._gradients = torch.zeros_like(self._weights)
        self.layers = _views(self._weights, shapes, depth)
        self._layer_gradients = _views(self._gradients, shapes, depth)

    def logits(self, problem: int, x: Tensor) -> Tensor:
        """A problem's answers about x (n, F), network after network: (A·R, n), shape by shape."""
        own = self._own(problem)
        x = x.to(self._weights.device).expand(len(self.rates), *x.shape)
        answers = []
        for layers in self.layers:
            mine = [(weight[own], bias[own]) for weight, bias in layers]
            answers.append(_forward(mine, x)[-1][..., 0])
        return torch.cat(answers).cpu()

    @torch.no_grad()
    def train(self, problems: Sequence[Problem], *, epochs: int, batch_size: int) -> None:
        """Minimise the weighted binary cross-entropy with Adam, all networks in step.

        Args:
            problems: T with as many examples each; y is 0 or 1, of x's type.
            epochs: passes over the examples.
            batch_size: at most so many examples of a problem in a batch.
        """
        rates = torch.empty_like(self._weights)
        each = torch.tensor(self.rates * self._problems, dtype=rates.dtype)
        for layer in chain.from_iterable(_views(rates, self._shapes, self._depth)):
            for part in layer:
                part.copy_(each[:, None, None])
        adam = _Adam(self._weights, rates)

        def step(batch: Batch) -> None:
            x, y, weight = (self._for_each_rate(v) for v in (batch.x, batch.y, batch.weight))
            y, share = y[..., None], (weight / weight.shape[1])[..., None]
            for layers, gradients in zip(self.layers, self._layer_gradients, strict=True):
                _backward(layers, gradients, _forward(layers, x), y, share)
            adam.step(self._gradients)

        learn(problems, step, epochs=epochs, batch_size=batch_size)

    def _own(self, problem: int) -> slice:
        """Where the networks of a problem stand among the T·R."""
        return slice(problem * len(self.rates), (problem + 1) * len(self.rates))

    def _for_each_rate(self, values: Tensor) -> Tensor:
        """From (T, ...) to (T·R, ...)."""
        repeated = values[:, None].expand(-1, len(self.rates), *values.shape[1:])
        return repeated.reshape(-1, *values.shape[1:])


class _Adam:
    """Kingma & Ba 2015, "Adam", algorithm 1, with a learning rate for each weight.

    Written here because the first use of `torch.optim.Adam` imports torch's compiler, which
    takes longer than all of the training.
    """

    def __init__(self, weights: Tensor, rates: Tensor) -> None:
        self._weights, self._rates = weights, rates  # (P,)
        self._mean = torch.zeros_like(weights)
        self._square = torch.zeros_like(weights)
        self._spread, self._now = torch.empty_like(weights), torch.empty_like(weights)
        self._steps = 0

    def step(self, gradients: Tensor) -> None:
        """Move the weights by their gradients (P,)."""
        self._steps += 1
        self._mean.lerp_(gradients, 1 - 0.9)
        self._square.mul_(0.999).addcmul_(gradients, gradients, value=1 - 0.999)
        torch.div(self._square, 1 - 0.999**self._steps, out=self._spread).sqrt_().add_(1e-8)
        torch.div(self._rates, 1 - 0.9**self._steps, out=self._now)
        self._weights.addcdiv_(self._mean, self._spread.div_(self._now), value=-1)


def _draw(shapes: tuple[Layers, ...], own: slice, generator: torch.Generator) -> None:
    """Write the initial weights of one problem's networks."""
    for layers in shapes:
        for weight, bias in layers:
            for part in (weight[own], bias[own]):
                draw = torch.rand(part.shape, generator=generator, dtype=torch.float64)
                part.copy_((2 * draw - 1) / weight.shape[1] ** 0.5)


def _views(flat: Tensor, shapes: list[list[tuple[int, int]]], depth: int) -> tuple[Layers, ...]:
    """Layers of many weights (P,), each in one piece: other products are several times slower."""
    sizes = [size * depth for shape in shapes for a, b in shape for size in (a * b, b)]
    pieces = iter(torch.split(flat, sizes))
    return tuple(
        [(next(pieces).view(depth, a, b), next(pieces).view(depth, 1, b)) for a, b in shape]
        for shape in shapes
    )


def _forward(layers: Layers, x: Tensor) -> list[Tensor]:
    """What each layer of one shape receives, (G, B, width), and last the logits (G, B, 1)."""
    *hidden, (weight, bias) = layers
    reached = [x]
    for below, above in hidden:
        reached.append(torch.baddbmm(above, reached[-1], below).relu_())
    # A product with one column is four times slower as a matrix product than as a sum.
    reached.append((reached[-1] * weight.mT).sum(-1, keepdim=True) + bias)
    return reached


def _backward(
    layers: Layers, gradients: Layers, reached: list[Tensor], y: Tensor, share: Tensor
) -> None:
    """Write the gradient of Σ share · cross-entropy(logit, y) over; y and share are (G, B, 1)."""
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
            upper = layers[depth][0].mT
            error = error * upper if upper.shape[1] == 1 else torch.bmm(error, upper)
            torch.ops.aten.threshold_backward.grad_input(error, below[depth], 0, grad_input=error)
