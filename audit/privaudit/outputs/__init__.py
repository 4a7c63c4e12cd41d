"""Audits what a network has already answered: arrays in, metrics with intervals out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from privaudit.api.calls import scored
from privaudit.api.host import Plugins, load_plugins
from privaudit.api.needs import seen_by
from privaudit.api.plugin import Attack
from privaudit.doubts.attacks import attacks_doubts
from privaudit.doubts.doubt import lines
from privaudit.errors import DataError, PluginError, PrivauditError, RecipeError, ShortageError
from privaudit.keys import derive
from privaudit.messages import show
from privaudit.outputs.arrays import Answers, read_answers
from privaudit.outputs.convert import places
from privaudit.outputs.doubts import doubts_about
from privaudit.outputs.entries import attack_entries, check_needs, possible, without_noise
from privaudit.outputs.found import OutputAudit, OutputAudits, accuracy_of
from privaudit.outputs.originals import NAMES, shown, with_originals
from privaudit.outputs.prepare import prepared
from privaudit.statistics.scored import evaluate_scored, row_sentences
from privaudit.values import Outputs, Role, Signals

__all__ = ["OutputAudit", "OutputAudits", "audit_outputs"]

logger = logging.getLogger(__name__)

_ARRAYS = ("logits", "labels", "members", "shadow_logits", "shadow_members")

_REMEDIES = {
    "untold": "only the attack knows why it leaves them out",
    "shadows": "give more networks in shadow_logits and shadow_members, so that each row was in "
    "the training data of some of them and not of others",
    "population": "give rows that nobody was trained on as well, and an array audited that is "
    "False there",
}

_WANTED = {
    "untold": "more than these examples, or other ones",
    "shadows": "more networks in shadow_logits",
    "population": "rows that are not audited",
}
"""What an attack wants that was not named, by what it lacks."""


def audit_outputs(
    logits: Any,
    labels: Any,
    members: Any,
    attacks: str | Sequence[str | Mapping[str, Any] | Attack] | None = None,
    *,
    shadow_logits: Any = None,
    shadow_members: Any = None,
    audited: Any = None,
    x: Any = None,
    ids: Any = None,
    noisy: Any = None,
    shadow_noisy: Any = None,
    noise_scale: float | None = None,
    original_logits: Any = None,
    shadow_original_logits: Any = None,
    classes: Sequence[str] = (),
    kind: str = "logits",
    seed: int = 0,
    confidence: float = 0.95,
    delta: float | None = None,
    coins: bool = False,
    plugins: Plugins | None = None,
    quiet: bool = False,
) -> OutputAudits:
    """Attack a network by what it, and perhaps shadow networks, answer about N examples.

    Arrays may be NumPy's, torch's on any device, or lists. Everything is checked before the first
    attack runs. Half-precision logits are attacked in float32, which holds them exactly.

    Args:
        logits: (N, C), or (Q, N, C) with query 0 the examples themselves and the rest
            augmentations of them, which attacks that combine queries use as well. They are what
            `kind` says, and so are `shadow_logits`.
        labels: (N,) whole numbers from 0 to C - 1. Those from 1 to C, one-hot rows, -1 and 1, true
            and false, and names in `classes` are converted, and -100 leaves a row out; `read` of
            the answer says so.
        members: (N,) bool: who was in the training data.
        attacks: names, mappings of options with a name and perhaps a label, or plugins; one name;
            all installed that the arrays allow, if not given.
        shadow_logits: (K, N, C), or (K, Q, N, C), of K networks that the attacker trained.
        shadow_members: (K, N) bool: what they were trained on.
        audited: (N,) bool; the other rows are the population, whose membership is ignored.
            All rows if not given.
        x: (N, ...) the examples themselves, for attacks that look at them.
        ids: (N,) numbers or names: rows with the same one are the same example, and must not
            stand among members and non-members at once.
        noisy: (D, N, C) answers to D noisy copies x + ε·N(0, I) of each example, for attacks that
            ask how fast answers change.
        shadow_noisy: (K, D, N, C), the shadows'.
        noise_scale: ε of the noisy copies; 1e-3 if not given.
        original_logits: like `logits`, of the dense network that the target was made sparse from.
        shadow_original_logits: like `shadow_logits`, of the dense originals of the shadows.
        classes: C names, in the order of the answers, where labels are names.
        kind: what the networks answer. "logits": numbers whose softmax are probabilities.
            "log_probabilities": their natural logarithms, -inf for a probability of 0.
            "probabilities": from 0 to 1, each row summing to 1; of two classes also the one of
            class 1 alone, (N,) or (N, 1). "margins": of a network with two
            classes the log-odds of class 1, positive where it predicts class 1, as (N,) or (N, 1),
            (Q, N, 1) with queries, and (K, N), (K, N, 1) or (K, Q, N, 1) of shadows; of a network
            with more classes the log-odds of the true class, with all labels 1.
        seed: of the attacks' own randomness.
        confidence: of every interval, two-sided, and of the bounds on ε, one-sided.
        delta: δ of the bounds on ε; one over ten times the members if not given.
        coins: a fair coin of its own decided on the membership of each audited row, which
            `one_run_epsilon` needs.
        plugins: those installed, if not given.
        quiet: log no doubt, and no rows that are left out: the caller shows them.

    Returns:
        What each attack found, by its label or else its name, in the order of `attacks`; and the
        doubts about it, each of which is logged as a warning, too, unless `quiet`.

    Raises:
        RecipeError: an attack is not known, an option is wrong, two attacks share a label, or an
            attack needs what was not given; every such mistake, one line each.
        DataError: an array has the wrong shape or kind, or holds what cannot be audited; an
            attack can score fewer than 90 % of the audited rows.
        PluginError: an attack breaks its contract.
    """
    if not 0 < confidence < 1:
        raise RecipeError(f"confidence must be between 0 and 1, such as 0.95 (got {confidence})")
    if delta is not None and not 0 <= delta < 1:
        raise RecipeError(f"delta must be from 0 to below 1, such as 1e-5 (got {delta})")
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise RecipeError(f"seed must be a whole number from 0 on (got {show(seed)})")
    installed = plugins or load_plugins()
    named = [attacks] if isinstance(attacks, str) else attacks
    entries = [] if named is None else attack_entries(named, installed)
    given = dict(
        zip(_ARRAYS, (logits, labels, members, shadow_logits, shadow_members), strict=True)
    )
    given |= {
        "audited": audited,
        "x": x,
        "ids": places(ids),
        "noisy": noisy,
        "shadow_noisy": shadow_noisy,
    }
    given |= dict(zip(NAMES, (original_logits, shadow_original_logits), strict=True))
    arrays, read = prepared(given, kind, classes)
    originals = [arrays.pop(name) for name in NAMES]
    answers = read_answers(**arrays, kind=kind, noise_scale=noise_scale)
    signals = with_originals(_signals(answers, seed), answers, *originals)
    there = signals.target.original is not None
    left: list[str] = []
    if named is None:
        entries, left = possible(answers, installed, originals=there)
    check_needs(entries, answers, originals=there)
    doubts = doubts_about(answers)
    audits = {}
    for label, attack in entries:
        try:
            audits[label] = _audited(
                label, attack, signals, answers.members,
                confidence=confidence, delta=delta, coins=coins,
            )  # fmt: skip
        except DataError as error:
            if named is not None or not isinstance(error.__cause__, ShortageError):
                raise
            left.append(f"{label}: needs {_WANTED[error.__cause__.lacking]}")
    if not audits:
        raise DataError("no attack can be made on these arrays: " + left[-1])
    read += without_noise(entries, answers)
    verdicts = [label for label, attack in entries if attack.verdicts]
    doubts += attacks_doubts({label: audit.metrics for label, audit in audits.items()}, verdicts)
    if not quiet:
        rows = [s for label, audit in audits.items() for s in row_sentences(label, audit.metrics)]
        for line in [*read, *rows, *lines(doubts)]:
            logger.warning("%s", line)
    return OutputAudits(audits, doubts, read, left, confidence, accuracy_of(answers))


def _signals(answers: Answers, seed: int) -> Signals:
    """What an attacker has: all of it but the target's membership."""
    member, non_member = (
        torch.tensor(role, dtype=torch.uint8) for role in (Role.MEMBER, Role.NON_MEMBER)
    )
    role = torch.where(answers.shadow_members, member, non_member)
    # As in a recipe: what nobody was trained on is the population of the shadows as well.
    role[:, ~answers.audited & ~answers.shadow_members.any(0)] = Role.OUTSIDE
    noisy: tuple[Tensor | None, Tensor | None] = (None, None)
    if answers.noisy is not None:
        noisy = answers.noisy[0], answers.noisy[1:]
    scale = answers.noise_scale
    return Signals(
        x=answers.x,
        y=answers.labels,
        audited=answers.audited,
        target=Outputs(answers.logits, noisy[0], noise_scale=scale),
        shadows=Outputs(answers.shadow_logits, noisy[1], noise_scale=scale),
        shadow_role=role,
        seed=derive(seed, "attack", 0),
    )


def _audited(
    label: str,
    attack: Attack,
    signals: Signals,
    members: Tensor,
    *,
    confidence: float,
    delta: float | None,
    coins: bool,
) -> OutputAudit:
    """What one attack finds; all that it may find fault with is what the caller gave.

    Raises:
        DataError: with the attack's label, and what arrays would help.
        PluginError: the attack breaks its contract.
    """
    try:
        target, shadows = (
            seen_by(attack, shown(attack, outputs), signals.y)
            for outputs in (signals.target, signals.shadows)
        )
        scores = scored(attack, replace(signals, target=target, shadows=shadows))
        metrics = evaluate_scored(
            scores, members, signals.audited, confidence=confidence, delta=delta, coins=coins
        )
    except PluginError:
        raise
    except ShortageError as error:
        raise DataError(f"attack {label!r}: {error}: {_REMEDIES[error.lacking]}") from error
    except PrivauditError as error:
        raise DataError(f"attack {label!r}: {error}") from error
    rows = signals.audited
    score = scores.score.detach().double()
    if scores.left_out is not None:
        score = score.masked_fill(scores.left_out, torch.nan)
    decision = None if scores.decision is None else scores.decision[rows].numpy()
    return OutputAudit(score[rows].numpy(), metrics, decision)
