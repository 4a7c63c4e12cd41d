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
from privaudit.cohort import Cohort
from privaudit.cohort.unit_keys import unit_keys
from privaudit.networks.low_precision import LowProducts
from privaudit.networks.state import Trained
from privaudit.train.ways.chain_step import chain_of
from privaudit_plugins.defenses.dp_sgd import DPSGD
from privaudit_plugins.defenses.min_max import MinMax
from privaudit_plugins.models.cnn import CNN
from privaudit_plugins.models.mlp import MLP
from privaudit_plugins.models.resnet20 import ResNet20
from privaudit_plugins.models.vit_tiny import ViTTiny

Make = Callable[..., Cohort]

PRODUCTS = {
    "aten::convolution", "aten::convolution_backward", "aten::mkldnn_convolution", "aten::mm",
    "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::_scaled_dot_product_flash_attention_for_cpu",
}  # fmt: skip
FULL = {
    "aten::_log_softmax", "aten::_softmax", "aten::nll_loss_forward", "aten::native_batch_norm",
    "aten::native_batch_norm_backward", "aten::native_layer_norm", "aten::nll_loss_backward",
    "aten::native_layer_norm_backward", "aten::_softmax_backward_data",
    "aten::_log_softmax_backward_data",
}  # fmt: skip


class Log(TorchDispatchMode):
    """The precision in which each kind of operation answers."""

    def __init__(self) -> None:
        super().__init__()
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
    ("model", "defense", "ways"),
    [
        (ResNet20(), None, ("vmapped", "plain")),
        (CNN(width=4), None, ("vmapped", "plain")),
        (ViTTiny(width=12, depth=2, patch=4), None, ("vmapped", "plain")),
        (MLP(hidden=(8,)), DPSGD(), ("vmapped", "plain")),
        (Brought(which="encoder"), None, ("plain",)),
        (Brought(which="lstm"), None, ("plain",)),
    ],
    ids=lambda part: getattr(part, "which", getattr(part, "name", "")),
)
def test_products_alone_are_bf16_in_every_way_and_company(
    make_cohort: Make, model: Model, defense: Defense | None, ways: tuple[str, ...]
) -> None:
    cohort = make_cohort(
        [16, 16, 16], model=model, defense=defense, epochs=1, validation=0, precision="bf16"
    )
    for way in ways:
        for together in ([0], [0, 1], [0, 1, 2]):
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


def test_a() -> None:
    pass
