"""`privaudit cache`: what lies there, whether it is sound, and what goes first."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
import torch

from privaudit.cli import main
from privaudit.cli.sizes import bytes_in
from privaudit.store.cache import contents, evicted, verified
from privaudit.store.journal import Journal
from privaudit.store.unit_file import like

DAY = 24 * 3600
KEYS = [f"{number:02x}" * 32 for number in range(4)]
ZEROS = {"zeros": torch.zeros(1000)}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Four units of 4 kB, used a day apart, the first longest ago."""
    folder = tmp_path / "cache"
    Journal(folder / "units").keep("zeros", dict.fromkeys(KEYS, ZEROS))
    now = time.time()
    for number, key in enumerate(KEYS):
        os.utime(unit(folder, key), (now, now - (9 - number) * DAY))
    return folder


def unit(cache: Path, key: str) -> Path:
    return cache / "units" / key[:2] / f"{key}.unit"


def command(cache: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["privaudit", "cache", *words, "--cache", str(cache)])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_the_cache_is_listed(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unit(cache, KEYS[3]).write_bytes(b"no unit")
    (cache / "data").mkdir()
    (cache / "data" / "decoded").write_bytes(bytes(2500))
    (cache / "units" / KEYS[0][:2] / "x.damaged").write_bytes(bytes(7))
    (cache / "units" / ".tmp-dead").write_bytes(bytes(9))
    Journal(cache / "units").keep("snapshot", {"ff" * 32: ZEROS})
    assert command(cache, monkeypatch) == 0
    told = capsys.readouterr().out
    lines = [" ".join(line.split()[:5]) for line in told.splitlines()]
    size = unit(cache, KEYS[0]).stat().st_size * 3
    assert any(line.startswith(f"units: zeros 3 {size / 1000:.1f} kB") for line in lines), told
    assert "units: unreadable 1 7 B" in lines
    assert "snapshots of fits that have" in lines
    assert any(line.startswith("set aside 1 7 B") for line in lines)
    assert any(line.startswith("temporary 1 9 B") for line in lines)
    assert "data 2.5 kB" in lines
    oldest = time.strftime("%Y-%m-%d", time.localtime(time.time() - 9 * DAY))
    assert oldest in told


def test_no_cache_is_an_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in ([], ["verify"], ["evict", "--max-size", "0"]):
        assert command(tmp_path / "none", monkeypatch, *words) == 0
    assert not (tmp_path / "none").exists()


def test_what_is_damaged_is_named_once_and_set_aside(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(cache, monkeypatch, "verify") == 0
    assert "4 units read, 0 damaged" in capsys.readouterr().out
    content = bytearray(unit(cache, KEYS[1]).read_bytes())
    content[-1] ^= 1
    unit(cache, KEYS[1]).write_bytes(content)
    unit(cache, KEYS[2]).write_bytes(unit(cache, KEYS[0]).read_bytes())
    unit(cache, KEYS[3]).unlink()
    os.mkfifo(unit(cache, KEYS[3]))
    assert command(cache, monkeypatch, "verify") == 1
    told = capsys.readouterr().out
    assert "4 units read, 3 damaged" in told
    for key in KEYS[1:]:
        assert f"{key}.unit.damaged" in told
        assert not os.path.lexists(unit(cache, key))
    assert command(cache, monkeypatch, "verify") == 0
    find = Journal(cache / "units").find
    assert find(KEYS[0], like("zeros", ZEROS)) is not None
    assert next(verified(cache))[1] == ""


@pytest.mark.parametrize("room", [0, 1, 2, 3, 4])
def test_what_was_used_least_recently_goes_first(cache: Path, room: int) -> None:
    size = unit(cache, KEYS[0]).stat().st_size
    planned = list(evicted(cache, size * room + 1, dry_run=True))
    assert len(contents(cache).units) == 4
    assert list(evicted(cache, size * room + 1)) == planned
    assert [kept.path for kept in planned] == [unit(cache, key) for key in KEYS[: 4 - room]]
    assert {kept.path for kept in contents(cache).units} == {
        unit(cache, key) for key in KEYS[4 - room :]
    }


def test_what_was_set_aside_goes_and_what_a_run_is_writing_stays(cache: Path) -> None:
    shard = cache / "units" / KEYS[0][:2]
    (shard / "x.damaged" / "deeper").mkdir(parents=True)
    (shard / "link.2.damaged").symlink_to(cache.parent)
    (cache / "units" / "zz.damaged").write_text("a file in a folder's place")
    now = time.time()
    for name, age in ((".tmp-writing", 60), (".tmp-dead", 2 * DAY)):
        (shard / name).write_bytes(bytes(5))
        os.utime(shard / name, (now - age, now - age))
    list(evicted(cache, 10**9))
    left = {path.name for path in (cache / "units").rglob("*")}
    assert {name for name in left if len(name) > 2} == {
        ".tmp-writing",
        *(f"{key}.unit" for key in KEYS),
    }
    assert cache.parent.is_dir()


def test_sizes_are_said_as_people_say_them(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for text, size in (("10GB", 10**10), ("2 GiB", 2**31), ("1.5k", 1500), ("7", 7)):
        assert bytes_in(text) == size
    for text in ("", "ten", "-1", "1e9", "5 parsecs", "nan", "٣GB"):
        with pytest.raises(ValueError, match="no size"):
            bytes_in(text)
    assert command(cache, monkeypatch, "evict", "--max-size", "much") == 2
    assert "no size" in capsys.readouterr().err
    assert command(cache, monkeypatch, "evict", "--max-size", "0", "--dry-run") == 0
    assert "4 files of" in capsys.readouterr().out
    assert command(cache, monkeypatch, "evict", "--max-size", "0") == 0
    assert "0 units of 0 B are there" in capsys.readouterr().out
