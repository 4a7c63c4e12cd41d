"""From what a recipe's file says to a `Recipe`, or to all that is wrong with it.

Every plugin's entry is validated by the plugin's own class, chosen by `name`, so that messages
carry no trace of a union. What fails is replaced by a stand-in, so that the rest is checked too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from privaudit.api.boundary import guest
from privaudit.api.contract import can_follow
from privaudit.api.plugin import KINDS, Attack, Dataset, Defense, Model, Plugin, Sparsifier
from privaudit.messages import Place, show, spell
from privaudit.readers.file_path import FOLDERS
from privaudit.recipe.called import called
from privaudit.recipe.checks import PAIRS, cross_check
from privaudit.recipe.messages import NO_DATASET, Mistake, mistakes_of, parts_of
from privaudit.recipe.model import DENSE, Entry, Recipe, combined
from privaudit.recipe.target import TargetOptions
from privaudit.training import Training

if TYPE_CHECKING:
    from privaudit.api.host import Plugins

P = TypeVar("P", bound=Plugin)

SINGLE: dict[str, type[Plugin]] = {"dataset": Dataset, "model": Model}
LISTS: dict[str, type[Plugin]] = {
    "sparsifiers": Sparsifier,
    "defenses": Defense,
    "attacks": Attack,
}
DEFAULTS: dict[str, Any] = {"sparsifiers": [DENSE], "defenses": ["none"]}
BESIDE: dict[str, tuple[str, ...]] = {
    "sparsifiers": ("label", "training", "then"),
    "defenses": ("label", "training"),
    "attacks": ("label", "shadow_sparsifier", "shadow_defense"),
}
BELIEFS: dict[str, tuple[type[Plugin], str]] = {
    "shadow_sparsifier": (Sparsifier, "sparsifiers"),
    "shadow_defense": (Defense, "defenses"),
}
_SECTIONS = ("split", "training")


def build(
    data: Mapping[str, Any], plugins: Plugins, folders: Sequence[str] = ()
) -> tuple[Recipe, list[Mistake]]:
    """Validate what a recipe says.

    Args:
        data: what it says.
        plugins: what is installed.
        folders: absolute, that relative paths among the options may start from.

    Returns:
        The recipe, of use only where nothing is wrong with it, and every mistake.
    """
    builder = Builder(plugins, _base_training(data), folders)
    values = {**DEFAULTS, **data}
    if isinstance(data.get("target"), Mapping):
        values["target"] = builder.nested(TargetOptions, data["target"], ("target",))
        if "dataset" not in data and _trains_nobody(data):
            others = values["target"].get("non_members")
            values["dataset"] = others if others is not None else _stand_in(Dataset, ("dataset",))
    for key, kind in SINGLE.items():
        values[key] = builder.required(kind, values, key)
    for key, kind in LISTS.items():
        values[key] = builder.entries(kind, values, key)
    values |= builder.beliefs(data, ())
    mistakes = builder.mistakes
    wrong: set[Place] = set()
    try:
        recipe = Recipe.model_validate(values, context=builder.context)
    except ValidationError as error:
        model_mistakes = mistakes_of(error, Recipe, values, ())
        mistakes += model_mistakes
        wrong = {
            path[: 2 if path[0] in _SECTIONS else 1] for path in (m.path for m in model_mistakes)
        }
        recipe = _stand_in_recipe(_sound(values, wrong))
    for key in _SECTIONS:
        mistakes += _numbers(data.get(key), getattr(recipe, key), (key,))
    places = {spell(path) for path in wrong}
    if any(m.path[0] in ("sparsifiers", "defenses") for m in mistakes):
        places.add(PAIRS)
    if any(m.path[0] == "attacks" for m in mistakes):
        places.add("attacks")
    mistakes += cross_check(recipe, places)
    return recipe, list(dict.fromkeys(mistakes))


def _trains_nobody(data: Mapping[str, Any]) -> bool:
    """Whether shadows are said to be none; what else is no number is told elsewhere."""
    return data.get("shadows") == 0 and not isinstance(data["shadows"], bool)


def _sound(values: Mapping[str, Any], wrong: set[Place]) -> dict[str, Any]:
    """The values without those that are wrong, one by one in `split` and `training`."""
    result: dict[str, Any] = {}
    keys = {path[0] for path in wrong}
    for key, value in values.items():
        if key in _SECTIONS and isinstance(value, Mapping) and (key,) not in wrong:
            value = {inner: item for inner, item in value.items() if (key, inner) not in wrong}
        elif key in keys:
            continue
        result[key] = value
    return result


def _stand_in_recipe(sound: Mapping[str, Any]) -> Recipe:
    """A recipe of what is not wrong, to be checked in turn.

    What is right in a section may be wrong without what is not: milestones without a schedule.
    """
    try:
        return Recipe.model_validate({"name": "recipe", **sound})
    except ValidationError:
        rest = {key: value for key, value in sound.items() if key not in _SECTIONS}
        return Recipe.model_validate({"name": "recipe", **rest})


def _base_training(data: Mapping[str, Any]) -> Training:
    """The recipe's training; the defaults where it is wrong, as will be said elsewhere."""
    try:
        return Training.model_validate(data.get("training", {}))
    except ValidationError:
        return Training()


class Builder:
    """Makes plugins out of what the recipe says, and keeps every mistake."""

    def __init__(self, plugins: Plugins, training: Training, folders: Sequence[str] = ()) -> None:
        self.plugins = plugins
        self.context = {FOLDERS: tuple(folders)}
        self.training = training
        self.mistakes: list[Mistake] = []

    def required(self, kind: type[P], values: Mapping[str, Any], key: str) -> P:
        """The plugin under a key that must be there."""
        if key in values:
            return self.plugin(kind, values[key], (key,))
        of_attacker = kind is Dataset and "target" in values
        return self._wrong(kind, (key,), NO_DATASET if of_attacker else "is missing")

    def entries(self, kind: type[P], values: Mapping[str, Any], key: str) -> tuple[Entry[P], ...]:
        """The entries of a list that must have at least one."""
        raw = values.get(key)
        if key not in values:
            problem = "is missing"
        elif not isinstance(raw, list | tuple):
            problem = f"must be a list (got {show(raw)})"
        elif not raw:
            problem = "must have at least 1 entry (got 0)"
        else:
            return tuple(self.entry(kind, item, (key, i)) for i, item in enumerate(raw))
        return (Entry[P](plugin=self._wrong(kind, (key,), problem)),)

    def entry(self, kind: type[P], raw: Any, path: Place) -> Entry[P]:
        """A plugin, and what the recipe says beside its options."""
        allowed = BESIDE[str(path[0])]
        beside: dict[str, Any] = {}
        if isinstance(raw, Mapping):
            beside = {key: raw[key] for key in allowed if key in raw}
            raw = {key: value for key, value in raw.items() if key not in beside}
        plugin = self.plugin(kind, raw, path, allowed)
        if "training" in beside:
            beside["training"] = self.changes(beside["training"], (*path, "training"))
        if beside.get("then") is not None:
            beside["then"] = self.following(beside["then"], (*path, "then"))
        beside |= self.beliefs(beside, path)
        try:
            return Entry[P](plugin=plugin, **beside)
        except ValidationError as error:
            self.mistakes += mistakes_of(error, Entry, beside, path)
            return Entry[P](plugin=plugin)

    def following(self, raw: Any, path: Place) -> Sparsifier:
        """The sparsifier that goes on from the levels of another."""
        before = len(self.mistakes)
        plugin = self.plugin(Sparsifier, raw, path)
        if len(self.mistakes) == before and not can_follow(type(plugin)):
            known = self.plugins.of(Sparsifier.kind)
            able = " or ".join(sorted(name for name, cls in known.items() if can_follow(cls)))
            message = f"{plugin.name!r} cannot follow another sparsifier"
            self.mistakes.append(Mistake(path, f"{message}: {able} can" if able else message))
        return plugin

    def beliefs(self, raw: Mapping[str, Any], path: Place) -> dict[str, Any]:
        """What the attacker believes: "same", or a plugin; "none" is what a recipe defaults to."""
        return {
            key: raw[key]
            if raw[key] == "same"
            else self.plugin(
                kind, DEFAULTS[default][0] if raw[key] == "none" else raw[key], (*path, key)
            )
            for key, (kind, default) in BELIEFS.items()
            if key in raw
        }

    def changes(self, raw: Any, path: Place) -> dict[str, Any]:
        """The training options an entry changes, validated together with the recipe's own."""
        if not isinstance(raw, Mapping):
            message = f"must be a mapping of options (got {show(raw)})"
            self.mistakes.append(Mistake(path, message))
            return {}
        try:
            training = combined(self.training, raw)
        except ValidationError as error:
            self.mistakes += mistakes_of(error, Training, raw, path)
            return {}
        self.mistakes += _numbers(raw, training, path)
        return training.model_dump(mode="json", include=set(raw))

    def plugin(self, kind: type[P], raw: Any, path: Place, beside: tuple[str, ...] = ()) -> P:
        """The plugin that a name, or a mapping with a name, asks for."""
        if isinstance(raw, kind):
            return raw
        where = path if isinstance(raw, str) else (*path, "name")
        options = {"name": raw} if isinstance(raw, str) else raw
        if not isinstance(options, Mapping):
            message = f"must be the name of a plugin, or a mapping with its name (got {show(raw)})"
            return self._wrong(kind, path, message)
        if "name" not in options:
            return self._wrong(kind, where, "is missing")
        name = options["name"]
        if not isinstance(name, str):
            return self._wrong(kind, where, f"must be text (got {show(name)})")
        chosen, options, problem = called(self.plugins, kind, name, options)
        if problem or chosen is None:
            return self._wrong(kind, where, problem)
        options = self.nested(chosen, options, path)
        with guest(chosen, "validation of its options"):
            result = _validated(chosen, options, self.context)
        if isinstance(result, ValidationError):
            self.mistakes += mistakes_of(result, chosen, options, path, beside)
            return _stand_in(kind, path)
        self.mistakes += _numbers(options, result, path)
        return result

    def nested(
        self, chosen: type[BaseModel], options: Mapping[str, Any], path: Place
    ) -> dict[str, Any]:
        """The options, with plugins in the place of the names of plugins among them."""
        result = dict(options)
        for name, field in chosen.model_fields.items():
            inner = [kind for kind in KINDS if kind in parts_of(field.annotation)]
            if not inner or result.get(name) is None:
                continue
            value, inner_path = result[name], (*path, name)
            if isinstance(value, list | tuple):
                result[name] = [
                    self.plugin(inner[0], item, (*inner_path, i)) for i, item in enumerate(value)
                ]
            else:
                result[name] = self.plugin(inner[0], value, inner_path)
        return result

    def _wrong(self, kind: type[P], path: Place, message: str) -> P:
        self.mistakes.append(Mistake(path, message))
        return _stand_in(kind, path)


def _validated(
    chosen: type[P], options: Mapping[str, Any], context: Mapping[str, Any]
) -> P | ValidationError:
    """The plugin, or why its options are refused; validators of its own may raise anything."""
    try:
        return chosen.model_validate(options, context=dict(context))
    except ValidationError as error:
        return error


def _stand_in(kind: type[P], path: Place) -> P:
    """In the place of a plugin that is wrong: asks for nothing, and is called like no other."""
    return cast("P", kind.model_construct(name=f"wrong {path}"))


def _numbers(raw: Any, value: Any, path: Place) -> list[Mistake]:
    """Where `true` or `false` was given and pydantic, being lax, took it for 1 or 0."""
    if isinstance(raw, bool):
        taken = isinstance(value, int | float) and not isinstance(value, bool)
        return [Mistake(path, f"must be a number (got {show(raw)})")] if taken else []
    pairs: list[tuple[str | int, Any, Any]] = []
    if isinstance(raw, Mapping):
        for key, item in raw.items():
            inner = value.get(key) if isinstance(value, Mapping) else getattr(value, str(key), None)
            pairs.append((key, item, inner))
    elif isinstance(raw, list | tuple) and isinstance(value, list | tuple):
        pairs = [(i, *both) for i, both in enumerate(zip(raw, value, strict=False))]
    return [
        mistake for key, item, inner in pairs for mistake in _numbers(item, inner, (*path, key))
    ]
