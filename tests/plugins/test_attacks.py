"""The built-in attacks against loops, brute force, scikit-learn and hand-made cases."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from torch import Tensor, nn

from privaudit import Attack, AttackScores, Outputs, PrivauditError, Role, Signals
from privaudit.keys import derive
from privaudit.learning import Problem
from privaudit.statistics.sensitivity import first_order_sensitivity as sensitivity
from privaudit_plugins.attacks._features import shadow_features, target_features
from privaudit_plugins.attacks._perceptrons import Perceptrons
from privaudit_plugins.attacks._thresholds import best_threshold
from privaudit_plugins.attacks.logistic_regression import LogisticRegression
from privaudit_plugins.attacks.loss import Loss
from privaudit_plugins.attacks.shadow_mlp import ShadowMLP, held_out

CLASSES = 4
LEARNING = [ShadowMLP(epochs=15), LogisticRegression()]
ATTACKS = [Loss(), ShadowMLP(), LogisticRegression()]
by_name = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
learning_by_name = pytest.mark.parametrize("attack", LEARNING, ids=lambda attack: attack.name)


def made_up(
    memory: float, *, shadows: int = 2, examples: int = 600, members: float = 0.5, seed: int = 7
) -> tuple[Signals, Tensor]:
    """Signals whose models are surer of their members by `memory`, and the target's membership.

    A third of the rows, drawn for each model, are outside of it.
    """
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(CLASSES, (examples,), generator=draw)
    chance = torch.tensor([1 / 3, 2 / 3 * members, 2 / 3 * (1 - members)])
    role = torch.multinomial(
        chance, (shadows + 1) * examples, replacement=True, generator=draw
    ).view(shadows + 1, examples)
    inside, audited = role == Role.MEMBER, role != Role.OUTSIDE
    logits = torch.randn(shadows + 1, examples, CLASSES, generator=draw)
    logits[:, torch.arange(examples), y] += 1 + memory * inside
    shift = torch.randn(shadows + 1, 3, examples, CLASSES, generator=draw)
    noisy = (logits[:, None] + 1e-3 * shift).masked_fill(~audited[:, None, :, None], torch.nan)
    outputs = Outputs(logits[:, None], noisy, noise_scale=1e-3)
    signals = Signals(
        x=torch.zeros(examples, 1),
        y=y,
        audited=audited[0],
        target=outputs[0],
        shadows=outputs[torch.arange(1, shadows + 1)],
        shadow_role=role[1:].to(torch.uint8),
        seed=5,
    )
    return signals, inside[0]


def auc(scores: AttackScores, signals: Signals, inside: Tensor) -> float:
    return float(roc_auc_score(inside[signals.audited], scores.score[signals.audited]))


def test_sensitivity_is_the_mean_distance_of_predictions_over_the_noise() -> None:
    signals, _ = made_up(1.0, shadows=1, examples=9)
    outputs = signals.shadows[0]
    assert outputs.noisy is not None
    rows = (signals.shadow_role[0] != Role.OUTSIDE).nonzero()[:, 0]

    def prediction(logits: list[float]) -> list[float]:
        return [math.exp(z) / sum(map(math.exp, logits)) for z in logits]

    for row, answer in zip(rows.tolist(), sensitivity(outputs, rows).tolist(), strict=True):
        p = prediction(outputs.logits[0, row].tolist())
        distances = [math.dist(p, prediction(noisy[row].tolist())) for noisy in outputs.noisy]
        assert answer == pytest.approx(sum(distances) / len(distances) / 1e-3, rel=1e-9)


def test_features_are_class_prediction_and_sensitivity_of_each_models_own_rows() -> None:
    signals, inside = made_up(1.0, shadows=2, examples=30)
    found, member = shadow_features("test", signals)
    known = [
        (k, row)
        for k in range(2)
        for row in range(30)
        if signals.shadow_role[k, row] in (Role.MEMBER, Role.NON_MEMBER)
    ]
    assert len(found) == len(known)
    for features, is_member, (k, row) in zip(found, member, known, strict=True):
        assert features[:CLASSES].tolist() == [float(c == signals.y[row]) for c in range(CLASSES)]
        p = nn.functional.softmax(signals.shadows.logits[k, 0, row].double(), 0)
        torch.testing.assert_close(features[CLASSES:-1], p)
        assert features[-1] == sensitivity(signals.shadows[k], torch.tensor([row]))[0]
        assert bool(is_member) == (signals.shadow_role[k, row] == Role.MEMBER)
    assert target_features(signals).shape == (int(signals.audited.sum()), 2 * CLASSES + 1)
    assert bool((inside <= signals.audited).all())


def alone(
    network: nn.Module, rate: float, x: Tensor, y: Tensor, weight: Tensor, batches: list[Tensor]
) -> None:
    """Train one network as anyone would."""
    adam = torch.optim.Adam(network.parameters(), lr=rate)
    for rows in batches:
        adam.zero_grad()
        logits = network(x[rows])[:, 0]
        loss = nn.functional.binary_cross_entropy_with_logits(logits, y[rows], weight[rows])
        torch.autograd.backward(loss)
        adam.step()


def test_discriminators_trained_together_equal_each_trained_alone() -> None:
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(53, 6, generator=draw, dtype=torch.float64)
    y = (torch.rand(53, generator=draw) < 0.4).double()
    weight = torch.rand(53, generator=draw, dtype=torch.float64)
    hidden, rates = ((5,), (4, 4), (6, 5, 3)), (1e-2, 1e-3, 1e-4)
    together = Perceptrons(6, hidden, rates, [draw], torch.float64)
    networks = []
    for layers in together.layers:
        for g in range(len(rates)):
            parts: list[nn.Module] = []
            for w, b in layers:
                linear = nn.Linear(w.shape[1], w.shape[2], dtype=torch.float64)
                linear.load_state_dict({"weight": w[g].T.clone(), "bias": b[g, 0].clone()})
                parts += [linear, nn.ReLU()]
            networks.append(nn.Sequential(*parts[:-1]))
    before = together.logits(0, x)

    problem = Problem(x, y, weight, torch.Generator().manual_seed(2))
    together.train([problem], epochs=7, batch_size=10)
    order = torch.Generator().manual_seed(2)
    batches = [
        rows for _ in range(7) for rows in torch.randperm(53, generator=order).tensor_split(6)
    ]
    for number, network in enumerate(networks):
        alone(network, rates[number % 3], x, y, weight, batches)
    expected = torch.stack([network(x)[:, 0] for network in networks]).detach()
    torch.testing.assert_close(together.logits(0, x), expected, rtol=0, atol=1e-11)
    assert float((together.logits(0, x) - before).abs().min(dim=1).values.min()) > 0


def test_discriminators_start_as_linear_layers_do_and_each_on_its_own() -> None:
    perceptrons = Perceptrons(16, ((400, 100),), (1.0, 1.0), [torch.Generator().manual_seed(0)])
    for (weight, bias), fan_in in zip(perceptrons.layers[0], (16, 400, 100), strict=True):
        for part in (weight, bias):
            assert float(part.abs().max()) <= fan_in**-0.5
            assert not torch.equal(part[0], part[1])
        assert float(weight.std()) == pytest.approx((3 * fan_in) ** -0.5, rel=0.1)


def test_discriminators_of_targets_scored_together_are_those_of_each_alone() -> None:
    signals = made_up(2.0)[0]
    targets = [signals, replace(signals, seed=8), made_up(2.0, shadows=1)[0]]
    attack = ShadowMLP(epochs=3)
    for found, one in zip(attack.score_all(targets), targets, strict=True):
        alone = attack.score(one)
        for name, variant in alone.variants.items():
            other = found.variants[name].score
            torch.testing.assert_close(other, variant.score, rtol=0, atol=1e-5, equal_nan=True)


def test_training_leaves_the_number_of_threads_as_it_was() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        ShadowMLP(epochs=1).score(made_up(1.0)[0])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@by_name
def test_attack_on_networks_that_memorise_tells_members(attack: Attack) -> None:
    signals, inside = made_up(6.0)
    scores = attack.score(signals)
    assert auc(scores, signals, inside) > 0.9
    assert scores.decision is not None
    audited = signals.audited
    assert balanced_accuracy_score(inside[audited], scores.decision[audited]) > 0.85
    for name, variant in scores.variants.items():
        if name.endswith(("lr 0.01", "lr 0.001")):
            assert auc(variant, signals, inside) > 0.9, name


@by_name
def test_attack_on_networks_without_memory_guesses(attack: Attack) -> None:
    signals, inside = made_up(0.0, examples=1500)
    scores = attack.score(signals)
    n, m = int(inside.sum()), int((signals.audited & ~inside).sum())
    error = math.sqrt((n + m + 1) / (12 * n * m))  # of an AUC under chance: the rank test's
    for answer in (scores, *scores.variants.values()):
        assert abs(auc(answer, signals, inside) - 0.5) < 3.29 * error  # 99.9 %


@learning_by_name
def test_members_weigh_as_much_as_non_members_however_few(attack: Attack) -> None:
    signals, inside = made_up(2.0, members=0.1, examples=1500)
    decision = attack.score(signals).decision
    assert decision is not None
    accused = decision[inside].double().mean()
    assert float(accused) > 0.5  # unweighted, almost nobody would be


@learning_by_name
def test_scores_depend_on_the_seed_and_on_nothing_random(attack: Attack) -> None:
    signals, _ = made_up(2.0)
    torch.manual_seed(1)
    first = attack.score(signals)
    torch.manual_seed(2)
    again = attack.score(signals)
    torch.testing.assert_close(first.score, again.score, rtol=0, atol=0, equal_nan=True)
    if isinstance(attack, ShadowMLP):
        other = attack.score(replace(signals, seed=6)).score
        assert not torch.equal(other[signals.audited], first.score[signals.audited])


@learning_by_name
def test_answers_outside_a_models_own_rows_change_nothing(attack: Attack) -> None:
    signals, _ = made_up(2.0)
    scores = attack.score(signals)
    audited = signals.audited
    assert bool(torch.isfinite(scores.score[audited]).all())
    assert bool(torch.isnan(scores.score[~audited]).all())
    assert scores.decision is not None
    assert not bool(scores.decision[~audited].any())

    def garbled(outputs: Outputs, known: Tensor) -> Outputs:
        assert outputs.noisy is not None
        noisy = outputs.noisy.masked_fill(~known[..., None, :, None], 1e3)
        return replace(
            outputs,
            noisy=noisy,
            logits=outputs.logits.masked_fill(~known[..., None, :, None], -7.0),
        )

    other = attack.score(
        replace(
            signals,
            target=garbled(signals.target, audited),
            shadows=garbled(signals.shadows, signals.shadow_role != Role.OUTSIDE),
        )
    )
    assert torch.equal(other.score[audited], scores.score[audited])


def test_discriminator_of_best_held_out_accuracy_speaks() -> None:
    # Where the target is the only shadow, the variants' scores hold their held-out answers too.
    signals, _ = made_up(1.0, shadows=1)
    known = signals.shadow_role[0] != Role.OUTSIDE
    signals = replace(signals, target=signals.shadows[0], audited=known)
    attack = ShadowMLP(hidden=((3,), (20, 20)), learning_rates=(1e-1, 1e-2, 1e-5), epochs=15)
    member = signals.shadow_role[0, known] == Role.MEMBER
    scores = attack.score(signals)

    held = held_out(member, 0.2, derive(signals.seed, "shadow_mlp", "holdout"))
    accuracy = {
        name: balanced_accuracy_score(member[held], variant.score[known][held] > 0)
        for name, variant in scores.variants.items()
    }
    assert list(accuracy) == [
        "3 lr 0.1", "3 lr 0.01", "3 lr 1e-05",
        "20-20 lr 0.1", "20-20 lr 0.01", "20-20 lr 1e-05",
    ]  # fmt: skip
    assert len(set(accuracy.values())) > 1
    best = scores.variants[max(accuracy, key=lambda name: accuracy[name])]
    assert torch.equal(scores.score[known], best.score[known])
    assert scores.decision is not None
    assert torch.equal(scores.decision, scores.score > 0)


def test_held_out_examples_are_a_share_of_members_and_of_non_members() -> None:
    member = torch.arange(110) < 10
    held = held_out(member, 0.2, 1)
    assert (int(held[member].sum()), int(held[~member].sum())) == (2, 20)
    assert torch.equal(held, held_out(member, 0.2, 1))
    assert not torch.equal(held, held_out(member, 0.2, 2))
    assert int(held_out(torch.tensor([True, True, False, False]), 0.9, 0).sum()) == 2


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([-math.inf, -2.0, 0.0, 5e-324, 0.5, 1.0, 3.0]), st.booleans()),
        min_size=2,
        max_size=12,
    ).filter(lambda pairs: {inside for _, inside in pairs} == {True, False})
)
def test_best_threshold_is_as_good_as_any_tried_in_turn(pairs: list[tuple[float, bool]]) -> None:
    values, inside = [value for value, _ in pairs], [member for _, member in pairs]

    def accuracy(threshold: float) -> float:
        caught = sum(value >= threshold for value, member in pairs if member) / sum(inside)
        spared = sum(value < threshold for value, member in pairs if not member)
        return (caught + spared / (len(inside) - sum(inside))) / 2

    threshold = best_threshold(
        torch.tensor(values, dtype=torch.float64), torch.tensor(inside, dtype=torch.bool)
    )
    best = max(accuracy(candidate) for candidate in [*values, -math.inf, math.inf])
    assert accuracy(threshold) == pytest.approx(best)


def test_best_threshold_lies_midway_between_neighbours() -> None:
    score = torch.tensor([4.0, 1.0, 2.0, 1.0], dtype=torch.float64)
    assert best_threshold(score, torch.tensor([True, False, True, False])) == 1.5
    neighbours = torch.tensor([1.0, math.nextafter(1.0, 2.0)], dtype=torch.float64)
    assert best_threshold(neighbours, torch.tensor([False, True])) == neighbours[1]


def test_log_odds_are_those_of_the_penalised_maximum_likelihood() -> None:
    """Class, prediction and sensitivity, standardised; ½‖w‖² + C Σ s·log(1 + exp(−y·f)), s = n/2nᵧ.

    The features are those of Gonon et al. 2023, section 4.
    """
    signals, _ = made_up(2.0, shadows=2, examples=60)

    def features(outputs: Outputs, row: int) -> list[float]:
        assert outputs.noisy is not None
        answers = [outputs.logits[0, row], *outputs.noisy[:, row]]
        p = [np.exp(z.double().numpy()) / np.exp(z.double().numpy()).sum() for z in answers]
        moved = np.mean([np.linalg.norm(q - p[0]) for q in p[1:]]) / 1e-3
        return [*np.eye(CLASSES)[signals.y[row]], *p[0], moved]

    sides = {int(Role.MEMBER): 1.0, int(Role.NON_MEMBER): -1.0}
    known = [
        (features(signals.shadows[k], row), sides[role])
        for k in range(2)
        for row, role in enumerate(signals.shadow_role[k].tolist())
        if role in sides
    ]
    x, side = np.array([f for f, _ in known]), np.array([s for _, s in known])
    center, spread = x.mean(0), x.std(0)
    x = (x - center) / spread
    share = np.where(side > 0, (side > 0).mean(), (side < 0).mean())

    def cost(w: np.ndarray) -> float:
        lost = np.logaddexp(0, -side * (x @ w[:-1] + w[-1]))
        return float(w[:-1] @ w[:-1] / 2 + 0.3 * (lost / (2 * share)).sum())

    best = minimize(cost, np.zeros(x.shape[1] + 1), tol=1e-9).x
    rows = signals.audited.nonzero()[:, 0].tolist()
    asked = (np.array([features(signals.target, row) for row in rows]) - center) / spread
    expected = asked @ best[:-1] + best[-1]
    scores = LogisticRegression(C=0.3).score(signals)
    assert scores.score[rows].tolist() == pytest.approx(expected, abs=2e-3)
    assert scores.decision is not None
    sure = np.abs(expected) > 2e-3
    assert (scores.decision[rows].numpy() == (expected > 0))[sure].all()


def test_loss_decides_by_the_shadows_threshold() -> None:
    # One class against another at logit gap g: the log-odds are g, and the loss log(1 + exp(-g)).
    def outputs(*gaps: float) -> Outputs:
        return Outputs(torch.tensor([[[gap, 0.0] for gap in gaps]]))

    signals = Signals(
        x=torch.zeros(4, 1),
        y=torch.tensor([0, 0, 0, 1]),
        audited=torch.ones(4, dtype=torch.bool),
        target=outputs(2.9, 2.1, 0.0, -2.7),
        shadows=Outputs(outputs(3.0, 2.0, 9.0, 1.0).logits[None]),
        shadow_role=torch.tensor(
            [[Role.MEMBER, Role.NON_MEMBER, Role.VALIDATION, Role.MEMBER]], dtype=torch.uint8
        ),
    )
    # Shadow losses: members 0.049 and 1.313, non-member 0.127; the cut is between 0.049 and 0.127.
    scores = Loss().score(signals)
    assert scores.score.tolist() == pytest.approx([2.9, 2.1, 0.0, 2.7], rel=1e-6)
    assert scores.decision is not None
    assert scores.decision.tolist() == [True, False, False, True]

    none = torch.tensor([], dtype=torch.int64)
    nobody = replace(signals, shadows=signals.shadows[none], shadow_role=signals.shadow_role[none])
    assert Loss().score(nobody).decision is None
    members_only = torch.full_like(signals.shadow_role, Role.MEMBER)
    assert Loss().score(replace(signals, shadow_role=members_only)).decision is None


@learning_by_name
def test_attack_names_what_it_lacks(attack: Attack) -> None:
    signals, _ = made_up(1.0, shadows=1, examples=30)
    members_only = torch.full_like(signals.shadow_role, Role.MEMBER)
    with pytest.raises(PrivauditError, match=f"{attack.name}.* 30 members and 0 non-members"):
        attack.score(replace(signals, shadow_role=members_only))
    with pytest.raises(PrivauditError, match=r"noisy copies .* missing"):
        attack.score(replace(signals, target=replace(signals.target, noisy=None)))
    diverged = replace(signals.target, logits=torch.full_like(signals.target.logits, torch.nan))
    with pytest.raises(PrivauditError, match=r"the target answers NaN"):
        attack.score(replace(signals, target=diverged))


def test_shadow_mlp_needs_two_of_each_to_hold_some_out() -> None:
    with pytest.raises(PrivauditError, match=r"3 members and 1 non-members"):
        held_out(torch.tensor([True, True, True, False]), 0.2, 0)
