"""What a GPU would refuse or wait for, shown by the pretend accelerator.

`PRIVAUDIT_TEST_DEVICE=cuda` runs the same comparisons on a GPU.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Literal

import pytest
import torch
from pydantic import Field
from torch import Tensor

import privaudit
from privaudit.testing import check_plugin, pretend

pytestmark = pytest.mark.skipif(
    not pretend.available() and os.environ.get("PRIVAUDIT_TEST_DEVICE") is None,
    reason="the pretend accelerator needs torch 2.9 or later",
)


def child(module: str, *arguments: str) -> list[dict[str, object]]:
    """What a program says, which has differentiated on the device and cannot end as others."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.parametrize(
    ("part", "fewest"), [("sparsifier", 12), ("defense", 12), ("way", 4), ("recipe", 1)]
)
def test_every_plugin_and_way_gives_on_a_device_what_it_gives_on_the_cpu(
    part: str, fewest: int
) -> None:
    lines = child("on_device", part)
    assert len(lines) >= fewest
    for line in lines:
        assert "error" not in line, line
        assert float(str(line["apart"])) < 1e-9, line


def test_a_step_neither_waits_nor_uploads_and_launches_little() -> None:
    """Of one ResNet-20 on flipped and shifted images: 209; 467 before draws were made ahead."""
    lines = child("count_launches")
    assert [line["way"] for line in lines] == ["vmapped", "vmapped", "graph", "plain"]
    for line in lines:
        assert (line["waits"], line["uploads"]) == (0, 0), line
        # A graph is launched as one where there is a recorder, which this device lacks.
        assert line["way"] != "vmapped" or float(str(line["launches"])) <= 250, line


def test_no_plugin_makes_a_step_wait_or_upload() -> None:
    lines = child("count_waits")
    assert len(lines) >= 24
    for line in lines:  # once is not in every step: the longer fit has two steps more
        assert all(count < 2 for count in line["more"].values()), line  # type: ignore[attr-defined]


class Smoothing(privaudit.Defense):
    """Makes a tensor on the host, where the step's may be elsewhere."""

    name: Literal["smoothing"] = "smoothing"
    careful: bool = Field(False, description="whether it does not")

    def loss(self, step: privaudit.Step) -> Tensor:
        device = step.logits.device if self.careful else None
        classes = torch.arange(step.logits.shape[1], device=device)
        hot = (step.y[:, None] == classes).to(step.logits.dtype)
        return -(hot * step.logits.log_softmax(1)).sum(1).mean()


def test_a_strangers_hook_that_mixes_devices_is_told_where_no_gpu_is() -> None:
    check_plugin(Smoothing, careful=True)
    with pytest.raises(AssertionError, match=r"'smoothing'.*: loss .* GPU.*device=x\.device"):
        check_plugin(Smoothing)
