"""Files of data with their bytes changed: told in a line, or what they were."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import safetensors.torch
import torch
from PIL import Image
from tests.campaign._case import Case

from privaudit.errors import PrivauditError
from privaudit.experiment.checkpoint import Checkpoint
from privaudit.outputs.files import read_files
from privaudit_plugins.datasets.arrays import Arrays
from privaudit_plugins.datasets.image_folder import ImageFolder
from privaudit_plugins.datasets.table import Table
from privaudit_plugins.models.mlp import MLP

QUESTION = "Is every damaged file of data refused in one plain line, or read as something whole?"

_BLOCKS, _SIZE = 100, 100
_SECONDS = 10.0
_TEXTS = (
    b"\x00", b"\xff", b"\n", b"\r", b'"', b",", b"nan", b"inf", b"1e999", b"\x1b[31m",
    b"\xe2\x80\xae",
    b"PK\x01\x02", b"PK\x05\x06", b"\x93NUMPY", b"(1000000000000000,)", b"'|O'", b"-1", b"9" * 30,
    b"\xff\xff\xff\xff\xff\xff\xff\x7f", b"IHDR", b"IDAT", b"\xff\xd8", b"{}", b'"F64"',
)  # fmt: skip

_CSV = "label,a,b,city\n" + "".join(f"{i % 3},{i / 7},{i},{'xyz'[i % 3]}\n" for i in range(60))


def _npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def _stored(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _picture(form: str, mode: str) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (9, 7, 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(file, form)
    return file.getvalue()


@lru_cache(maxsize=1)
def _whole() -> dict[str, bytes]:
    """Files that are right, by name."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(30, 4)), np.arange(30) % 3
    audit = {
        "logits": random.normal(size=(30, 3)), "labels": y, "members": np.arange(30) % 2 == 0,
    }  # fmt: skip
    network = MLP(hidden=(5,)).build((4,), 3)
    return {
        "t.csv": _CSV.encode(),
        "t.csv.gz": gzip.compress(_CSV.encode(), mtime=0),
        "t.csv.xz": lzma.compress(_CSV.encode()),
        "t.csv.bz2": bz2.compress(_CSV.encode()),
        "t.npz": _npz(x=x, y=y),
        "stored.npz": _stored(x=x, y=y),
        "text.npz": _stored(x=x.astype(np.float32), y=y.astype(str)),
        "a.npz": _stored(**audit),
        "b.npz": _npz(**audit),
        "i.png": _picture("PNG", "RGB"),
        "p.png": _picture("PNG", "P"),
        "i.jpg": _picture("JPEG", "RGB"),
        "i.gif": _picture("GIF", "P"),
        "i.tiff": _picture("TIFF", "RGB"),
        "i.webp": _picture("WEBP", "RGB"),
        "i.bmp": _picture("BMP", "L"),
        "m.safetensors": safetensors.torch.save(network.state_dict()),
    }


def _table(path: Path) -> None:
    Table(path=path, categorical=("city",)).load(path.parent)


def _images(path: Path) -> None:
    ImageFolder(path=path.parent.parent).load(path.parents[2])


def _weights(path: Path) -> None:
    Checkpoint(path=str(path), model=MLP(hidden=(5,)), device="cpu").build((4,), 3)


def _arrays(path: Path) -> None:
    Arrays(path=path).load(path.parent)


def _reader(name: str) -> Callable[[Path], object]:
    if ".csv" in name:
        return _table
    if name in ("a.npz", "b.npz"):
        return lambda path: read_files([path])
    if name.endswith(".npz"):
        return _arrays
    return _weights if name.endswith(".safetensors") else _images


def _damaged(random: Random, content: bytes) -> bytes:
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        at = random.randrange(len(data) + 1)
        change = random.randrange(6)
        if change == 0:
            del data[at:]
        elif change == 1:
            data[at:at] = random.choice(_TEXTS)
        elif change == 2:
            data[at : at + 8] = random.choice(_TEXTS)[:8]
        elif change == 3:
            other = random.choice(list(_whole().values()))
            data[at:at] = other[random.randrange(len(other)) :][:200]
        else:
            at = random.randrange(min(len(data), 200) or 1) if random.randrange(2) else at
            data[at : at + 1] = bytes([random.randrange(256)])
    return bytes(data)


def _rewritten(random: Random, content: bytes) -> bytes:
    """An archive whose checksums are right around members that are not."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w") as new:
        for info in old.infolist():
            member = old.read(info)
            new.writestr(info.filename, _damaged(random, member) if random.randrange(2) else member)
    return file.getvalue()


def wrong(read: Callable[[Path], object], path: Path) -> str:
    """What is wrong with how one file is taken; "" where nothing is."""
    started = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(path)
    except PrivauditError as error:
        if not str(error).isprintable():
            return f"a message of more than a line: {error!r}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    seconds = time.process_time() - started
    return f"takes {seconds:.1f} s" if seconds > _SECONDS else ""


def _block(seed: int, folder: Path) -> str:
    random = Random(seed)
    torch.set_num_threads(1)
    whole = _whole()
    for number in range(_SIZE):
        name = random.choice(list(whole))
        content = whole[name]
        again = name.endswith(".npz") and random.randrange(2)
        inner = folder / str(number)
        path = inner / "a" / name
        for part in ("a", "b"):
            (inner / part).mkdir(parents=True)
        (inner / "b" / "whole.png").write_bytes(whole["i.png"])
        path.write_bytes((_rewritten if again else _damaged)(random, content))
        if said := wrong(_reader(name), path):
            return f"file {number} of seed {seed}, {name}: {said[:300]}"
    return ""


def cases(seed: int) -> Iterator[Case]:
    """10,000 files, 100 a case."""
    for block in range(_BLOCKS):
        yield Case(f"inputs {block:02}", partial(_block, seed * _BLOCKS + block), _SIZE)
