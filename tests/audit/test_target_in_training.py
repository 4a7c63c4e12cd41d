"""A program saved in training is refused however the coins fall, and one saved after .eval() never.

A program with weights of half precision rounds at every step, and is no reason to refuse it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from privaudit import DataError, Examples
from privaudit.api.plugin import Defense, Sparsifier
from privaudit.cohort import Cohort
from privaudit.experiment.checkpoint import Checkpoint
from privaudit.experiment.target_answers import check_answers
from privaudit.training import Training
from privaudit_plugins.models.mlp import MLP

SEEDS = range(20)


def perceptron(*last: nn.Module, wide: int = 8) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, wide), nn.ReLU(), *last, nn.Linear(wide, 3))


def normed(wide: int = 8) -> nn.Module:
    return perceptron(nn.BatchNorm1d(wide), wide=wide)


def images(norm: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Unflatten(1, (1, 1, 5)), nn.Conv2d(1, 4, 1), norm, nn.Flatten(), nn.Linear(20, 3)
    )


class DropPath(nn.Module):
    """Leaves a branch out for the whole batch, as stochastic depth may."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.branch, self.share = nn.Linear(5, 3), share
        self.main = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        drop = nn.functional.dropout(torch.ones(1), self.share, self.training)
        answer: Tensor = self.main(x) + drop * self.branch(x)
        return answer


IN_TRAINING: dict[str, Callable[[], nn.Module]] = {
    "dropout 0.01": lambda: perceptron(nn.Dropout(0.01)),
    "dropout 0.001, wide": lambda: perceptron(nn.Dropout(0.001), wide=3000),
    "dropout of inputs": lambda: nn.Sequential(nn.Dropout(0.01), perceptron()),
    "batch norm": normed,
    "batch norm of images": lambda: images(nn.BatchNorm2d(4)),
    "drop path": lambda: DropPath(0.3),
    "drop path, seldom": lambda: DropPath(0.15),
}
IN_EVALUATION: dict[str, Callable[[], nn.Module]] = {
    **IN_TRAINING,
    "log-softmax": lambda: nn.Sequential(perceptron(), nn.LogSoftmax(1)),
    "half precision": lambda: normed().bfloat16(),
}


def target(network: nn.Module, rows: int, folder: Path) -> tuple[Cohort, Examples]:
    x = torch.randn(rows, 5, generator=torch.Generator().manual_seed(1))
    zero, one = torch.tensor(0.0), torch.tensor(1.0)
    examples = Examples(x, torch.arange(rows) % 3, ("a", "b", "c"), zero, one)
    path = str(folder / "target.ts")
    dtype = next(network.parameters()).dtype
    trace: Callable[..., Any] = torch.jit.trace
    trace(network, x.to(dtype), check_trace=False).save(path)
    cohort = Cohort(
        examples,
        torch.ones(1, rows, dtype=torch.uint8),
        torch.tensor([0]),
        model=Checkpoint(path=path, model=MLP(), device="cpu"),
        sparsifier=Sparsifier(name="given"),
        defense=Defense(name="given"),
        training=Training(),
    )
    return cohort, examples


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("rows", [20, 300])
@pytest.mark.parametrize("case", IN_TRAINING)
def test_in_training_it_is_refused_under_every_seed(case: str, rows: int, tmp_path: Path) -> None:
    cohort, examples = target(IN_TRAINING[case]().train(), rows, tmp_path)
    for seed in SEEDS:
        torch.manual_seed(seed)
        with pytest.raises(DataError, match=r"after \.eval\(\)|or a single one"):
            check_answers(cohort, examples, "target.ts")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", IN_EVALUATION)
def test_in_evaluation_it_never_is(case: str, tmp_path: Path) -> None:
    cohort, examples = target(IN_EVALUATION[case]().eval(), 300, tmp_path)
    for seed in SEEDS:
        torch.manual_seed(seed)
        check_answers(cohort, examples, "target.ts")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("last", "message"),
    [(nn.Softmax(1), "without the softmax"), (nn.Sigmoid(), "without the sigmoid")],
)
def test_what_answers_with_probabilities_is_refused(
    last: nn.Module, message: str, tmp_path: Path
) -> None:
    network = perceptron()
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(3)
    cohort, examples = target(nn.Sequential(network, last).eval(), 200, tmp_path)
    with pytest.raises(DataError, match=message):
        check_answers(cohort, examples, "target.ts")
