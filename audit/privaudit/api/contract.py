"""What a class must be before it may serve as a plugin."""

from __future__ import annotations

import inspect
from typing import Literal, get_args, get_origin

from pydantic.errors import PydanticUserError

from privaudit.api.plugin import KINDS, Attack, Defense, Plugin, Sparsifier
from privaudit.errors import PluginError
from privaudit.messages import show

RESERVED = frozenset({"label", "training", "shadow_sparsifier", "shadow_defense"})
"""Keys of a recipe's entry that stand beside a plugin's options."""

_RESERVED_TOO = {"sparsifier": frozenset({"then"})}
"""And those of one kind's entries."""

_WORDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("sparsifier", "during"): ("all", "train"),
    ("defense", "during"): ("all", "tune"),
    ("defense", "sampling"): ("shuffle", "poisson"),
}
"""The words that a kind's class attribute may be."""

_LEAST = {"queries": 1, "noise": 0, "shadows": 0}
_SIGNALS = ("augmentation", "gradient_norm", "original", "versions", "x")


def check_class(cls: object) -> type[Plugin]:
    """The class itself, once it is known to be a plugin of exactly one kind.

    Raises:
        PluginError: it is not; the message says what to change.
    """
    if not isinstance(cls, type):
        raise PluginError(f"provides {cls!r}, which is not a class: return the class itself")
    where = f"class {cls.__qualname__}"
    kinds = [kind.__name__ for kind in KINDS if issubclass(cls, kind)]
    if len(kinds) != 1 or not issubclass(cls, Plugin):
        what = f"is {' and '.join(kinds)} at once" if kinds else "is of no known kind"
        base_names = ", ".join(f"privaudit.{kind.__name__}" for kind in KINDS)
        raise PluginError(f"{where} {what}: derive it from one of {base_names}")
    if inspect.isabstract(cls):
        raise PluginError(f"{where} is abstract: write its abstract methods")
    _check_options(cls, where)
    _check_deviations(cls, where)
    _check_needs(cls, where)
    return cls


def _check_needs(cls: type[Plugin], where: str) -> None:
    """What a class says that it needs of the engine; what each of its instances says is not known.

    Raises:
        PluginError: there is no such thing.
    """
    for (kind, name), words in _WORDS.items():
        value = getattr(cls, name, None)
        if cls.kind == kind and isinstance(value, str) and value not in words:
            known = " or ".join(map(repr, words))
            raise PluginError(f"{where} has {name} = {value!r:.60}: it may be {known}")
    if issubclass(cls, Defense) and not cls.per_example:
        hooks = ("example_gradient", "batch_gradient")
        if written := [n for n in hooks if getattr(cls, n) is not getattr(Defense, n)]:
            raise PluginError(
                f"{where} writes {' and '.join(written)}, which is never called: "
                "set `per_example: ClassVar[bool] = True`"
            )
    if issubclass(cls, Sparsifier) and _written(cls, "remember") and not _written(cls, "memory"):
        raise PluginError(
            f"{where} writes remember, which is never called: write `memory` too, which says "
            "what there is to remember"
        )
    if not issubclass(cls, Attack):
        return
    for name, least in _LEAST.items():
        number = getattr(cls, name)
        if isinstance(number, int) and number < least:
            raise PluginError(f"{where} has {name} = {number}: it must be at least {least}")
    asked = cls.signals
    if isinstance(asked, frozenset | set) and (unknown := sorted(map(str, asked - {*_SIGNALS}))):
        known = ", ".join(map(repr, _SIGNALS))
        raise PluginError(f"{where} asks for {unknown[0]!r:.60} in `signals`: there are {known}")


def can_follow(cls: type[Plugin]) -> bool:
    """Whether a sparsifier goes on from another's networks, which are prepared already."""
    return issubclass(cls, Sparsifier) and _written(cls, "follow") and not _written(cls, "prepare")


def _written(cls: type[Sparsifier], hook: str) -> bool:
    return getattr(cls, hook) is not getattr(Sparsifier, hook)


def kind_of(cls: type[Plugin]) -> type[Plugin]:
    """The kind a plugin class is of, one of `KINDS`."""
    return next(kind for kind in KINDS if issubclass(cls, kind))


def name_of(cls: object) -> str | None:
    """The name a plugin class gives itself: the default of its one-valued `Literal`, or None."""
    if not (isinstance(cls, type) and issubclass(cls, Plugin)):
        return None
    field = cls.model_fields["name"]
    values = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    named = len(values) == 1 and isinstance(values[0], str) and field.default == values[0]
    return field.default if named else None


def _check_deviations(cls: type[Plugin], where: str) -> None:
    told: object = cls.deviations
    if isinstance(told, tuple) and all(isinstance(sentence, str) for sentence in told):
        return
    raise PluginError(
        f"{where} has deviations that are no tuple of sentences ({show(told)}): write "
        '`deviations: ClassVar[tuple[str, ...]] = ("What differs, and why.",)`'
    )


def _check_options(cls: type[Plugin], where: str) -> None:
    try:
        cls.model_rebuild()
    except (NameError, PydanticUserError) as error:
        raise PluginError(
            f"{where} has an option whose type cannot be used ({error}): "
            "import it outside `if TYPE_CHECKING`"
        ) from error
    if name_of(cls) is None:
        raise PluginError(
            f'{where} has no fixed name: give it `name: Literal["..."] = "..."`, the same twice'
        )
    short: object = cls.short_form
    if not isinstance(short, str) or (short and short not in set(cls.model_fields) - {"name"}):
        raise PluginError(
            f"{where} has short_form = {short!r:.60}: it must name one of its options"
        )
    reserved = RESERVED | _RESERVED_TOO.get(cls.kind, frozenset())
    if taken := sorted(reserved & set(cls.model_fields)):
        raise PluginError(
            f"{where} has the option {taken[0]!r}, which recipes use for themselves: rename it"
        )
    if needs := sorted(set(kind_of(cls).__class_vars__) & set(cls.model_fields)):
        raise PluginError(
            f"{where} has {needs[0]!r} as an option, but it is for the engine: "
            f"write `{needs[0]}: ClassVar[...]`"
        )
