"""What all plugins share."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Plugin(BaseModel):
    """What all plugins share: options that are checked when they are given.

    Attributes:
        kind: dataset, model, sparsifier, defense or attack; set by the five kinds.
        paper: where the method was published, one line; empty where it has no paper.
        deviations: where the code departs from the paper, or from its authors' code: one sentence
            each, which says what differs and why. Empty where it is not known to.
        short_form: the option that `NAME:VALUE` fills in a recipe, where a plugin is written so;
            empty where it is written by its name alone, or as a mapping.
        name: what recipes call it; narrowed by each plugin to one `Literal` with a default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    deviations: ClassVar[tuple[str, ...]] = ()
    short_form: ClassVar[str] = ""

    name: str


def called(plugin: Plugin) -> str:
    """A plugin as messages call it: its name, and what tells it from others of that name."""
    return (
        f"{plugin.name}:{getattr(plugin, plugin.short_form)}" if plugin.short_form else plugin.name
    )
