"""One contract for every installed plugin, and every plugin module an entry point."""

import socket
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from privaudit.api.host import Provided, load_plugins
from privaudit.errors import DataError
from privaudit.testing import check_plugin

ROOT = Path(__file__).parents[2]
INSTALLED = load_plugins()


def image_folder(folder: Path) -> dict[str, object]:
    generator = torch.Generator().manual_seed(0)
    for number in range(6):
        pixels = torch.randint(0, 256, (8, 8, 3), dtype=torch.uint8, generator=generator)
        path = folder / ("cat" if number % 2 else "dog") / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels.numpy()).save(path)
    return {"path": str(folder)}


def table(folder: Path) -> dict[str, object]:
    rows = [f"{number},{number % 3},{'yes' if number % 2 else 'no'}" for number in range(12)]
    (folder / "table.csv").write_text("\n".join(["height,width,label", *rows]))
    return {"path": str(folder / "table.csv"), "label_column": "label"}


def arrays(folder: Path) -> dict[str, object]:
    x = np.random.default_rng(0).normal(size=(12, 5, 3))
    np.savez(folder / "series.npz", x=x, y=np.arange(12) % 2)
    return {"path": str(folder / "series.npz")}


def hub(folder: Path) -> dict[str, object]:
    pytest.skip("tests/plugins/test_hub.py holds it to the contract, with files of its own")


# Options without a default, and what keeps a long script short.
OPTIONS: dict[str, Callable[[Path], dict[str, object]]] = {
    "image_folder": image_folder,
    "table": table,
    "arrays": arrays,
    "hub": hub,
    "imp": lambda folder: {"rounds": 2},
    "static_mask": lambda folder: {"weights": {"hidden.weight": [[1, 0], [0, 1]]}},
    **dict.fromkeys(("admm", "admm_nn"), lambda folder: {"every": 1}),
    **dict.fromkeys(("resnet18", "vgg16_bn"), lambda folder: {"width": 8}),
    "torchvision": lambda folder: {"architecture": "resnet18"},
    "timm": lambda folder: {"architecture": "test_resnet"},
    "memguard": lambda folder: {"epochs": 2, "iterations": 20},
    **dict.fromkeys(("nn", "nn_cls", "nn_top3", "samia", "compleak"), lambda folder: {"epochs": 2}),
}


@pytest.mark.parametrize("provided", INSTALLED.provided, ids=lambda p: f"{p.kind}-{p.name}")
def test_every_installed_plugin_keeps_the_contract(
    provided: Provided, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if provided.name == "timm":
        pytest.importorskip("timm", reason="pip install 'privaudit[timm]'")
    asked: list[object] = []

    def no_network(*address: object, **options: object) -> None:
        asked.append(address)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    options: dict[str, Any] = OPTIONS[provided.name](tmp_path) if provided.name in OPTIONS else {}
    try:
        check_plugin(provided.cls, **options)
    except DataError as error:
        if provided.kind != "dataset" or not asked:
            raise
        pytest.skip(f"needs a download: {error}")


def test_every_plugin_of_privaudit_itself_loads() -> None:
    own = [str(problem) for problem in INSTALLED.problems if "of privaudit " in str(problem)]
    assert own == []


def test_every_plugin_module_is_an_entry_point_of_its_own_name() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        entry_points = tomllib.load(file)["project"]["entry-points"]["privaudit"]
    source = ROOT / "plugins"
    modules = {
        path.stem: ".".join(path.relative_to(source).with_suffix("").parts)
        for path in source.rglob("*.py")
        if not path.stem.startswith("_")
    }
    assert entry_points == modules
    own = {each.cls.__module__ for each in INSTALLED.provided if each.distribution == "privaudit"}
    assert own == set(modules.values())
