"""The attacker with a sparse network and its dense original, against NumPy and on nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import Tensor

from privaudit import AttackScores, Outputs, PrivauditError, Role, ShortageError, Signals
from privaudit.answers import ORIGINAL
from privaudit_plugins.attacks.both_networks import BothNetworks

CLASSES = 4


def pairs(
    *, dense: float, sparse: float, shadows: int = 4, examples: int = 400, seed: int = 3
) -> tuple[Signals, Tensor]:
    """Signals of pairs of networks, each surer of its members by so much; and the membership."""
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(CLASSES, (examples,), generator=draw)
    role = torch.randint(1, 3, (shadows + 1, examples), generator=draw).to(torch.uint8)
    role[:, : examples // 5] = Role.OUTSIDE
    inside = role == Role.MEMBER
    both = []
    for surer in (dense, sparse):
        logits = torch.randn(shadows + 1, 1, examples, CLASSES, generator=draw)
        logits[:, 0, torch.arange(examples), y] += 1 + surer * inside
        both.append(logits)
    outputs = Outputs(both[1], versions={ORIGINAL: Outputs(both[0])})
    signals = Signals(
        x=torch.empty(examples, 0),
        y=y,
        audited=role[0] != Role.OUTSIDE,
        target=outputs[0],
        shadows=outputs[1:],
        shadow_role=role[1:],
    )
    return signals, inside[0]


def odds(logits: Tensor, y: Tensor) -> NDArray[np.float64]:
    """log p_y - log(1 - p_y) of logits (N, C), by NumPy."""
    z, rows = logits.double().numpy(), np.arange(len(y))
    rest = z.copy()
    rest[rows, y.numpy()] = -np.inf
    most = rest.max(1)
    log_rest = most + np.log(np.exp(rest - most[:, None]).sum(1))
    return np.asarray(z[rows, y.numpy()] - log_rest)


def scored(scores: AttackScores, signals: Signals) -> Tensor:
    rows = signals.audited
    return rows if scores.left_out is None else rows & ~scores.left_out


def auc(scores: AttackScores, signals: Signals, member: Tensor) -> float:
    rows = scored(scores, signals)
    return float(roc_auc_score(member[rows].numpy(), scores.score[rows].numpy()))


def plane(outputs: Outputs, y: Tensor) -> NDArray[np.float64]:
    """The log-odds (N, 2) under the dense network and the sparse one."""
    assert outputs.original is not None
    return np.stack([odds(o.logits[0], y) for o in (outputs.original, outputs)], 1)


def comparisons(
    signals: Signals,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """By loops: of the target (N, 2), of the shadows against each other (m, 2), and their members.

    NaN where no shadow without the example can be compared with.
    """

    def log_loss(outputs: Outputs) -> NDArray[np.float64]:
        return np.asarray(-np.log(np.log1p(np.exp(-plane(outputs, signals.y)))))

    count, role = len(signals.y), signals.shadow_role.numpy()
    target = log_loss(signals.target)
    shadows = [log_loss(signals.shadows[k]) for k in range(len(role))]
    usual = np.full((count, 2), np.nan)
    known, member = [], []
    for i in range(count):
        without = [k for k in range(len(role)) if role[k, i] in (Role.OUTSIDE, Role.NON_MEMBER)]
        if without:
            usual[i] = np.mean([shadows[k][i] for k in without], 0)
        for k in range(len(role)):
            others = [shadows[j][i] for j in without if j != k]
            if role[k, i] != Role.OUTSIDE and others:
                known.append(shadows[k][i] - np.mean(others, 0))
                member.append(role[k, i] == Role.MEMBER)
    return target - usual, np.array(known), np.array(member)


def test_scores_are_those_of_numpy_from_the_logits_of_both_networks() -> None:
    signals, _ = pairs(dense=0.7, sparse=1.4)
    found, both = BothNetworks(C=0.3).score(signals), plane(signals.target, signals.y)
    rows = signals.audited.numpy()
    mean, difference = (found.variants[name].score.numpy() for name in ("mean", "difference"))
    np.testing.assert_allclose(mean[rows], both.mean(1)[rows], rtol=1e-12)
    np.testing.assert_allclose(difference[rows], (both[:, 0] - both[:, 1])[rows], atol=1e-12)

    above, known, member = comparisons(signals)
    center, spread = known.mean(0), known.std(0)
    model = LogisticRegression(C=0.3, class_weight="balanced", tol=1e-10, max_iter=10_000)
    model.fit((known - center) / spread, member)
    expected = (above - center) / spread @ model.coef_[0] + model.intercept_
    assert found.left_out is not None
    left = found.left_out.numpy()
    np.testing.assert_array_equal(left, np.isnan(expected) & rows)
    assert left.any()
    rows = rows & ~left
    np.testing.assert_allclose(found.score.numpy()[rows], expected[rows], atol=1e-3)


@pytest.mark.parametrize("shadows", [1, 2])
def test_shadows_that_cannot_be_compared_with_each_other_teach_nothing(shadows: int) -> None:
    signals, _ = pairs(dense=0.7, sparse=1.4, shadows=shadows)
    role = signals.shadow_role.clone()
    if shadows == 2:  # a pair: each example has one that was trained on it and one that was not
        role[1] = torch.where(role[0] == Role.OUTSIDE, role[0], 3 - role[0])
    signals = replace(signals, shadow_role=role)
    found = BothNetworks().score(signals)
    above, *_ = comparisons(signals)
    rows = scored(found, signals).numpy()
    np.testing.assert_allclose(found.score.numpy()[rows], above.mean(1)[rows], rtol=1e-6)
    assert found.decision is None


def test_shadows_that_have_seen_every_example_are_a_shortage() -> None:
    signals, _ = pairs(dense=0.7, sparse=1.4)
    role = signals.shadow_role.clone()
    role[:, signals.audited] = Role.MEMBER
    with pytest.raises(ShortageError, match="both_networks can score no row"):
        BothNetworks().score(replace(signals, shadow_role=role))


def test_decisions_are_by_the_best_threshold_on_the_shadows() -> None:
    signals, _ = pairs(dense=1.0, sparse=0.5)
    asked = signals.shadow_role != Role.OUTSIDE
    planes = [plane(signals.shadows[k], signals.y)[rows] for k, rows in enumerate(asked.numpy())]
    values = np.concatenate(planes).mean(1)
    member = (signals.shadow_role == Role.MEMBER)[asked].numpy()
    gains = [(values[member] >= t).mean() - (values[~member] >= t).mean() for t in np.sort(values)]
    mean = BothNetworks().score(signals).variants["mean"]
    assert mean.decision is not None
    rows = signals.audited
    lowest = mean.score[rows][mean.decision[rows]].min()
    highest = mean.score[rows][~mean.decision[rows]].max()
    best = np.sort(values)[int(np.argmax(gains))]
    assert float(highest) < best
    assert float(lowest) >= np.max(values[values < best])


def test_two_independent_looks_tell_more_than_the_better_of_them() -> None:
    signals, member = pairs(dense=1.0, sparse=1.0, examples=2000)
    found = BothNetworks().score(signals)
    rows = scored(found, signals).numpy()
    above, *_ = comparisons(signals)
    single = [roc_auc_score(member.numpy()[rows], above[rows, i]) for i in (0, 1)]
    assert auc(found, signals, member) > max(single) + 0.02


def test_what_only_the_dense_network_knows_is_found_behind_a_sparse_one_that_forgot() -> None:
    signals, member = pairs(dense=1.5, sparse=0.0, examples=2000)
    found = BothNetworks().score(signals)
    rows = scored(found, signals).numpy()
    above, *_ = comparisons(signals)
    forgot, knew = (roc_auc_score(member.numpy()[rows], above[rows, i]) for i in (1, 0))
    assert abs(forgot - 0.5) < 0.05
    assert auc(found, signals, member) > knew - 0.01


@pytest.mark.parametrize("shadows", [0, 4])
def test_two_networks_that_saw_neither_side_tell_nothing(shadows: int) -> None:
    found = []
    for seed in range(20):
        signals, member = pairs(dense=0, sparse=0, shadows=shadows, examples=200, seed=seed)
        scores = BothNetworks().score(signals)
        found.append([auc(s, signals, member) for s in (scores, *scores.variants.values())])
    error = np.std(found, axis=0, ddof=1) / np.sqrt(20)
    assert (np.abs(np.mean(found, 0) - 0.5) < 4 * error).all()
    assert (error < 0.02).all()


def test_without_shadows_the_mean_is_the_score_and_nothing_is_decided() -> None:
    signals, _ = pairs(dense=1.0, sparse=1.0, shadows=0)
    found = BothNetworks().score(signals)
    assert torch.equal(found.score[signals.audited], found.variants["mean"].score[signals.audited])
    assert found.decision is None
    assert all(variant.decision is None for variant in found.variants.values())


@pytest.mark.parametrize("which", ["target", "shadows"])
def test_a_lacking_original_and_a_diverged_one_are_told(which: str) -> None:
    signals, _ = pairs(dense=1.0, sparse=1.0)

    def changed(original: Outputs | None) -> Signals:
        versions = {} if original is None else {ORIGINAL: original}
        if which == "target":
            return replace(signals, target=signals.target.changed(versions=versions))
        return replace(signals, shadows=signals.shadows.changed(versions=versions))

    whose = "the target" if which == "target" else "shadow 0"
    with pytest.raises(PrivauditError, match=f"dense original of {whose}"):
        BothNetworks().score(changed(None))
    logits = (signals.target if which == "target" else signals.shadows).logits
    with pytest.raises(PrivauditError, match=f"the original of {whose} answers NaN"):
        BothNetworks().score(changed(Outputs(torch.full_like(logits, torch.nan))))


def test_a_probability_of_zero_keeps_its_rank() -> None:
    signals, _ = pairs(dense=1.0, sparse=1.0)
    original = signals.target.original
    assert original is not None
    row = int(signals.audited.nonzero()[0])
    original.logits[0, row, int(signals.y[row])] = -torch.inf
    found = BothNetworks().score(signals)
    assert bool(found.score[scored(found, signals)].isfinite().all())
    difference = found.variants["difference"].score[signals.audited]
    assert float(difference[0]) < float(difference.median())
