"""Archives: whatever is wrong with a file is one line, and nothing in it is run."""

from __future__ import annotations

import ast
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privaudit.errors import DataError
from privaudit.readers import npz
from privaudit.readers.npz import read_examples, read_npz


class Trap:
    """Fails the test when it is unpickled."""

    def __reduce__(self) -> Any:
        return pytest.fail, ("something was unpickled",)


def archive(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


WHOLE = archive(x=np.arange(12.0).reshape(6, 2), y=np.arange(6) % 2)


def test_only_what_is_chosen_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(archive(x=np.arange(3), trap=np.array([Trap()])))
    asked: list[str] = []

    def choose(names: list[str]) -> list[str]:
        asked.extend(names)
        return ["x"]

    arrays = read_npz(path, choose)
    assert sorted(asked) == ["trap", "x"]
    assert list(arrays) == ["x"]
    assert arrays["x"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("content", ["array", "archive"])
def test_nothing_is_unpickled(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.npz"
    trap = np.array([Trap()])
    if content == "array":
        with path.open("wb") as file:
            np.save(file, trap)
    else:
        path.write_bytes(archive(x=trap))
    with pytest.raises(DataError, match=f"^{path}: holds Python objects"):
        read_npz(path, lambda names: names)


def test_one_array_is_no_archive(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(3))
    with pytest.raises(DataError, match=r"a\.npy: holds one array: make an archive with np.savez"):
        read_npz(tmp_path / "a.npy", lambda names: names)


def test_a_folder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    for path, why in (
        (tmp_path, "it is a folder, not a file"),
        (tmp_path / "b", "No such file or directory"),
    ):
        with pytest.raises(DataError, match=f"^{path}: cannot be read: {why}$"):
            read_npz(path, lambda names: names)


@given(st.data())
def test_damage_is_told_in_a_line_or_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    damaged = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(0, 3))):
        damaged[data.draw(st.integers(0, len(WHOLE) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "a.npz"
    path.write_bytes(damaged[: data.draw(st.integers(0, len(WHOLE)) | st.just(len(WHOLE)))])
    told, whole = "", None
    try:
        whole = read_examples(path)
    except DataError as error:
        told = str(error)
    if whole is None:
        assert told.startswith(f"{path}: ")
        assert len(told.splitlines()) == 1
    else:  # zip files hold a checksum of each array
        assert whole[0].tolist() == [[2 * row, 2 * row + 1] for row in range(6)]
        assert whole[1] == ["0", "1"] * 3


def test_names_that_cannot_be_printed_are_spelled_out(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(archive(**{"x\n\x1b[31m": np.arange(3)}))
    with pytest.raises(DataError, match=r"it holds 'x\\n\\x1b\[31m': save the examples as x"):
        read_examples(path)


def test_readers_lean_on_nothing_above_them() -> None:
    floor = {"privaudit.errors", "privaudit.values", "privaudit.messages", "privaudit.jobs.memory"}
    for path in Path(npz.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("privaudit"):
                assert node.module in floor or (node.module or "").startswith("privaudit.readers.")
