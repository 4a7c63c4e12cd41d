from __future__ import annotations

import os
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from privaudit import Augmentation, DataError, Examples
from privaudit_plugins.datasets import _images, image_folder
from privaudit_plugins.datasets.image_folder import ImageFolder

ARCHIVE = Path(__file__).parents[2].parent / "shared" / "data" / "cifar10-jpeg.tar.xz"


def save(path: Path, value: object = 0, mode: str = "RGB", size: tuple[int, int] = (6, 4)) -> Path:
    """An image of one colour, (width, height) pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)  # type: ignore[arg-type]
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes, of three and two images."""
    for number, name in enumerate(
        ["cat/b.png", "cat/a.bmp", "dog/d.png", "cat/c.gif", "dog/e.ppm"]
    ):
        save(tmp_path / "pets" / name, (number, 10 * number, 100))
    return tmp_path / "pets"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each decoding took."""
    counts: list[int] = []
    decode = _images.decode_images

    def counting(files: Sequence[str], size: int | None) -> Tensor:
        counts.append(len(files))
        return decode(files, size)

    monkeypatch.setattr(image_folder, "decode_images", counting)
    return counts


def load(folder: Path, **options: object) -> Examples:
    dataset = ImageFolder.model_validate({"path": folder, **options})
    return dataset.load(folder.parent / "cache")


def test_images_come_sorted_by_path_with_their_pixels(folder: Path) -> None:
    examples = load(folder)
    assert examples.x.shape == (5, 3, 4, 6)
    assert examples.x.dtype == torch.uint8
    assert examples.x[:, :, 3, 5].tolist() == [
        [1, 10, 100], [0, 0, 100], [3, 30, 100], [2, 20, 100], [4, 40, 100],
    ]  # fmt: skip
    assert examples.y.tolist() == [0, 0, 0, 1, 1]
    assert examples.classes == ("cat", "dog")
    assert examples.augmentation == Augmentation(flip=True, crop=4)
    assert examples.mean.flatten().tolist() == [2, 20, 100]
    # the blue channel is constant: divided by 1
    torch.testing.assert_close(examples.std.flatten(), torch.tensor([2**0.5, 200**0.5, 1]))


def test_rows_and_columns_of_an_image_are_kept(folder: Path) -> None:
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    Image.fromarray(pixels).save(folder / "cat" / "a.bmp")
    assert load(folder).x[0, 1].tolist() == pixels[:, :, 1].tolist()


def test_train_and_test_are_merged(tmp_path: Path) -> None:
    for number, name in enumerate(["train/10/b.png", "train/9/a.png", "test/10/c.png"]):
        save(tmp_path / "both" / name, (number, 0, 0))
    examples = load(tmp_path / "both")
    assert examples.classes == ("9", "10")  # by value
    assert examples.x[:, 0, 0, 0].tolist() == [2, 0, 1]  # test/ sorts before train/
    assert examples.y.tolist() == [1, 1, 0]


def test_hidden_files_and_files_beside_the_classes_are_left_out(folder: Path) -> None:
    (folder / "cat" / ".DS_Store").write_bytes(b"?")
    (folder / ".git").mkdir()
    (folder / "README.md").write_text("pets")
    assert len(load(folder)) == 5


def test_greyscale_stays_one_channel_and_a_mixture_becomes_rgb(tmp_path: Path) -> None:
    save(tmp_path / "grey" / "a" / "1.png", 7, "L")
    save(tmp_path / "grey" / "b" / "2.png", 1, "1")
    assert load(tmp_path / "grey").x[:, :, 0, 0].tolist() == [[7], [255]]
    save(tmp_path / "grey" / "b" / "3.png", (1, 2, 3, 0), "RGBA")
    mixed = load(tmp_path / "grey").x[:, :, 0, 0].tolist()
    assert mixed == [[7, 7, 7], [255, 255, 255], [1, 2, 3]]


def test_size_scales_and_crops_the_centre(tmp_path: Path) -> None:
    pixels = np.zeros((8, 32, 3), np.uint8)
    pixels[:, 8:24] = 200  # the centre square, and what the filter sees beside it
    (tmp_path / "wide" / "a").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "wide" / "a" / "1.png")
    save(tmp_path / "wide" / "b" / "2.png", (9, 9, 9), size=(3, 5))
    examples = load(tmp_path / "wide", size=4)
    assert examples.x.shape == (2, 3, 4, 4)
    assert (examples.x[0] == 200).all()
    assert (examples.x[1] == 9).all()


def test_limit_takes_equally_many_of_each_class_evenly_spaced(tmp_path: Path) -> None:
    for label, count in (("a", 10), ("b", 6), ("c", 1)):
        for number in range(count):
            save(tmp_path / "many" / label / f"{number}.png", number, "L")
    examples = load(tmp_path / "many", limit=9)  # three of each, where there are three
    assert examples.y.tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert examples.x[:, 0, 0, 0].tolist() == [0, 3, 6, 0, 2, 4, 0]
    assert len(load(tmp_path / "many", limit=17)) == 17
    with pytest.raises(DataError, match=r"limit 2 leaves nothing .* 3 classes .* at least 3"):
        load(tmp_path / "many", limit=2)


def test_images_are_decoded_once(folder: Path, decoded: list[int]) -> None:
    first, again = load(folder), load(folder, flip=False, crop=0)
    assert decoded == [5]
    assert torch.equal(first.x, again.x)
    assert again.augmentation == Augmentation()
    load(folder, limit=4)
    load(folder, size=2)
    assert decoded == [5, 4, 5]
    load(folder)  # the others have files of their own
    assert decoded == [5, 4, 5]


def test_a_replaced_image_is_decoded_again(folder: Path, decoded: list[int]) -> None:
    load(folder)
    before = (folder / "cat" / "a.bmp").stat()
    save(folder / "cat" / "a.bmp", (77, 0, 0))
    os.utime(folder / "cat" / "a.bmp", ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert load(folder).x[0, 0, 0, 0] == 77
    assert decoded == [5, 5]
    assert len(list((folder.parent / "cache").iterdir())) == 1  # the old copy is gone


@pytest.mark.parametrize("damage", ["flipped", "truncated", "emptied"])
def test_a_damaged_cache_is_named_and_redone(
    folder: Path, decoded: list[int], damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = load(folder).x
    (file,) = (folder.parent / "cache").iterdir()
    content = file.read_bytes()
    flipped = content[:-1] + bytes([content[-1] ^ 1])  # one bit of the last pixel
    file.write_bytes({"flipped": flipped, "truncated": content[:-9], "emptied": b""}[damage])
    assert torch.equal(load(folder).x, whole)
    assert decoded == [5, 5]
    assert f"{file} is damaged" in caplog.text
    assert torch.equal(load(folder).x, whole)
    assert decoded == [5, 5]


def test_a_cache_that_cannot_be_written_only_warns(
    folder: Path, decoded: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    (folder.parent / "cache").write_text("a file where the folder should be")
    assert len(load(folder)) == len(load(folder)) == 5
    assert decoded == [5, 5]
    assert f"not kept: {folder.parent / 'cache'} is a file" in caplog.text


def test_images_of_different_sizes_are_named(folder: Path) -> None:
    odd = save(folder / "dog" / "odd.png", size=(8, 4))
    message = rf"{folder}/cat/a.bmp is 6×4 and {odd} is 8×4; give `size`"
    with pytest.raises(DataError, match=message):
        load(folder)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"])
def test_what_is_not_an_image_is_named(folder: Path, content: bytes) -> None:
    bad = folder / "dog" / "bad.png"
    bad.write_bytes(content)
    with pytest.raises(DataError, match=f"{bad}: not an image that Pillow can read") as caught:
        load(folder)
    assert "BufferedReader" not in str(caught.value)


def test_parts_that_are_merged_are_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    load(folder)
    assert not caplog.records
    both = folder.parent / "both"
    for part in ("train", "test"):
        (both / part).mkdir(parents=True)
        for name in ("cat", "dog"):
            save(both / part / name / "a.png")
    load(both)
    assert caplog.messages == [
        f"{both}: test/ and train/ are taken together: name one of them in path to take it alone"
    ]
    caplog.clear()
    load(both / "train")
    assert not caplog.records


def test_a_truncated_image_is_named(folder: Path) -> None:
    noise = np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "dog" / "cut.jpg")
    cut = folder / "dog" / "cut.jpg"
    cut.write_bytes(cut.read_bytes()[:2000])
    with pytest.raises(DataError, match=f"{cut}: not an image that Pillow can read .*truncated"):
        load(folder, size=4)


def test_an_image_of_sixteen_bits_is_refused(folder: Path) -> None:
    deep = save(folder / "dog" / "deep.png", 3000, "I;16")
    with pytest.raises(DataError, match=f"{deep}: holds more than 8 bits a pixel"):
        load(folder)


def test_folders_that_hold_no_dataset_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{tmp_path}/none: no such folder"):
        load(tmp_path / "none")
    (tmp_path / "bare").mkdir()
    with pytest.raises(DataError, match=r"bare holds no class folders"):
        load(tmp_path / "bare")
    save(tmp_path / "one" / "cat" / "1.png")
    with pytest.raises(DataError, match="one holds one class folder only, 'cat'"):
        load(tmp_path / "one")
    (tmp_path / "one" / "dog").mkdir()
    with pytest.raises(DataError, match="one/dog: a class folder without images"):
        load(tmp_path / "one")
    save(tmp_path / "one" / "dog" / "small" / "2.png")
    with pytest.raises(DataError, match="one/dog/small is a folder within a class"):
        load(tmp_path / "one")


def test_a_path_may_start_at_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.setenv("USERPROFILE", str(folder.parent))
    assert len(ImageFolder(path=Path("~/pets")).load(folder.parent / "cache")) == 5


@pytest.mark.skipif(not ARCHIVE.exists(), reason=f"the JPEG archive is not at {ARCHIVE}")
def test_real_photographs_are_read(tmp_path: Path) -> None:
    counts: dict[str, int] = {}
    with tarfile.open(ARCHIVE, "r|xz") as archive:
        for member in archive:
            label = Path(member.name).parent.name
            if member.isfile() and counts.setdefault(label, 0) < 6:
                counts[label] += 1
                archive.extract(member, tmp_path / "cifar", filter="data")
            if list(counts.values()) == [6, 6]:
                break
    examples = load(tmp_path / "cifar")
    assert examples.x.shape == (12, 3, 32, 32)
    assert examples.classes == tuple(sorted(counts))
    assert ((examples.mean > 60) & (examples.mean < 200)).all()
    assert ((examples.std > 30) & (examples.std < 100)).all()


def test_train_val_and_test_are_merged_and_what_systems_leave_behind_is_not(folder: Path) -> None:
    for number, part in enumerate(("train", "val", "test")):
        for label in ("cat", "dog"):
            save(folder.parent / "parts" / part / label / "1.png", (number, 0, 0))
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._1.png"):
        (folder.parent / "parts" / "val" / "cat" / name).write_bytes(b"no image")
    for name in ("__MACOSX", "@eaDir", ".ipynb_checkpoints"):
        (folder.parent / "parts" / name).mkdir()
        (folder.parent / "parts" / "train" / "cat" / name).mkdir()
    examples = load(folder.parent / "parts")
    assert examples.names == (
        "test/cat/1.png", "test/dog/1.png", "train/cat/1.png", "train/dog/1.png",
        "val/cat/1.png", "val/dog/1.png",
    )  # fmt: skip
    assert examples.x[:, 0, 0, 0].tolist() == [2, 2, 0, 0, 1, 1]
    (folder.parent / "parts" / "val" / "cat" / "notes.db").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"notes\.db: not an image"):
        load(folder.parent / "parts")


def test_names_go_with_the_images_that_a_limit_leaves(folder: Path) -> None:
    assert load(folder).names == ("cat/a.bmp", "cat/b.png", "cat/c.gif", "dog/d.png", "dog/e.ppm")
    few = load(folder, limit=2)
    assert few.names is not None
    assert [name[:3] for name in few.names] == ["cat", "dog"]
    whole = dict(zip(load(folder).names or (), load(folder).x, strict=True))
    assert all(torch.equal(whole[n], x) for n, x in zip(few.names, few.x, strict=True))


def test_a_class_may_be_empty_where_all_are_listed(folder: Path) -> None:
    (folder / "bird").mkdir()
    with pytest.raises(DataError, match=r"bird: a class folder without images: .*`classes`"):
        load(folder)
    examples = load(folder, classes=["dog", "bird", "cat", "fish"])
    assert examples.classes == ("dog", "bird", "cat", "fish")
    assert examples.y.tolist() == [2, 2, 2, 0, 0]
    for classes, message in (
        (["dog", "cat"], "holds the folder 'bird', which is none of `classes`"),
        (["dog", "cat", "bird", "cat"], "none of them twice"),
    ):
        with pytest.raises(DataError, match=message):
            load(folder, classes=classes)


def test_one_class_spelled_in_two_ways_is_refused(folder: Path) -> None:
    save(folder / "Cat" / "z.png")
    with pytest.raises(DataError, match="the classes 'Cat' and 'cat' look like one"):
        load(folder)


def test_without_classes_it_is_written_as_before(folder: Path) -> None:
    written = ImageFolder.model_validate({"path": folder}).model_dump(mode="json")
    assert "classes" not in written
