"""`--gate`, `--accept-doubt`, `--junit` and `--sarif`: what is asked, and what is told of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from privaudit.cli.options import GATE_BROKEN

if TYPE_CHECKING:
    from privaudit.cli.loaded import LeftOut
    from privaudit.gate import Gate
    from privaudit.report.gates import GateFinding
    from privaudit.report.gating.asked import Accepted
    from privaudit.report.gating.sarif import Source
    from privaudit.store.result import RunResult


@dataclass(frozen=True)
class GateOptions:
    """What was asked for on the command line.

    Attributes:
        gates: the limits.
        accepted: names of doubts that do not count.
        junit: the file that gets them as JUnit XML, if one does.
        sarif: the file that gets what is not kept as SARIF, if one does.
    """

    gates: tuple[Gate, ...] = ()
    accepted: tuple[str, ...] = ()
    junit: Path | None = None
    sarif: Path | None = None

    @classmethod
    def parsed(
        cls,
        gates: Iterable[str] | None,
        accepted: Iterable[str] | None,
        junit: Path | None = None,
        sarif: Path | None = None,
    ) -> GateOptions:
        """Read them, before anything else is done.

        Raises:
            RecipeError: a gate or the name of a doubt is wrong.
        """
        from privaudit.doubts.doubt import check_accepted
        from privaudit.gate import parse_gate

        limits = tuple(map(parse_gate, gates or ()))
        return cls(limits, check_accepted(accepted or ()), junit, sarif)

    @property
    def files(self) -> dict[str, Path | None]:
        """The files to be written, by their options."""
        return {"--junit": self.junit, "--sarif": self.sarif}

    def check_asked(self, gates: Sequence[Gate], more: str) -> None:
        """Refuse files about gates where there is none: they would seem to pass.

        Args:
            gates: all that will be judged.
            more: where else gates may come from, for the message.

        Raises:
            RecipeError: there is none, and a file is asked for.
        """
        from privaudit.errors import RecipeError

        asked = [option for option, path in self.files.items() if path is not None]
        if asked and not gates:
            raise RecipeError(f"{' and '.join(asked)} tell of gates: give --gate{more}")

    def check_of_one_network(self) -> None:
        """Refuse gates on a mean, where there is one network.

        Raises:
            RecipeError: there is such a gate.
        """
        from privaudit.errors import RecipeError

        for gate in self.gates:
            if gate.mean:
                raise RecipeError(
                    f"--gate {gate.text}: outputs are of one network: leave out mean()"
                )

    def begin(self, inputs: Iterable[Path], **others: Path | None) -> None:
        """Make sure that files can be written, and that none of an earlier audit stays.

        One that stayed where this audit fails could be taken for its own.

        Args:
            inputs: what the command reads.
            others: files that it writes beside these, by their options without dashes.

        Raises:
            RecipeError: two options name one file, or one names what is read.
            StoreError: a file cannot be written.
        """
        from privaudit.cli.targets import check_targets
        from privaudit.store.files import remove

        check_targets(
            {**self.files, **{f"--{name}": path for name, path in others.items()}}, inputs
        )
        for path in filter(None, self.files.values()):
            remove(path)

    def judged(
        self, results: Sequence[RunResult], left_out: Sequence[LeftOut] = ()
    ) -> list[GateFinding]:
        """What holding the gates, and those of their recipes, against finished runs comes to.

        Of a run that was asked for and could not be read nothing can be told.
        """
        from privaudit.report.gates import GateRow, judge_runs

        rows = tuple(
            GateRow(str(one.path), "every network", "", "", "cannot be told", one.problem)
            for one in left_out
        )
        return [
            replace(finding, rows=finding.rows + rows, several=finding.several or bool(rows))
            for finding in judge_runs(self.gates, results, self.accepted)
        ]

    def write(
        self,
        findings: Sequence[GateFinding],
        sources: Mapping[str, Source],
        accepted: Sequence[Accepted],
    ) -> None:
        """Write the files that were asked for, each whole or not at all.

        Raises:
            StoreError: one cannot be written.
        """
        from privaudit.report.gating.junit import as_junit
        from privaudit.report.gating.sarif import as_sarif
        from privaudit.store.files import write_whole

        if self.junit is not None:
            write_whole(self.junit, as_junit(findings, accepted).encode())
        if self.sarif is not None:
            write_whole(self.sarif, as_sarif(findings, sources, accepted).encode())


def sources_of(results: Sequence[RunResult]) -> dict[str, Source]:
    """For each run by its name the recipe in its folder, or else the result itself."""
    from privaudit.report.names import run_names

    sources = {}
    for name, result in zip(run_names(results), results, strict=True):
        folder = Path() if result.folder is None else result.folder
        recipe = folder / "recipe.yaml"
        there = recipe if recipe.is_file() else folder / "result.json"
        sources[name] = recipe_source(there)
    return sources


def recipe_source(path: Path) -> Source:
    """A recipe's file, and on which of its lines gates stand."""
    from privaudit.recipe.gates import lines_of_gates
    from privaudit.report.gating.sarif import Source

    return Source(path, lines_of_gates(path))


def gate_lines(findings: Sequence[GateFinding], accepted: Sequence[Accepted] = ()) -> list[str]:
    """For people: lines for each gate and each reason, and one for each doubt that was accepted."""
    from privaudit.report.escape import plain

    told = [f"doubt {one.doubt.name} of {one.run}: accepted ({one.source})" for one in accepted]
    lines = list(dict.fromkeys(told)) if findings else []
    lines += [line for finding in findings for line in finding.lines()]
    return [plain(line) for line in lines]


def exit_if_broken(findings: Sequence[GateFinding]) -> None:
    """End with the exit code of a gate that is not kept everywhere.

    Raises:
        typer.Exit: there is one.
    """
    if any(finding.failed for finding in findings):
        raise typer.Exit(GATE_BROKEN)
