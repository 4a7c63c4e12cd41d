"""Files of data made to harm, and photographs that a camera was turned for."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from privaudit.errors import DataError
from privaudit.readers.budget import limited_to
from privaudit_plugins.datasets.image_folder import ImageFolder
from privaudit_plugins.datasets.table import Table


def _refused(path: Path, memory: int, said: str, **options: object) -> None:
    with limited_to(memory), pytest.raises(DataError) as told:
        Table.model_validate({"path": path, **options}).load(path.parent)
    assert str(told.value).startswith(f"{path}")
    assert said in str(told.value)
    assert str(told.value).isprintable()


def test_what_a_file_inflates_to_is_counted_first(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.xz"
    path.write_bytes(lzma.compress(b"label,a\n" + b"0,1\n" * 1_000_000))
    assert path.stat().st_size < 10_000
    _refused(path, 1 << 24, "inflates to more than")


def test_categories_are_counted_before_they_are_encoded(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("label,a\n" + "".join(f"{i % 2},v{i}\n" for i in range(3000)))
    _refused(path, 1 << 24, "to encode the 3,000 values of column 'a'", categorical=["a"])


def test_a_million_columns_and_one_twice_are_seen_at_once(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(",".join(f"c{i}" for i in range(300_000)) + ",c7\n1\n")
    _refused(path, 1 << 34, "two columns are named 'c7'")


def test_control_characters_of_a_header_are_spelled_out(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a\x1b[31m,b\n1,2\n")
    _refused(path, 1 << 34, "its columns are a\\x1b[31m, b")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_they_say(tmp_path: Path, orientation: int) -> None:
    """As Pillow's own exif_transpose turns them."""
    pixels = np.random.default_rng(0).integers(0, 255, (4, 6, 3), np.uint8)
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for label in "ab":
        (tmp_path / "images" / label).mkdir(parents=True)
        image.save(tmp_path / "images" / label / "0.png", exif=exif)
    x = ImageFolder(path=tmp_path / "images").load(tmp_path).x
    with Image.open(tmp_path / "images" / "a" / "0.png") as saved:
        expected = np.asarray(ImageOps.exif_transpose(saved))
    assert x[0].permute(1, 2, 0).numpy().tolist() == expected.tolist()
    assert (x.shape[2] == 6) == (orientation >= 5)
