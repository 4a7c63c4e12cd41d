"""Which sparse factors a matrix is a product of.

Gonon et al. 2023 (section 3.2) take, among the monotone chains of deformable butterfly factors
(Lin et al. 2021, section 3) with a given number of factors, the one with the fewest parameters.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple


class Factor(NamedTuple):
    """A sparse matrix (a·b·d, a·c·d) whose support is I_a ⊗ 1_{b×c} ⊗ I_d.

    Attributes:
        a: copies of the pattern along the diagonal.
        b: rows of the dense block.
        c: columns of the dense block, so also the nonzero entries of a row.
        d: the spread: entries of one block are d rows and d columns apart.
    """

    a: int
    b: int
    c: int
    d: int

    @property
    def parameters(self) -> int:
        """How many entries may be nonzero."""
        return self.a * self.b * self.c * self.d


def chain(rows: int, columns: int, factors: int) -> tuple[Factor, ...]:
    """The monotone chain with the fewest parameters; its last factor meets the input first.

    Factor i multiplies blocks of b_i rows and c_i columns, where the b_i multiply to `rows`, the
    c_i to `columns`, and none of them is 1 (with one factor: the dense matrix). Monotone means
    that the sizes of the vectors between the factors never turn back: b_i ≤ c_i for all i if
    rows < columns, b_i ≥ c_i if rows > columns, b_i = c_i if rows = columns. Of chains with
    equally many parameters the one with the smallest (b_1, c_1), (b_2, c_2), ... is taken.

    >>> chain(4, 6, 2)
    (Factor(a=1, b=2, c=2, d=2), Factor(a=2, b=2, c=3, d=1))

    Raises:
        ValueError: there is no such chain.
    """
    if min(rows, columns, factors) < 1:
        raise ValueError(f"a {rows}x{columns} matrix cannot be a product of {factors} factors")
    found = _cheapest(rows, columns, factors, _order(rows, columns))
    if found is None:
        raise ValueError(f"a {rows}x{columns} matrix has no monotone chain of {factors} factors")
    chosen = []
    a, d = 1, rows
    for b, c in found[1]:
        d //= b
        chosen.append(Factor(a, b, c, d))
        a *= c
    return tuple(chosen)


def _order(rows: int, columns: int) -> int:
    return (rows > columns) - (rows < columns)


@cache  # every model of a cohort asks for the same few shapes
def _cheapest(
    rows: int, columns: int, factors: int, order: int
) -> tuple[int, tuple[tuple[int, int], ...]] | None:
    """The fewest parameters of a chain in the given order and its (b_i, c_i), or None.

    The first of several factors has rows·c_1 parameters, and c_1 copies of the rest follow it.
    """
    if factors == 1:
        fits = _order(rows, columns) in (0, order)
        return (rows * columns, ((rows, columns),)) if fits else None
    best = None
    for b in _divisors(rows):
        for c in _divisors(columns):
            if _order(b, c) not in (0, order):
                continue
            rest = _cheapest(rows // b, columns // c, factors - 1, order)
            if rest is None:
                continue
            parameters = rows * c + c * rest[0]
            if best is None or parameters < best[0]:
                best = parameters, ((b, c), *rest[1])
    return best


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(2, number // 2 + 1) if number % divisor == 0]
