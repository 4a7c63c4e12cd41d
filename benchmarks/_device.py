"""`--device` of benchmarks, and a clock that waits for what a GPU was given."""

from __future__ import annotations

import argparse
import time

import torch

from privaudit.errors import PrivauditError
from privaudit.experiment.environment import choose_device


def add_device(parser: argparse.ArgumentParser) -> None:
    """Let the command line name a device; `options.device` is a `torch.device` then."""
    parser.add_argument("--device", type=_device, default="cpu", help="auto, cpu, cuda or cuda:i")


def _device(name: str) -> torch.device:
    try:
        return choose_device(name)
    except PrivauditError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def now(device: torch.device) -> float:
    """Seconds on the wall's clock, once the device has nothing left to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
