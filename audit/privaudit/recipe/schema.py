"""The JSON Schema of recipes, for editors that complete and check YAML while it is typed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from privaudit.api.plugin import KINDS, Plugin, Sparsifier
from privaudit.recipe.build import BELIEFS, BESIDE, DEFAULTS, LISTS
from privaudit.recipe.model import Entry, Recipe
from privaudit.training import Training

if TYPE_CHECKING:
    from privaudit.api.host import Plugins

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_LABEL = {"type": "string", "minLength": 1, "maxLength": 80, "description": "what reports call it"}


def recipe_schema(plugins: Plugins) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the recipes that the installed plugins allow."""
    classes: list[type[BaseModel]] = [Recipe, Training, *KINDS]
    for kind in KINDS:
        classes += plugins.of(kind.kind).values()
    entries = {key: Entry[kind] for key, kind in LISTS.items()}  # type: ignore[valid-type]
    inputs = [(one, "validation") for one in (*classes, *entries.values())]
    references, schema = models_json_schema(inputs)  # type: ignore[arg-type]
    definitions: dict[str, Any] = schema["$defs"]

    def key_of(one: type[BaseModel]) -> str:
        return str(references[one, "validation"]["$ref"]).rpartition("/")[2]

    for kind in KINDS:
        chosen = plugins.of(kind.kind)
        for name, plugin in chosen.items():
            _require_name(definitions[key_of(plugin)], name, plugin.short_form)
        options = [{"$ref": f"#/$defs/{key_of(plugin)}"} for plugin in chosen.values()]
        definitions[key_of(kind)] = _choice(chosen, options)
    training = {"$ref": f"#/$defs/{key_of(Training)}"}
    beliefs = {
        name: {"anyOf": [{"enum": ["none", "same"]}, {"$ref": f"#/$defs/{key_of(kind)}"}]}
        for name, (kind, _) in BELIEFS.items()
    }
    for key, entry in entries.items():
        then = {"$ref": f"#/$defs/{key_of(Sparsifier)}"}
        beside = {"label": _LABEL, "training": training, "then": then, **beliefs}
        beside = {name: beside[name] for name in BESIDE[key]}
        chosen = plugins.of(LISTS[key].kind)
        options = [_widened(definitions[key_of(plugin)], beside) for plugin in chosen.values()]
        definitions[key_of(entry)] = _choice(chosen, options)
    recipe = definitions.pop(key_of(Recipe))
    recipe["properties"] |= beliefs
    optional = {*DEFAULTS, "dataset"}
    recipe["required"] = [name for name in recipe["required"] if name not in optional]
    recipe["anyOf"] = [{"required": [name]} for name in ("dataset", "target")]
    return {"$schema": _DIALECT, **recipe, "$defs": definitions}


def _require_name(definition: dict[str, Any], name: str, short: str) -> None:
    """Let a mapping say its plugin's name, and behind a colon the option that stands for."""
    says = {"const": name} if not short else {"pattern": f"^{re.escape(name)}(:.+)?$"}
    definition["properties"]["name"] = says
    definition["required"] = sorted({"name", *definition.get("required", [])} - {short})


def _choice(chosen: dict[str, type[Plugin]], options: list[dict[str, Any]]) -> dict[str, Any]:
    """A plugin's name alone, where there is one, its short form, or its options."""
    short = [
        {"type": "string", "pattern": f"^{re.escape(name)}:.+$"}
        for name, plugin in chosen.items()
        if plugin.short_form
    ]
    return {"anyOf": [{"enum": sorted(chosen)}, *short, *options]} if chosen else {"not": {}}


def _widened(definition: dict[str, Any], beside: dict[str, Any]) -> dict[str, Any]:
    return {**definition, "properties": {**definition["properties"], **beside}}
