"""Which layers of a network are put in another form before training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Self

from pydantic import Field, model_validator
from torch import nn

import privaudit

Layer = nn.Linear | nn.Conv2d


class Substitution(privaudit.Sparsifier):
    """A structure that the layers of some segments, or of some names, are given."""

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
        """Put new layers, freshly initialised, in place of the chosen ones.

        Raises:
            RecipeError: the options choose no layer, or one that `substitute` has no form for.
        """
        chosen = choose_layers(self.name, module, self.layers, self.segments)
        return replaced(module, chosen, self.substitute)

    def substitute(self, name: str, layer: Layer) -> nn.Module:
        """The layer in its other form.

        Raises:
            RecipeError: it has none.
        """
        raise NotImplementedError


def replaced(
    module: nn.Module, chosen: Mapping[str, Layer], make: Callable[[str, Layer], nn.Module]
) -> nn.Module:
    """The network with other layers in place of the chosen ones."""
    for name, layer in chosen.items():
        parent, _, child = name.rpartition(".")
        setattr(module.get_submodule(parent), child, make(name, layer))
    return module


def choose_layers(
    sparsifier: str,
    module: nn.Module,
    layers: tuple[str, ...] | None,
    segments: int | None = None,
) -> dict[str, Layer]:
    """The layers to substitute, by name.

    With neither `layers` nor `segments` these are the layers of all segments where the network
    has segments, and every linear and convolution layer but the last elsewhere.

    Args:
        sparsifier: its name, for messages.
        module: the network.
        layers: patterns of names, such as 'features.*'.
        segments: so many segments, the last ones.

    Raises:
        RecipeError: the options choose no layer, or a convolution with groups or another padding
            than zeros, which has no other form.
        PluginError: the network names a segment's layer that it does not have.
    """
    known = {
        name: layer
        for name, layer in module.named_modules()
        if name and type(layer) in (nn.Linear, nn.Conv2d)  # a subclass may be anything
    }
    if layers is not None:
        names = _matching(sparsifier, layers, known)
    else:
        names = _of_segments(sparsifier, module, known, segments) or list(known)[:-1]
    if not names:
        raise privaudit.RecipeError(
            f"{sparsifier}: this network has no linear or convolution layer before its last: "
            "use a deeper network, or another sparsifier"
        )
    chosen: dict[str, Layer] = {name: known[name] for name in names}
    for name, layer in chosen.items():
        if isinstance(layer, nn.Conv2d) and (layer.groups > 1 or layer.padding_mode != "zeros"):
            raise privaudit.RecipeError(
                f"{sparsifier}: layer {name!r} has groups={layer.groups} and "
                f"padding_mode={layer.padding_mode!r}: only convolutions of one group padded with "
                f"zeros have a {sparsifier} form; leave it dense by naming others in `layers`"
            )
    return chosen


def _of_segments(
    sparsifier: str, module: nn.Module, known: Iterable[str], segments: int | None
) -> list[str]:
    given = getattr(module, "segments", None)
    groups = given if isinstance(given, tuple) else ()  # not a submodule of that name
    count = len(groups) if segments is None else segments
    known = list(known)
    if count > len(groups):
        raise privaudit.RecipeError(
            f"{sparsifier}: segments is {count}, but this network has {len(groups)}: "
            f"choose fewer, or name `layers`, among {', '.join(known) or 'none'}"
        )
    names = [name for group in groups[len(groups) - count :] for name in group]
    strange = [name for name in names if name not in known]
    if strange:
        raise privaudit.PluginError(
            f"the network's `segments` names {', '.join(strange)}, "
            "which is no linear or convolution layer of it"
        )
    return names


def _matching(sparsifier: str, patterns: tuple[str, ...], known: Iterable[str]) -> list[str]:
    known = list(known)
    lost = [pattern for pattern in patterns if not any(fnmatchcase(n, pattern) for n in known)]
    if lost:
        names = ", ".join(known) or "none"
        raise privaudit.RecipeError(
            *(
                f"{sparsifier}: layers: {p!r} matches no layer of this network: {names}"
                for p in lost
            )
        )
    return [name for name in known if any(fnmatchcase(name, pattern) for pattern in patterns)]
