"""`privaudit schema`: the JSON Schema of recipes."""

from __future__ import annotations

import json

import typer

from privaudit.cli.options import PluginFiles


def schema(plugin: PluginFiles = None) -> None:
    """Print the JSON Schema of recipes, with all installed plugins, for editors."""
    from privaudit.api.host import load_plugins
    from privaudit.recipe import recipe_schema

    typer.echo(json.dumps(recipe_schema(load_plugins(files=plugin or ())), indent=2))
