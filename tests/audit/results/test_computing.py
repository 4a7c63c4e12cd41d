"""A digest of a module changes with what it computes, and with nothing else."""

from __future__ import annotations

import pytest
from benchmarks.results.computing import digest

MODULE = '''
"""What it is for."""
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from elsewhere import Thing

RATE = 0.1
"""Of what."""


class Loss(Attack):
    """One attack."""

    paper: ClassVar[str] = "Yeom et al. 2018"
    deviations = ("none",)
    name: Literal["loss"] = "loss"
    power: int = Field(2, ge=1, description="exponent")
    size: Annotated[int, Field(le=9), "of what"] = 3

    def score(self, signals: "Signals", top: int = 3) -> "Scores":
        """Higher is likelier."""
        # as published
        half: float = signals.x / 2
        if half > 1:
            raise ValueError(f"{half} is too large")
        assert half >= 0, "is positive"
        logger.info("half is %s", half)
        return half**self.power + RATE
'''

WORDS = {
    "a comment": ("# as published", "# as it was published"),
    "no comment": ("        # as published\n", ""),
    "the module's docstring": ("What it is for", "What it does"),
    "a constant's docstring": ('"""Of what."""', '"""Of false alarms."""'),
    "a class's docstring": ("One attack.", "Another."),
    "a function's docstring": ('        """Higher is likelier."""\n', ""),
    "the paper": ("Yeom et al. 2018", "Yeom et al. 2018, section 3"),
    "deviations": ('("none",)', '("one of them",)'),
    "a description": ('description="exponent"', 'description="its power"'),
    "an argument's type": ('signals: "Signals"', "signals: Signals"),
    "what it returns": (' -> "Scores"', ""),
    "a word in a type": ('"of what"', '"of each"'),
    "a variable's type": ("half: float", "half: object"),
    "an error": ("is too large", "is above one"),
    "what an error shows": ("{half} is", "{half:.3f} is"),
    "an assertion's words": ('"is positive"', '"lies above zero"'),
    "the log": ('logger.info("half is %s", half)', 'logger.debug("%s", half)'),
    "imports for types": ("from elsewhere import Thing", "from nowhere import Thing"),
    "blank lines": ("\nRATE", "\n\n\nRATE"),
}

NUMBERS = {
    "a constant": ("RATE = 0.1", "RATE = 0.2"),
    "a default": ("top: int = 3", "top: int = 4"),
    "a field's default": ("Field(2,", "Field(3,"),
    "a field's limit": ("ge=1", "ge=2"),
    "a field's type": ("power: int", "power: float"),
    "a limit within a type": ("le=9", "le=8"),
    "a name": ('Literal["loss"]', 'Literal["lass"]'),
    "an operator": ("half > 1", "half >= 1"),
    "a number": ("signals.x / 2", "signals.x / 3"),
    "one as a float": ("signals.x / 2", "signals.x / 2.0"),
    "which error": ("ValueError", "TypeError"),
    "an assertion": ("assert half >= 0", "assert half > 0"),
    "a line that is gone": ('        assert half >= 0, "is positive"\n', ""),
    "a base class": ("Loss(Attack)", "Loss(Defense)"),
}


def changed(change: tuple[str, str]) -> str:
    assert MODULE.count(change[0]) == 1
    return MODULE.replace(*change)


@pytest.mark.parametrize("change", WORDS.values(), ids=WORDS)
def test_words_leave_the_digest_as_it_is(change: tuple[str, str]) -> None:
    assert digest(changed(change)) == digest(MODULE)


@pytest.mark.parametrize("change", NUMBERS.values(), ids=NUMBERS)
def test_what_computes_changes_the_digest(change: tuple[str, str]) -> None:
    assert digest(changed(change)) != digest(MODULE)


def test_every_python_makes_the_same_digest() -> None:
    source = MODULE + "\nprint(f'{RATE!r:>{3}} {RATE=}', *[], **{}, sep='')\nasync def f(): ...\n"
    assert digest(source) == "7479bd31bf028092"
