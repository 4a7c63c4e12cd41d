"""A plugin's options in words, as its own types and fields tell them."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from privaudit.api.contract import kind_of, name_of
from privaudit.api.plugin import Defense, Plugin, acts_in_training

_WORDS = {int: "int", float: "float", str: "text", bool: "true or false", Path: "path"}


@dataclass(frozen=True)
class Option:
    """One option of a plugin, each attribute as recipes write or people say it.

    Attributes:
        name: its key in a recipe.
        type: what values it takes.
        bounds: between which limits; empty where there are none.
        default: its value when a recipe leaves it out, or "required".
        meaning: the description of its field.
    """

    name: str
    type: str
    bounds: str
    default: str
    meaning: str

    @property
    def values(self) -> str:
        """Type and bounds together.

        >>> Option("limit", "int or null", ">= 2", "null", "").values
        'int >= 2 or null'
        """
        kind = self.type.removesuffix(" or null")
        return _bounded(kind, self.bounds) + self.type[len(kind) :]


@dataclass(frozen=True)
class Description:
    """What a plugin tells about itself.

    Attributes:
        paper: where the method was published; empty where it has no paper.
        deviations: where the code departs from the paper, one sentence each.
        needs: what it asks of the engine: its kind's class attributes.
        usual: what a plugin of its kind asks that says nothing.
        options: in the order they are written.
        short: how recipes may write it without a mapping, beside its name; empty: not at all.
    """

    paper: str
    deviations: tuple[str, ...]
    needs: dict[str, str]
    usual: dict[str, str]
    options: tuple[Option, ...]
    short: str


def describe(cls: type[Plugin]) -> Description:
    """Describe a plugin class."""
    kind = kind_of(cls)
    asks = [a for a in inspect.get_annotations(kind) if a in cls.__class_vars__ and a != "kind"]
    needs, usual = ({a: _value(getattr(one, a)) for a in asks} for one in (cls, kind))
    options = tuple(option_of(field.alias or name, field) for name, field in _options(cls).items())
    short = f"{name_of(cls)}:{cls.short_form.upper()}" if cls.short_form else ""
    return Description(cls.paper, cls.deviations, needs, usual, options, short)


def _options(cls: type[Plugin]) -> dict[str, FieldInfo]:
    """The fields that a recipe may fill: a plugin's own, then those of all of its kind."""
    fields = {name: field for name, field in cls.model_fields.items() if name != "name"}
    of_kind = kind_of(cls).model_fields
    own = {name: field for name, field in fields.items() if name not in of_kind}
    if issubclass(cls, Defense) and not acts_in_training(cls):
        return own  # `Defense` refuses its option there
    return own | {name: field for name, field in fields.items() if name in of_kind}


def type_words(annotation: object) -> str:
    """A type in the words of a recipe.

    >>> type_words(int | None), type_words(tuple[Literal["best", "last"], ...])
    ('int or null', 'list of best or last')
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is NoneType:
        return "null"
    if origin is Annotated:
        return _bounded(type_words(arguments[0]), _bounds(arguments[1:]))
    if origin is Literal:
        return " or ".join(map(_value, arguments))
    if origin in (Union, UnionType):
        return " or ".join(map(type_words, arguments))
    if origin is dict:
        return f"mapping of {' to '.join(map(type_words, arguments))}"
    if origin is not None:
        items = [type_words(argument) for argument in arguments if argument is not Ellipsis]
        return f"list of {', '.join(items)}"
    if isinstance(annotation, type) and issubclass(annotation, Plugin):
        kind = annotation.kind or "plugin"
        return f"an {kind}" if kind[0] == "a" else f"a {kind}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        inner = (f"{key}: {type_words(f.annotation)}" for key, f in annotation.model_fields.items())
        return f"{{{', '.join(inner)}}}"
    if isinstance(annotation, type):
        return _WORDS.get(annotation, annotation.__name__)
    return str(annotation)


def option_of(name: str, field: FieldInfo) -> Option:
    """An option as its field describes it.

    Args:
        name: its key in a recipe.
        field: of a plugin, or of another part of a recipe.
    """
    required = field.is_required()
    return Option(
        name=name,
        type=type_words(field.annotation),
        bounds=_bounds(tuple(field.metadata)),
        default="required" if required else _value(field.get_default(call_default_factory=True)),
        meaning=field.description or "",
    )


def _bounds(metadata: tuple[object, ...]) -> str:
    """Limits in words.

    >>> _bounds((annotated_types.Ge(0), annotated_types.Lt(1)))
    '>= 0, < 1'
    """
    words = []
    for constraint in metadata:
        match constraint:
            case annotated_types.Ge(ge=limit):
                words.append(f">= {limit}")
            case annotated_types.Gt(gt=limit):
                words.append(f"> {limit}")
            case annotated_types.Le(le=limit):
                words.append(f"<= {_power(limit)}")
            case annotated_types.Lt(lt=limit):
                words.append(f"< {_power(limit)}")
            case annotated_types.MultipleOf(multiple_of=step):
                words.append(f"a multiple of {step}")
            case annotated_types.MinLen(min_length=count):
                words.append(f"at least {count} long")
            case annotated_types.MaxLen(max_length=count):
                words.append(f"at most {count} long")
            case FieldInfo(metadata=inner):
                words.append(_bounds(tuple(inner)))
    return ", ".join(filter(None, words))


def _bounded(kind: str, bounds: str) -> str:
    """A type and its limits.

    >>> _bounded("int", ">= 2"), _bounded("list of int > 0", "at least 1 long")
    ('int >= 2', 'list of int > 0, at least 1 long')
    """
    comma = "," if bounds.startswith("at ") else ""
    return f"{kind}{comma} {bounds}" if bounds else kind


def _power(limit: object) -> object:
    """A limit; one of many digits as the power of two that it is made from.

    >>> _power(2**63), _power(2**31 - 1), _power(1)
    ('2^63', '2^31 - 1', 1)
    """
    if not isinstance(limit, int) or limit < 2**16:
        return limit
    for less, text in ((0, ""), (1, " - 1")):
        if (limit + less).bit_count() == 1:
            return f"2^{(limit + less).bit_length() - 1}{text}"
    return limit


def _value(value: object) -> str:
    """A value as a recipe writes it.

    >>> _value("best"), _value(None), _value((128, 64)), _value(frozenset({"gradient_norm"}))
    ('best', 'null', '[128, 64]', '[gradient_norm]')
    """
    plain = to_jsonable_python(sorted(value) if isinstance(value, frozenset) else value)
    if isinstance(plain, list):
        return f"[{', '.join(map(_value, plain))}]"
    return plain if isinstance(plain, str) and plain else json.dumps(plain)
