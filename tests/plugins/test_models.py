from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn.functional import conv2d, cross_entropy

from privaudit import Model, PrivauditError, Sparsifier
from privaudit_plugins.models._residual import ResidualNetwork
from privaudit_plugins.models.cnn import CNN
from privaudit_plugins.models.densenet40 import DenseNet40
from privaudit_plugins.models.mlp import MLP
from privaudit_plugins.models.resnet18 import ResNet18
from privaudit_plugins.models.resnet20 import ResNet20
from privaudit_plugins.models.vgg16_bn import VGG16
from privaudit_plugins.models.vit_tiny import ViTTiny
from privaudit_plugins.sparsifiers.block_circulant import BlockCirculant
from privaudit_plugins.sparsifiers.butterfly import Butterfly

SHAPES = [
    pytest.param(MLP(hidden=(7, 5), activation="gelu"), (4,), id="mlp on features"),
    pytest.param(MLP(), (1, 8, 8), id="mlp on images"),
    pytest.param(CNN(width=3), (1, 8, 8), id="cnn"),
    pytest.param(CNN(width=3, norm="batch"), (3, 9, 6), id="cnn with BatchNorm, odd size"),
    pytest.param(CNN(width=5, norm="group"), (1, 8, 8), id="cnn with GroupNorm, odd width"),
    pytest.param(ResNet20(), (3, 4, 4), id="resnet20"),
    pytest.param(ResNet20(norm="group"), (3, 4, 4), id="resnet20 with GroupNorm"),
    pytest.param(ResNet18(width=4), (3, 16, 16), id="resnet18"),
    pytest.param(ResNet18(width=8, norm="group"), (1, 8, 8), id="resnet18 with GroupNorm"),
    pytest.param(VGG16(width=4), (3, 16, 16), id="vgg16_bn"),
    pytest.param(VGG16(width=4, norm="group"), (1, 8, 8), id="vgg16_bn with GroupNorm"),
    pytest.param(DenseNet40(growth=3, depth=10), (3, 8, 8), id="densenet40"),
    pytest.param(DenseNet40(growth=4, depth=7, norm="group"), (1, 5, 7), id="densenet, GroupNorm"),
    pytest.param(ViTTiny(width=12, depth=2), (3, 8, 12), id="vit_tiny"),
]


def parameters(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def resnet(shape: tuple[int, ...] = (3, 32, 32), classes: int = 10) -> ResidualNetwork:
    network = ResNet20().build(shape, classes)
    assert isinstance(network, ResidualNetwork)
    return network


def test_resnet20_has_the_parameters_that_gonon_et_al_count() -> None:
    network = resnet()
    count: Counter[str] = Counter()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            assert module.bias is None
            count[f"conv{module.kernel_size[0]}"] += parameters(module)
        elif isinstance(module, nn.BatchNorm2d):
            count["norm"] += parameters(module)
        elif isinstance(module, nn.Linear):
            count["linear"] += parameters(module)
    assert count == {"conv3": 267_696, "conv1": 512 + 2048, "norm": 1568, "linear": 650}
    assert parameters(network) == 272_474


def test_resnet20_segments_name_six_convolutions_each() -> None:
    network = resnet()
    assert [len(names) for names in network.segments] == [6, 6, 6]
    for width, stride, names in zip((16, 32, 64), (1, 2, 2), network.segments, strict=True):
        layers = [network.get_submodule(name) for name in names]
        convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
        assert [c.kernel_size for c in convolutions] == [(3, 3)] * 6
        assert [c.out_channels for c in convolutions] == [width] * 6
        assert [c.stride[0] for c in convolutions] == [stride, 1, 1, 1, 1, 1]
    named = {name for names in network.segments for name in names}
    others = {
        name
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)
    }
    assert others - named == {"stem"}


def test_resnet20_computes_what_he_et_al_draw() -> None:
    torch.manual_seed(0)
    network = resnet((1, 12, 12), 4).double().eval()
    state = {name: torch.rand_like(value.double()) for name, value in network.state_dict().items()}
    state = {name: v - 0.5 if v.ndim == 4 else v for name, v in state.items()}
    network.load_state_dict(state)

    def layer(x: Tensor, conv: str, norm: str, stride: int) -> Tensor:
        weight = state[f"{conv}.weight"]
        x = conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        mean, variance, scale, shift = (
            state[f"{norm}.{part}"].view(-1, 1, 1)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * scale + shift

    x = torch.randn(3, 1, 12, 12, dtype=torch.float64)
    inner = layer(x, "stem", "stem_norm", 1).relu()
    for segment in (1, 2, 3):
        for block in (0, 1, 2):
            name = f"segment{segment}.{block}"
            stride = 2 if segment > 1 and block == 0 else 1
            short = inner
            if stride == 2:
                short = layer(inner, f"{name}.shortcut.0", f"{name}.shortcut.1", 2)
            inner = layer(inner, f"{name}.conv1", f"{name}.norm1", stride).relu()
            inner = (layer(inner, f"{name}.conv2", f"{name}.norm2", 1) + short).relu()
    assert inner.shape == (3, 64, 3, 3)
    logits = inner.mean((2, 3)) @ state["output.weight"].T + state["output.bias"]
    torch.testing.assert_close(network(x), logits, rtol=1e-10, atol=1e-10)


def test_resnet20_starts_as_pytorch_layers_do() -> None:
    torch.manual_seed(0)
    network = resnet()
    for name, weight in network.state_dict().items():
        if weight.ndim < 2:
            continue
        bound = weight[0].numel() ** -0.5  # uniform in ±1/√fan_in
        assert weight.abs().max() <= bound, name
        assert weight.std() == pytest.approx(bound / 3**0.5, rel=0.15), name


def test_mlp_has_the_layers_its_options_say() -> None:
    network = MLP(hidden=(20, 10), dropout=0.5).build((1, 8, 8), 3)
    assert parameters(network) == (64 + 1) * 20 + (20 + 1) * 10 + (10 + 1) * 3
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.5, 0.5]
    assert parameters(MLP(hidden=()).build((30,), 2)) == 31 * 2


@pytest.mark.parametrize(
    ("activation", "expected"), [("relu", 0.0), ("tanh", -0.76159416), ("gelu", -0.15865525)]
)
def test_mlp_applies_its_activation(activation: str, expected: float) -> None:
    network = MLP.model_validate({"hidden": [1], "activation": activation}).build((1,), 2)
    for weight in network.parameters():
        nn.init.zeros_(weight)
    nn.init.ones_(network.get_submodule("hidden1").get_parameter("weight"))
    nn.init.ones_(network.get_submodule("output").get_parameter("weight"))
    torch.testing.assert_close(network(torch.tensor([[-1.0]])), torch.full((1, 2), expected))


@pytest.mark.parametrize(
    ("norm", "extra"), [("none", 16 + 32), ("batch", 2 * (16 + 32)), ("group", 2 * (16 + 32))]
)
def test_cnn_has_the_layers_its_options_say(norm: str, extra: int) -> None:
    network = CNN.model_validate({"norm": norm}).build((1, 8, 8), 10)
    assert parameters(network) == 9 * 16 + 9 * 16 * 32 + extra + (32 * 2 * 2 + 1) * 10
    assert parameters(CNN(width=4).build((3, 7, 11), 2)) == 112 + 296 + (8 * 1 * 2 + 1) * 2


@pytest.mark.parametrize(("model", "shape"), SHAPES)
def test_stacked_gradients_and_statistics_equal_each_model_alone(
    model: Model, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    networks = [model.build(shape, 3).double().train() for _ in range(3)]
    x = torch.randn(3, 6, *shape, dtype=torch.float64)
    y = torch.randint(3, (3, 6))
    weights, buffers = stack_module_state(networks)

    def loss(
        weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        buffers = {name: value.clone() for name, value in buffers.items()}
        logits = functional_call(networks[0], {**weights, **buffers}, (x,))
        return cross_entropy(logits, y), buffers

    step = vmap(grad_and_value(loss, has_aux=True), randomness="error")
    gradients, (losses, after) = step(weights, buffers, x, y)
    for index, network in enumerate(networks):
        alone = cross_entropy(network(x[index]), y[index])
        alone.backward()  # type: ignore[no-untyped-call]
        torch.testing.assert_close(losses[index], alone, rtol=1e-12, atol=1e-12)
        for name, weight in network.named_parameters():
            torch.testing.assert_close(gradients[name][index], weight.grad, rtol=0, atol=1e-12)
        for name, buffer in network.named_buffers():
            torch.testing.assert_close(after[name][index], buffer, rtol=0, atol=1e-12)


@pytest.mark.parametrize("model", [CNN(), ResNet20(), ResNet18(), VGG16(), DenseNet40(), ViTTiny()])
def test_image_models_refuse_flat_examples(model: Model) -> None:
    with pytest.raises(
        PrivauditError, match=rf"model {model.name} needs images .*\(30,\): use mlp"
    ):
        model.build((30,), 2)


def test_cnn_refuses_images_that_pooling_would_empty() -> None:
    with pytest.raises(PrivauditError, match="at least 4×4 pixels, but this dataset's have 3×8"):
        CNN().build((1, 3, 8), 2)


SUBSTITUTED = [
    (MLP(hidden=(16, 8)), (1, 8, 8)),
    (CNN(width=4), (4, 8, 8)),
    (ResNet20(), (3, 4, 4)),
    (ResNet18(width=8), (3, 16, 16)),
    (VGG16(width=4), (3, 16, 16)),
    (DenseNet40(growth=4, depth=10), (3, 8, 8)),
    (ViTTiny(width=12, depth=2), (3, 8, 12)),
]


@pytest.mark.parametrize("sparsifier", [Butterfly(), BlockCirculant(block=2)], ids=lambda s: s.name)
@pytest.mark.parametrize(
    ("model", "shape"), SUBSTITUTED, ids=lambda value: getattr(value, "name", None)
)
def test_every_network_answers_with_substituted_layers(
    model: Model, shape: tuple[int, ...], sparsifier: Sparsifier
) -> None:
    before = model.build(shape, 10)
    network = sparsifier.prepare(model.build(shape, 10))
    assert parameters(network) < parameters(before)
    logits = network(torch.randn(2, *shape))
    assert logits.shape == (2, 10)
    logits.sum().backward()
