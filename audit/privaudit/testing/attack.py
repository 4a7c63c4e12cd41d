"""The contract of attacks."""

from __future__ import annotations

from dataclasses import replace

import torch

from privaudit.api.calls import scored, scored_all
from privaudit.api.needs import needed_answers
from privaudit.api.plugin import Attack, overrides
from privaudit.keys import seeded
from privaudit.testing.material import tiny_signals
from privaudit.testing.require import require, same
from privaudit.values import Outputs, Signals


def check_attack(attack: Attack) -> None:
    """Score made-up signals twice, and look at the answers and at what became of the signals."""
    who = type(attack).__name__
    needed_answers(attack)
    signals, untouched = tiny_signals(attack), tiny_signals(attack)
    scores = scored(attack, signals)
    for name, answer in (("", scores), *scores.variants.items()):
        where = f"{who}.score{f', variant {name!r},' if name else ''}"
        require(
            not answer.score.requires_grad, f"{where} must give scores without a gradient: detach"
        )
    require(
        same(signals, untouched), f"{who}.score changes the signals it is given: work on copies"
    )
    with seeded(1):  # elsewhere than the global generators were the first time
        again = scored(attack, tiny_signals(attack))
    require(
        same(scores, again),
        f"{who}.score answers the same signals differently: "
        "draw its randomness from a generator seeded with `signals.seed`",
    )
    scored(attack, _strided(signals))
    if attack.noise and attack.noise_optional:
        scored(attack, _without_noise(signals))
    if overrides(attack, "score_all"):
        _check_together(attack, signals)


def _check_together(attack: Attack, signals: Signals) -> None:
    """Targets that are scored at once have the scores that each would have alone."""
    targets = [signals, replace(signals, seed=signals.seed + 1)]
    pairs = zip(scored_all(attack, targets), [scored(attack, one) for one in targets], strict=True)
    for together, alone in pairs:
        rows = signals.audited if alone.left_out is None else signals.audited & ~alone.left_out
        require(
            torch.allclose(together.score[rows], alone.score[rows], rtol=1e-4, atol=1e-5),
            f"{type(attack).__name__}.score_all gives a target other scores than score gives it: "
            "let no target's numbers depend on those beside it",
        )


def _without_noise(signals: Signals) -> Signals:
    """As brought outputs may be, of which nobody has asked noisy copies."""
    sides = (one.changed(noisy=None) for one in (signals.target, signals.shadows))
    target, shadows = sides
    return replace(signals, target=target, shadows=shadows)


def _strided(signals: Signals) -> Signals:
    """The same signals, whose logits do not lie in memory in the order of their axes."""

    def turned(outputs: Outputs) -> Outputs:
        if not outputs.has_logits:
            return outputs
        return outputs.changed(logits=outputs.logits.mT.contiguous().mT)

    return replace(signals, target=turned(signals.target), shadows=turned(signals.shadows))
