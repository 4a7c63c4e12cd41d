"""Examples that are mostly zero: purchases, places visited, diagnoses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

DENSE = 0.25  # share of other numbers than zero from which plain products are as quick
_NUMBERS = 2**20  # that are made ready at once


class Bags(NamedTuple):
    """A sparse matrix (R, C), row after row.

    Attributes:
        places: (n,) int32, the column of each number that is not zero.
        values: (n,) those numbers.
        starts: (R + 1,) int32, where each row's begin and the last one's end.
    """

    places: Tensor
    values: Tensor
    starts: Tensor

    def product(self, matrix: Tensor) -> Tensor:
        """(R, H), with a matrix (C, H) whose rows lie in memory one after another."""
        return embedding_bag(
            self.places,
            matrix,
            self.starts,
            mode="sum",
            per_sample_weights=self.values,
            include_last_offset=True,
        )


class SparseRows(NamedTuple):
    """One step's examples of K models.

    Attributes:
        examples: each model's own (B, C).
        columns: the same the other way round, (C, B).
    """

    examples: list[Bags]
    columns: list[Bags]


class SparseTable:
    """Sparse examples (N, C), to draw batches from."""

    def __init__(self, x: Tensor) -> None:
        from scipy.sparse import csr_array  # slow to import: not before it is needed

        self._table = csr_array(x.numpy())

    def batches(self, rows: Tensor) -> Iterator[SparseRows]:
        """Step after step of the examples that K models see in S steps, (K, S, B) int64.

        Many steps are made ready at once, because a call costs more than a step's numbers do.
        """
        models, _, size = rows.shape
        count, width = self._table.shape
        numbers = models * max(size * self._table.nnz // count, width)
        for part in torch.split(rows, max(1, _NUMBERS // numbers), dim=1):
            chosen = self._table[part.transpose(0, 1).flatten().numpy()]
            examples, columns = _bags(chosen, size), _bags(_turned(chosen, size), width)
            for start in range(0, len(examples), models):
                step = slice(start, start + models)
                yield SparseRows(examples[step], columns[step])


def _turned(table: Any, size: int) -> Any:
    """Every batch of so many rows the other way round, one below the other."""
    rows, width = table.shape
    count = rows // size
    batch = np.repeat(np.arange(count, dtype=table.indices.dtype), np.diff(table.indptr[::size]))
    apart = type(table)(
        (table.data, table.indices + batch * width, table.indptr), shape=(rows, count * width)
    )
    turned = apart.tocsc()
    turned.indices -= batch * size  # batches stay one after another
    return turned


def _bags(table: Any, rows: int) -> list[Bags]:
    """As many rows each of a compressed table."""
    starts = torch.from_numpy(table.indptr)
    bounds = starts[::rows]
    sizes = bounds.diff().tolist()
    own_starts = starts.unfold(0, rows + 1, rows) - bounds[:-1, None]
    return [
        Bags(*parts)
        for parts in zip(
            torch.split(torch.from_numpy(table.indices), sizes),
            torch.split(torch.from_numpy(table.data), sizes),
            own_starts.unbind(),
            strict=True,
        )
    ]
