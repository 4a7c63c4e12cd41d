"""LiRA against closed forms, loops over examples, recomputation, and noise."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from scipy.stats import binom, norm
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor, nn

from privaudit import Examples, Model, Outputs, PrivauditError, Role, ShortageError, Signals
from privaudit.cohort import Cohort
from privaudit.cohort.answers import answers
from privaudit.reductions import log_odds
from privaudit.statistics.metrics import roc_auc
from privaudit.values import Augmentation
from privaudit_plugins.attacks._in_turn import others, threshold_in_turn
from privaudit_plugins.attacks._lira import Shadows, likelihood_ratios
from privaudit_plugins.attacks.lira import LiRA, LiRAAugmented


class Shown(Model):
    """Answers with the pixels that it is shown."""

    name: Literal["shown"] = "shown"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        layer = nn.Linear(classes, classes, bias=False)
        nn.init.eye_(layer.weight)
        return nn.Sequential(nn.Flatten(), layer)


def signals_of(target: Tensor, shadows: Tensor, role: Tensor) -> Signals:
    """Two classes whose logits φ and 0 make φ what is asked: (Q, N) and (K, Q, N) float64."""

    def outputs(phi: Tensor) -> Outputs:
        return Outputs(torch.stack([phi, torch.zeros_like(phi)], dim=-1))

    count = target.shape[-1]
    return Signals(
        x=torch.empty(count, 0),
        y=torch.zeros(count, dtype=torch.int64),
        audited=torch.ones(count, dtype=torch.bool),
        target=outputs(target),
        shadows=outputs(shadows),
        shadow_role=role,
    )


def pairs(shadows: int, examples: int, draw: torch.Generator) -> Tensor:
    """(K, N) bool: members of shadows in complementary pairs."""
    inside = torch.rand(shadows, examples, generator=draw) < 0.5
    inside[1::2] = ~inside[::2]
    return inside


def memory(effect: float, *, shadows: int = 8, examples: int = 100, seed: int = 0) -> Any:
    """Signals with φ = difficulty + effect · member + N(0, 1), and the target's membership."""
    draw = torch.Generator().manual_seed(seed)
    inside = torch.cat(
        [torch.rand(1, examples, generator=draw) < 0.5, pairs(shadows, examples, draw)]
    )
    noise = torch.randn(1 + shadows, 1, examples, generator=draw, dtype=torch.float64)
    hard = 3 * torch.randn(examples, generator=draw, dtype=torch.float64)
    phi = hard + effect * inside[:, None] + noise
    role = torch.where(inside, Role.MEMBER, Role.NON_MEMBER).byte()
    return signals_of(phi[0], phi[1:], role[1:]), inside[0]


def test_log_odds_are_exact_where_probabilities_round_to_one() -> None:
    logits = torch.tensor([[800.0, 0.0, -3.0], [1.0, 2.0, 0.5], [0.0, -torch.inf, 60.0]])
    y, rows = torch.tensor([0, 1, 2]), torch.tensor([2, 0, 1])
    p = math.exp(2) / (math.exp(1) + math.exp(2) + math.exp(0.5))
    expected = [60.0, 800 - math.log(1 + math.exp(-3)), math.log(p / (1 - p))]
    answer = log_odds(logits[None], y, rows)
    assert answer.dtype == torch.float64
    assert answer[0].tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("center", ["mean", "median"])
def test_online_score_is_the_closed_form_of_known_gaussians(center: Any) -> None:
    # Two values μ - σ and μ + σ have mean and median μ and standard deviation σ.
    draw = np.random.default_rng(1)
    mu_in, mu_out = draw.normal(2, 1, 40), draw.normal(0, 1, 40)
    sd_in, sd_out = draw.uniform(0.5, 2, (2, 40))
    phi = np.stack([mu_in - sd_in, mu_in + sd_in, mu_out - sd_out, mu_out + sd_out])
    seen = draw.normal(1, 2, 40)
    role = torch.tensor([[Role.MEMBER]] * 2 + [[Role.NON_MEMBER]] * 2).expand(4, 40)
    signals = signals_of(torch.tensor(seen)[None], torch.tensor(phi)[:, None], role)
    score = LiRA(variance="per_example", center=center).score(signals).score
    expected = norm.logpdf(seen, mu_in, sd_in) - norm.logpdf(seen, mu_out, sd_out)
    np.testing.assert_allclose(score, expected, rtol=1e-10)
    offline = LiRA(variance="per_example", center=center, mode="offline").score(signals).score
    expected = -np.log(-norm.logcdf(seen, mu_out, sd_out))
    np.testing.assert_allclose(offline, expected, rtol=1e-9, atol=1e-9)


def test_auc_on_gaussians_is_what_their_distance_says() -> None:
    signals, inside = memory(1.5, shadows=128, examples=3000)
    estimate = roc_auc(LiRA(variance="global").score(signals).score, inside, confidence=0.999)
    assert estimate.low < norm.cdf(1.5 / math.sqrt(2)) < estimate.high


def looped(signals: Signals, attack: LiRA, online: bool) -> list[float]:
    """The scores example by example, from logits whose other class is at 0."""
    target = signals.target.logits[..., 0].numpy()
    phi, role = signals.shadows.logits[..., 0].numpy(), signals.shadow_role.numpy()
    without = (role == Role.NON_MEMBER) | (role == Role.OUTSIDE)
    sides = {Role.MEMBER: role == Role.MEMBER, Role.NON_MEMBER: without}
    queries, examples = target.shape
    shared = {}
    for side, which in sides.items():
        rest = [
            phi[which[:, i], q, i] - phi[which[:, i], q, i].mean()
            for i, q in itertools.product(range(examples), range(queries))
        ]
        freedom = sum(len(r) - 1 for r in rest)
        shared[side] = math.sqrt(sum((r**2).sum() for r in rest) / freedom)
    middle = np.mean if attack.center == "mean" else np.median
    scores = []
    for i in range(examples):
        score = 0.0
        for q in range(queries):
            near, far = (phi[which[:, i], q, i] for which in sides.values())
            sd_in, sd_out = (
                (near.std(), far.std()) if attack.variance == "per_example" else shared.values()
            )
            if online:
                score += norm.logpdf(target[q, i], middle(near), sd_in)
                score -= norm.logpdf(target[q, i], middle(far), sd_out)
            else:
                score += norm.logcdf(target[q, i], middle(far), sd_out)
        scores.append(score if online else -math.log(-score))
    return scores


def mixed() -> Signals:
    """Three queries; every example is outside two shadows, and validates two."""
    draw = torch.Generator().manual_seed(3)
    phi = 50 + torch.randn(15, 3, 30, generator=draw, dtype=torch.float64)
    kinds = torch.tensor([Role.MEMBER, Role.NON_MEMBER, Role.OUTSIDE, Role.VALIDATION])
    base = kinds.repeat_interleave(torch.tensor([5, 5, 2, 2]))
    role = torch.stack([base[torch.randperm(14, generator=draw)] for _ in range(30)], dim=1)
    return signals_of(phi[0], phi[1:], role.byte())


@pytest.mark.parametrize("variance", ["per_example", "global"])
@pytest.mark.parametrize("center", ["mean", "median"])
@pytest.mark.parametrize("mode", ["online", "offline"])
def test_scores_equal_a_loop_over_examples(variance: Any, center: Any, mode: Any) -> None:
    signals = mixed()
    attack = LiRA(variance=variance, center=center, mode=mode)
    expected = looped(signals, attack, mode == "online")
    np.testing.assert_allclose(attack.score(signals).score, expected, rtol=1e-8)


def test_auto_is_online_and_per_example_from_64_shadows_a_side() -> None:
    for shadows, variance in ((128, "per_example"), (126, "global")):
        signals, _ = memory(1.0, shadows=shadows, examples=20)
        named = LiRA(variance=variance, mode="online").score(signals)
        assert torch.equal(LiRA().score(signals).score, named.score)
    without = torch.full_like(signals.shadow_role, Role.NON_MEMBER)
    signals = replace(signals, shadow_role=without)
    offline = LiRA(mode="offline").score(signals)
    assert torch.equal(LiRA().score(signals).score, offline.score)
    assert offline.decision is None  # no shadow has members to learn a threshold from


def test_offline_score_is_one_sided_and_does_not_stop_at_one() -> None:
    shadows = torch.tensor([-1.0, 1.0], dtype=torch.float64)[:, None, None].expand(2, 1, 5)
    target = torch.tensor([[-3e3, 0.0, 8.0, 38.0, 1e4]], dtype=torch.float64)
    role = torch.full((2, 5), Role.NON_MEMBER, dtype=torch.uint8)
    score = LiRA(variance="per_example").score(signals_of(target, shadows, role)).score
    assert bool((score.diff() > 0).all())
    assert float(score[1]) == pytest.approx(-math.log(math.log(2)))


@pytest.mark.parametrize("per_example", [True, False])
@pytest.mark.parametrize("center", ["mean", "median"])
@pytest.mark.parametrize("online", [True, False])
def test_leaving_shadows_out_equals_doing_without_them(
    per_example: bool, center: Any, online: bool
) -> None:
    draw = torch.Generator().manual_seed(4)
    phi = 9 + torch.randn(8, 2, 25, generator=draw, dtype=torch.float64)
    inside = pairs(8, 25, draw)
    kept = others(inside, ~inside, 8)
    options: Any = {"online": online, "per_example": per_example, "center": center}
    together = likelihood_ratios(phi, Shadows(phi, inside, ~inside, kept), **options)
    for k in range(8):
        rest = [j for j in range(8) if j // 2 != k // 2]
        few = Shadows(phi[rest], inside[rest], ~inside[rest], torch.ones(1, 6, dtype=torch.bool))
        alone = likelihood_ratios(phi[k : k + 1], few, **options)[0]
        torch.testing.assert_close(together[k], alone, rtol=1e-9, atol=1e-9, equal_nan=True)


def test_a_shadow_in_turn_does_without_itself_and_its_complement() -> None:
    inside = torch.tensor([[1, 0, 1, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1]]).bool()
    outside = ~inside
    outside[2, 3] = False  # else the complement of shadow 0
    expected = torch.tensor([[0, 1, 1, 1], [1, 0, 1, 0], [1, 1, 0, 1]]).bool()
    assert torch.equal(others(inside, outside, 3), expected)


def test_threshold_in_turn_looks_only_at_what_could_be_scored() -> None:
    score = torch.tensor([[5.0, torch.nan, 1.0, 9.0]], dtype=torch.float64)
    inside = torch.tensor([[True, False, False, False]])
    assert threshold_in_turn(score, inside, torch.tensor([[False, True, True, False]])) == 3.0
    assert threshold_in_turn(score, inside, torch.tensor([[False, True, False, False]])) is None


def test_decision_comes_from_shadows_attacked_by_the_others() -> None:
    signals, inside = memory(8.0, shadows=6, examples=400)
    decision = LiRA().score(signals).decision
    assert decision is not None
    assert balanced_accuracy_score(inside, decision) > 0.98
    assert LiRA().score(memory(8.0, shadows=4)[0]).decision is None


def test_answers_that_are_all_equal_give_one_score() -> None:
    signals, _ = memory(1.0)
    constant = Outputs(torch.full_like(signals.shadows.logits, 0.1))
    for mode, variance in itertools.product(("online", "offline"), ("per_example", "global")):
        attack = LiRA(mode=mode, variance=variance)
        scores = attack.score(replace(signals, target=constant[0], shadows=constant))
        assert len(set(scores.score.tolist())) == 1
        assert bool(scores.score.isfinite().all())


def test_rows_that_are_not_audited_neither_matter_nor_count() -> None:
    signals, _ = memory(1.0)
    audited = torch.arange(100) < 80
    role = signals.shadow_role.masked_fill(~audited, Role.OUTSIDE)
    scores = LiRA().score(replace(signals, audited=audited, shadow_role=role))
    assert bool(scores.score[~audited].isnan().all())
    kept = Outputs(signals.target.logits[:, :80]), Outputs(signals.shadows.logits[:, :, :80])
    few = replace(signals, y=signals.y[:80], target=kept[0], shadows=kept[1])
    few = replace(few, audited=audited[:80], shadow_role=role[:, :80])
    assert torch.equal(LiRA().score(few).score, scores.score[:80])


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_interval_of_auc_covers_one_half_on_noise(mode: Any) -> None:
    covered = 0
    for seed in range(200):
        signals, inside = memory(0.0, seed=seed)
        estimate = roc_auc(LiRA(mode=mode).score(signals).score, inside)
        covered += estimate.low <= 0.5 <= estimate.high
    assert covered >= binom.ppf(1e-4, 200, 0.95)


def test_the_paper_asks_eighteen_times() -> None:
    assert (LiRA().queries, LiRAAugmented().queries) == (1, 18)
    signals = mixed()
    assert torch.equal(LiRAAugmented().score(signals).score, LiRA().score(signals).score)


@pytest.mark.parametrize(
    ("flip", "crop", "fixed"), [(True, 4, 18), (True, 1, 18), (False, 4, 9), (True, 0, 2)]
)
def test_queries_are_the_mirror_image_times_shifts_by_a_pixel(
    make_cohort: Callable[..., Cohort], flip: bool, crop: int, fixed: int
) -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randint(1, 256, (100, 1, 3, 4), generator=draw, dtype=torch.uint8)
    unit = torch.tensor(1.0)
    augmentation = Augmentation(flip=flip, crop=crop)
    y = torch.arange(100) % 12
    examples = Examples(x, y, tuple("abcdefghijkl"), 0 * unit, unit, augmentation)
    cohort = make_cohort([20], examples=examples, model=Shown())
    seen = answers(cohort, torch.ones(1, 100, dtype=torch.bool), queries=18).logits[0]
    images = seen.view(18, 100, 3, 4).numpy()
    expected = {}
    for mirrored, down, right in itertools.product((0, 1)[: 1 + flip], *2 * [(-1, 0, 1)]):
        if crop or not (down or right):
            image = x[:, 0].numpy().astype(float)[..., :: -1 if mirrored else 1]
            padded = np.pad(image, [(0, 0), (1, 1), (1, 1)])
            expected[mirrored, down, right] = padded[:, 1 + down : 4 + down, 1 + right : 5 + right]
    assert len(expected) == fixed
    assert np.array_equal(images[0], x[:, 0].numpy())
    found = [
        [key for key, image in expected.items() if np.array_equal(image, query)]
        for query in images[:fixed]
    ]
    assert sorted(key for (key,) in found) == sorted(expected)
    for query in images[fixed:]:  # drawn, for each example anew
        assert not any(np.array_equal(query, image) for image in expected.values())


def test_shadows_that_had_no_part_in_an_example_serve_offline() -> None:
    signals, _ = memory(2.0, examples=200)
    role = torch.full((len(signals.shadow_role), 200), Role.OUTSIDE, dtype=torch.uint8)
    answer = LiRA().score(replace(signals, shadow_role=role))
    assert answer.decision is None  # no shadow shows what a member's score is like
    role[:] = Role.NON_MEMBER
    offline = LiRA(mode="offline").score(replace(signals, shadow_role=role))
    assert torch.equal(answer.score, offline.score)


def test_lira_names_what_it_lacks() -> None:
    signals, _ = memory(1.0, shadows=2, examples=10)
    with pytest.raises(ShortageError, match=r"^lira can .* all 10 lack 2 shadows .* not trained"):
        LiRA().score(signals)
    members = replace(signals, shadow_role=torch.full((2, 10), Role.NON_MEMBER))
    with pytest.raises(ShortageError, match=r"all 10 lack a shadow .* not .*, or one that was$"):
        LiRA(mode="online").score(members)
    validating = replace(signals, shadow_role=torch.full((2, 10), Role.VALIDATION))
    with pytest.raises(ShortageError, match=r"lack a shadow that was not trained on them$"):
        LiRA().score(validating)
    signals, _ = memory(1.0, examples=10)
    shadows = signals.shadows.logits.clone()
    shadows[3, 0, 0] = torch.inf
    with pytest.raises(PrivauditError, match="shadow 3 answers NaN or infinity"):
        LiRA().score(replace(signals, shadows=Outputs(shadows)))
    broken = Outputs(torch.full_like(signals.target.logits, torch.nan))
    with pytest.raises(PrivauditError, match="the target answers NaN"):
        LiRA().score(replace(signals, target=broken))
