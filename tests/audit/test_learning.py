"""Networks that learn for several targets at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from privaudit.learning import Batch, Dropper, Problem, alike, learn, learning_device, learning_on


def problem(rows: int, seed: int, features: int = 2) -> Problem:
    y = torch.arange(rows)
    x = y[:, None].expand(-1, features).float()
    return Problem(x, y, torch.ones(rows), torch.Generator().manual_seed(seed))


def test_every_problem_sees_all_its_examples_in_an_order_of_its_own() -> None:
    seen: list[list[Tensor]] = [[], []]

    def step(batch: Batch) -> None:
        assert batch.y.shape == (2, 5)
        assert torch.equal(batch.x[..., 0].long(), batch.y)
        seen[batch.epoch].append(batch.y)

    learn([problem(20, 1), problem(20, 2)], step, epochs=2, batch_size=6)
    orders = [torch.cat(batches, 1) for batches in seen]
    for order in orders:
        assert order.sort(1).values.tolist() == [list(range(20))] * 2
    assert len({tuple(order.tolist()) for order in torch.cat(orders)}) == 4
    generator = torch.Generator().manual_seed(2)
    for order in orders:
        assert torch.equal(order[1], torch.randperm(20, generator=generator))


def test_only_problems_of_one_size_share_steps_and_not_too_many() -> None:
    problems = [problem(7, 0), problem(8, 0), *(problem(7, 0) for _ in range(5)), problem(7, 0, 3)]
    assert alike(problems) == [[0, 2, 3, 4], [5, 6], [1], [7]]
    with learning_on(torch.device("meta")):
        assert alike(problems) == [[0, 2, 3, 4, 5, 6], [1], [7]]
    assert learning_device() == torch.device("cpu")


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5])
def test_numbers_dropped_are_so_many_and_never_the_same(rate: float) -> None:
    drop = Dropper(rate, [torch.Generator().manual_seed(t) for t in range(2)])
    masks = torch.cat([drop.mask(torch.empty(2, 100, 401)) for _ in range(3)]).flatten(1)
    assert set(masks.flatten().tolist()) <= {0.0, float(torch.tensor(1.0) / (1 - rate))}
    kept = (masks > 0).double()
    error = (rate * (1 - rate) / 40_100) ** 0.5
    assert float((kept.mean(1) - (1 - rate)).abs().max()) <= 5 * error
    if rate:
        correlation = torch.corrcoef(kept) - torch.eye(6)
        assert float(correlation.abs().max()) < 5 / 200


def test_numbers_dropped_are_the_same_in_any_company() -> None:
    x = torch.rand(2, 7, 9, dtype=torch.float64)
    together = Dropper(0.2, [torch.Generator().manual_seed(t) for t in range(2)])
    alone = Dropper(0.2, [torch.Generator().manual_seed(1)])
    for _ in range(2):
        assert torch.equal(alone(x[1:]), together(x)[1:])
