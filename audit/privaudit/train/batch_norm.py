"""Where BatchNorm has no place: in gradients of single examples."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from privaudit.api.plugin import Defense
from privaudit.errors import PluginError


def refuse_batch_norm(module: nn.Module, defense: Defense) -> None:
    """Gradients of single examples have no meaning where a batch shares statistics.

    BatchNorm that stays in evaluation while the network trains shares none, and is allowed.

    Raises:
        PluginError: naming the layers.
    """
    training = module.training
    module.train()
    layers = [n for n, m in module.named_modules() if isinstance(m, _BatchNorm) and m.training]
    module.train(training)
    if layers:
        shown = ", ".join(layers[:3]) + (f" and {len(layers) - 3} more" if len(layers) > 3 else "")
        raise PluginError(
            f"defense {defense.name!r} needs gradients of single examples, which BatchNorm "
            f"({shown}) mixes: choose a model without it, give this one `norm: group`, or keep "
            "its BatchNorm in evaluation"
        )
