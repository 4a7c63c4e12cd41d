"""Calls the hooks of plugins, and holds what they return to the contract."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from privaudit.api.boundary import broken, guest
from privaudit.api.cohort import Cohort
from privaudit.api.plugin import Attack, Dataset, Defense, Plugin, Promise, Sparsifier
from privaudit.api.split_options import SplitOptions
from privaudit.values import AttackScores, Examples, Signals


def labels(sparsifier: Sparsifier, cohort: Cohort, *beside: Plugin) -> Iterator[str]:
    """The levels that a sparsifier's script reaches.

    Raises:
        PluginError: it fails, is no generator of different labels, or reaches none.
    """
    seen: set[str] = set()
    with guest(sparsifier, "sparsify", *beside):
        script = sparsifier.sparsify(cohort)
    if not isinstance(script, Iterator):
        shown = "None" if script is None else f"a {type(script).__name__}"
        raise broken(sparsifier, "sparsify", f"gives {shown}, not an iterator of labels")
    while True:
        with guest(sparsifier, "sparsify", *beside):
            try:
                label = next(script)
            except StopIteration:
                break
        if not isinstance(label, str):
            raise broken(sparsifier, "sparsify", f"must yield labels in text: not {label!r}")
        if label in seen:
            raise broken(sparsifier, "sparsify", f"yields {label!r} twice")
        seen.add(label)
        yield label
    if not seen:
        raise broken(sparsifier, "sparsify", "yields no level: there is nothing to audit")


def loaded(dataset: Dataset, root: Path) -> Examples:
    """A dataset's examples.

    Raises:
        DataError: its files are missing or damaged.
        PluginError: it fails otherwise, or gives something else.
    """
    with guest(dataset, "load"):
        examples = dataset.load(root)
    if not isinstance(examples, Examples):
        raise broken(dataset, "load", f"gives {_type(examples)}, not privaudit.Examples")
    return examples


def scored(attack: Attack, signals: Signals) -> AttackScores:
    """An attack's scores, as the contract wants them.

    Raises:
        PluginError: it fails, or its scores are not one number for each example.
    """
    with guest(attack, "score"):
        scores = attack.score(signals)
    return checked_scores(attack, scores, signals.audited)


def checked_scores(attack: Attack, scores: AttackScores, audited: Tensor) -> AttackScores:
    """The scores, if they are what the contract asks for.

    Raises:
        PluginError: naming the attack and what is wrong.
    """
    if what := _scores_problem(scores, audited):
        raise broken(attack, "score", what)
    for name, variant in scores.variants.items():
        if what := _scores_problem(variant, audited):
            raise broken(attack, "score", f"in its variant {name!r} {what}")
    return scores


def checked_module(plugin: Plugin, hook: str, module: object) -> nn.Module:
    """A network that a hook has built.

    Raises:
        PluginError: it is none.
    """
    if not isinstance(module, nn.Module):
        raise broken(plugin, hook, f"gives {_type(module)}, not an nn.Module")
    return module


def responded(defense: Defense, logits: Tensor, companion: Callable[..., Tensor] | None) -> Tensor:
    """What a defense lets an attacker see of one model's logits (N, C).

    Raises:
        PluginError: it fails, or answers with another shape.
    """
    with guest(defense, "respond"):
        answer = defense.respond(logits, companion)
    if not isinstance(answer, Tensor):
        raise broken(defense, "respond", f"gives {_type(answer)}, not a tensor of logits")
    if answer.shape != logits.shape:
        raise broken(
            defense,
            "respond",
            f"gives shape {tuple(answer.shape)} for logits of shape {tuple(logits.shape)}",
        )
    return answer


def finished(defense: Defense, cohort: Cohort, *beside: Plugin) -> None:
    """Let a defense change the trained networks of a level."""
    with guest(defense, "finish", *beside):
        defense.finish(cohort)


def promised(defense: Defense, rate: float, steps: int, members: int) -> Promise | None:
    """The ε that a defense promises, with what terms it tells.

    Args:
        defense: whose hook is asked.
        rate: chance of each member to be in a batch.
        steps: of all trainings of one model.
        members: of one model; told to hooks that take it.

    Raises:
        PluginError: it fails, or promises what is no ε.
    """
    with guest(defense, "epsilon"):
        hook: Callable[..., object] = defense.epsilon
        told = {"members": members} if "members" in inspect.signature(hook).parameters else {}
        answer = hook(rate, steps, **told)
    if answer is None:
        return None
    promise = answer if isinstance(answer, Promise) else Promise(answer)  # type: ignore[arg-type]
    if not _number(promise.epsilon):
        what = f"must give a number from 0 on, or None: not {promise.epsilon!r}"
        raise broken(defense, "epsilon", what)
    if promise.delta is not None and not (_number(promise.delta) and promise.delta < 1):
        what = f"must give a delta from 0 to below 1, or None: not {promise.delta!r}"
        raise broken(defense, "epsilon", what)
    return replace(promise, epsilon=float(promise.epsilon))


def _number(value: object) -> bool:
    """Whether it is a number from 0 on."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return not math.isnan(value) and value >= 0


def refused_by_attack(attack: Attack, split: SplitOptions, shadows: int) -> str | None:
    """Why an attack cannot work with a recipe's split.

    Raises:
        PluginError: it fails, or answers with something else than text or None.
    """
    with guest(attack, "refusal"):
        reason = attack.refusal(split, shadows)
    return _reason(attack, reason)


def refused_by_defense(defense: Defense, split: SplitOptions) -> str | None:
    """Why a defense cannot work with a recipe's split.

    Raises:
        PluginError: it fails, or answers with something else than text or None.
    """
    with guest(defense, "refusal"):
        reason = defense.refusal(split)
    return _reason(defense, reason)


def _reason(plugin: Plugin, reason: object) -> str | None:
    if reason is not None and not isinstance(reason, str):
        raise broken(plugin, "refusal", f"must give a reason in text, or None: not {reason!r}")
    return reason


def _scores_problem(scores: object, audited: Tensor) -> str:
    """What is wrong with an attack's answer about N examples; empty where nothing is."""
    count = len(audited)
    if not isinstance(scores, AttackScores):
        return f"gives {_type(scores)}, not privaudit.AttackScores"
    score = scores.score
    if not isinstance(score, Tensor):
        return f"gives {_type(score)} as scores, not a tensor of {count} numbers"
    if score.shape != audited.shape:
        return f"gives shape {tuple(score.shape)}, not one score for each of {count} examples"
    if not score.is_floating_point():
        return f"must give scores as floating-point numbers, not {score.dtype}"
    for name in ("decision", "left_out", "offline"):
        if what := _flags_problem(name, getattr(scores, name), audited):
            return what
    kept = audited if scores.left_out is None else audited & ~scores.left_out
    if lost := int(score[kept].isnan().sum()):
        return f"gives NaN for {lost} of {int(kept.sum())} audited examples"
    return ""


def _flags_problem(name: str, flags: object, audited: Tensor) -> str:
    """What is wrong with a field of flags, which may be None; empty where nothing is."""
    if flags is None:
        return ""
    if not isinstance(flags, Tensor):
        return f"gives {_type(flags)} as its {name}, not a bool for each of {len(audited)} examples"
    if flags.shape != audited.shape or flags.dtype != torch.bool:
        return (
            f"must give its {name} as ({len(audited)},) bool, not as "
            f"{tuple(flags.shape)} {flags.dtype}"
        )
    return ""


def _type(value: object) -> str:
    return "None" if value is None else type(value).__name__
