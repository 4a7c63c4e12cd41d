"""Networks as ONNX, the format that runtimes outside Python read."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from privaudit.errors import PluginError, RecipeError
from privaudit.store.inputs import Inputs

_NEEDS = ("onnx", "onnxscript")
_TRIED = 2  # examples that the exporter traces the network with; any number may come


class Normalising(nn.Module):
    """A network that takes examples as the dataset has them.

    Args:
        network: takes normalised examples.
        inputs: how it wants them normalised.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, inputs: Inputs) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", inputs.mean)
        self.register_buffer("std", inputs.std)

    def forward(self, examples: Tensor) -> Tensor:
        """Logits (N, C) of examples (N, ...) in the dataset's units."""
        logits: Tensor = self.network((examples.to(self.mean.dtype) - self.mean) / self.std)
        return logits


def as_onnx(network: nn.Module, inputs: Inputs, metadata: Mapping[str, str]) -> bytes:
    """A network in float32 from `examples` (N, ...) in the dataset's units to `logits` (N, C).

    Args:
        network: takes normalised examples, or tokens.
        inputs: what they are, and how they are normalised; tokens, int64, are not.
        metadata: goes into the file as it is.

    Raises:
        RecipeError: the packages that it takes are not installed.
        PluginError: the network does something that ONNX has no form for.
    """
    lacking = [name for name in _NEEDS if find_spec(name) is None]
    if lacking:
        raise RecipeError(
            f"--format onnx needs {' and '.join(lacking)}: pip install 'privaudit[onnx]'"
        )
    model = (network if inputs.tokens else Normalising(network, inputs)).float().eval()
    examples = torch.zeros((_TRIED, *inputs.shape), dtype=inputs.dtype)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about torch's own parts
            program = torch.onnx.export(
                model,
                (examples,),
                dynamo=True,
                input_names=["examples"],
                output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("N")},),
                optimize=False,  # it would multiply out what a layer keeps as factors
                verbose=False,
            )
    except Exception as error:  # whatever a network's code, torch or onnxscript raises
        raise PluginError(
            f"the network cannot be written as ONNX: {str(error).strip().splitlines()[0]}; "
            "use --format safetensors"
        ) from error
    assert program is not None
    proto = program.model_proto
    for node in [*proto.graph.node, *(n for f in proto.functions for n in f.node)]:
        del node.metadata_props[:]  # which lines of which file on this machine it comes from
        node.ClearField("doc_string")
    for key, value in metadata.items():
        proto.metadata_props.add(key=key, value=value)
    return bytes(proto.SerializeToString())
