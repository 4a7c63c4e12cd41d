"""Files made to harm: bombs, pipes, devices, lies about sizes, and programs in disguise."""

from __future__ import annotations

import io
import lzma
import os
import socket
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from tests.campaign._case import Case, apart
from tests.campaign._command import complaint, digits, privaudit

QUESTION = "Is every hostile file refused in plain lines, within 30 s, 3 GiB and unexecuted?"

_SECONDS = 30.0
_MEMORY = 3 << 30


@dataclass
class _Trap:
    """Leaves a mark when it is unpickled."""

    marker: Path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.marker),)


def _header(shape: str, dtype: str = "<f8", length: int | None = None) -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    size = len(text) if length is None else length
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", size) + text


def _archive(path: Path, x: bytes, *, mib_of_zeros: int = 0) -> None:
    """An archive whose member x begins with some bytes and goes on with zeros."""
    labels = io.BytesIO()
    np.save(labels, np.arange(4) % 2)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("y.npy", labels.getvalue())
        with archive.open("x.npy", "w", force_zip64=True) as member:
            member.write(x)
            for _ in range(mib_of_zeros):
                member.write(bytes(1 << 20))


def _encrypted(path: Path) -> None:
    np.savez(path, x=np.zeros((4, 2)), y=np.arange(4) % 2)
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := data.find(mark, at + 1)) >= 0:
            data[at + offset] |= 1
    path.write_bytes(data)


def _pickled(path: Path) -> None:
    np.savez(path, x=np.array([_Trap(path.parent / "executed")], object), y=np.arange(1))


def _unending(path: Path) -> None:
    with lzma.open(path, "wb") as file:
        file.write(b"label,a\n")
        for _ in range(4096):
            file.write(b"0,1\n" * (1 << 18))
            if path.stat().st_size > 300_000:
                break


def _categories(path: Path) -> None:
    rows = "".join(f"{i % 2},v{i}\n" for i in range(30_000))
    path.write_text(f"label,a\n{rows}")


def _columns(path: Path) -> None:
    names = ",".join(f"c{i}" for i in range(1_000_000))
    path.write_text(f"{names}\n{'0,' * 10}\n")


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket may have a hundred characters only
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _memory(path: Path) -> None:
    path.symlink_to("/proc/self/mem")


def _locked(path: Path) -> None:
    path.write_text("x")
    path.chmod(0)


_ANY: dict[str, Callable[[Path], object]] = {
    "pipe": _pipe, "socket": _socket, "endless device": _zeros, "loop of links": _loop,
    "memory of a process": _memory, "folder": Path.mkdir,
    "empty": lambda path: path.write_bytes(b"") and None, "nothing": lambda path: None,
    "random bytes": lambda path: path.write_bytes(bytes(range(256)) * 99) and None,
    **({"no permission": _locked} if os.geteuid() else {}),
}  # fmt: skip
"""What may stand where a file should."""

_NPZ: dict[str, Callable[[Path], object]] = {
    "4 GiB of zeros": lambda p: _archive(p, _header(f"({1 << 16}, {1 << 13})"), mib_of_zeros=4096),
    "10^15 rows": lambda p: _archive(p, _header("(1000000000000000, 2)")),
    "10^15 texts of no length": lambda p: _archive(p, _header("(1000000000000000,)", "<U0")),
    "negative rows": lambda p: _archive(p, _header("(-1, 2)")),
    "2^80 rows": lambda p: _archive(p, _header(f"({1 << 80}, 0)")),
    "header of 4 GiB": lambda p: _archive(p, _header("(4, 2)", length=2**32 - 1), mib_of_zeros=64),
    "deep header": lambda p: _archive(p, _header("(" * 9000)),
    "encrypted": _encrypted,
    "pickle": _pickled,
}
_CSV: dict[str, tuple[str, Callable[[Path], object]]] = {
    "no end": ("t.csv.xz", _unending),
    "30,000 categories": ("t.csv", _categories),
    "10^6 columns": ("t.csv", _columns),
    "one long line": ("t.csv", lambda p: p.write_bytes(b"label,a\n" + b"1" * (1 << 27)) and None),
    "not compressed": ("t.csv.gz", lambda p: p.write_bytes(b"label,a\n0,1\n") and None),
    "not bzip2": ("t.csv.bz2", lambda p: p.write_bytes(b"BZh9" + bytes(99)) and None),
    "control characters": ("t.csv", lambda p: p.write_bytes(b"label,\x1b[31m\n0,x\n") and None),
}
_RECIPES: dict[str, bytes] = {
    "no character": b'name: "\\U00110000"\n',
    "half a character": b'name: "\\uD800"\n',
    "60,000 unknown keys": b"name: x\n" + b"".join(b"k%d: 1\n" % i for i in range(60_000)),
    "bomb": b"".join(
        b"a%d: &a%d [%s]\n" % (i, i, b",".join([b"*a%d" % (i - 1)] * 9) if i else b"0")
        for i in range(12)
    ),
    "deep": b"[" * 100_000,
    "NUL": b"name: \x00",
    "object": b"name: !!python/object/apply:os.mkdir [executed]\n",
}
_SETS = (
    "training.batch_size=9223372036854775808", "training.lr=.inf", "training.lr=.nan",
    "model.hidden=[1000000000]", "model.hidden=[9223372036854775808]", 'name="\\U00110000"',
    "training={schedule: cosinus, milestones: [3]}", "sparsifiers=[{name: l1, weight: .inf}]",
    "seeds=[-1]", "shadows=1e99", "shadows=1000000000", "split.members=.nan", "plugins=['\x01.py']",
    "dataset.name=\x1b[31m",
)  # fmt: skip


def _told(folder: Path, *arguments: str | Path, free: bool = False) -> str:
    """What is wrong with how a command refuses; "" where nothing is."""
    ran = privaudit(*arguments, cwd=folder, seconds=_SECONDS, memory=None if free else _MEMORY)
    if said := complaint(ran, 1, 2):
        return said
    if (folder / "executed").exists():
        return "what the file holds was executed"
    unprintable = [c for c in ran.err if c != "\n" and not c.isprintable()]
    return f"characters reach the terminal: {unprintable[:3]}" if unprintable else ""


def _set(change: str, folder: Path) -> str:
    return _told(folder, "run", digits(folder), "--set", change)


def _dataset(name: str, file: str, make: Callable[[Path], object], folder: Path) -> str:
    make(folder / file)
    dataset: dict[str, object] = {"name": name, "path": str(folder / file)}
    if file == "t.csv" and make is _categories:
        dataset["categorical"] = ["a"]
    return _told(folder, "run", digits(folder, dataset=dataset))


def _audit(make: Callable[[Path], object], folder: Path) -> str:
    make(folder / "a.npz")
    return _told(folder, "audit", "a.npz")


def _recipe(make: Callable[[Path], object], command: str, folder: Path) -> str:
    make(folder / "r.yaml")
    return _told(folder, command, "r.yaml")


def _plugin(make: Callable[[Path], object], folder: Path) -> str:
    make(folder / "p.py")
    return _told(folder, "validate", digits(folder), "--plugin", "p.py")


def _checkpoint(ending: str, make: Callable[[Path], object], folder: Path) -> str:
    make(folder / f"m{ending}")
    target = {
        "checkpoint": f"m{ending}", "members": "digits", "non_members": "digits",
        "normalise": "dataset",
    }  # fmt: skip
    return _told(folder, "run", digits(folder, target=target, sparsifiers=["dense"]))


def _image(make: Callable[[Path], object], folder: Path) -> str:
    for label in "ab":
        (folder / "images" / label).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(folder / "images" / label / "whole.png")
    make(folder / "images" / "a" / "hostile.png")
    dataset = {"name": "image_folder", "path": str(folder / "images"), "size": 4}
    return _told(folder, "run", digits(folder, dataset=dataset))


def _wide(path: Path) -> None:
    Image.new("1", (1, 1)).save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    path.write_bytes(data)


def _long_header(path: Path) -> None:
    path.write_bytes(struct.pack("<Q", 2**63) + b"{}")


def _torch_pickle(path: Path) -> None:
    import torch

    torch.save({"x": _Trap(path.parent / "executed")}, path)


def _pickle_in_a_program(path: Path) -> None:
    """A torch.export file, whole but for a pickle where its example inputs are."""
    import torch
    from torch import nn

    def export() -> None:
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
        sizes = ({0: torch.export.Dim("batch")},)
        program = torch.export.export(network, (torch.zeros(7, 1, 8, 8),), dynamic_shapes=sizes)
        torch.export.save(program, path)

    apart(export)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    pickled = io.BytesIO()
    torch.save(_Trap(path.parent / "executed"), pickled)
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, pickled.getvalue() if name.endswith(".pt") else part)


def cases(seed: int) -> Iterator[Case]:
    """The gallery; the seed chooses nothing."""
    for what, make in _ANY.items():
        for name, file in (("table", "t.csv"), ("table", "t.csv.gz"), ("arrays", "t.npz")):
            yield Case(f"{file}: {what}", partial(_dataset, name, file, make))
        yield Case(f"audit: {what}", partial(_audit, make))
        for command in ("validate", "run", "export", "report"):
            yield Case(f"{command}: {what}", partial(_recipe, make, command))
        if what != "empty":  # a file without plugins is a file of Python
            yield Case(f"plugin: {what}", partial(_plugin, make))
        for ending in (".safetensors", ".pt", ".pt2"):
            yield Case(f"target {ending}: {what}", partial(_checkpoint, ending, make))
        if what not in ("nothing", "folder"):
            yield Case(f"image: {what}", partial(_image, make))
    for what, make in _NPZ.items():
        yield Case(f"npz: {what}", partial(_dataset, "arrays", "t.npz", make))
    for what, (file, make) in _CSV.items():
        yield Case(f"csv: {what}", partial(_dataset, "table", file, make))
    for what, content in _RECIPES.items():
        write = partial(lambda content, path: path.write_bytes(content) and None, content)
        for command in ("validate", "run"):
            yield Case(f"{command}: {what}", partial(_recipe, write, command))
    for change in _SETS:
        yield Case(
            f"--set {change!r}",
            partial(_set, change),
        )
    yield Case("image: 60,000 x 60,000 pixels", partial(_image, _wide))
    yield Case("target: a header of 2^63 bytes", partial(_checkpoint, ".safetensors", _long_header))
    for ending in (".pt", ".pt2"):
        yield Case(f"target {ending}: pickle", partial(_checkpoint, ending, _torch_pickle))
    yield Case("target .pt2: a pickle inside", partial(_checkpoint, ".pt2", _pickle_in_a_program))
    for path in ("a\x01b.yaml", "x" * 300 + ".yaml", "~nobody-here/x.yaml", "r.yaml/x"):
        yield Case(f"validate {path[:20]!r}", partial(_path, path))


def _path(path: str, folder: Path) -> str:
    digits(folder, "r.yaml")
    return _told(folder, "validate", path) or _told(
        folder, "validate", "r.yaml", "--plugin", path.replace(".yaml", ".py")
    )
