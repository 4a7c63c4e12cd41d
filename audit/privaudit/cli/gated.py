"""`--gate` and `--accept-doubt` of commands that judge finished runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from privaudit.cli.options import GATE_BROKEN

if TYPE_CHECKING:
    from privaudit.gate import Gate
    from privaudit.report.gates import GateFinding
    from privaudit.store.result import RunResult


@dataclass(frozen=True)
class GateOptions:
    """What was asked for.

    Attributes:
        gates: the limits.
        accepted: names of doubts that do not count.
    """

    gates: tuple[Gate, ...] = ()
    accepted: tuple[str, ...] = ()

    @classmethod
    def parsed(cls, gates: Iterable[str] | None, accepted: Iterable[str] | None) -> GateOptions:
        """Read them, before anything else is done.

        Raises:
            RecipeError: a gate or the name of a doubt is wrong.
        """
        from privaudit.doubts.doubt import check_accepted
        from privaudit.gate import parse_gate

        return cls(tuple(map(parse_gate, gates or ())), check_accepted(accepted or ()))

    def judged(self, results: Sequence[RunResult]) -> list[GateFinding]:
        """What holding the gates against finished runs comes to."""
        from privaudit.report.gates import judge_runs

        return judge_runs(self.gates, results, self.accepted)


def gate_lines(findings: Sequence[GateFinding]) -> list[str]:
    """For people: a line for each gate and each reason."""
    from privaudit.report.escape import plain

    return [plain(line) for finding in findings for line in finding.sentences()]


def exit_if_broken(findings: Sequence[GateFinding]) -> None:
    """End with the exit code of a gate that is not kept everywhere.

    Raises:
        typer.Exit: there is one.
    """
    if any(finding.failed for finding in findings):
        raise typer.Exit(GATE_BROKEN)
