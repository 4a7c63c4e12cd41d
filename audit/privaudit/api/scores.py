"""Calls attacks, and holds their scores to the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from privaudit.api.boundary import broken, damage, guest
from privaudit.api.oddities import tensor_problem, type_name
from privaudit.api.plugin import Attack
from privaudit.api.watch import Seal, copied, copied_signals, differing, signal_tensors
from privaudit.values import AttackScores, Signals

_LONGEST_NAME = 100  # characters of a variant's: a column of tables
_FLAGS = ("decision", "left_out", "offline")


def scored(attack: Attack, signals: Signals) -> AttackScores:
    """An attack's scores, as the contract wants them.

    The attack has a copy of the signals, so that what it writes harms nobody. Where they are too
    large for that, it has the signals themselves.

    Raises:
        PluginError: it fails, writes into its signals, or its scores are not one number for each
            example.
        DamageError: it has written into signals that others share.
    """
    ours, lent = signal_tensors(signals), copied_signals(signals)
    if lent is None:
        seal = Seal(ours)
        try:
            with guest(attack, "score"):
                scores = attack.score(signals)
        finally:
            if name := seal.broken():
                raise damage(attack, "score", f"signals.{name}")
    else:
        with guest(attack, "score"):
            scores = attack.score(lent)
        if name := differing(ours, signal_tensors(lent)):
            what = f"writes into signals.{name}: work on a copy, signals.{name}.clone()"
            raise broken(attack, "score", what)
    return _own(checked_scores(attack, scores, signals.audited))


def scored_all(attack: Attack, signals: Sequence[Signals]) -> list[AttackScores]:
    """An attack's scores of several targets at once, each as `scored` gives them.

    Args:
        attack: with a `score_all` of its own.
        signals: of the targets, together small enough to be copied.

    Raises:
        PluginError: it fails, writes into its signals, or its scores of one target are not one
            number for each example.
    """
    lent = [copied(one) for one in signals]
    with guest(attack, "score_all"):
        found: object = attack.score_all(lent)
    if not isinstance(found, list | tuple) or len(found) != len(signals):
        what = f"gives {type_name(found)}, not a list of scores for each of {len(signals)} targets"
        raise broken(attack, "score_all", what)
    for ours, theirs in zip(signals, lent, strict=True):
        if name := differing(signal_tensors(ours), signal_tensors(theirs)):
            what = f"writes into signals.{name}: work on a copy, signals.{name}.clone()"
            raise broken(attack, "score_all", what)
    return [
        _own(checked_scores(attack, scores, one.audited, "score_all"))
        for scores, one in zip(found, signals, strict=True)
    ]


def _own(scores: AttackScores) -> AttackScores:
    """Scores that the attack, which may keep its tensors, cannot change any more."""
    flags: dict[str, Any] = {
        n: None if (f := getattr(scores, n)) is None else f.clone() for n in _FLAGS
    }
    variants = {str(name): _own(variant) for name, variant in scores.variants.items()}
    return replace(scores, score=scores.score.detach().clone(), variants=variants, **flags)


def checked_scores(
    attack: Attack, scores: AttackScores, audited: Tensor, hook: str = "score"
) -> AttackScores:
    """The scores, if they are what the contract asks for.

    Raises:
        PluginError: naming the attack and what is wrong.
    """
    if what := _scores_problem(scores, audited):
        raise broken(attack, hook, what)
    if not isinstance(scores.variants, Mapping):
        what = f"gives {type_name(scores.variants)} as its variants, not a mapping by name"
        raise broken(attack, hook, what)
    for name, variant in scores.variants.items():
        if not (isinstance(name, str) and name.isprintable() and len(name) <= _LONGEST_NAME):
            raise broken(attack, hook, f"names a variant {str(name)[:_LONGEST_NAME]!r}")
        if what := _scores_problem(variant, audited):
            raise broken(attack, hook, f"in its variant {name!r} {what}")
    return scores


def _scores_problem(scores: object, audited: Tensor) -> str:
    """What is wrong with an attack's answer about N examples; empty where nothing is."""
    count = len(audited)
    if not isinstance(scores, AttackScores):
        return f"gives {type_name(scores)}, not privaudit.AttackScores"
    score = scores.score
    if not isinstance(score, Tensor):
        return f"gives {type_name(score)} as scores, not a tensor of {count} numbers"
    if what := tensor_problem(score):
        return f"gives {what} as scores"
    if score.shape != audited.shape:
        return f"gives shape {tuple(score.shape)}, not one score for each of {count} examples"
    if not score.is_floating_point():
        return f"must give scores as floating-point numbers, not {score.dtype}"
    for name in _FLAGS:
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
        shown = type_name(flags)
        return f"gives {shown} as its {name}, not a bool for each of {len(audited)} examples"
    if flags.shape != audited.shape or flags.dtype != torch.bool:
        return (
            f"must give its {name} as ({len(audited)},) bool, not as "
            f"{tuple(flags.shape)} {flags.dtype}"
        )
    return ""
