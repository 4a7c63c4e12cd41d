"""What a test has processes do that each work on a device."""

from __future__ import annotations

import time

from privaudit.jobs.local import Tell, own_device


def device_here(tell: Tell, seconds: float) -> str:
    """The device of this process, after a while."""
    time.sleep(seconds)
    return str(own_device())
