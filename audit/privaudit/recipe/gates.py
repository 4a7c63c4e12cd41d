"""The gates of a recipe: limits that judge what a run has found, and change nothing of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_serializer,
)

from privaudit.doubts.doubt import DOUBTS, known
from privaudit.errors import RecipeError
from privaudit.gate.limit import Gate, read_gate
from privaudit.messages import plain, show, spell
from privaudit.readers.door import content
from privaudit.recipe.document import MAX_BYTES, UnreadableError, parse
from privaudit.recipe.fields import Label
from privaudit.recipe.messages import mistakes_of


def _gate(text: str) -> str:
    try:
        return read_gate(text).text
    except ValueError as error:
        raise ValueError(f"{show(text)}: {error}") from error


def _rule(value: object) -> object:
    """A gate by itself is one about everything."""
    if not isinstance(value, str | Mapping | GateOptions):
        raise ValueError(
            "must be a gate such as auc<0.6, or a mapping of gate, subjects and attacks "
            f"(got {show(value)})"
        )
    return {"gate": value} if isinstance(value, str) else value


_NAMES = {"type": "array", "items": {"type": "string", "minLength": 1}}
_RULE_SCHEMA = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {"gate": {"type": "string"}, "subjects": _NAMES, "attacks": _NAMES},
            "required": ["gate"],
            "additionalProperties": False,
        },
    ]
}


class GateOptions(BaseModel):
    """A limit, and what it is about; the limit alone is about everything."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gate: Annotated[str, Field(strict=True), AfterValidator(_gate)] = Field(
        description="as --gate takes it, such as auc<0.6 or mean(auc)<0.6"
    )
    subjects: tuple[Annotated[str, Field(strict=True, min_length=1)], ...] = Field(
        (), description="labels of subjects, or SUBJECT/LEVEL; all if not given"
    )
    attacks: tuple[Label, ...] = Field((), description="labels of attacks; all if not given")

    @model_serializer
    def _short(self) -> str | dict[str, Any]:
        about = {"subjects": list(self.subjects), "attacks": list(self.attacks)}
        about = {key: names for key, names in about.items() if names}
        return {"gate": self.gate, **about} if about else self.gate

    @property
    def limit(self) -> Gate:
        """The gate that it asks for."""
        gate = read_gate(self.gate)
        return Gate(gate.text, gate.metric, gate.limit, gate.mean, self.subjects, self.attacks)


GateRule = Annotated[GateOptions, BeforeValidator(_rule), WithJsonSchema(_RULE_SCHEMA)]
AcceptedDoubt = Annotated[
    str, Field(strict=True), AfterValidator(known), WithJsonSchema({"enum": [*DOUBTS]})
]


class _Stored(BaseModel):
    gates: tuple[GateRule, ...] = ()
    accept_doubts: tuple[AcceptedDoubt, ...] = ()


_STORED = TypeAdapter(_Stored)


def stored_gates(recipe: Mapping[str, Any]) -> tuple[tuple[Gate, ...], tuple[str, ...]]:
    """The gates of a recipe as a run holds it, and the doubts that it accepts.

    Raises:
        ValueError: they are none; a newer privaudit may know them.
    """
    raw = {key: recipe[key] for key in _Stored.model_fields if key in recipe}
    try:
        stored = _STORED.validate_python(raw)
    except ValidationError as error:
        first = mistakes_of(error, _Stored, raw, ())[0]
        raise ValueError(plain(f"{spell(first.path)}: {first.message}")) from error
    return tuple(rule.limit for rule in stored.gates), stored.accept_doubts


def lines_of_gates(path: Path) -> dict[Gate, int]:
    """On which line of a recipe's file each gate stands; none where that cannot be told."""
    try:
        document = parse(content(path, MAX_BYTES, RecipeError, "recipe").decode("utf-8-sig"))
        rules = document.value["gates"]
        limits = [GateOptions.model_validate(_rule(rule)).limit for rule in rules]
    except (RecipeError, UnreadableError, ValueError, KeyError, TypeError):
        return {}
    lines = {gate: document.line(("gates", index)) for index, gate in enumerate(limits)}
    return {gate: line for gate, line in lines.items() if line is not None}
