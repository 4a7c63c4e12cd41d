from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision

from privaudit import Augmentation, DataError, Dataset
from privaudit_plugins.datasets.breast_cancer import BreastCancer
from privaudit_plugins.datasets.cifar10 import CIFAR10
from privaudit_plugins.datasets.cifar100 import CIFAR100
from privaudit_plugins.datasets.digits import Digits
from privaudit_plugins.datasets.digits_rows import DigitsRows


def test_digits_are_the_1797_of_scikit_learn(tmp_path: Path) -> None:
    digits = Digits().load(tmp_path)
    assert digits.x.shape == (1797, 1, 8, 8)
    assert digits.x.dtype == torch.uint8
    assert digits.x[0, 0, 0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]
    # class sizes as the data's own description gives them
    assert digits.y.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert digits.classes == tuple("0123456789")
    assert digits.augmentation is None


def test_digits_are_the_same_wherever_scikit_learn_has_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    near = Digits().load(tmp_path)
    monkeypatch.setattr("privaudit_plugins.datasets.digits.find_spec", lambda name: None)
    asked = Digits().load(tmp_path)
    assert torch.equal(near.x, asked.x)
    assert torch.equal(near.y, asked.y)


def test_digits_are_normalised_between_minus_one_and_one(tmp_path: Path) -> None:
    digits = Digits(crop=1).load(tmp_path)
    normalised = (digits.x - digits.mean) / digits.std
    assert normalised.min() == -1
    assert normalised.max() == 1
    assert digits.augmentation == Augmentation(flip=False, crop=1)


def test_digits_rows_are_the_rows_of_digits_from_above(tmp_path: Path) -> None:
    rows, digits = DigitsRows().load(tmp_path), Digits().load(tmp_path)
    assert rows.x.shape == (1797, 8, 8)
    assert rows.x[0, 0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]  # as in the file of scikit-learn
    assert rows.x[0, 1].tolist() == [0, 0, 13, 15, 10, 15, 5, 0]
    assert torch.equal(rows.y, digits.y)
    assert rows.augmentation is None
    normalised = (rows.x - rows.mean) / rows.std
    assert normalised.min() == -1
    assert normalised.max() == 1


def test_breast_cancer_has_569_standardised_records(tmp_path: Path) -> None:
    records = BreastCancer().load(tmp_path)
    assert records.x.shape == (569, 30)
    assert records.x.dtype == torch.float32
    assert records.classes == ("malignant", "benign")
    assert records.y.bincount().tolist() == [212, 357]  # the data's own description
    normalised = (records.x - records.mean) / records.std
    torch.testing.assert_close(normalised.mean(0), torch.zeros(30), rtol=0, atol=1e-4)
    torch.testing.assert_close(normalised.std(0, correction=0), torch.ones(30))


def _write_part(folder: Path, name: str, content: object) -> str:
    folder.mkdir(exist_ok=True)
    data = pickle.dumps(content)
    (folder / name).write_bytes(data)
    return hashlib.md5(data).hexdigest()


@pytest.fixture
def tiny_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CIFAR-10 as torchvision finds it on disk, with two images in each of its six batches."""
    source = torchvision.datasets.CIFAR10
    folder = tmp_path / source.base_folder
    parts: list[list[str]] = []
    for number, (name, _) in enumerate(source.train_list + source.test_list):
        pixels = np.full((2, 3072), number, np.uint8)
        pixels[:, :1024] = 10 * number  # the first 1024 numbers are the red channel
        pixels[:, 1] = 255
        parts.append([name, _write_part(folder, name, {"data": pixels, "labels": [number, 9]})])
    names = [f"class {number}" for number in range(10)]
    meta = _write_part(folder, "batches.meta", {"label_names": names})
    monkeypatch.setattr(source, "train_list", parts[:5])
    monkeypatch.setattr(source, "test_list", parts[5:])
    monkeypatch.setattr(source, "meta", {**source.meta, "md5": meta})
    return tmp_path


def test_cifar10_is_training_then_test_set(tiny_cifar10: Path) -> None:
    examples = CIFAR10().load(tiny_cifar10)
    assert examples.x.shape == (12, 3, 32, 32)
    assert examples.x.dtype == torch.uint8
    assert examples.x[:, 0, 5, 5].tolist() == [0, 0, 10, 10, 20, 20, 30, 30, 40, 40, 50, 50]
    assert examples.x[:, 2, 5, 5].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert examples.x[0, 0, 0, :3].tolist() == [0, 255, 0]  # rows of pixels, not columns
    assert examples.y.tolist() == [0, 9, 1, 9, 2, 9, 3, 9, 4, 9, 5, 9]
    assert examples.classes[3] == "class 3"
    assert examples.augmentation == Augmentation(flip=True, crop=4)
    torch.testing.assert_close(examples.mean.flatten(), torch.tensor([125.307, 122.961, 113.8575]))
    torch.testing.assert_close(examples.std.flatten(), torch.tensor([62.985, 62.0925, 66.708]))


def test_cifar100_has_fine_labels_and_its_own_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layout of its page, and the mean and deviation of its pixels that are published."""
    source = torchvision.datasets.CIFAR100
    folder = tmp_path / source.base_folder
    names = [f"fine {number}" for number in range(100)]
    for kind, start in (("train", 0), ("test", 3)):
        pixels = np.full((3, 3072), start, np.uint8)
        pixels[:, 2048:] = 100 + np.arange(3)[:, None]  # the last 1024 numbers are the blue channel
        labels = {"fine_labels": [start, 99, 50], "coarse_labels": [7, 7, 7]}
        checked = [[kind, _write_part(folder, kind, {"data": pixels, **labels})]]
        monkeypatch.setattr(source, f"{kind}_list", checked)
    meta = _write_part(folder, "meta", {"fine_label_names": names, "coarse_label_names": ["all"]})
    monkeypatch.setattr(source, "meta", {**source.meta, "md5": meta})
    examples = CIFAR100().load(tmp_path)
    assert examples.x.shape == (6, 3, 32, 32)
    assert examples.x[:, 2, 9, 9].tolist() == [100, 101, 102] * 2
    assert examples.x[:, 0, 0, 0].tolist() == [0, 0, 0, 3, 3, 3]
    assert examples.y.tolist() == [0, 99, 50, 3, 99, 50]
    assert examples.classes == tuple(names)
    mean, std = examples.mean.flatten() / 255, examples.std.flatten() / 255
    torch.testing.assert_close(mean, torch.tensor([0.5071, 0.4865, 0.4409]))
    torch.testing.assert_close(std, torch.tensor([0.2673, 0.2564, 0.2762]))


@pytest.mark.parametrize("dataset", [CIFAR10(), CIFAR100()])
def test_cifar_without_network_says_which_archive_goes_where(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unplugged(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", unplugged)
    with pytest.raises(DataError) as caught:
        dataset.load(tmp_path)
    message = str(caught.value)
    archive = {"cifar10": "cifar-10-python.tar.gz", "cifar100": "cifar-100-python.tar.gz"}
    assert f"{archive[dataset.name]} is not in {tmp_path}" in message
    assert f"https://www.cs.toronto.edu/~kriz/{archive[dataset.name]}" in message
    assert "no route to host" in message
    assert "\n" not in message


def test_cifar10_damaged_on_disk_is_not_read(
    tiny_cifar10: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unplugged(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", unplugged)
    batch = tiny_cifar10 / "cifar-10-batches-py" / "data_batch_3"
    batch.write_bytes(batch.read_bytes()[:-1])
    with pytest.raises(DataError, match="or not whole"):
        CIFAR10().load(tiny_cifar10)
