"""bf16 is one thing: the same operations in the same precision, whoever trains beside a model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from brought_networks import Brought
from privaudit import Defense, Model
from privaudit.cohort import Cohort, unit_keys
from privaudit.networks.low_precision import LowProducts
from privaudit.networks.state import Trained
from privaudit_plugins.defenses.dp_sgd import DPSGD
from privaudit_plugins.defenses.min_max import MinMax
from privaudit_plugins.models.cnn import CNN
from privaudit_plugins.models.mlp import MLP
from privaudit_plugins.models.resnet20 import ResNet20
from privaudit_plugins.models.vit_tiny import ViTTiny

Make = Callable[..., Cohort]

PRODUCTS = {
    "aten::convolution", "aten::convolution_backward", "aten::mkldnn_convolution", "aten::mm",
    "aten::addmm", "aten::bmm", "aten::baddbmm",
    "aten::_scaled_dot_product_flash_attention_for_cpu",
}  # fmt: skip
FULL = {
    "aten::_log_softmax", "aten::_softmax", "aten::nll_loss_forward", "aten::native_batch_norm",
    "aten::native_batch_norm_backward", "aten::native_layer_norm", "aten::nll_loss_backward",
    "aten::native_layer_norm_backward", "aten::_softmax_backward_data",
    "aten::_log_softmax_backward_data",
}  # fmt: skip


class Log(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The precision in which each kind of operation answers."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: dict[str, set[torch.dtype]] = defaultdict(set)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        first = result[0] if isinstance(result, tuple) else result
        if func.name() in PRODUCTS | FULL and isinstance(first, Tensor):
            self.found[func.name()].add(first.dtype)
        return result


def trained(cohort: Cohort, way: str, models: list[int]) -> tuple[Trained, Log]:
    """Some models after a fit in some way, together; and what was computed in which precision."""
    fit = replace(cohort._fit(False, None, {}), way=way)[torch.tensor(models)]
    with Log() as log:
        return fit.run(cohort.data, None), log


@pytest.mark.parametrize(
    ("model", "ways"),
    [
        (ResNet20(), ("vmapped", "plain")),
        (CNN(width=4), ("vmapped", "plain")),
        (ViTTiny(width=12, depth=2, patch=4), ("vmapped", "plain")),
        (Brought(which="attention"), ("plain",)),
    ],
    ids=["resnet20", "cnn", "vit_tiny", "attention"],
)
def test_products_are_bf16_and_nothing_else_in_every_way_and_company(
    make_cohort: Make, model: Model, ways: tuple[str, ...]
) -> None:
    cohort = make_cohort([16, 16], model=model, epochs=1, validation=0, precision="bf16")
    for way in ways:
        for together in ([0], [0, 1]):
            after, log = trained(cohort, way, together)
            found = dict(log.found)
            assert found.keys() & PRODUCTS
            assert found.keys() & FULL
            for name, dtypes in found.items():
                expected = torch.bfloat16 if name in PRODUCTS else torch.float32
                assert dtypes == {expected}, (way, together, name)
            assert after.last.flat.dtype == torch.float32
            for name, buffer in after.last.buffers.items():
                assert buffer.dtype == cohort._state.weights.buffers[name].dtype, name


@pytest.mark.parametrize("which", ["lstm", "gru", "encoder", "branch"])
def test_networks_that_are_no_stacks_train_in_bf16(make_cohort: Make, which: str) -> None:
    cohort = make_cohort(model=Brought(which=which), epochs=1, precision="bf16")
    cohort.fit()
    assert cohort._state.weights.flat.dtype == torch.float32
    assert bool(cohort._state.weights.flat.isfinite().all())


@pytest.mark.parametrize("defense", [DPSGD(), MinMax()], ids=lambda defense: defense.name)
def test_single_examples_and_second_players_train_in_bf16(
    make_cohort: Make, defense: Defense
) -> None:
    cohort = make_cohort(model=MLP(hidden=(8,)), defense=defense, epochs=1, precision="bf16")
    for way in ("vmapped", "plain"):
        after, log = trained(cohort, way, [0, 1])
        assert any(torch.bfloat16 in log.found[name] for name in PRODUCTS)
        assert after.last.flat.dtype == after.last.companion.dtype == torch.float32


def _trained_alike(make_cohort: Make, model: Model, steps: int) -> tuple[float, float]:
    """How far company moves a model from where it goes alone in bf16, and how far fp32 does.

    Both as shares of the way that it goes.
    """
    options: dict[str, Any] = {"epochs": 1, "validation": 0, "lr": 0.05, "momentum": 0.9}
    exact, low = (
        make_cohort([16 * steps] * 2, model=model, precision=precision, **options)
        for precision in ("fp32", "bf16")
    )
    alone = trained(low, "plain", [0])[0].last.flat[0]
    company = trained(low, "vmapped", [0, 1])[0].last.flat[0]
    rounding = alone - trained(exact, "plain", [0])[0].last.flat[0]
    way = (alone - low._state.weights.flat[0]).norm()
    return float((company - alone).norm() / way), float(rounding.norm() / way)


@pytest.mark.parametrize("model", [CNN(width=8), MLP(hidden=(32,))], ids=["cnn", "mlp"])
def test_company_changes_far_less_than_bf16_does(make_cohort: Make, model: Model) -> None:
    """Both round to the same numbers, unless another order of a sum lies across a tie."""
    company, rounding = _trained_alike(make_cohort, model, steps=5)
    assert 1e-3 < rounding < 0.1
    assert company < 0.1 * rounding


def test_company_changes_a_deep_network_less_than_bf16_does(make_cohort: Make) -> None:
    """A start that differs by 1e-7 moves this step by a tenth of its length, and bf16 by more."""
    company, rounding = _trained_alike(make_cohort, ResNet20(), steps=1)
    assert 0.1 < rounding < 0.6
    assert company < 0.5 * rounding


LOW = LowProducts(torch.bfloat16, torch.float32)


def _random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


def test_a_product_rounds_what_goes_in_and_gradients_come_back_whole() -> None:
    x, weight, bias = _random(5, 4), _random(3, 4), _random(3)
    leaves = [part.clone().requires_grad_() for part in (x, weight, bias)]
    with LOW:
        found = functional.linear(*leaves)
    rounded = [part.bfloat16() for part in (x, weight, bias)]
    assert torch.equal(found, rounded[0] @ rounded[1].T + rounded[2])
    gradients = torch.autograd.grad(found.float().sum(), leaves)
    assert [gradient.dtype for gradient in gradients] == [torch.float32] * 3
    assert torch.equal(gradients[1], rounded[0].float().sum(0).expand(3, 4).bfloat16().float())


def test_the_same_is_cast_under_vmap_and_grad() -> None:
    x, weight = _random(2, 5, 4), _random(2, 3, 4)

    def loss(weight: Tensor, x: Tensor) -> Tensor:
        with LOW:
            return functional.linear(x, weight).float().square().sum()

    stacked = torch.func.vmap(torch.func.grad(loss))(weight, x)
    for model in range(2):
        assert torch.equal(stacked[model], torch.func.grad(loss)(weight[model], x[model]))


def test_what_torch_has_in_float32_alone_is_given_it() -> None:
    low = _random(2, 4, 4).bfloat16()
    norm, attention = nn.LayerNorm(4), nn.MultiheadAttention(4, 2, batch_first=True)
    with LOW:
        assert torch.fft.rfft(low).dtype == torch.complex64
        assert torch.linalg.inv(low).dtype == low.softmax(-1).dtype == torch.float32
        assert functional.cross_entropy(low[0], torch.zeros(4).long()).dtype == torch.float32
        assert torch.equal(norm(low), norm.forward(low.float()).bfloat16())
        assert (_random(2, 4, 4) @ low).dtype == torch.bfloat16
        assert torch.lerp(_random(2, 4, 4), low, 0.5).dtype == torch.float32
        answer, weights = attention(low, low, low)
        assert (answer.dtype, weights.dtype) == (torch.bfloat16, torch.float32)
        assert low.numpy().dtype == "float32"
    assert (_random(2, 2) @ _random(2, 2)).dtype == torch.float32


def test_units_of_another_precision_are_not_found(
    make_cohort: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key(precision: str) -> str:
        fit = make_cohort(precision="fp32")._fit(False, None, {"precision": precision})
        return unit_keys.unit_keys("", fit)[0]

    now = [key(precision) for precision in ("fp32", "tf32", "bf16")]
    monkeypatch.setattr(unit_keys, "_BF16", "bf16")  # what autocast trained was kept so
    before = [key(precision) for precision in ("fp32", "bf16")]
    assert now[0] == before[0]
    assert len({*now, *before}) == 4
