"""The networks of timm as models: timm's own, and published weights of one revision alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from privaudit import DataError, RecipeError
from privaudit.testing import check_plugin
from privaudit_plugins.models.timm import Timm

timm = pytest.importorskip("timm", reason="pip install 'privaudit[timm]'")

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def built(architecture: str, shape: tuple[int, ...] = (3, 32, 32), **options: Any) -> Any:
    torch.manual_seed(0)
    return Timm(architecture=architecture, **options).build(shape, 4)


def test_it_is_timm_s_own_network() -> None:
    torch.manual_seed(0)
    theirs = timm.create_model("resnet10t", num_classes=4, in_chans=1)
    ours = built("resnet10t", (1, 32, 32))
    for (name, tensor), (other, wanted) in zip(
        ours.state_dict().items(), theirs.state_dict().items(), strict=True
    ):
        assert name == other
        assert torch.equal(tensor, wanted)


def test_the_contract_is_kept() -> None:
    check_plugin(Timm, architecture="test_vit", shape=(3, 32, 32))


def test_transformers_are_built_for_the_size_of_the_images() -> None:
    expected = timm.create_model("test_vit", num_classes=4, img_size=32)
    network = built("test_vit")
    assert network.pos_embed.shape == expected.pos_embed.shape
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architecture": "resnet10"}, "must be a network of timm .*; did you mean 'resnet10t'"),
        ({"architecture": "hf-hub:timm/resnet18.a1_in1k"}, "must be a network of timm"),
        ({"architecture": "local-dir:/tmp"}, "must be a network of timm"),
        ({"architecture": "resnet18", "pretrained": True}, "pretrained needs a revision"),
        (
            {"architecture": "resnet18", "pretrained": True, "revision": "main"},
            "the commit of the weights in 40 hex digits",
        ),
        ({"architecture": "resnet18", "revision": COMMIT}, "revision says nothing without"),
    ],
)
def test_what_is_asked_wrongly_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Timm(**options)


def test_a_size_that_it_does_not_take_is_one_line() -> None:
    with pytest.raises(RecipeError, match="timm:test_vit takes no images of 3×3 pixels") as caught:
        built("test_vit", (3, 3, 3))
    assert len(str(caught.value).splitlines()) == 1


def test_published_weights_are_those_of_the_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def create(architecture: str, **options: Any) -> Any:
        asked.append(options)
        raise OSError("no network in this test")

    monkeypatch.setattr(timm, "create_model", create)
    with pytest.raises(
        DataError, match=r"timm:resnet18\.a1_in1k: its published weights cannot be had"
    ):
        built("resnet18.a1_in1k", pretrained=True, revision=COMMIT)
    assert asked[0]["pretrained"]
    overlay = asked[0]["pretrained_cfg_overlay"]
    assert overlay["hf_hub_id"] == f"timm/resnet18.a1_in1k@{COMMIT}"
    assert overlay["hf_hub_filename"].endswith(".safetensors")
    assert not overlay["url"]
