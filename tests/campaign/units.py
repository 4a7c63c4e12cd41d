"""Every kind of corruption of every kind of unit, and what the next run makes of it."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import blake2b
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from tests.campaign._case import Case
from tests.campaign._command import complaint, digits, privaudit

from privaudit.store.cache import contents, schema_of
from privaudit.store.unit_file import decoded, encoded

QUESTION = "is a damaged, exchanged or blocked unit of the cache named, and made again bit by bit?"

Corruption = Callable[[Path, Path, random.Random], None]
"""What it does to a unit, with another of the same kind at hand."""

# Each model has its steps for itself: made again alone, it is then the same bit by bit.
_TRAINING = {"epochs": 3, "lr": 0.01, "optimizer": "adam", "batch_size": 64, "stack": 1}
_KINDS: dict[str, dict[str, object]] = {
    "fit": {"sparsifiers": ["dense"]},
    "fit with its best state": {
        "sparsifiers": ["dense"],
        "split": {"members": 150, "validation": 40, "non_members": 150},
        "training": _TRAINING | {"epochs": 8, "lr": 0.3},
    },
    "matched": {"matched": True, "attacks": ["loss"]},
    "importance": {"defenses": ["cwrf"], "sparsifiers": ["dense"]},
    "scores": {"sparsifiers": ["dense"]},
}


def cases(seed: int) -> Iterator[Case]:
    """Every corruption of a unit of every kind, drawn anew for every seed."""
    for kind in _KINDS:
        for name, corrupt in _CORRUPTIONS.items():
            yield Case(f"{kind}: {name}", partial(_case, kind, corrupt, f"{seed} {kind} {name}"))


def _case(kind: str, corrupt: Corruption, seed: str, here: Path) -> str:
    digits(here, **{"training": _TRAINING, **_KINDS[kind]})  # type: ignore[arg-type]
    command = "run", "recipe.yaml", "--processes", "1", "--output"
    if problem := complaint(privaudit(*command, "whole", cwd=here), 0):
        return problem
    numbers = random.Random(seed)
    schema = kind.split()[0]
    chosen = [unit.path for unit in contents(here / "cache").units if schema_of(unit) == schema]
    if kind == "fit with its best state":
        chosen = [path for path in chosen if "best:flat" in decoded(path.read_bytes())[0]]
    if len(chosen) < 2:
        return f"the recipe makes {len(chosen)} units of the kind {kind}"
    path, other = numbers.sample(chosen, 2)
    before = path.read_bytes()
    corrupt(path, other, numbers)
    ran = privaudit(*command, "again", cwd=here)
    if problem := complaint(ran, 0):
        return problem
    if not _same(here / "whole", here / "again"):
        return "other numbers"
    said = "".join(ran.err.split())
    if path.stem not in said and f"{path.parent.name}.damaged" not in said:
        return f"the unit is not named: {ran.err[-300:]}"
    if not list((here / "cache").rglob("*.damaged")):
        return "nothing is set aside"
    if path.is_symlink() or not path.is_file() or path.read_bytes() != before:
        return "the unit is not made again"
    return complaint(privaudit("cache", "verify", cwd=here), 0)


def _same(one: Path, other: Path) -> bool:
    """Whether two runs have the same audits and the same scores, bit by bit."""
    texts = [json.loads((run / "result.json").read_text()) for run in (one, other)]
    for text in texts:
        for audit in text["audits"]:
            audit.pop("seconds", None)
    with np.load(one / "scores.npz") as a, np.load(other / "scores.npz") as b:
        if a.files != b.files or any(a[n].tobytes() != b[n].tobytes() for n in a.files):
            return False
    return bool(texts[0]["audits"] == texts[1]["audits"])


def _cut(share: float) -> Corruption:
    def corrupt(path: Path, other: Path, numbers: random.Random) -> None:
        os.truncate(path, int(path.stat().st_size * share))

    return corrupt


def _flip(low: float, high: float) -> Corruption:
    def corrupt(path: Path, other: Path, numbers: random.Random) -> None:
        content = bytearray(path.read_bytes())
        content[int(len(content) * numbers.uniform(low, high))] ^= 1 << numbers.randrange(8)
        path.write_bytes(content)

    return corrupt


def _instead(make: Callable[[Path], object]) -> Corruption:
    def corrupt(path: Path, other: Path, numbers: random.Random) -> None:
        path.unlink()
        make(path)

    return corrupt


def _written(content: Callable[[bytes, random.Random], bytes]) -> Corruption:
    def corrupt(path: Path, other: Path, numbers: random.Random) -> None:
        path.write_bytes(content(path.read_bytes(), numbers))

    return corrupt


def _changed(change: Callable[[torch.Tensor], torch.Tensor]) -> Corruption:
    """A valid unit under the right key whose tensors are others."""

    def corrupt(path: Path, other: Path, numbers: random.Random) -> None:
        tensors, label = decoded(path.read_bytes())
        assert label is not None
        changed = {name: change(tensor) for name, tensor in tensors.items()}
        path.write_bytes(encoded(path.stem, label.schema, changed))

    return corrupt


def _copied(one: Path, other: Path) -> None:
    other.write_bytes(one.read_bytes())


def _renamed(path: Path, other: Path, numbers: random.Random) -> None:
    tensors, label = decoded(path.read_bytes())
    assert label is not None
    changed = {f"x{name}": tensor for name, tensor in tensors.items()}
    path.write_bytes(encoded(path.stem, label.schema, changed))


def _other_key(path: Path, other: Path, numbers: random.Random) -> None:
    tensors, label = decoded(path.read_bytes())
    assert label is not None
    path.write_bytes(encoded("0" * 64, label.schema, tensors))


def _other_schema(path: Path, other: Path, numbers: random.Random) -> None:
    path.write_bytes(encoded(path.stem, "other", decoded(path.read_bytes())[0]))


def _stale(path: Path, other: Path, numbers: random.Random) -> None:
    """NaN in place of every number, under the old checksum."""
    tensors, label = decoded(path.read_bytes())
    assert label is not None
    nan = {n: t * torch.nan if t.is_floating_point() else t for n, t in tensors.items()}
    path.write_bytes(path.read_bytes()[:32] + encoded(path.stem, label.schema, nan)[32:])


def _first_format(path: Path, other: Path, numbers: random.Random) -> None:
    """A unit that does not say what it is, and does not fit."""
    body = safetensors.torch.save({"history": torch.zeros(1, 2)})
    path.write_bytes(_sealed(body))


def _sealed(body: bytes) -> bytes:
    return blake2b(body, digest_size=32).digest() + body


def _folder_in_place_of_its_folder(path: Path, other: Path, numbers: random.Random) -> None:
    shutil.rmtree(path.parent)
    path.parent.write_bytes(b"a file where a folder of units was")


def _behind_a_link(path: Path, other: Path, numbers: random.Random) -> None:
    path.unlink()
    path.symlink_to(other if other != path else "/dev/null")


_CORRUPTIONS: dict[str, Corruption] = {
    **{f"cut at {share:.0%}": _cut(share) for share in (0, 0.001, 0.01, 0.1, 0.5, 0.9, 0.999)},
    "a bit of the checksum": _flip(0, 0.004),
    "a bit of the header": _flip(0.01, 0.03),
    "a bit of the tensors": _flip(0.5, 0.9),
    "a bit near the end": _flip(0.99, 0.999),
    "bytes behind the end": _written(lambda content, numbers: content + b"\0" * 100),
    "zeros": _written(lambda content, numbers: bytes(len(content))),
    "garbage": _written(lambda content, numbers: numbers.randbytes(len(content))),
    "garbage, sealed": _written(lambda content, numbers: _sealed(numbers.randbytes(5000))),
    "a header of 10^18 bytes, sealed": _written(
        lambda content, numbers: _sealed(struct.pack("<Q", 10**18) + content[40:])
    ),
    "a tensor of 10^15 rows, sealed": _written(
        lambda content, numbers: _sealed(
            (head := b'{"a":{"dtype":"F32","shape":[1000000000000000],"data_offsets":[0,4]}}')
            and struct.pack("<Q", len(head)) + head + bytes(4)
        )
    ),
    "8 GiB of nothing": lambda path, other, numbers: os.truncate(path, 2**33),
    "another unit": lambda path, other, numbers: _copied(other, path),
    "another key, sealed": _other_key,
    "another schema, sealed": _other_schema,
    "other names, sealed": _renamed,
    "other shapes, sealed": _changed(lambda tensor: tensor[None].contiguous()),
    "other dtypes, sealed": _changed(lambda tensor: tensor.to(torch.int16)),
    "NaN under the old checksum": _stale,
    "of the first format, and other": _first_format,
    "a folder": _instead(lambda path: (path / "deeper").mkdir(parents=True)),
    "a pipe": _instead(os.mkfifo),
    "a link to nothing": _instead(lambda path: path.symlink_to("nowhere")),
    "a link to itself": _instead(lambda path: path.symlink_to(path.name)),
    "a link to another unit": _behind_a_link,
    "a link to a device": _instead(lambda path: path.symlink_to("/dev/zero")),
    "a file where its folder was": _folder_in_place_of_its_folder,
}
