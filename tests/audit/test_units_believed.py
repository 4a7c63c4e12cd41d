"""What lies in a unit's place is believed only where it is that unit, whole and as expected."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from privaudit.cohort import Cohort
from privaudit.errors import StoreError
from privaudit.networks.state import State
from privaudit.store.journal import Journal
from privaudit.store.score_units import pack_scores, score_schema, unpack_scores
from privaudit.store.unit_file import Schema, decoded, encoded, like
from privaudit.store.units import fit_schema
from privaudit.values import AttackScores
from privaudit_plugins.sparsifiers.dense import Dense

Make = Callable[..., Cohort]
PAIR = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor([True, False])}
SCHEMA = like("pair", PAIR)
KEY, OTHER = "ab" * 32, "ab" + "cd" * 31


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    kept = Journal(tmp_path / "units")
    kept.keep("pair", {KEY: PAIR, OTHER: {n: t.clone() for n, t in PAIR.items()}})
    return kept


def place(tmp_path: Path, key: str = KEY) -> Path:
    return tmp_path / "units" / key[:2] / f"{key}.unit"


def first_format(tensors: dict[str, Tensor]) -> bytes:
    body = safetensors.torch.save(tensors)
    return blake2b(body, digest_size=32).digest() + body


def write(content: bytes) -> Callable[[Path], object]:
    def change(path: Path) -> None:
        path.unlink(missing_ok=True)
        path.write_bytes(content)

    return change


def instead(make: Callable[[Path], object]) -> Callable[[Path], object]:
    def change(path: Path) -> None:
        path.unlink()
        make(path)

    return change


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "another unit's content": (
        lambda path: shutil.copy(path.with_name(f"{OTHER}.unit"), path),
        f"another unit, {OTHER}",
    ),
    "another key": (write(encoded(OTHER, "pair", PAIR)), f"another unit, {OTHER}"),
    "another schema": (write(encoded(KEY, "trio", PAIR)), "it holds 'trio', not 'pair'"),
    "a tensor too few": (write(encoded(KEY, "pair", {"a": PAIR["a"]})), "b is missing"),
    "a tensor too many": (
        write(encoded(KEY, "pair", PAIR | {"c": torch.zeros(1)})),
        "c is not of such a unit",
    ),
    "another shape": (
        write(encoded(KEY, "pair", PAIR | {"a": PAIR["a"].T.contiguous()})),
        r"a is \(3, 2\) torch.float32, not \(2, 3\)",
    ),
    "another dtype": (
        write(encoded(KEY, "pair", PAIR | {"a": PAIR["a"].double()})),
        "a is .* torch.float64",
    ),
    "no image": (write(blake2b(b"junk", digest_size=32).digest() + b"junk"), "cannot be decoded"),
    "a header without end": (
        write(blake2b(b"\xff" * 8, digest_size=32).digest() + b"\xff" * 8),
        "cannot be decoded",
    ),
    "more bytes than it can need": (lambda path: os.truncate(path, 2**33), "bytes, more than"),
    "a folder": (
        instead(lambda path: (path / "deeper").mkdir(parents=True)),
        "a folder, not a file",
    ),
    "a pipe": (instead(os.mkfifo), "a pipe, not a file"),
    "a link to nothing": (instead(lambda path: path.symlink_to("nowhere")), "a link to nothing"),
    "a link to itself": (instead(lambda path: path.symlink_to(path.name)), "cannot be read"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_not_the_unit_is_named_and_set_aside(
    tmp_path: Path, journal: Journal, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    change, reason = WRONG[case]
    for number in ("", ".2"):
        caplog.clear()
        change(place(tmp_path))
        assert journal.find(KEY, SCHEMA) is None
        [record] = caplog.records
        assert record.levelno == logging.WARNING
        aside = place(tmp_path).with_suffix(f".unit{number}.damaged")
        assert KEY in record.getMessage()
        assert str(aside) in record.getMessage()
        assert os.path.lexists(aside)
        assert re.search(reason, record.getMessage())
        journal.keep("pair", {KEY: PAIR})
        again = journal.find(KEY, SCHEMA)
        assert again is not None
        assert torch.equal(again["a"], PAIR["a"])
    assert len(caplog.records) == 1  # the second time nothing is lost of the first


def test_a_unit_that_cannot_be_set_aside_is_one_error_before_any_work(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(tmp_path).write_bytes(b"")

    def refused(path: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(StoreError, match=f"{KEY}.unit cannot be used, nor set aside: Permission"):
        journal.find(KEY, SCHEMA)


def test_a_read_error_of_the_disk_makes_the_unit_again(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def broken(path: Path, *rest: int) -> int:
        if str(path).endswith(f"{KEY}.unit"):
            raise OSError(5, "Input/output error")
        return opened(path, *rest)

    monkeypatch.setattr("privaudit.store.unit_file.os.open", broken)
    assert journal.find(KEY, SCHEMA) is None
    assert journal.find(OTHER, SCHEMA) is not None
    assert place(tmp_path).with_suffix(".unit.damaged").exists()


def test_what_lies_in_the_place_of_a_folder_of_units_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "units").mkdir()
    (tmp_path / "units" / "ab").write_text("mine")
    kept = Journal(tmp_path / "units")
    assert kept.find(KEY, SCHEMA) is None
    kept.prepare([KEY])
    kept.keep("pair", {KEY: PAIR})
    assert kept.find(KEY, SCHEMA) is not None
    assert (tmp_path / "units" / "ab.damaged").read_text() == "mine"


def test_nothing_is_trained_where_nothing_can_be_kept(make_cohort: Make, tmp_path: Path) -> None:
    (tmp_path / "units").write_text("a file")
    told: list[object] = []
    with pytest.raises(StoreError, match="is a file, not a folder"):
        make_cohort(journal=Journal(tmp_path / "units"), on_event=told.append).fit()
    assert len(told) == 1  # that a fit has begun; no epoch, no end


def test_a_unit_of_the_first_format_is_believed_where_it_fits(
    tmp_path: Path, journal: Journal
) -> None:
    write(first_format(PAIR))(place(tmp_path))
    unit = journal.find(KEY, SCHEMA)
    assert unit is not None
    assert torch.equal(unit["a"], PAIR["a"])
    _, label = decoded(place(tmp_path).read_bytes())
    assert label is not None
    assert label.key == KEY
    write(first_format({"a": PAIR["a"]}))(place(tmp_path))
    assert journal.find(KEY, SCHEMA) is None
    write(first_format(PAIR))(place(tmp_path))
    new = Schema("pair", SCHEMA.most, SCHEMA.problem, first_format=False)
    assert journal.find(KEY, new) is None


def test_a_unit_in_use_is_marked_once_a_day(tmp_path: Path, journal: Journal) -> None:
    path = place(tmp_path)
    now = path.stat().st_mtime
    for age, marked in ((3600, False), (2 * 24 * 3600, True)):
        os.utime(path, (now - age, now - age))
        journal.find(KEY, SCHEMA)
        assert (path.stat().st_mtime > now - 60) == marked


def test_units_of_fits_copied_over_one_another_are_made_again(
    make_cohort: Make, tmp_path: Path
) -> None:
    def trained() -> Cohort:
        cohort = make_cohort([20, 33], sparsifier=Dense(), journal=Journal(tmp_path))
        cohort.fit()
        return cohort

    whole = trained()
    first, second = sorted(tmp_path.rglob("*.unit"))
    shutil.copy(first, second)
    again = trained()
    assert [record.found for record in again.records] == [1]
    for one, other in zip(whole.states(), again.states(), strict=True):
        assert (one.flat - other.flat).abs().max() < 1e-12  # alone it is not stacked


def test_a_fit_has_its_best_state_whole_or_not_at_all() -> None:
    state = State(torch.zeros(1, 4), {"n": torch.zeros(1, 2)}, torch.zeros(1, 0), {})
    schema = fit_schema(state, 3)
    unit = {
        "history": torch.zeros(1, 3, 3, dtype=torch.float64),
        "best_epoch": torch.zeros(1, dtype=torch.int64),
        "last:flat": state.flat,
        "last:second": state.companion,
        "last:buffer:n": state.buffers["n"],
    }
    assert schema.problem(unit) == ""
    assert "best:" in schema.problem(unit | {"best:flat": state.flat})
    best = {n.replace("last", "best"): t for n, t in unit.items() if n.startswith("last")}
    assert schema.problem(unit | best) == ""
    assert "history" in schema.problem(unit | {"history": unit["history"][:, :2]})


def scores() -> AttackScores:
    one, flags = torch.rand(5, dtype=torch.float64), torch.tensor([True, False, True, True, False])
    variants = {"wide": AttackScores(one, flags), "7": AttackScores(-one.float(), offline=flags)}
    return AttackScores(one, flags, variants, ~flags, "a shadow of “theirs”", flags)


def test_scores_come_back_as_they_were() -> None:
    before = scores()
    after = unpack_scores(decoded(encoded(KEY, "scores", pack_scores(before)))[0])
    assert list(after.variants) == ["wide", "7"]
    pairs = [(before, after)]
    pairs += [(before.variants[name], after.variants[name]) for name in before.variants]
    for one, other in pairs:
        assert one.lacks == other.lacks
        for field in ("score", "decision", "left_out", "offline"):
            a, b = getattr(one, field), getattr(other, field)
            assert (a is None) == (b is None)
            assert a is None or (a.dtype == b.dtype and torch.equal(a, b))


def test_scores_that_the_contract_refuses_are_not_believed() -> None:
    def check(found: AttackScores) -> None:
        if bool(found.score.isnan().any()):
            raise StoreError("NaN")

    schema = score_schema(5, check)
    unit = pack_scores(scores())
    assert schema.problem(unit) == ""
    assert schema.problem(unit | {"score": torch.full((5,), torch.nan)}) == "NaN"
    assert schema.problem(unit | {"more": torch.zeros(1)})
    assert schema.problem({n: t for n, t in unit.items() if n != "text"})
    assert schema.problem(unit | {"text": torch.zeros(3, dtype=torch.uint8)})
    assert schema.problem({n: t for n, t in unit.items() if not n.startswith("1/")})
