"""Attacks on made-up networks that answer with many classes: their time and peak memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch

from privaudit.api.kinds.attack import Attack
from privaudit.api.split_options import SplitOptions
from privaudit.cohort.kept import new_tables
from privaudit.experiment.attack_job import AttackJob
from privaudit.experiment.kept_kinds import kept_kinds
from privaudit.experiment.split import make_split
from privaudit.reductions import reduced
from privaudit.values import Examples, Outputs, Role
from privaudit_plugins.attacks.lira import LiRA
from privaudit_plugins.attacks.loss import Loss
from privaudit_plugins.attacks.rmia import RMIA

_MIB = 2**20
_BLOCK = 1000


def attacked(models: int, rows: int, classes: int, targets: int, auto: bool) -> dict[str, Any]:
    """Seconds and MiB of answering for so many models, and of attacking some of them.

    Logits are drawn, higher for members, reduced and kept by the engine's own functions, block by
    block; no network is trained or asked. 600 binary features lie beside them, as Purchase-100
    has them. `loss`, `lira` and `rmia` attack the first `targets` models, each with all others but
    its complement as shadows.

    Args:
        models: even.
        rows: N.
        classes: C.
        targets: how many are attacked; every one takes the same time.
        auto: RMIA chooses its temperature, for which nine log-odds of each answer are kept.
    """
    torch.set_num_threads(1)
    y = torch.arange(rows) % classes
    x = torch.zeros((rows, 600), dtype=torch.uint8)
    names = tuple(map(str, range(classes)))
    examples = Examples(x, y, names, torch.tensor(0.0), torch.tensor(1.0))
    options = SplitOptions(protocol="halves", members=2 * rows // 5, validation=0, targets="all")
    split = make_split(options, rows, models - 2, 0)
    attacks: Sequence[Attack] = (
        Loss(), LiRA(), RMIA(temperature="auto" if auto else 2.0),
    )  # fmt: skip
    kinds = kept_kinds(attacks, classes)
    assert kinds is not None  # with few classes logits are less
    before, started = _peak(), time.process_time()
    outputs = _drawn(split.role, y, classes, kinds)
    answering, held = time.process_time() - started, _peak()
    started = time.process_time()
    for number in range(targets):
        for attack in attacks:
            job = AttackJob(attack, 0, number, split, slice(0, models), 0)
            job.score(examples, outputs, outputs)
    return {
        "answering": answering,
        "attacking": (time.process_time() - started) / targets,
        "before": before / _MIB,
        "held": held / _MIB,
        "peak": _peak() / _MIB,
    }


def _drawn(role: torch.Tensor, y: torch.Tensor, classes: int, kinds: dict[str, int]) -> Outputs:
    models, rows = role.shape
    tables = new_tables(kinds, models, rows)
    generator = torch.Generator().manual_seed(0)
    for start in range(0, rows, _BLOCK):
        labels = y[start : start + _BLOCK]
        every = torch.arange(len(labels))
        noise = torch.randn((_BLOCK, classes), generator=generator)[: len(labels)]
        for model in range(models):
            member = (role[model, start : start + _BLOCK] == Role.MEMBER).float()
            logits = noise.roll(model, 1)
            logits[every, labels] += 4 + member
            for name, table in tables.items():
                table.write(model, 0, start, reduced(name, logits, labels, every))
    ends = torch.zeros((models, 2), dtype=torch.float64)
    return Outputs.without_logits(kept=tables, extremes=ends, classes=classes, labels=y)


def _peak() -> int:
    """The most memory this process has had, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
