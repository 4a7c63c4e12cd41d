"""Small data of every kind, and what can happen to it after a run has finished."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

FEATURES, CLASSES = 6, 3
KINDS = ("table", "arrays", "image_folder", "target")


class Home:
    """A folder with recipe.yaml and the data that it names.

    Args:
        folder: an empty one.
        kind: of the data: a dataset's name, or "target" for a given network and its tables.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        self.draw = np.random.default_rng(7)
        recipe: dict[str, Any] = {
            "name": "changing",
            "model": {"name": "mlp", "hidden": [8]},
            "training": {"epochs": 2, "batch_size": 16, "lr": 0.05},
            "split": {"members": 30, "non_members": 30},
            "shadows": 2,
            "attacks": ["loss"],
        }
        if kind == "target":
            self._target(recipe)
        elif kind == "image_folder":
            recipe["dataset"] = {"name": kind, "path": "data", "crop": 0}
            for number in range(150):
                self.image(number, number % CLASSES)
        elif kind == "arrays":
            recipe["dataset"] = {"name": kind, "path": "data.npz"}
            self.arrays(*self.examples(150))
        else:
            recipe["dataset"] = {"name": kind, "path": "data.csv"}
            self.table("data", *self.examples(150))
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))

    def examples(self, count: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Features (count, 6) about the label, and labels."""
        y = np.arange(count) % CLASSES
        return (y[:, None] + self.draw.normal(size=(count, FEATURES))).astype(np.float32), y

    def table(self, name: str, x: NDArray[Any], y: NDArray[Any]) -> None:
        """Write a CSV."""
        with (self.folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*(f"f{i}" for i in range(FEATURES)), "label"])
            writer.writerows(
                [*map(repr, row.tolist()), f"c{label}"] for row, label in zip(x, y, strict=True)
            )

    def arrays(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        """Write an npz."""
        np.savez(self.folder / "data.npz", x=x, y=y)

    def image(self, number: int, label: int) -> None:
        """Write an image."""
        path = self.folder / "data" / f"c{label}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = self.draw.integers(0, 80, (8, 8, 3)) + 60 * label
        Image.fromarray(pixels.astype(np.uint8)).save(path)

    def _target(self, recipe: dict[str, Any]) -> None:
        tables = {"members": self.examples(30), "others": self.examples(36)}
        tables["own"] = self.examples(150)
        for name, table in tables.items():
            self.table(name, *table)
        self.own, (x, y) = tables["own"][0].astype(np.float64), tables["members"]
        self.train(x, y)
        recipe["dataset"], members, others = (
            {"name": "table", "path": f"{name}.csv"} for name in ("own", "members", "others")
        )
        del recipe["split"]
        recipe["target"] = {
            "checkpoint": "target.safetensors", "members": members, "non_members": others,
        }  # fmt: skip

    def train(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        """Write the weights of a network that knows examples by heart."""
        torch.manual_seed(0)
        network = nn.Sequential()
        network.add_module("hidden1", nn.Linear(FEATURES, 8))
        network.add_module("relu1", nn.ReLU())
        network.add_module("output", nn.Linear(8, CLASSES))
        inputs: Tensor = torch.from_numpy((x - self.own.mean(0)) / self.own.std(0)).float()
        optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
        for _ in range(100):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(inputs), torch.from_numpy(y))
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        save_file(network.state_dict(), self.folder / "target.safetensors")

    def lines(self, name: str, change: Callable[[list[str]], list[str]]) -> None:
        """Change the rows of a CSV."""
        path = self.folder / f"{name}.csv"
        header, *rows = path.read_text().splitlines()
        path.write_text("\n".join([header, *change(rows)]) + "\n")


def _relabelled(row: str) -> str:
    return row[:-1] + str((int(row[-1]) + 1) % CLASSES)


def _table_renamed(home: Home) -> None:
    path = home.folder / "data.csv"
    path.write_text(path.read_text().replace("f0", "renamed", 1))


def _touched(home: Home) -> None:
    path = home.folder / "data.csv"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


def _other_image(home: Home) -> None:
    home.image(0, 0)


def _moved_image(home: Home) -> None:
    shutil.move(home.folder / "data" / "c0" / "000.png", home.folder / "data" / "c1")


Change = tuple[Callable[[Home], object], bool]
"""What happens, and whether it changes the examples."""

CHANGES: dict[str, dict[str, Change]] = {
    "table": {
        "other rows": (lambda home: home.table("data", *home.examples(150)), True),
        "more rows": (lambda home: home.table("data", *home.examples(160)), True),
        "a row fewer": (lambda home: home.lines("data", lambda rows: rows[:-1]), True),
        "a row twice": (lambda home: home.lines("data", lambda rows: [*rows, rows[0]]), True),
        "another order": (lambda home: home.lines("data", lambda rows: rows[::-1]), True),
        "one other label": (
            lambda home: home.lines("data", lambda rows: [_relabelled(rows[0]), *rows[1:]]), True,
        ),
        "one other number": (
            lambda home: home.lines("data", lambda rows: ["9" + rows[0].lstrip("-"), *rows[1:]]),
            True,
        ),
        "another class name": (
            lambda home: home.lines("data", lambda rows: [r.replace("c2", "d2") for r in rows]),
            True,
        ),
        "written anew": (_touched, False),
        "a column renamed": (_table_renamed, False),
    },
    "arrays": {
        "other examples": (lambda home: home.arrays(*home.examples(150)), True),
        "fewer": (lambda home: home.arrays(*home.examples(140)), True),
    },
    "image_folder": {
        "another image": (_other_image, True),
        "one in another class": (_moved_image, True),
        "one more": (lambda home: home.image(150, 0), True),
        "one fewer": (lambda home: (home.folder / "data" / "c0" / "000.png").unlink(), True),
    },
    "target": {
        "other non-members": (lambda home: home.table("others", *home.examples(36)), True),
        "fewer non-members": (lambda home: home.lines("others", lambda rows: rows[:-3]), True),
        "fewer members": (lambda home: home.lines("members", lambda rows: rows[:-1]), True),
        "another order of members": (lambda home: home.lines("members", lambda r: r[::-1]), True),
        "other data of the attacker": (lambda home: home.table("own", *home.examples(150)), True),
        "another checkpoint": (lambda home: home.train(*home.examples(30)), False),
    },
}  # fmt: skip
