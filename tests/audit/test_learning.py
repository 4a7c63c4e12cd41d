"""Networks that learn for several targets at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_dropped_are_those_that_torch_drops(dtype: torch.dtype) -> None:
    x = torch.rand(2, 50, 30, dtype=dtype)
    drop = Dropper(0.2, [torch.Generator().manual_seed(t) for t in range(2)])
    first, second = drop(x), drop(x)
    for t in range(2):
        torch.manual_seed(t)
        for found in (first, second):
            torch.testing.assert_close(found[t], nn.functional.dropout(x[t], 0.2))


def test_on_a_device_a_hash_drops_the_same_share_and_never_the_same_numbers() -> None:
    drop = Dropper(0.2, [torch.Generator().manual_seed(t) for t in range(2)])
    masks = torch.cat([drop._hashed(torch.empty(2, 100, 400)) for _ in range(3)]).flatten(1)
    error = (0.2 * 0.8 / 40_000) ** 0.5
    assert float((masks.mean(1) - 0.8).abs().max()) < 5 * error
    correlation = torch.corrcoef(masks) - torch.eye(6)
    assert float(correlation.abs().max()) < 5 / 200
    alone = Dropper(0.2, [torch.Generator().manual_seed(1)])
    assert torch.equal(alone._hashed(torch.empty(1, 100, 400)).flatten(), masks[1])
