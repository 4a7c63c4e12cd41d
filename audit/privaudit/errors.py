"""What can go wrong through no fault of the code: one family, one clear line each."""

from typing import Literal


class PrivauditError(Exception):
    """Something the user can mend; the message says what is wrong, where, and what to do.

    The command line prints the message without a traceback and exits with `exit_code`.
    """

    exit_code = 1


class RecipeError(PrivauditError):
    """A recipe, or the command that names it, is wrong.

    Attributes:
        problems: every mistake found, one line each.
    """

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class PluginError(PrivauditError):
    """A plugin cannot be loaded or breaks its contract; the message names its distribution.

    Attributes:
        original: the formatted traceback of what the plugin raised, for `privaudit --debug`; text,
            so that it survives pickling; empty where nothing was raised.
    """

    exit_code = 2

    def __init__(self, message: str, original: str = "") -> None:
        super().__init__(message)
        self.original = original


class DamageError(PluginError):
    """A plugin has written into what everybody shares: nothing made after it may be believed.

    Unlike other failures of a plugin this one ends a run, whatever there is left to do.
    """


class DataError(PrivauditError):
    """A dataset is missing, damaged or cannot be audited; the message names file and row."""

    exit_code = 2


Lacking = Literal["shadows", "population", "untold"]


class ShortageError(DataError):
    """An attack has too few examples or networks to compare with.

    An attack says what is missing, and no more: shadows come from a recipe or from arrays, and
    whoever knows from which adds what to do.

    Attributes:
        lacking: "shadows", with or without the examples; a "population": examples that are not
            audited; or something that is "untold".
    """

    def __init__(self, message: str, lacking: Lacking = "shadows") -> None:
        super().__init__(message)
        self.lacking = lacking


class ProcessError(PrivauditError):
    """A process that worked for this one is gone: what it was to do cannot be done here."""


class StoreError(PrivauditError):
    """A run folder or the cache cannot be read or written."""


class UnfinishedError(StoreError):
    """A run has not finished: it has no result yet, and running its recipe again goes on."""


def contained(error: PrivauditError) -> bool:
    """Whether it is about one subject or attack, so that a run can go on with the others."""
    return not isinstance(error, RecipeError | StoreError | ProcessError | DamageError)
