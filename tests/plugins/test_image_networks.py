"""ResNet-18, VGG-16, DenseNet-40 and the vision transformer: published sizes, drawn layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
import torchvision
from pydantic import ValidationError
from torch import Tensor, fx, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn.functional import avg_pool2d, conv2d, cross_entropy, layer_norm, linear

from privaudit import (
    Model,
    PrivauditError,
    Sparsifier,
)
from privaudit.cohort import Cohort
from privaudit_plugins.models._norm import normalisation
from privaudit_plugins.models.cnn import CNN
from privaudit_plugins.models.densenet40 import DenseNet40
from privaudit_plugins.models.resnet18 import ResNet18
from privaudit_plugins.models.resnet20 import ResNet20
from privaudit_plugins.models.vgg16_bn import VGG16
from privaudit_plugins.models.vit_tiny import ViTTiny
from privaudit_plugins.sparsifiers.butterfly import Butterfly

CIFAR = (3, 32, 32)
Make = Callable[..., Cohort]


def built(model: Model, shape: tuple[int, ...], classes: int = 10) -> nn.Module:
    """In double precision, answering, with statistics and shifts that are not trivial."""
    torch.manual_seed(0)
    network = model.build(shape, classes).double().eval()
    for name, value in network.state_dict().items():
        if "norm" in name and value.is_floating_point():
            value.copy_(torch.rand_like(value) + 0.5)
    return network


def with_weights_of(network: nn.Module, other: nn.Module) -> nn.Module:
    """The other network with this one's state, layer by layer in the order they are built."""
    mine, theirs = network.state_dict(), other.double().eval().state_dict()
    assert [v.shape for v in mine.values()] == [v.shape for v in theirs.values()]
    other.load_state_dict(dict(zip(theirs, mine.values(), strict=True)))
    return other


@pytest.mark.parametrize(
    ("model", "shape", "classes", "published"),
    [
        (ResNet18(), CIFAR, 10, 11_173_962),
        (ResNet18(norm="group"), CIFAR, 10, 11_173_962),
        (VGG16(), CIFAR, 10, 14_728_266),
        (VGG16(norm="group"), CIFAR, 10, 14_728_266),
        (ResNet18(stem="3x3_pooled", init="xavier_normal"), CIFAR, 10, 11_173_962),
        (VGG16(head="hidden", init="xavier_normal"), CIFAR, 10, 14_723_136 + 18_923_530),
        (DenseNet40(), CIFAR, 10, 1_019_722),  # Huang et al. 2017, table 2: 1.0M
        (ViTTiny(), CIFAR, 10, 5_362_762),
        (ViTTiny(patch=16), (3, 224, 224), 1000, 5_717_416),  # DeiT-Ti, as published for ImageNet
    ],
)
def test_parameters_are_those_published(
    model: Model, shape: tuple[int, ...], classes: int, published: int
) -> None:
    with torch.device("meta"):
        network = model.build(shape, classes)
    assert sum(weight.numel() for weight in network.parameters()) == published


@pytest.mark.parametrize("stem", ["3x3", "3x3_pooled"])
def test_resnet18_is_torchvisions_with_another_stem(stem: str) -> None:
    network = built(ResNet18.model_validate({"stem": stem}), (3, 8, 8))
    other = torchvision.models.resnet18(num_classes=10)
    other.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    if stem == "3x3":
        other.maxpool = nn.Identity()
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(network(x), with_weights_of(network, other)(x))


@pytest.mark.parametrize("head", ["linear", "hidden"])
def test_vgg16_is_torchvisions_features_and_a_head(head: str) -> None:
    network = built(VGG16.model_validate({"width": 4, "head": head}), CIFAR)
    sizes: list[Any] = [4, 4, "M", 8, 8, "M", 16, 16, 16, "M", *[32, 32, 32, "M"] * 2]
    other = nn.Sequential(torchvision.models.vgg.make_layers(sizes, batch_norm=True), nn.Flatten())
    if head == "hidden":
        for inputs in (32, 256):
            other.extend([nn.Linear(inputs, 256), nn.ReLU(), nn.Dropout()])
    other.append(nn.Linear(32 if head == "linear" else 256, 10))
    x = torch.randn(2, *CIFAR, dtype=torch.float64)
    torch.testing.assert_close(network(x), with_weights_of(network, other)(x))


def test_the_hidden_layers_of_vgg16_drop_half_while_they_train() -> None:
    network = VGG16(width=4, head="hidden").build(CIFAR, 10)
    dropped = [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)]
    assert dropped == [0.5, 0.5]
    assert not any(isinstance(m, nn.Dropout) for m in VGG16(width=4).build(CIFAR, 10).modules())


@pytest.mark.parametrize(
    "model",
    [
        ResNet18(width=16, stem="3x3_pooled", init="xavier_normal"),
        VGG16(width=8, head="hidden", init="xavier_normal"),
    ],
    ids=lambda model: model.name,
)
def test_xavier_s_weights_are_normal_with_the_published_deviation(model: Model) -> None:
    """Glorot & Bengio 2010, equation 12: Var = 2 / (fan in + fan out)."""
    torch.manual_seed(0)
    for name, layer in model.build(CIFAR, 10).named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            outputs, inputs, *kernel = layer.weight.shape
            fans = (inputs + outputs) * (kernel[0] * kernel[1] if kernel else 1)
            scaled = layer.weight.detach().flatten() / (2 / fans) ** 0.5
            assert abs(float(scaled.std()) - 1) < 5 / len(scaled) ** 0.5, name
            assert len(scaled) < 10_000 or 3 < float(scaled.abs().max()) < 6  # no uniform one
            assert layer.bias is None or not bool(layer.bias.any())
        elif isinstance(layer, nn.BatchNorm2d):
            assert bool((layer.weight == 1).all())
            assert not bool(layer.bias.any())


@pytest.mark.parametrize("kind", [ResNet18, VGG16])
def test_options_left_out_build_the_network_of_before(kind: type[Model]) -> None:
    """Names and first numbers as they were: cached trainings start from them."""
    torch.manual_seed(0)
    network = kind.model_validate({"width": 4}).build(CIFAR, 10)
    names = list(network.state_dict())
    assert not any("hidden" in name or "pool" in name for name in names)
    torch.manual_seed(0)
    first = nn.Conv2d(3, 4, 3, padding=1, bias=kind is VGG16)
    assert torch.equal(network.state_dict()[names[0]], first.weight)


def test_densenet_computes_what_huang_et_al_draw() -> None:
    network = built(DenseNet40(growth=3, depth=10), (1, 10, 8), 4)
    state = network.state_dict()

    def composite(x: Tensor, name: str, norm: str = ".norm") -> Tensor:
        mean, variance, scale, shift = (
            state[f"{name}{norm}.{part}"].view(-1, 1, 1)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return torch.relu((x - mean) / (variance + 1e-5).sqrt() * scale + shift)

    x = torch.randn(3, 1, 10, 8, dtype=torch.float64)
    inner = conv2d(x, state["stem.weight"], padding=1)
    assert inner.shape[1] == 16
    for block in (1, 2, 3):
        for layer in (1, 2):
            name = f"features.layer{block}_{layer}"
            grown = conv2d(composite(inner, name), state[f"{name}.conv.weight"], padding=1)
            inner = torch.cat([inner, grown], 1)
        if block < 3:
            name = f"features.transition{block}"
            inner = avg_pool2d(conv2d(composite(inner, name), state[f"{name}.conv.weight"]), 2)
    assert inner.shape == (3, 16 + 6 * 3, 2, 2)
    inner = composite(inner, "norm", "").mean((2, 3))
    torch.testing.assert_close(
        network(x), linear(inner, state["output.weight"], state["output.bias"])
    )


def test_vit_computes_what_torchs_encoder_layers_do() -> None:
    network = built(ViTTiny(width=8, depth=2, heads=2, patch=3), (2, 6, 9), 4)
    state = network.state_dict()
    x = torch.randn(5, 2, 6, 9, dtype=torch.float64)
    patches = conv2d(x, state["embed.weight"].view(8, 2, 3, 3), state["embed.bias"], stride=3)
    tokens = torch.cat([state["token"].expand(5, 1, 8), patches.flatten(2).transpose(1, 2)], 1)
    tokens = tokens + state["position"].view(7, 8)
    for n in (0, 1):
        layer = nn.TransformerEncoderLayer(
            8, 2, 32, 0.0, "gelu", 1e-6, batch_first=True, norm_first=True
        ).double()
        names = ("attention.qkv", "attention.proj", "fc1", "fc2", "norm1", "norm2")
        mine = [state[f"blocks.{n}.{name}.{part}"] for name in names for part in ("weight", "bias")]
        layer.load_state_dict(dict(zip(layer.state_dict(), mine, strict=True)))
        tokens = layer(tokens)
    last = layer_norm(tokens[:, 0], (8,), state["norm.weight"], state["norm.bias"], eps=1e-6)
    expected = linear(last, state["output.weight"], state["output.bias"])
    torch.testing.assert_close(network(x), expected)


@pytest.mark.parametrize(
    ("model", "layers"),
    [
        (ResNet18(), [4, 4, 4, 4]),
        (VGG16(), [1, 2, 3, 3, 3]),
        (DenseNet40(), [12, 12, 12]),
        (ViTTiny(), [4] * 12),
    ],
)
def test_segments_name_layers_that_butterfly_substitutes(model: Model, layers: list[int]) -> None:
    with torch.device("meta"):
        network = model.build(CIFAR, 10)
        segments = cast(tuple[tuple[str, ...], ...], network.segments)
        assert [len(names) for names in segments] == layers
        before = sum(weight.numel() for weight in network.parameters())
        Butterfly().prepare(network)
    for names in segments:
        for name in names:
            assert type(network.get_submodule(name)).__name__.startswith("Butterfly")
    assert sum(weight.numel() for weight in network.parameters()) < before / 2


@pytest.mark.parametrize(
    "model",
    [
        ResNet18(width=2),
        ResNet18(width=2, stem="3x3_pooled"),
        VGG16(width=2),
        VGG16(width=2, head="hidden", init="xavier_normal"),
        DenseNet40(growth=2, depth=7),
        ViTTiny(width=6, depth=1, dropout=0.1),
    ],
    ids=lambda model: model.name,
)
def test_networks_can_be_traced_to_follow_their_channels(model: Model) -> None:
    network = built(model, (3, 8, 8))
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(fx.symbolic_trace(network)(x), network(x))


@pytest.mark.parametrize(
    ("channels", "groups"), [(512, 32), (128, 32), (64, 16), (16, 4), (36, 9), (12, 3), (7, 1)]
)
def test_group_norm_has_groups_of_four_channels_and_more(channels: int, groups: int) -> None:
    layer = normalisation("group", channels)
    assert isinstance(layer, nn.GroupNorm)
    assert layer.num_groups == groups


@pytest.mark.parametrize(
    "model",
    [
        CNN(width=4, norm="group"),
        ResNet20(norm="group"),
        ResNet18(width=4, norm="group"),
        VGG16(width=2, norm="group"),
        DenseNet40(growth=2, depth=7, norm="group"),
        ViTTiny(width=6, depth=1),
    ],
    ids=lambda model: model.name,
)
def test_gradients_of_single_examples_are_those_of_each_alone(model: Model) -> None:
    torch.manual_seed(0)
    networks = [model.build((1, 8, 8), 3).double() for _ in range(2)]
    weights, _ = stack_module_state(networks)
    x, y = torch.randn(2, 3, 1, 8, 8, dtype=torch.float64), torch.randint(3, (2, 3))

    def loss(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(functional_call(networks[0], weights, (x[None],)), y[None])

    together = vmap(vmap(grad(loss), in_dims=(None, 0, 0)))(weights, x, y)
    for m, network in enumerate(networks):
        for b in range(3):
            network.zero_grad()
            cross_entropy(network(x[m, b : b + 1]), y[m, b : b + 1]).backward()  # type: ignore[no-untyped-call]
            for name, weight in network.named_parameters():
                torch.testing.assert_close(together[name][m, b], weight.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "model",
    [
        ResNet18(width=2),
        ResNet18(width=2, stem="3x3_pooled"),
        VGG16(width=2),
        VGG16(width=2, head="hidden", init="xavier_normal"),
        DenseNet40(growth=2, depth=7),
        ViTTiny(width=6, depth=1, dropout=0.2),
    ],
    ids=lambda model: model.name,
)
def test_a_cohort_trains_and_prunes_each_model_as_if_alone(make_cohort: Make, model: Model) -> None:
    def run(models: list[int]) -> Cohort:
        cohort = make_cohort(
            [20, 20, 20], models=models, model=model, sparsifier=Sparsifier(name=""), epochs=1
        )
        cohort.fit()
        cohort.prune(keep=0.5)
        cohort.fit(epochs=1)
        return cohort

    together = run([0, 1, 2])
    for m in range(3):
        alone = run([m])
        for name, weight in together.weights.items():
            torch.testing.assert_close(weight[m], alone.weights[name][0], rtol=0, atol=1e-10)
            assert not bool(weight[m][~together.masks[name][m]].any())
    assert bool((together.density() < 0.8).all())


def test_vit_refuses_what_does_not_divide() -> None:
    with pytest.raises(PrivauditError, match=r"4×4 pixels, which do not divide .* 30×32"):
        ViTTiny().build((3, 30, 32), 10)
    with pytest.raises(ValidationError, match="5 heads do not divide a width of 192"):
        ViTTiny(heads=5)


def test_densenet_refuses_blocks_of_unequal_depth() -> None:
    with pytest.raises(ValidationError, match=r"4 more than a multiple of 3, .* not 41"):
        DenseNet40(depth=41)
    with pytest.raises(PrivauditError, match="at least 4×4 pixels"):
        DenseNet40().build((3, 3, 8), 10)
