"""`privaudit validate`: is this recipe right, and if not, everything that is wrong with it."""

from __future__ import annotations

from typing import Annotated

import typer

from privaudit.cli.options import PluginFiles, RecipeName


def validate(
    recipe: RecipeName,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B.C=VALUE", help="Change the recipe first; repeatable."),
    ] = None,
    plugin: PluginFiles = None,
) -> None:
    """Check a recipe without running it; a wrong one prints every mistake and exits with 2."""
    from privaudit.recipe import find_recipe, load_recipe

    loaded = load_recipe(recipe, changes or (), files=plugin or ())
    sizes = ((loaded.subjects(), "subject"), (loaded.seeds, "seed"), (loaded.attacks, "attack"))
    counts = (f"{len(items)} {name}{'' if len(items) == 1 else 's'}" for items, name in sizes)
    typer.echo(f"{find_recipe(recipe)}: fine: {' x '.join(counts)}")
    typer.echo("this reads the recipe alone; privaudit run --dry-run loads data and tries networks")
