"""One door for input: what is no file is refused at once, and sizes are asked before content."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from privaudit.api.plugin import Attack, Model
from privaudit.errors import DataError, PluginError, RecipeError
from privaudit.networks.bounded import within_memory
from privaudit.readers.budget import limited_to
from privaudit.readers.door import content, exists, kind, located, opened
from privaudit.readers.npz import read_examples
from privaudit.recipe import load_recipe

RECIPE = "name: x\ndataset: digits\nmodel: {name: mlp, hidden: [4]}\nattacks: [loss]\n"


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_pipe, "it is a pipe, not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "it is a device, not a file"),
        (_loop, "Too many levels of symbolic links"),
        (lambda path: path.mkdir(), "it is a folder, not a file"),
        (lambda path: None, "No such file or directory"),
    ],
)
def test_only_files_are_read(tmp_path: Path, make: Callable[[Path], None], reason: str) -> None:
    path = tmp_path / "a"
    make(path)
    with pytest.raises(DataError, match=f"^{path}: cannot be read: {reason}$"):
        content(path, 10)


def test_what_the_system_refuses_is_a_line_of_the_error_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not exists(tmp_path / "file" / "inside")
    assert kind(tmp_path) == "folder"
    with pytest.raises(RecipeError, match="File name too long"):
        exists("x" * 300, RecipeError)
    with pytest.raises(PluginError, match=r"^a\\x00: cannot be read: its name holds"):
        exists("a\0", PluginError)
    with pytest.raises(PluginError, match="cannot be read"):
        located("~nobody-of-this-name/x", PluginError)
    with opened(tmp_path / "file") as file:
        assert not os.get_inheritable(file.fileno())


def test_no_more_is_read_than_the_limit(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert content(tmp_path / "a", 5) == b"12345"
    with pytest.raises(DataError, match="is larger than 4 bytes, which no key is"):
        content(tmp_path / "a", 4, what="key")


def _claiming(shape: str, dtype: str, body: bytes, header: int | None = None) -> bytes:
    """An array as NumPy's format 2.0 writes it (NEP 1), with a shape that need not be true."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    size = len(text) if header is None else header
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", size) + text + body


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (_claiming("(1000000000000000, 2)", "<f8", bytes(64)), "there are 64 bytes of it"),
        (_claiming("(1000000000000000,)", "<U0", b""), "is damaged"),
        (_claiming("(-4, -2)", "<f8", bytes(64)), "is damaged"),
        (_claiming("(4, 2)", "<f8", bytes(64), 2**32 - 1), "the header of x is damaged"),
        (_claiming("(65536, 2048)", "|u1", bytes(1 << 27)), "takes 256 MiB of memory"),
    ],
)
def test_what_an_array_claims_is_checked_before_it_is_read(
    tmp_path: Path, x: bytes, said: str
) -> None:
    path, labels = tmp_path / "a.npz", io.BytesIO()
    np.save(labels, np.arange(4))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("x.npy", x)
        archive.writestr("y.npy", labels.getvalue())
    with limited_to(1 << 27), pytest.raises(DataError) as told:
        read_examples(path)
    assert str(told.value).startswith(f"{path}: ")
    assert said in str(told.value)


def test_text_that_is_no_character_is_damage(tmp_path: Path) -> None:
    labels = np.array([2**30, 2**30], "<u4").view("<U1")
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 2)), y=labels)
    with pytest.raises(DataError, match="y is damaged"):
        read_examples(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("training={schedule: cosinus, milestones: [3]}", "training.schedule: must be"),
        ("training.batch_size=9223372036854775808", "training.batch_size: must be at most"),
        ('name="\\U00110000"', "is not valid YAML"),
        ('name="\\uD800"', "is not valid YAML"),
        ("plugins=['\0.py']", "special characters are not allowed"),
    ],
)
def test_nonsense_is_told_in_lines(tmp_path: Path, change: str, said: str) -> None:
    (tmp_path / "x.yaml").write_text(RECIPE)
    with pytest.raises(RecipeError) as told:
        load_recipe(tmp_path / "x.yaml", [change])
    assert any(said in line for line in told.value.problems)
    assert all(line.isprintable() for line in told.value.problems)


def test_thousands_of_mistakes_take_no_time_and_few_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("".join(f"k{i}: 1\n" for i in range(20_000)) + RECIPE)
    with pytest.raises(RecipeError) as told:
        load_recipe(path)
    assert len(told.value.problems) == 101
    assert told.value.problems[-1] == f"{path}: and 19,900 more"


def test_options_are_finite() -> None:
    class Some(Attack):
        name: str = "some"
        weight: float = 1.0

    for value in (float("inf"), float("nan")):
        with pytest.raises(ValidationError):
            Some(weight=value)


def test_a_network_that_does_not_fit_is_refused_before_it_is_made() -> None:
    model = Model(name="wide")
    torch.manual_seed(0)
    plain = torch.nn.Linear(30, 20)
    torch.manual_seed(0)
    with limited_to(1 << 20), within_memory(model):
        bounded = torch.nn.Linear(30, 20)
    assert torch.equal(plain.weight, bounded.weight)
    with (
        limited_to(1 << 20),
        pytest.raises(DataError, match=r"model 'wide' .* takes 4 MiB or more for its weights"),
        within_memory(model),
    ):
        torch.nn.Linear(1024, 1024)
