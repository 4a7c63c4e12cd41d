"""Types of a recipe's keys that say by themselves what they take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from privaudit.messages import show

MAX_SEEDS = 1000


def _folder_name(text: str) -> str:
    safe = text.isascii() and text.replace("-", "").replace("_", "").replace(".", "").isalnum()
    if safe and text[0].isalnum() and len(text) <= 100:
        return text
    raise ValueError(
        "must be fit for a folder's name: at most 100 letters, digits, '.', '_' and '-', "
        f"a letter or digit first (got {show(text)})"
    )


def _label(text: str) -> str:
    if text.isprintable() and text.strip() and len(text) <= 80:
        return text
    raise ValueError(f"must be 1 to 80 printable characters (got {show(text)})")


def _seeds(value: object) -> object:
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_SEEDS:
        return tuple(range(value))
    raise ValueError(f"must be a list of seeds, or how many: 1 to {MAX_SEEDS} (got {show(value)})")


def _distinct(seeds: tuple[int, ...]) -> tuple[int, ...]:
    found: set[int] = set()
    for seed in seeds:
        if seed in found:
            raise ValueError(f"must be different from each other (got {seed} more than once)")
        found.add(seed)
    return seeds


class _ShadowOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    count: int = Field(strict=True, ge=0)


def _shadows(value: object) -> object:
    return _ShadowOptions.model_validate(value).count if isinstance(value, Mapping) else value


_COUNT = {"type": "integer", "minimum": 0}
_SEEDS_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": MAX_SEEDS},
        {"type": "array", "items": _COUNT, "minItems": 1, "uniqueItems": True},
    ]
}
_SHADOWS_SCHEMA = {
    "anyOf": [
        _COUNT,
        {
            "type": "object",
            "properties": {"count": _COUNT},
            "required": ["count"],
            "additionalProperties": False,
        },
    ]
}

Label = Annotated[str, AfterValidator(_label)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
FolderName = Annotated[str, AfterValidator(_folder_name)]
Seeds = Annotated[
    tuple[Seed, ...],
    Field(min_length=1),
    AfterValidator(_distinct),
    BeforeValidator(_seeds),
    WithJsonSchema(_SEEDS_SCHEMA),
]
ShadowCount = Annotated[
    int, Field(strict=True, ge=0), BeforeValidator(_shadows), WithJsonSchema(_SHADOWS_SCHEMA)
]
