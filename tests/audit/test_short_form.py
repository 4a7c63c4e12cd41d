"""`NAME:VALUE` in recipes: any plugin may have it, and the engine knows no name."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import pytest
from pydantic import Field
from torch import nn

from privaudit import Model, PluginError, RecipeError, Sparsifier, load_recipe
from privaudit.api.contract import check_class
from privaudit.api.host import Plugins, Provided, load_plugins
from privaudit.api.plugin import called


class Zoo(Model):
    """A network by its number of layers."""

    short_form: ClassVar[str] = "layers"
    name: Literal["zoo"] = "zoo"
    layers: int = Field(ge=1, description="how many")
    bias: bool = Field(True, description="whether they have one")

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        raise NotImplementedError


class Cut(Sparsifier):
    """A share of the weights."""

    short_form: ClassVar[str] = "share"
    name: Literal["cut"] = "cut"
    share: float = Field(0.5, gt=0, lt=1, description="that stays")


INSTALLED = load_plugins()
PLUGINS = Plugins(
    (
        *INSTALLED.provided,
        Provided(Zoo, "model", "zoo", "test", "1", "0"),
        Provided(Cut, "sparsifier", "cut", "test", "1", "0"),
    ),
    INSTALLED.problems,
)
DATA: dict[str, Any] = {"name": "r", "dataset": "digits", "model": "mlp", "attacks": ["loss"]}


def loaded(**changes: Any) -> Any:
    return load_recipe(DATA | changes, plugins=PLUGINS)


def test_the_short_form_is_the_long_one() -> None:
    recipe = loaded(model="zoo:3", sparsifiers=["cut:0.2", {"name": "cut:0.3", "label": "more"}])
    assert recipe.model == Zoo(layers=3)
    assert [entry.plugin for entry in recipe.sparsifiers] == [Cut(share=0.2), Cut(share=0.3)]
    long = loaded(
        model={"name": "zoo", "layers": 3},
        sparsifiers=[{"name": "cut", "share": 0.2}, {"name": "cut", "share": 0.3, "label": "more"}],
    )
    assert recipe.digest() == long.digest()
    assert ":3" not in recipe.to_yaml()
    mixed = loaded(model={"name": "zoo:3", "bias": False})
    assert mixed.model == Zoo(layers=3, bias=False)
    assert called(recipe.model) == "zoo:3"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("zoo:", "model: 'zoo:' ends in a colon: write zoo:LAYERS"),
        ("zoo:0", "model.layers: must be at least 1"),
        ("zoo:x", "model.layers: must be a whole number"),
        ("zoo:3:4", "model.layers: must be a whole number"),
        ("zoo", "model.layers: is missing"),
        ("mlp:3", "model: 'mlp' takes nothing behind a colon"),
        ("zop:3", "model: unknown model 'zop'; did you mean 'zoo'?"),
        (":3", "model: unknown model ''"),
        ("cut:0.5", "model: 'cut' names another kind of plugin"),
        ({"name": "zoo:3", "layers": 4}, "model.name: 'zoo:3' says layers, which is given once"),
        ({"name": "zoo:3", "layer": 4}, "model.layer: unknown option 'layer'"),
    ],
)
def test_what_is_written_wrongly_is_one_line(model: Any, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        loaded(model=model)
    assert len(caught.value.problems) == 1
    assert message in caught.value.problems[0]


@pytest.mark.parametrize("short", ["name", "missing", 3])
def test_a_short_form_names_an_option(short: Any) -> None:
    class Wrong(Zoo):
        short_form: ClassVar[Any] = short

    with pytest.raises(PluginError, match="it must name one of its options"):
        check_class(Wrong)
