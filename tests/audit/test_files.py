from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from privaudit.errors import StoreError
from privaudit.store.files import TEMPORARY, private_folder, write_many, write_whole


def test_a_file_is_written_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "scores.npz"
    write_whole(path, b"members")
    assert path.read_bytes() == b"members"
    assert path.stat().st_mode & 0o777 == 0o600
    write_whole(path, b"new", mode=0o640)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "result.json"
    write_whole(path, b"old")

    def fail(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(StoreError, match=r"cannot write .*result\.json: No space left") as caught:
        write_whole(path, b"new")
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_data_is_on_disk_before_the_name_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        steps.append("folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "data")
        fsync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    write_many((tmp_path / name, b"x") for name in "abc")
    assert steps == ["data"] * 3 + ["rename"] * 3 + ["folder"]


def test_none_of_many_files_appears_when_one_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"missing.*No such file"):
        write_many([(tmp_path / "a", b"a"), (tmp_path / "missing" / "b", b"b")])
    assert list(tmp_path.iterdir()) == []


def test_a_process_killed_while_writing_leaves_whole_files(tmp_path: Path) -> None:
    path = tmp_path / "unit"
    contents = {bytes([letter]) * 1_000_000 for letter in b"ab"}
    script = (
        "import sys; from pathlib import Path; from privaudit.store.files import write_whole\n"
        "while True:\n"
        "    for letter in b'ab': write_whole(Path(sys.argv[1]), bytes([letter]) * 1_000_000)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(path)])
    try:
        deadline = time.monotonic() + 30
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert path.read_bytes() in contents
    assert all(each == path or each.name.startswith(TEMPORARY) for each in tmp_path.iterdir())


def test_a_private_folder_is_entered_by_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "digits-1a2b"
    private_folder(folder)
    private_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert list(folder.iterdir()) == []


def test_a_file_is_refused_as_a_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(StoreError, match="is a file, not a folder"):
        private_folder(tmp_path / "run")
    with pytest.raises(StoreError, match="run is a file"):
        private_folder(tmp_path / "run" / "below")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="Permission denied"):
        private_folder(tmp_path)


def test_a_folder_on_a_full_disk_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", fail)
    with pytest.raises(StoreError, match="No space left"):
        private_folder(tmp_path / "run")
