"""The page of a recipe's keys, from the models that validate them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from privaudit.api.describe import option_of, type_words
from privaudit.api.plugin import KINDS, Plugin
from privaudit.recipe.build import BESIDE, DEFAULTS, LISTS
from privaudit.recipe.messages import parts_of
from privaudit.recipe.model import Entry, Recipe
from reference_pages.examples import EXAMPLES
from reference_pages.markdown import code, joined, made_from, table

HEADS = ("key", "values", "default", "meaning")

_INTRO = """\
Every key of a recipe, with the values that it takes. [Recipes](../recipes.md) says how they play
together, and `privaudit schema` prints them as a JSON Schema for your editor."""

_BESIDE = """\
An entry of `sparsifiers`, `defenses` or `attacks` is a plugin's name, or a mapping of its name, its
options, and these:"""


@dataclass(frozen=True)
class Section:
    """A mapping in a recipe.

    Attributes:
        place: its key, spelled from the top; empty for the recipe itself.
        model: that validates it.
    """

    place: str
    model: type[BaseModel]

    @property
    def anchor(self) -> str:
        """What its heading is linked by, on GitHub and on the site."""
        return f"#{self.place.replace('.', '')}"

    def path(self, name: str) -> str:
        """A key of it, spelled from the top."""
        return f"{self.place}.{name}".lstrip(".")


def page() -> str:
    """The whole page."""
    first, *rest = sections(Section("", Recipe))
    parts: list[str | list[str]] = [
        made_from("the models of privaudit.recipe"),
        "# Recipe reference",
        ["", _INTRO, ""],
        _keys(first),
    ]
    for section in rest:
        parts += [["", f"## `{section.place}`", "", _summary(section.model), ""]]
        parts += [_keys(section)]
    return joined(*parts, ["", "## Beside a plugin's options", "", _BESIDE, ""], _beside())


def sections(section: Section) -> Iterator[Section]:
    """A mapping, and those in it, each before what it holds."""
    yield section
    for name, field in section.model.model_fields.items():
        for model in _inner(field):
            yield from sections(Section(section.path(name), model))


def _inner(field: FieldInfo) -> list[type[BaseModel]]:
    """The mappings that a key may hold; plugins have pages of their own."""
    models = [part for part in parts_of(field.annotation) if _is(part, BaseModel)]
    return [model for model in models if not issubclass(model, (Plugin, Entry))]


def _is(part: object, cls: type) -> bool:
    return isinstance(part, type) and issubclass(part, cls)


def _summary(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().partition("\n")[0]


def _keys(section: Section) -> list[str]:
    fields = section.model.model_fields.items()
    return table(HEADS, (_row(section, name, field) for name, field in fields))


def _row(section: Section, name: str, field: FieldInfo) -> tuple[str, ...]:
    option, path = option_of(name, field), section.path(name)
    values, default = option.values, code(option.default)
    for model in _inner(field):
        below = Section(path, model)
        values = values.replace(type_words(model), f"[a mapping]({below.anchor})")
        default = "as below" if option.default.startswith("{") else default
    if path in LISTS:
        kind = LISTS[path].kind
        values = f"list of [{path}](plugins/{kind}.md)"
        default = code(f"[{', '.join(DEFAULTS[path])}]") if path in DEFAULTS else "required"
    else:
        values = linked(values, "")
    default = "required" if default == code("required") else default
    example = f"; as in {code(f'{name}: {EXAMPLES[path]}')}" if path in EXAMPLES else ""
    return code(name), values, default, f"{option.meaning}{example}"


def linked(values: str, above: str) -> str:
    """The words of a type, with kinds of plugins led to their pages.

    Args:
        values: the words.
        above: how the page is reached from which they are read, such as "../".
    """
    for kind in KINDS:
        words = type_words(kind)
        values = values.replace(words, f"[{words}]({above}plugins/{kind.kind}.md)")
    return values


def _beside() -> list[str]:
    rows = []
    for name, field in Entry.model_fields.items():
        holders = [key for key, names in BESIDE.items() if name in names]
        if holders:
            option = option_of(name, field)
            rows.append((code(name), ", ".join(map(code, holders)), option.meaning))
    return table(("key", "of an entry of", "meaning"), rows)
