"""Mistakes in plain words: what is wrong, where, and the nearest thing that would be right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from privaudit.messages import Place, show, unknown


@dataclass(frozen=True)
class Mistake:
    """One thing wrong with a recipe.

    Attributes:
        path: where, as keys and indices from the top.
        message: what is wrong, to be read after the path.
        line: the line of the file, where it is not the one that holds `path`.
    """

    path: Place
    message: str
    line: int | None = None


NO_DATASET = (
    "is missing: name what an attacker trains shadows on, or set shadows: 0, and the target's "
    "non_members stand in for it"
)
"""A recipe has a target, and no dataset."""

_LOOKED_UP = 200  # unknown options for which the nearest valid one is looked for

_WORDS = {
    "missing": "is missing",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "finite_number": "must be a finite number",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "none_required": "must be null",
}
_WORDS |= dict.fromkeys(
    ("int_type", "int_parsing", "int_from_float", "int_parsing_size"), "must be a whole number"
)
_WORDS |= dict.fromkeys(("float_type", "float_parsing"), "must be a number")
_WORDS |= dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false")
_WORDS |= dict.fromkeys(("string_type", "path_type"), "must be text")
_WORDS |= dict.fromkeys(
    ("list_type", "tuple_type", "set_type", "frozen_set_type", "iterable_type"), "must be a list"
)
_WORDS |= dict.fromkeys(
    ("dict_type", "model_type", "model_attributes_type", "mapping_type", "dataclass_type"),
    "must be a mapping of options",
)


def mistakes_of(
    error: ValidationError,
    model: type[BaseModel],
    raw: object,
    path: Place,
    beside: Iterable[str] = (),
) -> list[Mistake]:
    """What pydantic found wrong, in plain words, one mistake for each place.

    Args:
        error: what pydantic raised.
        model: the class that refused.
        raw: what it was given.
        path: where in the recipe that stands.
        beside: keys that the recipe takes besides the fields of the class.
    """
    places: dict[Place, list[ErrorDetails]] = {}
    for detail in error.errors():
        inner_path = _place(detail, raw)
        places.setdefault(inner_path, []).append(detail)
    mistakes = []
    around = {path[:length] for path in places for length in range(len(path))}
    for number, (inner_path, details) in enumerate(places.items()):
        if inner_path in around:
            continue  # a union's other members: one of them says more exactly what is wrong
        if details[0]["type"] == "extra_forbidden":
            valid = {*_fields(model, inner_path[:-1]), *(beside if len(inner_path) == 1 else ())}
            # looking for what was meant takes a while, and nobody reads thousands of lines
            message = unknown("option", str(inner_path[-1]), valid if number < _LOOKED_UP else ())
        else:
            message = _joined(details)
        mistakes.append(Mistake(path + inner_path, message))
    return mistakes


def _place(detail: ErrorDetails, raw: Any) -> Place:
    """The error's path without the tags that pydantic puts in for the members of a union."""
    path: list[str | int] = []
    for part in detail["loc"]:
        if _holds(raw, part):
            raw = raw[part]
        elif not (detail["type"] == "missing" and part == detail["loc"][-1]):
            continue
        path.append(part)
    return tuple(path)


def _holds(raw: object, part: str | int) -> bool:
    if isinstance(raw, list | tuple):
        return isinstance(part, int) and part < len(raw)
    return isinstance(raw, Mapping) and part in raw


def _joined(details: list[ErrorDetails]) -> str:
    """One message for a value that no member of a union would take."""
    wanted = list(dict.fromkeys(_requirement(detail) for detail in details))
    text = " or ".join([wanted[0], *(want.removeprefix("must be ") for want in wanted[1:])])
    if details[0]["type"] in ("missing", "value_error", "too_short", "too_long"):
        return text
    return f"{text} (got {show(details[0]['input'])})"


def _requirement(detail: ErrorDetails) -> str:
    context = {
        key: int(value) if isinstance(value, float) and value.is_integer() else value
        for key, value in detail.get("ctx", {}).items()
    }
    if isinstance(detail["input"], bool) and context.keys() & {"ge", "gt", "le", "lt"}:
        return "must be a number"
    if detail["type"] == "value_error":
        return str(context["error"])
    if detail["type"] in ("too_short", "too_long"):
        bound, limit = (
            ("at least", context["min_length"])
            if detail["type"] == "too_short"
            else ("at most", context["max_length"])
        )
        entries = "entry" if limit == 1 else "entries"
        return f"must have {bound} {limit} {entries} (got {context['actual_length']})"
    if words := _WORDS.get(detail["type"]):
        return words.format(**context)
    return detail["msg"][0].lower() + detail["msg"][1:]


def _fields(model: type[BaseModel], path: Place) -> Iterator[str]:
    """The options of a class, or of the class that its field at `path` holds."""
    for part in (part for part in path if isinstance(part, str)):
        field = model.model_fields.get(part)
        inner = [] if field is None else [t for t in parts_of(field.annotation) if _is_model(t)]
        if not inner:
            return
        model = inner[0]
    for name, field in model.model_fields.items():
        yield field.alias or name


def _is_model(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def parts_of(annotation: Any) -> Iterator[Any]:
    """An annotation and everything it is made of: `list[int] | None`, `list[int]`, `int`, ..."""
    yield annotation
    for argument in get_args(annotation):
        yield from parts_of(argument)
