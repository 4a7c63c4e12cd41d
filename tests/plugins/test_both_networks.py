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

from privaudit import AttackScores, Outputs, PrivauditError, Role, Signals
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
    outputs = Outputs(both[1], original=Outputs(both[0]))
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


def auc(scores: AttackScores, signals: Signals, member: Tensor) -> float:
    rows = signals.audited
    return float(roc_auc_score(member[rows].numpy(), scores.score[rows].numpy()))


def planes(signals: Signals) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """(n, 2) of the target, (m, 2) of the shadows, and whose members these m are."""

    def plane(outputs: Outputs, rows: Tensor) -> NDArray[np.float64]:
        assert outputs.original is not None
        dense, sparse = (odds(o.logits[0], signals.y) for o in (outputs.original, outputs))
        return np.stack([dense, sparse], 1)[rows.numpy()]

    asked = signals.shadow_role != Role.OUTSIDE
    shadows = [plane(signals.shadows[k], rows) for k, rows in enumerate(asked)]
    inside = (signals.shadow_role == Role.MEMBER)[asked]
    return plane(signals.target, signals.audited), np.concatenate(shadows), inside.numpy()


def test_scores_are_those_of_numpy_from_the_logits_of_both_networks() -> None:
    signals, _ = pairs(dense=0.7, sparse=1.4)
    target, known, member = planes(signals)
    found, rows = BothNetworks(C=0.3).score(signals), signals.audited
    mean, difference = (found.variants[name].score[rows].numpy() for name in ("mean", "difference"))
    np.testing.assert_allclose(mean, (target[:, 0] + target[:, 1]) / 2, rtol=1e-12)
    np.testing.assert_allclose(difference, target[:, 0] - target[:, 1], rtol=1e-12, atol=1e-12)

    def seen(plane: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([plane[:, 0], plane[:, 0] - plane[:, 1]], 1)

    center, spread = seen(known).mean(0), seen(known).std(0)
    model = LogisticRegression(C=0.3, class_weight="balanced", tol=1e-10, max_iter=10_000)
    model.fit((seen(known) - center) / spread, member)
    expected = (seen(target) - center) / spread @ model.coef_[0] + model.intercept_
    np.testing.assert_allclose(found.score[rows].numpy(), expected, atol=1e-3)


def test_decisions_are_by_the_best_threshold_on_the_shadows() -> None:
    signals, _ = pairs(dense=1.0, sparse=0.5)
    _, known, member = planes(signals)
    values = known.mean(1)
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
    target, _, _ = planes(signals)
    single = [roc_auc_score(member[signals.audited].numpy(), target[:, i]) for i in (0, 1)]
    found = BothNetworks().score(signals)
    assert auc(found, signals, member) > max(single) + 0.02


def test_what_only_the_dense_network_knows_is_found_behind_a_sparse_one_that_forgot() -> None:
    signals, member = pairs(dense=1.5, sparse=0.0, examples=2000)
    target, _, _ = planes(signals)
    forgot, knew = (roc_auc_score(member[signals.audited].numpy(), target[:, i]) for i in (1, 0))
    assert abs(forgot - 0.5) < 0.05
    assert auc(BothNetworks().score(signals), signals, member) > knew - 0.01


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
    outputs: Outputs = getattr(signals, which)
    assert outputs.original is not None
    lacking = replace(signals, **{which: outputs.changed(original=None)})
    whose = "the target" if which == "target" else "shadow 0"
    with pytest.raises(PrivauditError, match=f"dense original of {whose}"):
        BothNetworks().score(lacking)
    nan = Outputs(torch.full_like(outputs.logits, torch.nan))
    with pytest.raises(PrivauditError, match=f"the original of {whose} answers NaN"):
        BothNetworks().score(replace(signals, **{which: outputs.changed(original=nan)}))


def test_a_probability_of_zero_keeps_its_rank() -> None:
    signals, _ = pairs(dense=1.0, sparse=1.0)
    original = signals.target.original
    assert original is not None
    row = int(signals.audited.nonzero()[0])
    original.logits[0, row, int(signals.y[row])] = -torch.inf
    found = BothNetworks().score(signals)
    assert bool(found.score[signals.audited].isfinite().all())
    difference = found.variants["difference"].score[signals.audited]
    assert float(difference[0]) < float(difference.median())
