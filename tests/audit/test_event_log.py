"""events.jsonl: whole lines of all that a run tells, few enough, and read back as they were."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from privaudit import load_recipe, run
from privaudit.errors import StoreError
from privaudit.events import (
    EVENTS,
    AttackDone,
    EpochDone,
    Event,
    FitDone,
    RunDone,
    RunOpened,
    RunStarted,
    RunStopped,
    SubjectStarted,
)
from privaudit.store import event_log
from privaudit.store.event_log import NAME, EventLog
from privaudit.store.event_reading import EventReader, last_attempt

OPENED = RunOpened("digits", "{}", "/runs/digits")
DONE = RunDone("/runs/digits", 4, 0, 1.5)


def epoch(number: int, loss: float = 0.5) -> EpochDone:
    return EpochDone(3, number, 1000, loss, 0.75, math.nan)


def write(folder: Path, *events: Event, clock: Callable[[], float] = lambda: 0.0) -> EventLog:
    log = EventLog(folder, clock)
    for event in events:
        log(event)
    log.close()
    return log


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / NAME).read_text().splitlines()]


def same(one: Event, other: Event) -> bool:
    """Whether two events are equal, NaN being equal to NaN."""
    return type(one) is type(other) and repr(one) == repr(other)


def test_no_event_has_a_field_that_the_line_has_itself() -> None:
    for kind in EVENTS:
        names = {field.name for field in fields(kind)}
        assert not names & {"format", "sequence", "time", "kind", "trained"}, kind


def test_a_line_has_the_time_the_number_the_kind_and_every_field(tmp_path: Path) -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    write(tmp_path, OPENED, RunStarted(9, 3, (6, 12)), epoch(1), DONE)
    opened, started, trained, done = lines(tmp_path)
    assert [line["sequence"] for line in (opened, started, trained, done)] == [1, 2, 3, 4]
    assert started["epochs"] == [6, 12]
    assert trained == {
        **{"format": 1, "sequence": 3, "time": trained["time"], "kind": "EpochDone"},
        **asdict(epoch(1)),
        "validation": None,
        "trained": 3,
    }
    assert done["kind"] == "RunDone"
    when = datetime.fromisoformat(str(done["time"]))
    assert when.utcoffset() == timedelta(0)
    assert before <= when <= datetime.now(UTC)
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600


def test_every_kind_is_read_back_as_it_was(tmp_path: Path) -> None:
    example = {"str": "a\n\x1b[31mb", "int": 3, "float": math.nan, "bool": True}
    events = []
    for kind in EVENTS:
        values = [(2, 1) if "tuple" in str(f.type) else example[str(f.type)] for f in fields(kind)]
        events.append(kind(*values))
    write(tmp_path, *events)
    reader = EventReader(tmp_path)
    told = reader.new()
    assert all(same(one.event, event) for one, event in zip(told, events, strict=True))
    assert reader.damaged == 0
    assert reader.new() == []


def test_an_event_is_on_disk_at_once(tmp_path: Path) -> None:
    log, reader = EventLog(tmp_path), EventReader(tmp_path)
    assert reader.new() == []
    for event in (OPENED, SubjectStarted("dense", 1, 1), DONE):
        log(event)
        assert [told.event for told in reader.new()] == [event]
    log.close()


def test_a_resumed_run_cuts_what_is_torn_adds_to_the_rest_and_says_so(tmp_path: Path) -> None:
    assert not write(tmp_path, OPENED, epoch(1)).resumed
    whole = (tmp_path / NAME).read_bytes()
    for torn in (b"", b'{"format": 1, "sequ', b"\xff\x00"):
        (tmp_path / NAME).write_bytes(whole + torn)
        assert len(EventReader(tmp_path).new()) == 2
        log = write(tmp_path, DONE)
        assert log.resumed
        assert (tmp_path / NAME).read_bytes().startswith(whole)
        assert [line["sequence"] for line in lines(tmp_path)] == [1, 2, 3]
    assert not write(tmp_path, OPENED).resumed  # the last one was done
    assert [line["sequence"] for line in lines(tmp_path)] == [1, 2, 3, 4]
    assert len(last_attempt(EventReader(tmp_path).new())) == 1


def test_epochs_are_thinned_and_none_is_lost_to_the_count(tmp_path: Path) -> None:
    now = [0.0]
    log = EventLog(tmp_path, lambda: now[0])
    log(OPENED)
    count = 40_000
    for number in range(1, count + 1):  # of two seconds each: most of a day
        now[0] += 2.0
        log(epoch(number))
    log(FitDone(3, count, now[0], 0.1, 1.0, 1.0))
    log.close()
    told = EventReader(tmp_path).new()
    epochs = [one for one in told if isinstance(one.event, EpochDone)]
    assert 1000 < len(epochs) < 600 + 600 * math.log(80_000 / 600) + 2
    assert (tmp_path / NAME).stat().st_size < 2**20
    assert epochs[-1].trained == 3 * count  # the last is there, before what follows
    assert isinstance(told[-2].event, EpochDone)
    assert [one.trained for one in epochs] == [3 * one.event.epoch for one in epochs]  # type: ignore[attr-defined]
    numbers = [one.event.epoch for one in epochs]  # type: ignore[attr-defined]
    gaps = [b - a for a, b in pairwise(numbers)]
    assert max(gaps) * 2.0 <= 80_000 / 600 + 2


def test_a_log_that_has_grown_is_begun_anew_and_a_reader_notices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, OPENED, epoch(1), epoch(2))
    reader = EventReader(tmp_path)
    reader.new()
    monkeypatch.setattr(event_log, "_LARGEST", 100)
    log = write(tmp_path, OPENED)
    assert log.resumed
    (told,) = reader.new()
    assert told.sequence == 3  # numbers go on all the same
    assert len(lines(tmp_path)) == 1


@pytest.mark.parametrize("what", ["folder", "pipe", "link", "full"])
def test_what_cannot_be_written_is_told_once_and_the_run_goes_on(
    tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / NAME
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        monkeypatch.setattr(os, "write", lambda descriptor, line: len(line) - 1)
    write(tmp_path, OPENED, epoch(1), DONE)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"cannot write {path}: ")
    assert "the run goes on" in record.getMessage()
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nonsense",
        "[1]",
        '{"format": 1}',
        '{"format": 1, "sequence": 2, "time": "yesterday", "kind": "RunStopped", "reason": ""}',
        '{"format": 1, "sequence": 2, "time": "2026-01-01", "kind": "RunStopped", "reason": ""}',
        '{"format": 1, "sequence": 2, "time": "2026-01-01T00:00Z", "kind": "RunStopped"}',
        '{"format": 1, "sequence": 2, "time": "2026-01-01T00:00Z", "kind": "LevelReached", '
        '"level": 3, "density": "much"}',
        "[" * 100_000,
        '{"format": 1e999}',
    ],
)
def test_a_damaged_line_is_counted_and_the_others_are_read(tmp_path: Path, line: str) -> None:
    write(tmp_path, OPENED, DONE)
    first, second = (tmp_path / NAME).read_text().splitlines()
    (tmp_path / NAME).write_text(f"{first}\n{line}\n{second}\n")
    reader = EventReader(tmp_path)
    assert [told.event for told in reader.new()] == [OPENED, DONE]
    assert reader.damaged == 1


def test_what_a_newer_privaudit_tells_is_left_out_or_refused(tmp_path: Path) -> None:
    line = {"format": 1, "sequence": 1, "time": "2026-01-01T00:00Z", "kind": "RunPaused", "x": 1}
    (tmp_path / NAME).write_text(json.dumps(line) + "\n")
    reader = EventReader(tmp_path)
    assert (reader.new(), reader.damaged) == ([], 0)
    line |= {"kind": "RunStopped", "reason": "", "more": 2}
    (tmp_path / NAME).write_text(json.dumps(line) + "\n")
    assert len(EventReader(tmp_path).new()) == 1  # a field more is no harm
    (tmp_path / NAME).write_text(json.dumps(line | {"format": 2}) + "\n")
    with pytest.raises(StoreError, match=r"newer privaudit \(format 2, this one reads 1\)"):
        EventReader(tmp_path).new()


def test_a_pipe_in_its_place_is_no_log(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / NAME)
    with pytest.raises(StoreError, match="it is a pipe"):
        EventReader(tmp_path).new()


def test_a_run_writes_what_its_caller_hears_and_no_examples(tmp_path: Path) -> None:
    recipe = load_recipe(
        "digits",
        [
            *("training.epochs=3", "seeds=1", "attacks=[loss]", "sparsifiers=[dense]"),
            *("split.members=40", "split.non_members=40", "split.validation=0"),
        ],
    )
    events: list[Event] = []
    run(recipe, tmp_path / "run", device="cpu", cache=tmp_path / "cache", on_event=events.append)
    told = EventReader(tmp_path / "run").new()
    kept = [one.event for one in told if not isinstance(one.event, EpochDone)]
    heard = [event for event in events if not isinstance(event, EpochDone)]
    assert all(same(one, event) for one, event in zip(kept, heard, strict=True))
    assert isinstance(heard[-2], AttackDone)
    done = sum(event.models for event in events if isinstance(event, EpochDone))
    assert max(one.trained for one in told) == done
    numbers = [v for line in lines(tmp_path / "run") for v in line.values() if isinstance(v, list)]
    assert all(len(values) <= 2 for values in numbers)  # aggregates alone

    def stop(event: Event) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        run(recipe, tmp_path / "2", device="cpu", cache=tmp_path / "cache", on_event=stop)
    (opened, stopped) = [one.event for one in EventReader(tmp_path / "2").new()]
    assert isinstance(opened, RunOpened)
    assert stopped == RunStopped("RuntimeError")
    run(recipe, tmp_path / "2", device="cpu", cache=tmp_path / "cache")
    again = last_attempt(EventReader(tmp_path / "2").new())
    assert isinstance(again[0].event, RunOpened)
    assert again[0].event.resumed
    assert again[0].sequence == 3
