"""What every plugin has to keep, whatever its kind: it is its options."""

from __future__ import annotations

from pydantic import ValidationError

from privaudit.api.contract import check_class
from privaudit.api.plugin import Plugin
from privaudit.errors import PluginError
from privaudit.testing.require import require


def check_options(cls: type[Plugin], options: dict[str, object]) -> Plugin:
    """The plugin with these options, once its class and its options keep the rules."""
    try:
        check_class(cls)
    except PluginError as error:
        raise AssertionError(str(error)) from error
    who = cls.__name__
    require((cls.__doc__ or "").strip(), f"{who} needs a docstring: its first line is its summary")
    require(cls.model_config.get("frozen"), f"{who} must stay frozen: leave model_config alone")
    require(
        cls.model_config.get("extra") == "forbid",
        f"{who} must forbid unknown options: leave model_config alone",
    )
    for sentence in cls.deviations:
        require(
            sentence[:1].isupper() and sentence.endswith(".") and sentence.isprintable(),
            f"{who}.deviations must be sentences, each in one line, from a capital to a full stop "
            f"(got {sentence!r})",
        )
    for name, field in cls.model_fields.items():
        require(
            name == "name" or field.description,
            f'{who}.{name} needs a meaning: write `= Field(..., description="...")`',
        )
    try:
        plugin = cls.model_validate(options)
    except ValidationError as error:
        reserved = sorted({"shape", "classes"} & {str(e["loc"][0]) for e in error.errors()})
        what = (
            f"check_plugin has a {reserved[0]} of its own: give this option a default, or rename it"
            if reserved
            else "give check_plugin those that a recipe must give"
        )
        raise AssertionError(
            f"{who} refuses the options {options} ({_shown(error)}): {what}"
        ) from error
    _check_round_trip(plugin)
    return plugin


def _check_round_trip(plugin: Plugin) -> None:
    """A run's record holds the dumped options: they must make the same plugin again."""
    who = type(plugin).__name__
    dumps = {
        "model_dump": plugin.model_dump(serialize_as_any=True),
        "JSON": plugin.model_dump(mode="json", serialize_as_any=True),
    }
    for how, dumped in dumps.items():
        try:
            again = _again(plugin, dumped)
        except ValidationError as error:
            raise AssertionError(
                f"{who} refuses its own options as {how} writes them ({_shown(error)}): "
                "let its serialisers write what its validators read"
            ) from error
        require(
            again == plugin,
            f"{who} is not the same after {how}: validating options twice must not change them, "
            "and a type of your own must survive being written",
        )


def _again(plugin: Plugin, dumped: object) -> Plugin:
    """The plugin from its dumped options, where each nested plugin is of its own class.

    A recipe does so too: it finds a nested plugin's class by its name.
    """
    assert isinstance(dumped, dict)
    options = dict(dumped)
    for name, value in plugin:
        if isinstance(value, Plugin):
            options[name] = _again(value, options[name])
        elif isinstance(value, tuple | list) and any(isinstance(part, Plugin) for part in value):
            options[name] = [
                _again(part, item) for part, item in zip(value, options[name], strict=True)
            ]
    return type(plugin).model_validate(options)


def _shown(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
