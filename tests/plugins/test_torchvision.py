"""The classifiers of torchvision: torchvision's own networks, or a line that says why not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torchvision import models

from privaudit import RecipeError, load_recipe, run
from privaudit.testing import check_plugin
from privaudit_plugins.models.torchvision import Torchvision, architectures

BASE: dict[str, Any] = {"name": "r", "dataset": "digits", "attacks": ["loss"]}


def built(architecture: str, shape: tuple[int, ...] = (3, 32, 32), classes: int = 4) -> Any:
    torch.manual_seed(0)
    return Torchvision(architecture=architecture).build(shape, classes)


def test_it_is_torchvision_s_own_network() -> None:
    torch.manual_seed(0)
    theirs = models.resnet18(num_classes=4)
    ours = built("resnet18")
    assert type(ours) is type(theirs)
    assert ours.training
    for (name, tensor), (other, wanted) in zip(
        ours.state_dict().items(), theirs.state_dict().items(), strict=True
    ):
        assert name == other
        assert torch.equal(tensor, wanted)


def test_the_contract_is_kept_and_randomness_is_the_engine_s() -> None:
    check_plugin(Torchvision, architecture="squeezenet1_1", shape=(3, 32, 32))


def test_every_classifier_is_known_and_nothing_else() -> None:
    assert {"resnet18", "vit_b_16", "convnext_tiny", "inception_v3"} <= architectures()
    assert not {n for n in architectures() if n.startswith(("fcn", "fasterrcnn", "quantized"))}


def test_the_first_convolution_reads_the_channels_of_the_dataset() -> None:
    network = built("resnet18", (1, 8, 8), 10)
    assert network.conv1.weight.shape == (64, 1, 7, 7)
    assert (network.conv1.stride, network.conv1.padding, network.conv1.bias) == (
        (2, 2),
        (3, 3),
        None,
    )
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert built("resnet18", (3, 8, 8)).conv1.weight.shape == (64, 3, 7, 7)


def test_transformers_are_built_for_the_size_of_the_images() -> None:
    with torch.device("meta"):  # quick, and the size is seen all the same
        expected = models.vit_b_32(image_size=64, num_classes=4)
    state = built("vit_b_32", (3, 64, 64)).state_dict()
    assert {n: t.shape for n, t in state.items()} == {
        n: t.shape for n, t in expected.state_dict().items()
    }


def test_auxiliary_classifiers_are_left_out() -> None:
    network = built("googlenet", (3, 64, 64))
    network.train()
    assert network(torch.randn(2, 3, 64, 64)).shape == (2, 4)
    assert not any(name.startswith("aux") for name in network.state_dict())


@pytest.mark.parametrize(
    ("architecture", "shape", "message"),
    [
        ("resnet18", (5,), "model torchvision:resnet18 needs images of shape"),
        (
            "alexnet",
            (3, 32, 32),
            r"torchvision:alexnet takes no images of 32×32 pixels: .*too small",
        ),
        ("inception_v3", (3, 32, 32), "torchvision:inception_v3 takes no images of 32×32 pixels"),
        ("vit_b_32", (3, 32, 40), "torchvision:vit_b_32 takes square images"),
        ("vit_b_32", (3, 40, 40), "torchvision:vit_b_32 takes no images of 40×40 pixels: .*patch"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_name(
    architecture: str, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        built(architecture, shape)
    assert len(str(caught.value).splitlines()) == 1


def test_a_run_stops_before_training_by_that_line(tmp_path: Any) -> None:
    recipe = load_recipe({**BASE, "model": "torchvision:alexnet", "training": {"epochs": 1}})
    with pytest.raises(RecipeError, match="torchvision:alexnet takes no images of 8×8 pixels"):
        run(recipe, tmp_path / "run", device="cpu", cache=tmp_path / "cache")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("torchvision:resnet19", "must be a classifier of torchvision .*; did you mean 'resnet18'"),
        ("torchvision:fcn_resnet50", "must be a classifier of torchvision"),
        ("torchvision:", "'torchvision:' ends in a colon: write torchvision:ARCHITECTURE"),
        ("torchvision", "model.architecture: is missing"),
    ],
)
def test_a_wrong_name_is_one_line(model: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe({**BASE, "model": model})
    assert len(caught.value.problems) == 1
