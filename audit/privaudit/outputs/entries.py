"""Which attacks are asked for, by the same rules as a recipe's `attacks`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from privaudit.answers import ORIGINAL, VERSIONS
from privaudit.api.contract import RESERVED
from privaudit.api.host import Plugins
from privaudit.api.plugin import Attack
from privaudit.errors import PluginError, RecipeError
from privaudit.messages import plain, spell
from privaudit.outputs.arrays import Answers
from privaudit.recipe.build import Builder
from privaudit.recipe.messages import Mistake
from privaudit.training import Training

_NEVER = "privaudit run with a recipe, which trains the networks itself, can"


def attack_entries(attacks: Sequence[Any], plugins: Plugins) -> list[tuple[str, Attack]]:
    """The attacks with their labels, in order.

    Raises:
        RecipeError: with every mistake, one line each.
    """
    builder = Builder(plugins, Training())
    raw = [_own(attack, index, builder) for index, attack in enumerate(attacks)]
    attacks_option = attacks if isinstance(attacks, str) else raw
    entries = builder.entries(Attack, {"attacks": attacks_option}, "attacks")
    first: dict[str, int] = {}
    for index, entry in enumerate(entries):
        other = first.setdefault(entry.title, index)
        if other != index:
            message = f"is called {entry.title!r} like attacks[{other}]: give one a label"
            builder.mistakes.append(Mistake(("attacks", index), message))
    _refuse(builder.mistakes)
    return [(entry.title, entry.plugin) for entry in entries]


def check_needs(
    entries: Sequence[tuple[str, Attack]], answers: Answers, *, originals: bool = False
) -> None:
    """Refuse the attacks that need more than the arrays hold.

    Raises:
        RecipeError: one line for each such attack.
    """
    mistakes = []
    for index, (label, attack) in enumerate(entries):
        if lack := _lack(attack, answers, originals):
            mistakes.append(Mistake(("attacks", index), f"{label!r} needs {lack}"))
    _refuse(mistakes)


def possible(
    answers: Answers, plugins: Plugins, *, originals: bool = False
) -> tuple[list[tuple[str, Attack]], list[str]]:
    """All attacks that the arrays allow, with their labels, and what the others need."""
    entries, left = [], []
    for name in plugins.names("attack"):
        try:
            ((label, attack),) = attack_entries([name], plugins)
        except (RecipeError, PluginError):
            left.append(f"{name}: needs options that must be set, or is broken")
            continue
        lack = _lack(attack, answers, originals)
        if attack.queries > len(answers.logits):
            lack = f"answers to {attack.queries} queries of each example"
        if lack:
            left.append(f"{name}: needs {lack.partition(':')[0]}")
        else:
            entries.append((label, attack))
    if not entries:
        raise RecipeError("none of the installed attacks can do with these arrays: " + left[0])
    return entries, left


def without_noise(entries: Sequence[tuple[str, Attack]], answers: Answers) -> list[str]:
    """What is said of attacks that would have asked for noisy copies."""
    labels = [label for label, attack in entries if attack.noise]
    if answers.noisy is not None or not labels:
        return []
    verb = "goes" if len(labels) == 1 else "go"
    return [
        f"{', '.join(labels)} {verb} without what noisy copies of the examples would tell: give "
        "noisy and shadow_noisy"
    ]


def _lack(attack: Attack, answers: Answers, originals: bool) -> str:
    """What an attack needs and does not get; empty where it gets everything."""
    if attack.noise and answers.noisy is None and not attack.noise_optional:
        return (
            "answers to noisy copies of the examples: give noisy (D, N, C), and of shadows "
            "shadow_noisy (K, D, N, C)"
        )
    if attack.signals & {ORIGINAL, VERSIONS} and not originals:
        return (
            "the answers of the dense original: give original_logits, and of shadows "
            "shadow_original_logits"
        )
    if beyond := sorted(attack.signals - {"x", ORIGINAL, VERSIONS}):
        return f"{beyond[0]} of every network, which arrays do not hold: {_NEVER}"
    if "x" in attack.signals and answers.x.numel() == 0:
        return "the examples themselves: give x (N, ...)"
    shadows = len(answers.shadow_members)
    if attack.shadows > shadows:
        models = "1 shadow model" if attack.shadows == 1 else f"{attack.shadows} shadow models"
        return f"at least {models}: give shadow_logits and shadow_members of them (got {shadows})"
    return ""


def _own(attack: Any, index: int, builder: Builder) -> Any:
    """What is said about an attack, without what only a recipe could do."""
    foreign = sorted((RESERVED - {"label"}) & attack.keys()) if isinstance(attack, Mapping) else []
    for key in foreign:
        message = "has no meaning here: the shadows' answers are given, none is trained"
        builder.mistakes.append(Mistake(("attacks", index, key), message))
    return {key: attack[key] for key in attack if key not in foreign} if foreign else attack


def _refuse(mistakes: Sequence[Mistake]) -> None:
    if mistakes:
        lines = [plain(f"{spell(mistake.path)}: {mistake.message}") for mistake in mistakes]
        raise RecipeError(*dict.fromkeys(lines))
