"""The loop that people write, in three forms: what every other time is compared with."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.gpu.devices import PRETEND, synchronize
from privaudit import Examples
from privaudit_plugins.models.resnet20 import ResNet20


@dataclass(frozen=True)
class Form:
    """A way to write the loop.

    Attributes:
        name: what the table calls it.
        precision: of its products; torch's default lets convolutions round to TF32 on CUDA.
        channels_last: the layout of images.
        compiled: whether `torch.compile` has the network.
    """

    name: str
    precision: str
    channels_last: bool = False
    compiled: bool = False


FORMS = (
    Form("plain eager", "tf32"),
    Form("plain eager, channels last", "bf16", channels_last=True),
    Form("plain compiled, channels last", "bf16", channels_last=True, compiled=True),
)
MEASURE = FORMS[1]
"""The form that ratios are taken of."""


def epoch_seconds(
    form: Form, examples: Examples, device: torch.device, batch: int, rounds: int
) -> float:
    """Seconds of a pass over the examples: the median of some, after one that warms up.

    The images lie on the device and are neither flipped nor cropped, nor is loss or accuracy kept:
    it does less than a cohort's step does.
    """
    epoch = _epoch(form, examples, device, batch)
    times = []
    for _ in range(1 + rounds):
        synchronize(device)
        started = time.perf_counter()
        epoch()
        synchronize(device)
        times.append(time.perf_counter() - started)
    return median(times[1:])


def _epoch(form: Form, examples: Examples, device: torch.device, batch: int) -> Callable[[], None]:
    layout = torch.channels_last if form.channels_last else torch.contiguous_format
    network = ResNet20().build(examples.shape, len(examples.classes)).to(device)
    network = network.to(memory_format=layout)
    run: Callable[[Tensor], Tensor] = torch.compile(network) if form.compiled else network
    optimizer = torch.optim.SGD(network.parameters(), lr=0.03, momentum=0.9, weight_decay=0.005)
    x, y = examples.x.to(device), examples.y.to(device)
    mean, std = examples.mean.to(device), examples.std.to(device)
    mixed = form.precision == "bf16" and device.type != PRETEND  # which knows no autocast

    def epoch() -> None:
        order = torch.randperm(len(y)).to(device)
        for rows in torch.split(order, batch):
            images = ((x[rows].float() - mean) / std).contiguous(memory_format=layout)
            optimizer.zero_grad()
            with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
                loss = cross_entropy(run(images), y[rows])
            torch.autograd.backward(loss)
            optimizer.step()

    return epoch
