"""What a run tells while it works; the command line shows it, a library user may ignore it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """Something has happened."""


@dataclass(frozen=True)
class RunOpened(Event):
    """The data is read, and a run is about to be made, or one that was made before to be given.

    Attributes:
        name: of the recipe.
        recipe: the recipe as JSON, every default written out.
        folder: where its results go.
        resumed: whether an earlier run in this folder was stopped before its end.
    """

    name: str
    recipe: str
    folder: str
    resumed: bool = False


@dataclass(frozen=True)
class RunStarted(Event):
    """What there is to train, as far as scripts tell before they run.

    Attributes:
        trainings: of single models; one that two subjects share is counted for both.
        found: how many of them an earlier run has done.
        epochs: of single models that remain, for each subject in turn, with what attackers believe
            it to be and its dense control.
    """

    trainings: int
    found: int
    epochs: tuple[int, ...]


@dataclass(frozen=True)
class SubjectStarted(Event):
    """One sparsifier under one defense is about to be trained and audited.

    Attributes:
        subject: its label.
        number: from 1.
        subjects: how many there are.
    """

    subject: str
    number: int
    subjects: int


@dataclass(frozen=True)
class BelievedStarted(Event):
    """Shadows are about to be trained as an attacker believes that the subject was.

    Fits and levels that follow are theirs, until `BelievedDone`.

    Attributes:
        believed: label of what the attacker takes the subject for.
    """

    believed: str


@dataclass(frozen=True)
class BelievedDone(Event):
    """What follows is about the subject again."""


@dataclass(frozen=True)
class FitStarted(Event):
    """All models of a cohort are about to be trained once.

    Attributes:
        models: how many.
        found: how many of them an earlier run has trained already.
        epochs: of each.
    """

    models: int
    found: int
    epochs: int


@dataclass(frozen=True)
class EpochDone(Event):
    """Models that train together have finished an epoch.

    Attributes:
        models: how many train together.
        epoch: from 1.
        epochs: of this fit.
        loss: mean over them.
        accuracy: on what they train with, mean, 0 to 1.
        validation: accuracy, mean, 0 to 1; NaN without validation.
    """

    models: int
    epoch: int
    epochs: int
    loss: float
    accuracy: float
    validation: float


@dataclass(frozen=True)
class FitDone(Event):
    """All models of a cohort have been trained once; not told where nothing was left to train.

    Attributes:
        models: how many were trained, without those an earlier run has trained already.
        epochs: of each, at most.
        seconds: that it took.
        loss: mean over them, in the last epoch of each; NaN where a fit keeps no history.
        accuracy: on what they train with, likewise, 0 to 1.
        validation: accuracy, likewise; NaN without validation.
    """

    models: int
    epochs: int
    seconds: float
    loss: float
    accuracy: float
    validation: float


@dataclass(frozen=True)
class LevelReached(Event):
    """All networks of a subject are ready to be audited.

    Attributes:
        level: its label.
        density: mean over the models, 0 to 1.
    """

    level: str
    density: float


@dataclass(frozen=True)
class AttackDone(Event):
    """An attack has scored the targets of a level.

    Attributes:
        attack: its label.
        level: the level's label.
        auc: mean over targets.
        subject: its label; others may have been reached meanwhile.
    """

    attack: str
    level: str
    auc: float
    subject: str = ""


@dataclass(frozen=True)
class RunDone(Event):
    """A run's results are in its folder; nothing follows.

    Attributes:
        folder: where they are: `privaudit.load_run` reads it.
        audits: how many were made.
        failures: how many could not be made.
        seconds: since the run began, reading the data included.
        found: whether the run was finished before, and is only read back.
    """

    folder: str
    audits: int
    failures: int
    seconds: float
    found: bool = False


@dataclass(frozen=True)
class RunStopped(Event):
    """A run ends before its end; nothing follows. Whoever called `run` gets the error itself.

    Attributes:
        reason: in one line.
    """

    reason: str


EVENTS: tuple[type[Event], ...] = (
    RunOpened,
    RunStarted,
    SubjectStarted,
    BelievedStarted,
    BelievedDone,
    FitStarted,
    EpochDone,
    FitDone,
    LevelReached,
    AttackDone,
    RunDone,
    RunStopped,
)
"""All there are."""
