"""The contract of attacks."""

from __future__ import annotations

import torch
from torch import Tensor

from privaudit.api.plugin import Attack
from privaudit.testing.material import N, tiny_signals
from privaudit.testing.require import require, same
from privaudit.values import AttackScores

_SIGNALS = frozenset({"gradient_norm", "x", "augmentation"})


def check_attack(attack: Attack) -> None:
    """Score made-up signals twice, and look at the answers and at what became of the signals."""
    who = type(attack).__name__
    require(attack.queries >= 1, f"{who}.queries must be at least 1: query 0 is the example itself")
    require(attack.noise >= 0, f"{who}.noise must not be negative")
    require(attack.shadows >= 0, f"{who}.shadows must not be negative")
    unknown = set(attack.signals) - _SIGNALS
    require(not unknown, f"{who}.signals asks for {unknown}: there is only {set(_SIGNALS)}")
    signals, untouched = tiny_signals(attack), tiny_signals(attack)
    scores = attack.score(signals)
    _check_scores(scores, signals.audited, f"{who}.score")
    require(
        same(signals, untouched), f"{who}.score changes the signals it is given: work on copies"
    )
    require(
        same(scores, attack.score(tiny_signals(attack))),
        f"{who}.score answers the same signals differently: "
        "draw its randomness from a generator seeded with `signals.seed`",
    )


def _check_scores(scores: AttackScores, audited: Tensor, where: str) -> None:
    require(
        isinstance(scores, AttackScores),
        f"{where} must answer with privaudit.AttackScores, not with {type(scores).__name__}",
    )
    require(
        isinstance(scores.score, Tensor) and scores.score.shape == (N,),
        f"{where} must give one score for each of the {N} examples, (N,), "
        f"not {tuple(getattr(scores.score, 'shape', ()))}",
    )
    require(scores.score.is_floating_point(), f"{where} must give scores as floating-point numbers")
    lost = int(scores.score[audited].isnan().sum())
    require(not lost, f"{where} gives NaN for {lost} of the {int(audited.sum())} audited examples")
    require(not scores.score.requires_grad, f"{where} must give scores without a gradient: detach")
    if scores.decision is not None:
        require(
            scores.decision.shape == (N,) and scores.decision.dtype == torch.bool,
            f"{where} must give its decision as (N,) bool, not as "
            f"{tuple(scores.decision.shape)} {scores.decision.dtype}",
        )
    for name, variant in scores.variants.items():
        _check_scores(variant, audited, f"{where}, variant {name!r},")
