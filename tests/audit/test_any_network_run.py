"""Networks that people bring, through whole runs: trained, made sparse, attacked, exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

import privaudit
from privaudit.api.host import Plugins, load_plugins

SUPPORT = Path(__file__).parents[1] / "support" / "brought_networks.py"


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Plugins:
    file = tmp_path_factory.mktemp("plugin") / "brought_networks.py"
    provide = "\n\n@privaudit.hookimpl\ndef privaudit_provide():\n    return [Brought]\n"
    file.write_text(SUPPORT.read_text() + "\nimport privaudit\n" + provide)
    return load_plugins(files=[file])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, dict[str, str]]:
    """180 digits, and the same in three colours, which a CPU holds with their channels last."""
    folder = tmp_path_factory.mktemp("data")
    digits = load_digits()
    images, y = digits.images[:180].astype("uint8"), digits.target[:180]
    np.savez(folder / "grey.npz", x=images[:, None], y=y)
    np.savez(folder / "colours.npz", x=np.stack([images, 16 - images, images // 2], 1), y=y)
    names = {False: "grey", True: "colours"}
    return {
        coloured: {"name": "arrays", "path": str(folder / f"{name}.npz")}
        for coloured, name in names.items()
    }


def recipe(dataset: Any, which: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": which,
        "dataset": dataset,
        "split": {"members": 40, "non_members": 40},
        "model": {"name": "brought", "which": which},
        "training": {"epochs": 2, "batch_size": 16},
        "sparsifiers": [{"name": "imp", "rounds": 1}],
        "attacks": ["loss"] if which == "fixed" else ["loss", "gradient_norm"],
    } | changes


@pytest.mark.parametrize(
    ("which", "coloured"),
    [("view", True), ("fixed", False), ("gru", False), ("encoder", False), ("object", False)],
)
def test_a_whole_run(
    plugins: Plugins,
    data: dict[bool, dict[str, str]],
    tmp_path: Path,
    which: str,
    coloured: bool,
) -> None:
    loaded = privaudit.load_recipe(recipe(data[coloured], which), plugins=plugins)
    result = privaudit.run(
        loaded, tmp_path / "run", plugins=plugins, cache=tmp_path / "cache", device="cpu"
    )
    assert len(result.audits) == 2 * len(loaded.attacks)
    for audit in result.audits:
        assert audit.multiply_adds is not None
        assert audit.multiply_adds > 100
        assert audit.seconds is not None
    again = privaudit.load_recipe(recipe(data[coloured], which, name="again"), plugins=plugins)
    other = privaudit.run(
        again, tmp_path / "again", plugins=plugins, cache=tmp_path / "cache", device="cpu"
    )
    assert other.audits == result.audits


@pytest.mark.parametrize("changes", [{"defenses": ["dp_sgd"]}, {"attacks": ["gradient_norm"]}])
def test_a_fixed_batch_and_gradients_of_single_examples_do_not_go_together(
    plugins: Plugins, tmp_path: Path, changes: dict[str, Any]
) -> None:
    loaded = privaudit.load_recipe(recipe("digits", "fixed", **changes), plugins=plugins)
    with pytest.raises(privaudit.PluginError, match=r"takes batches of 16 examples only.*any size"):
        privaudit.run(
            loaded, tmp_path / "run", plugins=plugins, cache=tmp_path / "cache", device="cpu"
        )
