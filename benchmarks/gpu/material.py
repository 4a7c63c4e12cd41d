"""Images, cohorts and schedules that the parts share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch

from benchmarks.gpu.options import Options
from privaudit import Augmentation, Defense, Examples, Role, Sparsifier, Training
from privaudit.cohort import Cohort, Journal
from privaudit.events import Event
from privaudit_plugins.datasets.digits import Digits
from privaudit_plugins.datasets.image_folder import ImageFolder
from privaudit_plugins.models.resnet20 import ResNet20

# As recipes/cifar_resnet20.yaml has it: Gonon et al. 2023.
MEMBERS, VALIDATION, BATCH, EPOCHS = 14_000, 1_000, 256, 300
SCHEDULE: dict[str, Any] = {
    "epochs": EPOCHS,
    "batch_size": BATCH,
    "lr": 0.03,
    "momentum": 0.9,
    "weight_decay": 0.005,
    "schedule": "step",
    "milestones": (150, 225),
}


def precisions() -> tuple[str, ...]:
    """The ways of rounding that a recipe may ask for, but for double precision."""
    names = get_args(Training.model_fields["precision"].annotation)
    return tuple(name for name in ("bf16", "tf32", "fp32") if name in names)


def noise(count: int, side: int = 32) -> Examples:
    """Images of nothing, (count, 3, side, side), for what only takes time."""
    draw = torch.Generator().manual_seed(0)
    return Examples(
        x=torch.randint(0, 256, (count, 3, side, side), generator=draw, dtype=torch.uint8),
        y=torch.randint(0, 10, (count,), generator=draw),
        classes=tuple("0123456789"),
        mean=torch.full((3, 1, 1), 120.0),
        std=torch.full((3, 1, 1), 60.0),
        augmentation=Augmentation(flip=True, crop=4),
    )


def images(options: Options) -> Examples:
    """CIFAR-10 where its folder is named, else digits in three channels of 16 x 16."""
    if options.data is not None:
        return ImageFolder(path=options.data).load(_made(options.out / "cache" / "data"))
    digits = Digits().load(Path())
    x = digits.x.repeat_interleave(2, -1).repeat_interleave(2, -2).expand(-1, 3, -1, -1)
    return replace(digits, x=x.contiguous())


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def cohort(
    examples: Examples,
    role: torch.Tensor,
    device: torch.device,
    *,
    journal: Journal | None = None,
    on_event: Callable[[Event], None] | None = None,
    **training: Any,
) -> Cohort:
    """ResNet-20 without sparsifier and defense, a model for each row of role (M, N)."""
    return Cohort(
        examples,
        role,
        torch.arange(len(role)),
        model=ResNet20(),
        sparsifier=Sparsifier(name="dense"),
        defense=Defense(name="none"),
        training=Training.model_validate(SCHEDULE | training),
        device=device,
        journal=journal,
        on_event=on_event,
    )


def everyone(models: int, examples: Examples) -> torch.Tensor:
    """Roles (M, N) of models that train on every example."""
    return torch.full((models, len(examples)), Role.MEMBER, dtype=torch.uint8)
