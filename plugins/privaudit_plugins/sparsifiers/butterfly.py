"""Butterfly sparsity: a support fixed before training."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator
from torch import nn

import privaudit
from privaudit_plugins.sparsifiers._butterfly_chain import Factor, chain
from privaudit_plugins.sparsifiers._butterfly_layers import ButterflyConv2d, ButterflyLinear

_Layer = nn.Linear | nn.Conv2d


class Butterfly(privaudit.Sparsifier):
    """Weight matrices become products of a few sparse factors, and only those are trained.

    Without `segments` and `layers`, the layers of all segments are substituted where the network
    has segments, and every linear and convolution layer but the last elsewhere.
    """

    paper: ClassVar[str] = (
        "Gonon et al. 2023, Sparsity can improve privacy of neural networks, section 3.2"
    )
    name: Literal["butterfly"] = "butterfly"
    factors: int = Field(2, ge=1, description="sparse factors that each matrix is a product of")
    segments: int | None = Field(
        None, ge=1, description="substitute the layers of this many segments, the last ones"
    )
    layers: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="substitute the layers whose names match a pattern, such as 'features.*'",
    )

    @model_validator(mode="after")
    def _one_choice_of_layers(self) -> Self:
        if self.segments is not None and self.layers is not None:
            raise ValueError("give `segments` or `layers`, not both")
        return self

    def prepare(self, module: nn.Module) -> nn.Module:
        """Put butterfly layers, freshly initialised, in place of the chosen ones.

        Raises:
            RecipeError: the options choose no layer, or one that has no chain of factors.
        """
        known = {
            name: layer
            for name, layer in module.named_modules()
            if name and type(layer) in (nn.Linear, nn.Conv2d)  # a subclass may be anything
        }
        for name in self._chosen(module, known):
            parent, _, child = name.rpartition(".")
            setattr(module.get_submodule(parent), child, self._substitute(name, known[name]))
        return module

    def _chosen(self, module: nn.Module, known: Mapping[str, _Layer]) -> list[str]:
        if self.layers is not None:
            return _matching(self.layers, known)
        given = getattr(module, "segments", None)
        segments = given if isinstance(given, tuple) else ()  # not a submodule of that name
        count = len(segments) if self.segments is None else self.segments
        if count > len(segments):
            raise privaudit.RecipeError(
                f"butterfly: segments is {count}, but this network has {len(segments)}: "
                f"choose fewer, or name `layers`, among {', '.join(known) or 'none'}"
            )
        names = [name for segment in segments[len(segments) - count :] for name in segment]
        strange = [name for name in names if name not in known]
        if strange:
            raise privaudit.PluginError(
                f"the network's `segments` names {', '.join(strange)}, "
                "which is no linear or convolution layer of it"
            )
        names = names or list(known)[:-1]
        if not names:
            raise privaudit.RecipeError(
                "butterfly: this network has no linear or convolution layer before its last: "
                "use a deeper network, or another sparsifier"
            )
        return names

    def _substitute(self, name: str, layer: _Layer) -> nn.Module:
        if isinstance(layer, nn.Linear):
            return ButterflyLinear(layer, self._chain(name, layer))
        if layer.groups > 1 or layer.padding_mode != "zeros":
            raise privaudit.RecipeError(
                f"butterfly: layer {name!r} has groups={layer.groups} and "
                f"padding_mode={layer.padding_mode!r}: only convolutions of one group padded with "
                "zeros have a butterfly form; leave it dense by naming others in `layers`"
            )
        return ButterflyConv2d(layer, self._chain(name, layer))

    def _chain(self, name: str, layer: _Layer) -> tuple[Factor, ...]:
        rows, columns = layer.weight.flatten(1).shape
        try:
            factors = chain(rows, columns, self.factors)
        except ValueError as error:
            raise privaudit.RecipeError(
                f"butterfly: layer {name!r}: {error}: change `factors`, "
                "or leave the layer dense by naming others in `layers`"
            ) from error
        parameters = sum(factor.parameters for factor in factors)
        if parameters >= rows * columns:
            warnings.warn(  # which Python shows once, however many models are prepared
                f"butterfly: layer {name!r} saves nothing: its {rows}x{columns} matrix has "
                f"{parameters} parameters as a product of {self.factors}",
                stacklevel=2,
            )
        return factors


def _matching(patterns: tuple[str, ...], known: Iterable[str]) -> list[str]:
    known = list(known)
    lost = [pattern for pattern in patterns if not any(fnmatchcase(n, pattern) for n in known)]
    if lost:
        names = ", ".join(known) or "none"
        raise privaudit.RecipeError(
            *(f"butterfly: layers: {p!r} matches no layer of this network: {names}" for p in lost)
        )
    return [name for name in known if any(fnmatchcase(name, pattern) for pattern in patterns)]


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [Butterfly]
