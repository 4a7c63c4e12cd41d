"""Which gates hold for which runs: those of the command line for all, a recipe's for its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from privaudit.doubts.doubt import Doubt
from privaudit.errors import StoreError
from privaudit.gate import Gate
from privaudit.messages import plain
from privaudit.recipe.gates import stored_gates
from privaudit.report.names import run_names
from privaudit.store.result import RunResult

COMMAND, RECIPE = "--gate", "recipe"
"""Where a gate can come from."""


@dataclass(frozen=True)
class Asked:
    """One gate.

    Attributes:
        gate: the limit, and what it is about.
        runs: the numbers of the runs that it is held against.
        sources: where it comes from.
    """

    gate: Gate
    runs: tuple[int, ...]
    sources: tuple[str, ...]


def asked(gates: Sequence[Gate], results: Sequence[RunResult]) -> list[Asked]:
    """Every gate once, those of the recipes first.

    Args:
        gates: of the command line.
        results: the runs, each with its recipe.

    Raises:
        StoreError: a recipe holds what is no gate.
    """
    every: dict[Gate, list[tuple[int, str]]] = {}
    for number, result in enumerate(results):
        for gate in _of(result)[0]:
            every.setdefault(gate, []).append((number, RECIPE))
    for gate in gates:
        every.setdefault(gate, []).extend((number, COMMAND) for number in range(len(results)))
        if not results:
            every[gate].append((-1, COMMAND))
    return [
        Asked(
            gate,
            tuple(sorted({number for number, _ in uses if number >= 0})),
            tuple(dict.fromkeys(source for _, source in uses)),
        )
        for gate, uses in every.items()
    ]


def accepted_in(result: RunResult, accepted: Sequence[str]) -> dict[str, str]:
    """The doubts that do not count in a run, and who says so.

    Raises:
        StoreError: its recipe holds what is no doubt.
    """
    return dict.fromkeys(_of(result)[1], RECIPE) | dict.fromkeys(accepted, "--accept-doubt")


@dataclass(frozen=True)
class Accepted:
    """A doubt about a run that was accepted.

    Attributes:
        run: the run's name.
        doubt: what was seen.
        source: who accepted it.
    """

    run: str
    doubt: Doubt
    source: str


def accepted_doubts(results: Sequence[RunResult], accepted: Sequence[str]) -> list[Accepted]:
    """The doubts about runs that gates pass over.

    Args:
        results: the runs, each with its recipe.
        accepted: names of doubts, of the command line.

    Raises:
        StoreError: a recipe holds what is no doubt.
    """
    return [
        Accepted(run, doubt, by[doubt.name])
        for run, result in zip(run_names(results), results, strict=True)
        for by in [accepted_in(result, accepted)]
        for doubt in result.doubts
        if doubt.name in by
    ]


def _of(result: RunResult) -> tuple[tuple[Gate, ...], tuple[str, ...]]:
    try:
        return stored_gates(result.recipe)
    except ValueError as error:
        where = result.name if result.folder is None else result.folder
        raise StoreError(
            plain(
                f"{where}: its recipe holds a gate that this privaudit cannot read: {error}; "
                "run the recipe again, or upgrade privaudit"
            )
        ) from error
