"""`privaudit audit --quick`: a first look in seconds, which may warn and never assures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from privaudit.outputs.quick import QuickLook
    from privaudit.statistics.tail import TailLevel


def check_quick(asked: Mapping[str, Any]) -> None:
    """Refuse options that need attacks.

    Args:
        asked: what was given, by the option.

    Raises:
        RecipeError: any was.
    """
    from privaudit.errors import RecipeError

    options = [option for option, value in asked.items() if value]
    if options:
        raise RecipeError(
            f"{', '.join(options)} cannot be used with --quick, which makes no attack: what it "
            "finds can neither keep a gate nor be tuned; leave --quick out"
        )


def quick(
    files: Sequence[Path],
    arrays: Mapping[str, Any],
    read: Sequence[str],
    accepted: Sequence[str],
    confidence: float,
    format: str,
    output: Path | None,
) -> None:
    """Look at outputs that were read, and say what there is to say."""
    from privaudit.cli.targets import deliver, printed
    from privaudit.doubts.doubt import lines, still_open
    from privaudit.outputs.quick import quick_look
    from privaudit.report.escape import plain

    look = quick_look(**arrays, confidence=confidence, accept_doubts=accepted)
    opened = still_open(look.doubts, accepted)
    settled = [doubt for doubt in look.doubts if doubt not in opened]
    notes = [
        *map(plain, [*read, *look.read]),
        *lines(opened),
        *(f"{line} [accepted]" for line in lines(settled)),
    ]
    if format == "json":
        text = as_json(look, files, str(arrays["kind"]), [*read, *look.read], accepted)
        deliver(text, output, "quick look")
    else:
        printed(partial(_show, look, notes), output, "quick look")
    if format == "json" or output is not None:
        for line in [*notes, _verdict(look)]:  # for people, where stdout is for a program
            typer.echo(line, err=True)


def as_json(
    look: QuickLook, files: Sequence[Path], kind: str, read: Sequence[str], accepted: Sequence[str]
) -> str:
    """The look for other programs: shares 0-1, null where nothing is known.

    Raises:
        DataError: a file cannot be read any more.
    """
    from privaudit.report.inputs import file_record
    from privaudit.version import __version__

    record = {
        "format": 1,
        "privaudit": __version__,
        "files": [file_record(path) for path in files],
        "read": list(read),
        "accuracy": dict(zip(("members", "non_members"), look.accuracy, strict=True)),
        "kind": kind,
        "confidence": look.confidence,
        "quick": {"told": look.told, "reason": look.reason, **asdict(look.tail)},
        "doubts": [{**asdict(doubt), "accepted": doubt.name in accepted} for doubt in look.doubts],
        "accepted_doubts": list(accepted),
    }
    return json.dumps(record, indent=1, allow_nan=False) + "\n"


def sentences(look: QuickLook) -> list[str]:
    """The look in plain words: what was seen, what it means, what it cannot say, and what next."""
    from privaudit.outputs.found import accuracy_sentence

    tail = look.tail
    return [
        f"A quick look at {_count(tail.members, 'member')} and "
        f"{_count(tail.non_members, 'non-member')}: no attack, no shadows.",
        _verdict(look),
        accuracy_sentence(look.accuracy),
        *(_level(level, look) for level in tail.levels),
        "Training takes outliers of high loss away from members alone. The share that stays among "
        "non-members estimates the TPR of the attack lira at as low an FPR (Dodd et al. 2025). "
        "Networks can be put in order by it; the numbers differ.",
        "This assures nothing: a small share may hide a leak, and it says nothing of any single "
        "example. A large one is a leak only if members and non-members are of one population.",
        _next(look),
    ]


def _verdict(look: QuickLook) -> str:
    return f"quick look: {look.told}{': ' if look.told == 'leaks' else ', because '}{look.reason}"


def _level(level: TailLevel, look: QuickLook) -> str:
    tail, limit = look.tail, f"{100 * level.fnr:g} %"
    if level.tnr is None:
        return (
            f"At {limit} nothing can be estimated, because {_count(tail.members, 'member')} cannot "
            f"resolve it: it takes {round(1 / level.fnr):,}."
        )
    value, low, high = (100 * number for number in (level.tnr.value, level.tnr.low, level.tnr.high))
    return (
        f"At {limit}: {value:.1f} % [{low:.1f}, {high:.1f}] of non-members have a loss above that "
        f"of all members but {level.allowed}."
    )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _next(look: QuickLook) -> str:
    if look.shadows:
        return "Next: leave out --quick; with the shadows given, --attacks lira,rmia,loss is quick."
    return (
        "Next: leave out --quick for the attacks that these outputs allow, --attacks loss being "
        "the quickest; train shadows for lira and rmia, which find more."
    )


def _show(look: QuickLook, notes: Sequence[str], console: Console) -> None:
    from privaudit.report.fold import folded

    for sentence in sentences(look):
        for line in folded(sentence, console.width):
            console.print(line, soft_wrap=True, highlight=False, markup=False)
    for note in notes:
        console.print(note, soft_wrap=True, highlight=False, markup=False)
