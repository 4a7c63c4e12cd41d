"""What a run found, and its folder: recipe.yaml, scores.npz, models/, manifest.json, result.json.

Shares are 0-1 in Python and on disk, and null in a file is None here: not known, or not
resolvable with this many non-members. Nothing is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, TypeAdapter, ValidationError

from privaudit.api.kinds.promise import Promise
from privaudit.doubts.doubt import Doubt, known
from privaudit.errors import PrivauditError, StoreError
from privaudit.statistics.curve import Roc, roc_curve
from privaudit.store import models, shown
from privaudit.store.failure import Failure
from privaudit.store.files import private_folder, write_many
from privaudit.store.manifest import (
    NAME,
    DamagedRunError,
    FileSum,
    identity_of,
    sealed,
)
from privaudit.store.measured import check_metrics
from privaudit.store.record import MODELS, RESULT, npz, read_record, without_nan
from privaudit.store.scores import Scores, read_scores

FORMAT = 1


@dataclass(frozen=True)
class AuditResult:
    """One attack on one target: a network of one subject, level and seed.

    Attributes:
        subject: label of the sparsifier and defense under audit.
        level: label of the sparsifier's level.
        seed: the recipe's seed.
        target: which of the seed's models was attacked.
        density: nonzero parameters over the dense network's parameters.
        parameters: how many parameters are not zero.
        train_accuracy: share of the target's members classified rightly.
        test_accuracy: share of its non-members classified rightly.
        attack: label of the attack.
        metrics: as `privaudit.statistics.metrics.evaluate` makes them.
        variants: the same of each of the attack's variants, by name.
        sparsifier: label of the sparsifier.
        defense: label of the defense.
        matched: of a dense control, the label of the subject whose test accuracy it was stopped
            at; `level` is then that subject's level. Empty for every other network.
        notes: numbers that the sparsifier or the defense reports about this network, by name;
            "epsilon" is what differential privacy promises. None: not a finite number.
        multiply_adds: that answering one example takes, counting weights that are not zero;
            None where they are not known. See `privaudit.experiment.cost`.
        seconds: that answering one example took, measured on the seed's first target; None where
            it was not. Two audits that differ only here are equal.
        promise: "epsilon" with its terms, where it was made by a privaudit that keeps them.
    """

    subject: str
    level: str
    seed: int
    target: int
    density: float
    parameters: int
    train_accuracy: float
    test_accuracy: float
    attack: str
    metrics: dict[str, Any]
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    sparsifier: str = ""
    defense: str = ""
    matched: str = ""
    notes: dict[str, float | None] = field(default_factory=dict)
    multiply_adds: int | None = None
    seconds: float | None = field(default=None, compare=False)
    promise: Promise | None = None


@dataclass(frozen=True, repr=False)
class RunResult:
    """Everything a run found.

    Attributes:
        name: the recipe's name.
        recipe: the recipe, complete, every default written out.
        environment: versions, device, git commit, seconds, how many networks of each subject
            shared a training step, and each plugin's kind, name, distribution, version, source
            hash and deviations from its paper; runs made before these were kept have none.
        audits: one for each subject, level, seed, target and attack.
        doubts: what speaks against taking the audits for verdicts.
        folder: where it lies on disk, if it does.
        failures: the audits that could not be made.
    """

    name: str
    recipe: dict[str, Any]
    environment: dict[str, Any]
    audits: tuple[AuditResult, ...]
    doubts: tuple[Doubt, ...] = ()
    folder: Path | None = None
    failures: tuple[Failure, ...] = ()

    def scores(self, audit: AuditResult | int) -> Scores:
        """What an audit's attack makes of every example that it scores.

        Args:
            audit: one of `audits`, or its number.

        Raises:
            PrivauditError: it is none of this result's.
            StoreError: the scores are not there, or damaged.
        """
        number = self._number(audit)
        chosen = self.audits[number]
        return read_scores(self.folder, number, chosen.seed, chosen.target)

    def roc(self, audit: AuditResult | int) -> Roc:
        """The ROC curve of an audit, over the examples that its attack scores; as `scores`."""
        scores = self.scores(audit)
        return roc_curve(scores.score, scores.member)

    def frame(self) -> Any:
        """The audits as a pandas DataFrame: one row each, every metric with its interval.

        Raises:
            PrivauditError: pandas is not installed.
        """
        return shown.frame(map(asdict, self.audits))

    def _number(self, audit: AuditResult | int) -> int:
        numbers = [audit] if isinstance(audit, int) else range(len(self.audits))
        for number in numbers:
            if 0 <= number < len(self.audits) and audit in (number, self.audits[number]):
                return number
        name = audit if isinstance(audit, int) else f"{audit.attack!r} on {audit.subject!r}"
        raise PrivauditError(f"{name} is no audit of this result, which has {len(self.audits)}")

    def __repr__(self) -> str:
        """One line."""
        records = [vars(audit) for audit in self.audits]
        return shown.line(self.name, records, len(self.doubts), len(self.failures))

    def _repr_html_(self) -> str:
        return shown.as_html(self.name, [asdict(audit) for audit in self.audits])


def save_run(
    folder: Path,
    result: RunResult,
    *,
    recipe_yaml: str,
    scores: Mapping[str, NDArray[Any]],
    about: Mapping[str, Any] | None = None,
) -> RunResult:
    """Write a run's folder, readable by its owner alone; result.json comes last.

    No file takes its place before all are safe on disk. Whoever is stopped in between leaves no
    result, or one whose manifest tells that files are not its own.

    Args:
        folder: made where it is missing.
        result: what to write.
        recipe_yaml: the complete recipe, as a person would write it.
        scores: per-example arrays by name; no objects.
        about: what the run was made from and by, for its manifest; None writes none.

    Returns:
        The result with its folder.

    Raises:
        StoreError: the folder cannot be made or written.
    """
    private_folder(folder)
    record: dict[str, Any] = {
        "format": FORMAT,
        "name": result.name,
        "environment": result.environment,
        "recipe": result.recipe,
        "audits": [asdict(audit) for audit in result.audits],
        "doubts": [asdict(doubt) for doubt in result.doubts],
    }
    if result.failures:
        record["failures"] = [failure.record() for failure in result.failures]
    if about is not None:
        record["identity"] = identity_of(about)
    text = json.dumps(without_nan(record), indent=1, allow_nan=False)
    contents = {"recipe.yaml": recipe_yaml.encode(), "scores.npz": npz(scores)}
    result_json = text.encode() + b"\n"
    if about is not None:
        new = models.unfinished(folder)
        sums = {f"{MODELS}/{name}": FileSum.read(folder / models.UNFINISHED / name) for name in new}
        sums |= {name: FileSum.of(content) for name, content in contents.items()}
        contents[NAME] = sealed(about, sums | {RESULT: FileSum.of(result_json)})
        models.finish(folder)
    contents[RESULT] = result_json
    write_many([(folder / name, content) for name, content in contents.items()])
    return replace(result, folder=folder)


def load_run(path: str | Path, *, verify: bool = True) -> RunResult:
    """Read a run from its folder, or from its result.json.

    Args:
        path: of either.
        verify: whether to hold result.json against the manifest of its folder.

    Raises:
        StoreError: it is missing, no run, damaged, or of another format.
    """
    path, data = read_record(Path(path), verify)
    format_number = data.get("format")
    if not isinstance(format_number, int):
        raise DamagedRunError(f"{path} is not a result of privaudit: it has no format number")
    if format_number > FORMAT:
        raise StoreError(
            f"{path} was made by a newer privaudit (format {format_number}, this one reads "
            f"{FORMAT}): upgrade privaudit"
        )
    if format_number != FORMAT:
        raise DamagedRunError(
            f"{path} has the unknown format {format_number}: run its recipe again"
        )
    try:
        record = _Record.model_validate(data)
        return RunResult(
            name=record.name,
            recipe=record.recipe,
            environment=record.environment,
            audits=tuple(_audit(number, audit) for number, audit in enumerate(record.audits)),
            doubts=tuple(Doubt(**doubt.model_dump()) for doubt in record.doubts),
            folder=path.parent,
            failures=tuple(record.failures),
        )
    except ValidationError as error:
        raise _damaged(path, "", error) from error
    except _BadAuditError as error:
        raise _damaged(path, f"audits[{error.number}]", error.problem) from error


class _Doubt(BaseModel):
    name: Annotated[str, AfterValidator(known)]
    about: str
    sentence: str
    seen: str = ""


class _Record(BaseModel):
    name: str
    environment: dict[str, Any]
    recipe: dict[str, Any] = {}
    audits: list[dict[str, Any]]
    doubts: list[_Doubt] = []
    failures: list[Failure] = []


class _BadAuditError(Exception):
    def __init__(self, number: int, problem: ValidationError) -> None:
        self.number = number
        self.problem = problem
        super().__init__(str(problem))


_AUDIT = TypeAdapter(AuditResult)


def _audit(number: int, data: dict[str, Any]) -> AuditResult:
    try:
        check_metrics(data)
        return _AUDIT.validate_python(data)
    except ValidationError as problem:
        raise _BadAuditError(number, problem) from problem


def _damaged(path: Path, location: str, error: ValidationError) -> DamagedRunError:
    first = error.errors()[0]
    for part in first["loc"]:
        # A key may hold anything: spelt as in JSON, no terminal obeys it.
        location += f"[{part}]" if isinstance(part, int) else f".{json.dumps(part)[1:-1]}"
    what = "is missing" if first["type"] == "missing" else f"is wrong: {first['msg']}"
    return DamagedRunError(
        f"{path} is damaged: {location.lstrip('.')} {what}; run its recipe again"
    )
