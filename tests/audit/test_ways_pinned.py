"""The way that every built-in model takes: speed is not given away unseen."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from privaudit import Examples, Role, Training, load_plugins, overrides
from privaudit.cohort import Cohort
from privaudit.values import Augmentation

PLUGINS = load_plugins()

WAY = {
    "mlp": "chain",
    "cnn": "chain",
    "resnet20": "vmapped",
    "resnet18": "vmapped",
    "vgg16_bn": "vmapped",
    "densenet40": "vmapped",
    "vit_tiny": "vmapped",
    "rnn": "vmapped",
    "gru": "vmapped",
    "lstm": "vmapped",
}
SMALLER: dict[str, dict[str, int]] = {
    "vgg16_bn": {"width": 4},
    "resnet18": {"width": 4},
    "densenet40": {"depth": 10},
    "vit_tiny": {"width": 12, "depth": 2},
}
SPARSIFIERS = {
    "butterfly": "vmapped",
    "monarch": "vmapped",
    "block_circulant": "vmapped",
    "dense": "chain",
    "snip": "chain",
    "synflow": "chain",
    "magnitude_at_init": "chain",
    "random_at_init": "chain",
    "fine_pruning": "chain",
}
DEFENSES = {
    "relaxloss": "chain",
    "ccl": "chain",
    "label_smoothing": "chain",
    "confidence_penalty": "chain",
    "hamp": "chain",
    "early_stopping": "chain",
    "ppb": "chain",
    "none": "chain",
    "memguard": "chain",
    "min_max": "vmapped",
    "mixup": "vmapped",
    "dp_sgd": "vmapped",
    "cwrf": "chain",
}


def way_of(
    model: str, size: int, *, sparsifier: str = "dense", defense: str = "none", **options: Any
) -> str:
    count = 24
    pixels = torch.randint(
        0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(0)
    )
    examples = Examples(
        pixels.to(torch.uint8),
        torch.arange(count) % 4,
        tuple("abcd"),
        torch.tensor(128.0),
        torch.tensor(64.0),
        Augmentation(flip=True, crop=2),
    )
    role = torch.full((2, count), int(Role.MEMBER), dtype=torch.uint8)
    role[:, 16:] = int(Role.REFERENCE)
    chosen: dict[str, Any] = {
        kind: PLUGINS.get(kind, name)(**SMALLER.get(name, {}))
        for kind, name in (("model", model), ("sparsifier", sparsifier), ("defense", defense))
    }
    cohort = Cohort(
        examples,
        role,
        torch.tensor([1, 2]),
        training=Training(epochs=1, batch_size=4, **options),
        **chosen,
    )
    tune = chosen["defense"].during == "tune"
    fit = cohort._fit(tune, None, {})
    return cohort._fits._way(fit)


def test_every_built_in_plugin_is_pinned() -> None:
    others = {"torchvision", "timm"}  # networks of libraries: their way is that of what is named
    assert WAY.keys() == PLUGINS.of("model").keys() - others
    assert DEFENSES.keys() == PLUGINS.of("defense").keys()
    changed = {
        name
        for name, cls in PLUGINS.of("sparsifier").items()
        if overrides(cls.model_construct(name=name), "prepare") and name != "small_dense"
    }
    assert changed <= SPARSIFIERS.keys() | {
        "random",
        "random_graph",
        "slimming",
        "static_mask",
    }


@pytest.mark.parametrize(("model", "way"), WAY.items())
def test_the_way_of_every_built_in_model(model: str, way: str) -> None:
    assert way_of(model, 32) == way


@pytest.mark.parametrize(("sparsifier", "way"), SPARSIFIERS.items())
def test_the_way_under_every_sparsifier_that_changes_layers(sparsifier: str, way: str) -> None:
    assert way_of("mlp", 8, sparsifier=sparsifier) == way


@pytest.mark.parametrize(("defense", "way"), DEFENSES.items())
def test_the_way_under_every_built_in_defense(defense: str, way: str) -> None:
    assert way_of("mlp", 8, defense=defense) == way


@pytest.mark.parametrize("options", [{"compile": True}, {"precision": "bf16"}])
def test_what_products_do_not_know_is_left_to_vmap(options: dict[str, Any]) -> None:
    assert way_of("mlp", 8, **options) == "vmapped"
