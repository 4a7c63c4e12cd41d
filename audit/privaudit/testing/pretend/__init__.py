"""A pretend accelerator: it computes on the CPU, and behaves towards its host as CUDA does.

Where there is no GPU it shows what would go wrong on one: host and device tensors that meet in one
operation, a host that waits for the device, copies between the two, and how many operations are
launched, each with the line of the program.

    with pretend.watching() as seen:
        Cohort(..., device=pretend.device()).fit()
    print(seen.table())

It is torch's PrivateUse1 device with a back end in Python (torch 2.9 or later), so that autograd,
`vmap` and `grad` work on it. Differentiating on it starts a thread that Python cannot end: a
program that has done so ends by `os._exit`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from privaudit.testing.pretend.backend import NAME, available, device
from privaudit.testing.pretend.seen import MixedError, Seen, line, watch

__all__ = ["NAME", "MixedError", "Seen", "available", "device", "watching"]


@contextmanager
def watching(strict: bool = True) -> Iterator[Seen]:
    """Count everything that happens on the device in this block.

    Args:
        strict: raise where CUDA would; otherwise count it, and go on.

    Raises:
        MixedError: host and device tensors meet in one operation.
    """
    from privaudit.testing.pretend.tensor import Mode, on_it  # which needs the device

    device()
    before, watch.seen = watch.seen, Seen(strict)
    lift, generator = torch._C._only_lift_cpu_tensors(), torch.Generator
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=) makes it, then moves it

    class Generator(generator):  # type: ignore[misc,valid-type]
        def __new__(cls, device: Any = "cpu") -> Any:
            if on_it(device):
                watch.seen.numbers["a generator of the device's own", line()] += 1
            return generator("cpu" if on_it(device) else device)

    torch.Generator = Generator  # type: ignore[misc]
    try:
        with Mode():  # type: ignore[no-untyped-call]
            yield watch.seen
    finally:
        torch.Generator = generator  # type: ignore[misc]
        torch._C._set_only_lift_cpu_tensors(lift)
        watch.seen = before
