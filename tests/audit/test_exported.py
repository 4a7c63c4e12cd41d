"""torch.export files of strangers: what is in them is looked at before torch loads any of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import torch
from torch import Tensor, nn

from privaudit.experiment.exported import load_exported

Program = dict[str, Any]


class Branching(nn.Module):
    """A network with what exported ones hold besides layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            scaled = x / x.flatten(1).std(1)[:, None, None, None]
        hidden = self.norm(self.conv(scaled)).relu().mean((2, 3))
        hidden = hidden.reshape(x.shape[0], 2, 2).flatten(1)
        return torch.einsum("bi,ji->bj", hidden, self.head.weight)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return Branching().eval()


@pytest.fixture(scope="module")
def exported(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "a.pt2"
    shapes = ({0: torch.export.Dim("batch", max=1000)},)
    program = torch.export.export(network, (torch.randn(7, 1, 8, 8),), dynamic_shapes=shapes)
    torch.export.save(program, path)
    return path


def test_a_network_is_what_it_was(network: nn.Module, exported: Path) -> None:
    program = load_exported(exported).module()
    for count in (1, 2, 9):
        x = torch.randn(count, 1, 8, 8)
        assert torch.allclose(program(x), network(x), atol=1e-6)


def changed(exported: Path, path: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    """The file with other entries."""
    with ZipFile(exported) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    change(parts)
    with ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return path


def program(change: Callable[[Program], object]) -> Callable[[dict[str, bytes]], None]:
    """A change to what an archive says about its graph."""

    def make(parts: dict[str, bytes]) -> None:
        (name,) = (name for name in parts if "/models/" in name)
        said = json.loads(parts[name])
        change(said)
        parts[name] = json.dumps(said).encode()

    return make


def graph(said: Program) -> Program:
    made: Program = said["graph_module"]["graph"]
    return made


def text(replacement: str, *, where: str) -> Callable[[dict[str, bytes]], None]:
    """Put code in the place of a word, wherever it stands as a whole string."""

    def make(parts: dict[str, bytes]) -> None:
        (name,) = (name for name in parts if "/models/" in name)
        old = json.dumps(where).encode()
        assert old in parts[name]
        parts[name] = parts[name].replace(old, json.dumps(replacement).encode())

    return make


EVIL = "__import__('os').mkdir('executed')"


def size(parts: dict[str, bytes]) -> None:
    """Code in the place of the number of examples."""
    (name,) = (name for name in parts if "/models/" in name)
    found = re.search(rb'"expr_str": ("Symbol[^"]*")', parts[name])
    assert found
    parts[name] = parts[name].replace(found[1], json.dumps(EVIL).encode())


def _constants(entry: str, path_name: str) -> Callable[[dict[str, bytes]], None]:
    """A pickle among the constants, under a name of its own."""

    def make(parts: dict[str, bytes]) -> None:
        (name,) = (name for name in parts if name.endswith("model_constants_config.json"))
        payload = {"path_name": path_name, "is_param": False, "use_pickle": True}
        payload["tensor_meta"] = None
        parts[name] = json.dumps({"config": {"evil": payload}}).encode()
        # os.mkdir("executed"), as pickle writes a call
        pickled = b"cposix\nmkdir\n(S'executed'\ntR."
        parts[name.replace("model_constants_config.json", entry)] = pickled

    return make


HOSTILE: dict[str, tuple[Callable[[dict[str, bytes]], object], str]] = {
    "size": (size, "no arithmetic"),
    "call": (
        program(lambda p: graph(p)["nodes"][0].update(target="torch.serialization.os.mkdir")),
        "calls torch.serialization.os.mkdir",
    ),
    "library": (
        program(lambda p: graph(p)["nodes"][0].update(target="torch.ops.load_library")),
        "calls torch.ops.load_library",
    ),
    "file": (
        program(lambda p: graph(p)["nodes"][0].update(target="torch.ops.aten.from_file.default")),
        "calls torch.ops.aten.from_file.default",
    ),
    "caller": (
        program(lambda p: graph(p)["nodes"][0].update(target="_operator.methodcaller")),
        "calls _operator.methodcaller",
    ),
    "attribute": (
        program(lambda p: graph(p)["nodes"][0].update(target="torch.ops.aten.conv2d.__class__")),
        "which is no operator",
    ),
    "argument": (text(f"x={EVIL}", where="x"), "no code may hold"),
    "weight": (text(f'a"),{EVIL},("', where="head.weight"), "no code may hold"),
    "signature": (
        program(
            lambda p: p["graph_module"]["module_call_graph"][0]["signature"].update(
                forward_arg_names=[f"x={EVIL}"]
            )
        ),
        "no code may hold",
    ),
    "structure": (
        program(
            lambda p: p["graph_module"]["module_call_graph"][0]["signature"].update(
                in_spec=json.dumps(
                    [
                        1,
                        {
                            "type": "collections.defaultdict",
                            "context": json.dumps({"default_factory_module": "this"}),
                            "children_spec": [],
                        },
                    ]
                )
            )
        ),
        "takes or gives a collections.defaultdict",
    ),
    "opaque": (_constants("opaque_obj_0", "opaque_obj_0"), "pickled objects or machine code"),
    "in capitals": (_constants("OPAQUE_obj_0", "opaque_obj_0"), "pickled objects"),
    "elsewhere": (_constants("x_0", "opaque_obj_0/../x_0"), "pickled objects"),
    "two in one": (
        lambda parts: parts.update(
            {name.upper(): b"" for name in list(parts) if "model.json" in name}
        ),
        "can be read in two ways",
    ),
    "machine code": (
        lambda parts: parts.update({"a/data/aotinductor/m/x.so": b""}),
        "machine code",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_could_run_code_is_refused(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    change, message = HOSTILE[case]
    monkeypatch.chdir(tmp_path)
    path = changed(exported, tmp_path / "a.pt2", change)
    with pytest.raises(ValueError, match=message):
        load_exported(path)
    assert not (tmp_path / "executed").exists()


def test_guards_are_never_run(exported: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    change = program(lambda p: p.update(guards_code=[EVIL]))
    made = load_exported(changed(exported, tmp_path / "a.pt2", change)).module()
    made(torch.randn(3, 1, 8, 8))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("case", ["size", "argument", "guards", "in capitals", "opaque"])
def test_torch_alone_runs_it(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """So the files above are what they seem to be; where torch has mended one, it is skipped."""
    monkeypatch.chdir(tmp_path)
    guards = program(lambda p: p.update(guards_code=[EVIL]))
    path = changed(exported, tmp_path / "a.pt2", HOSTILE[case][0] if case in HOSTILE else guards)
    with suppress(Exception):
        torch.export.load(path).module()(torch.randn(3, 1, 8, 8))
    if not (tmp_path / "executed").exists():
        pytest.skip(f"torch {torch.__version__} does not run it any more")
