from __future__ import annotations

from itertools import pairwise
from math import prod

import pytest

from privaudit_plugins.sparsifiers._butterfly_chain import chain


def _factorisations(number: int, count: int) -> list[tuple[int, ...]]:
    if count == 1:
        return [(number,)] if number > 1 else []
    return [
        (first, *rest)
        for first in range(2, number)
        if number % first == 0
        for rest in _factorisations(number // first, count - 1)
    ]


def _brute_force(rows: int, columns: int, count: int) -> list[tuple[int, int, int, int]] | None:
    """All chains by enumeration, costed by the sizes of the factors' patterns."""
    found = []
    for bs in _factorisations(rows, count):
        for cs in _factorisations(columns, count):
            pairs = tuple(zip(bs, cs, strict=True))
            monotone = (
                all(b <= c for b, c in pairs) if rows < columns else all(b >= c for b, c in pairs)
            )
            if monotone and (rows != columns or bs == cs):
                patterns = [(prod(cs[:i]), bs[i], cs[i], prod(bs[i + 1 :])) for i in range(count)]
                found.append((sum(map(prod, patterns)), pairs, patterns))
    return min(found)[2] if found else None


@pytest.mark.parametrize(
    ("rows", "columns", "count", "expected"),
    [
        (4, 6, 2, [(1, 2, 2, 2), (2, 2, 3, 1)]),
        (6, 4, 2, [(1, 3, 2, 2), (2, 2, 2, 1)]),
        (64, 32, 2, [(1, 8, 4, 8), (4, 8, 8, 1)]),
        (64, 576, 2, [(1, 32, 32, 2), (32, 2, 18, 1)]),
        (64, 576, 3, [(1, 4, 4, 16), (4, 8, 8, 2), (32, 2, 18, 1)]),
        (8, 8, 3, [(1, 2, 2, 4), (2, 2, 2, 2), (4, 2, 2, 1)]),
        (7, 12, 1, [(1, 7, 12, 1)]),
        (1, 5, 1, [(1, 1, 5, 1)]),
    ],
)
def test_chain_of_known_shapes(
    rows: int, columns: int, count: int, expected: list[tuple[int, ...]]
) -> None:
    assert list(chain(rows, columns, count)) == expected


@pytest.mark.parametrize(
    ("rows", "columns", "count", "parameters"),
    [
        (4, 6, 2, 20), (64, 576, 2, 3200), (64, 576, 3, 1920), (8, 8, 3, 48),
        (64, 32, 2, 512), (6, 4, 2, 20), (8, 45, 2, 130), (8, 45, 3, 150),
    ],
)  # fmt: skip
def test_parameters_of_known_chains(rows: int, columns: int, count: int, parameters: int) -> None:
    assert sum(factor.parameters for factor in chain(rows, columns, count)) == parameters


@pytest.mark.parametrize(
    ("rows", "columns", "count"),
    [(4, 6, 3), (16, 27, 3), (7, 12, 2), (8, 9, 2), (1, 8, 2), (4, 4, 0), (0, 4, 1)],
)
def test_chain_that_does_not_exist_names_shape_and_count(
    rows: int, columns: int, count: int
) -> None:
    with pytest.raises(ValueError, match=rf"{rows}x{columns} .*{count} factors"):
        chain(rows, columns, count)


@pytest.mark.parametrize("count", [2, 3])
def test_chain_is_the_first_cheapest_of_all_monotone_chains(count: int) -> None:
    for rows in range(1, 33):
        for columns in range(1, 33):
            expected = _brute_force(rows, columns, count)
            if expected is None:
                with pytest.raises(ValueError, match="no monotone chain"):
                    chain(rows, columns, count)
            else:
                assert list(chain(rows, columns, count)) == expected


def test_factors_of_a_chain_fit_each_other() -> None:
    for left, right in pairwise(chain(64, 576, 3)):
        assert left.a * left.c * left.d == right.a * right.b * right.d
