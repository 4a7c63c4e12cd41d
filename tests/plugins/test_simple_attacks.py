"""The attacks of one number per example: by hand, by loops, on memory and on noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from scipy.stats import binom
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn.functional import cross_entropy

from privaudit import Attack, Outputs, PrivauditError, Role, ShortageError, Signals, Sparsifier
from privaudit.cohort.answers import answers
from privaudit.statistics.metrics import balanced_accuracy, roc_auc
from privaudit.testing import tiny_cohort
from privaudit.testing.material import TinyModel, build, tiny_examples
from privaudit_plugins.attacks.gradient_norm import GradientNorm
from privaudit_plugins.attacks.label_only import LabelOnly
from privaudit_plugins.attacks.population import Population
from privaudit_plugins.attacks.reference import Reference
from privaudit_plugins.attacks.thresholds import (
    Confidence,
    Correctness,
    Entropy,
    ModifiedEntropy,
    Top1Confidence,
)

CLASSES = 3
ATTACKS: list[Attack] = [
    Confidence(), Entropy(), ModifiedEntropy(), Top1Confidence(), Correctness(),
    Population(), Population(per_class=True), Reference(), GradientNorm(), LabelOnly(),
]  # fmt: skip
every = pytest.mark.parametrize(
    "attack", ATTACKS, ids=lambda a: a.name + " per class" * getattr(a, "per_class", False)
)


def made_up(
    memory: float, *, shadows: int = 4, examples: int = 300, queries: int = 4, seed: int = 7
) -> tuple[Signals, Tensor]:
    """Signals whose models are surer of their members by `memory`, and the target's membership.

    Labels and who is in whose training data are drawn at random. A third of the rows, the same
    for all models, are outside.
    """
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(CLASSES, (examples,), generator=draw)
    role = torch.randint(1, 3, (shadows + 1, examples), generator=draw)
    role[2::2] = 3 - role[1:-1:2]  # complementary pairs of shadows, as `halves` makes them
    role[:, torch.rand(examples, generator=draw) < 1 / 3] = Role.OUTSIDE
    inside = role == Role.MEMBER
    ease = torch.randn(examples, generator=draw)
    logits = torch.randn(shadows + 1, queries, examples, CLASSES, generator=draw)
    logits[:, :, torch.arange(examples), y] += (1 + ease + memory * inside)[:, None]
    wrong = 1 - logits[:, 0].softmax(-1)[:, torch.arange(examples), y]
    outputs = Outputs(logits, gradient_norm=wrong * (1 + torch.rand(examples, generator=draw)))
    signals = Signals(
        x=torch.zeros(examples, 1),
        y=y,
        audited=role[0] != Role.OUTSIDE,
        target=outputs[0],
        shadows=outputs[torch.arange(1, shadows + 1)],
        shadow_role=role[1:].to(torch.uint8),
    )
    return signals, inside[0]


def by_hand(
    gaps: list[float],
    y: list[int],
    role: list[Role],
    shadow_gaps: list[list[float]] | None = None,
    shadow_role: list[list[Role]] | None = None,
) -> Signals:
    """Of two classes, the first at logit gap g: its loss is log(1 + exp(-g))."""

    def logits(gaps: Tensor) -> Tensor:
        return torch.stack([gaps, torch.zeros_like(gaps)], dim=-1)

    count = len(gaps)
    shadows = torch.tensor(shadow_gaps or []).view(-1, count)
    return Signals(
        x=torch.zeros(count, 1),
        y=torch.tensor(y),
        audited=torch.tensor([r != Role.OUTSIDE for r in role]),
        target=Outputs(logits(torch.tensor(gaps))[None]),
        shadows=Outputs(logits(shadows)[:, None]),
        shadow_role=torch.tensor(shadow_role or [], dtype=torch.uint8).view(-1, count),
    )


def loss(gap: float) -> float:
    return math.log1p(math.exp(-gap))


@every
def test_attack_on_networks_that_memorise_tells_members(attack: Attack) -> None:
    signals, inside = made_up(4.0)
    scores = attack.score(signals)
    audited = signals.audited
    assert roc_auc(scores.score[audited], inside[audited]).low > 0.6
    assert scores.decision is not None
    assert balanced_accuracy(scores.decision[audited], inside[audited]).low > 0.55


@every
def test_auc_interval_covers_chance_on_noise_as_often_as_it_says(attack: Attack) -> None:
    audits = 200
    covered = 0
    for seed in range(audits):
        signals, inside = made_up(0.0, shadows=2, examples=150, seed=seed)
        audited = signals.audited
        auc = roc_auc(attack.score(signals).score[audited], inside[audited])
        covered += auc.low <= 0.5 <= auc.high
    assert binom.ppf(5e-4, audits, 0.95) <= covered <= binom.ppf(1 - 5e-4, audits, 0.95)


@every
def test_nothing_random_and_nothing_beyond_the_audited_rows_is_scored(attack: Attack) -> None:
    signals, _ = made_up(1.0)
    torch.manual_seed(1)
    first = attack.score(signals)
    torch.manual_seed(2)
    again = attack.score(replace(signals, seed=5))
    torch.testing.assert_close(first.score, again.score, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(first.score.isnan(), ~signals.audited)
    assert first.decision is not None
    assert not bool(first.decision[~signals.audited].any())


@every
def test_attack_names_the_model_that_answers_nan(attack: Attack) -> None:
    signals, _ = made_up(1.0)
    norm = torch.full((300,), torch.nan)
    broken = Outputs(torch.full_like(signals.target.logits, torch.nan), gradient_norm=norm)
    with pytest.raises(PrivauditError, match="the target answers NaN or infinity"):
        attack.score(replace(signals, target=broken))


def test_population_counts_the_examples_with_so_low_a_loss() -> None:
    out = Role.OUTSIDE
    signals = by_hand(
        [3.0, 1.0, 0.5, 2.0, 1.0, 0.0, -1.0],
        [0, 0, 0, 0, 0, 0, 0],
        [Role.MEMBER, Role.NON_MEMBER, Role.NON_MEMBER, out, out, out, out],
    )
    scores = Population().score(signals)
    # Of the four outside, 0, 2 (one of them as low) and 2 have so low a loss.
    assert scores.score[:3].tolist() == pytest.approx([1 - 1 / 5, 1 - 3 / 5, 1 - 3 / 5])
    assert scores.decision is None


def test_population_of_the_own_class_only() -> None:
    out = Role.OUTSIDE
    gaps, y = [3.0, -1.0, 2.0, 1.0, -3.0, -2.0, 0.0], [0, 1, 0, 0, 1, 1, 1]
    signals = by_hand(gaps, y, [Role.MEMBER, Role.NON_MEMBER, out, out, out, out, out])
    assert Population(per_class=True).score(signals).score[:2].tolist() == pytest.approx(
        [1 - 1 / 3, 1 - 3 / 4]
    )
    assert Population().score(signals).score[:2].tolist() == pytest.approx(
        [1 - 2 / 6, 1 - 5 / 6], rel=1e-12
    )


def test_population_of_a_shadow_is_what_lies_outside_of_it() -> None:
    out, member, non_member = Role.OUTSIDE, Role.MEMBER, Role.NON_MEMBER
    signals = by_hand(
        [5.0, 0.5, 2.0, 1.0],
        [0, 0, 0, 0],
        [member, non_member, out, out],
        [[2.0, 1.0, 4.0, 1.5]],
        [[out, out, member, non_member]],
    )
    # The shadow's member has p 1/3, its non-member 2/3: half way 1 - p = 1/2 is asked for.
    scores = Population().score(signals)
    assert scores.score[:2].tolist() == pytest.approx([2 / 3, 0.0])
    assert scores.decision is not None
    assert scores.decision.tolist() == [True, False, False, False]


def test_population_says_where_it_could_come_from() -> None:
    signals, _ = made_up(1.0)
    everyone = replace(signals, audited=torch.ones_like(signals.audited))
    with pytest.raises(ShortageError, match=r"^population .* there are none$") as caught:
        Population().score(everyone)
    assert caught.value.lacking == "population"
    no_first = replace(signals, y=torch.where(signals.audited, signals.y, 1))
    with pytest.raises(ShortageError, match=r"none of class 0 .*per_class"):
        Population(per_class=True).score(no_first)
    assert bool(torch.isfinite(Population().score(no_first).score[signals.audited]).all())


SCALES: dict[str, Callable[[float], float]] = {
    "log_loss": lambda gap: -math.log(loss(gap)),
    "log_odds": lambda gap: gap,
    "loss": lambda gap: -loss(gap),
}
"""Of two classes at a logit gap, minus what is compared."""


@pytest.mark.parametrize("scale", SCALES)
def test_reference_subtracts_what_shadows_without_the_example_say(scale: Any) -> None:
    out, member, non_member = Role.OUTSIDE, Role.MEMBER, Role.NON_MEMBER
    signals = by_hand(
        [2.0, 1.0, 0.0],
        [0, 0, 0],
        [member, non_member, non_member],
        [[0.5, 9.0, 1.0], [9.0, 1.5, 3.0], [1.0, 2.0, 4.0]],
        [[non_member, member, out], [member, non_member, Role.VALIDATION], [out, out, out]],
    )
    scores, sure = Reference(scale=scale).score(signals), SCALES[scale]
    assert scores.score.tolist() == pytest.approx(
        [
            sure(2.0) - (sure(0.5) + sure(1.0)) / 2,
            sure(1.0) - (sure(1.5) + sure(2.0)) / 2,
            sure(0.0) - (sure(1.0) + sure(4.0)) / 2,
        ],
        rel=1e-6,
    )
    # Each shadow against the others: members 9 - 1.5/2.0 and 9 - 0.5/1.0, non-members 0.5 - 1.0
    # and 1.5 - 2.0. The threshold lies between the lowest member and the highest non-member.
    highest = max(sure(0.5) - sure(1.0), sure(1.5) - sure(2.0))
    lowest = sure(9.0) - max(sure(1.5) + sure(2.0), sure(0.5) + sure(1.0)) / 2
    assert scores.decision is not None
    assert scores.decision.tolist() == (scores.score >= (highest + lowest) / 2).tolist()


def test_reference_with_one_shadow_or_one_pair_scores_without_a_verdict() -> None:
    member, non_member = Role.MEMBER, Role.NON_MEMBER
    one = [[0.5, 1.0]], [[non_member, Role.OUTSIDE]]
    scores = Reference(scale="loss").score(by_hand([2.0, 1.0], [0, 0], [member, non_member], *one))
    assert scores.decision is None
    assert float(scores.score[0]) == pytest.approx(loss(0.5) - loss(2.0))
    pair = [[0.5, 1.0], [0.7, 0.9]], [[member, non_member], [non_member, member]]
    scores = Reference(scale="loss").score(by_hand([2.0, 1.0], [0, 0], [member, non_member], *pair))
    assert scores.decision is None
    assert float(scores.score[0]) == pytest.approx(loss(0.7) - loss(2.0))


def test_reference_leaves_out_who_is_in_every_shadow() -> None:
    member, non_member = Role.MEMBER, Role.NON_MEMBER
    one = [[0.5, 1.0]], [[member, non_member]]
    signals = by_hand([2.0, 1.5], [0, 0], [member, non_member], *one)
    scores = Reference().score(signals)
    assert scores.left_out is not None
    assert scores.left_out.tolist() == [True, False]
    assert float(scores.score[1]) == pytest.approx(math.log(loss(1.0) / loss(1.5)), rel=1e-6)
    nobody = by_hand([2.0, 1.0], [0, 0], [member, non_member])
    with pytest.raises(ShortageError, match=r"^reference can score no row: all 2 lack a shadow"):
        Reference().score(nobody)


def test_label_only_is_a_logistic_regression_of_who_is_right() -> None:
    signals, _ = made_up(2.0, shadows=2, examples=90)
    few = (signals.shadow_role == Role.MEMBER) & (torch.arange(90) % 3 > 0)
    signals = replace(signals, shadow_role=signals.shadow_role.masked_fill(few, Role.OUTSIDE))

    def bits(logits: Tensor, n: int) -> list[float]:
        right = [int(row[n].argmax()) == int(signals.y[n]) for row in logits]
        return [float(right[0]), sum(right[1:]) / len(right[1:])]

    x, member = [], []
    for logits, roles in zip(signals.shadows.logits, signals.shadow_role.tolist(), strict=True):
        for n, role in enumerate(roles):
            if role != Role.OUTSIDE:
                x.append(bits(logits, n))
                member.append(role == Role.MEMBER)
    model = LogisticRegression(class_weight="balanced").fit(x, member)
    rows = signals.audited.nonzero()[:, 0].tolist()
    expected = model.decision_function([bits(signals.target.logits, n) for n in rows])
    scores = LabelOnly().score(signals)
    assert scores.score[rows].tolist() == pytest.approx(expected.tolist(), rel=1e-6, abs=1e-9)
    assert scores.decision is not None
    assert scores.decision[rows].tolist() == [value > 0 for value in expected]
    assert len({round(value, 9) for value in expected}) > 4


def test_label_only_sees_labels_only() -> None:
    signals, _ = made_up(2.0)

    def masked(outputs: Outputs) -> Outputs:
        return Outputs((outputs.logits == outputs.logits.amax(-1, keepdim=True)).float())

    hidden = replace(signals, target=masked(signals.target), shadows=masked(signals.shadows))
    plain, other = LabelOnly().score(signals).score, LabelOnly().score(hidden).score
    torch.testing.assert_close(plain, other, rtol=0, atol=0, equal_nan=True)


def test_label_only_refuses_data_without_augmentation() -> None:
    signals, _ = made_up(2.0, queries=1)
    with pytest.raises(PrivauditError, match="allows no augmentation: use `correctness`"):
        LabelOnly().score(signals)
    signals, _ = made_up(2.0, shadows=0)
    with pytest.raises(ShortageError, match=r"^label_only learns .* non-members of 0 shadows$"):
        LabelOnly().score(signals)


def test_gradient_norm_decides_by_the_shadows_threshold() -> None:
    member, non_member = Role.MEMBER, Role.NON_MEMBER
    shadows = [[0.0] * 4], [[member, non_member, Role.VALIDATION, non_member]]
    signals = by_hand([0.0] * 4, [0] * 4, [member, non_member, member, Role.OUTSIDE], *shadows)
    norms = torch.tensor([1.4, 1.6, 0.0, 0.0]), torch.tensor([[1.0, 2.0, 9.0, 3.0]])
    signals = replace(
        signals,
        target=replace(signals.target, gradient_norm=norms[0]),
        shadows=replace(signals.shadows, gradient_norm=norms[1]),
    )
    scores = GradientNorm().score(signals)
    assert scores.score[:3].tolist() == pytest.approx([-1.4, -1.6, 0.0])
    assert scores.decision is not None
    assert scores.decision.tolist() == [True, False, True, False]
    nobody = torch.tensor([], dtype=torch.int64)
    alone = replace(
        signals, shadows=signals.shadows[nobody], shadow_role=signals.shadow_role[nobody]
    )
    assert GradientNorm().score(alone).decision is None
    with pytest.raises(PrivauditError, match=r"norms of the target's gradients"):
        GradientNorm().score(replace(signals, target=Outputs(signals.target.logits)))


@pytest.mark.parametrize("convolutional", [False, True])
def test_gradient_norm_of_trained_networks_is_that_of_a_plain_autograd_loop(
    convolutional: bool,
) -> None:
    cohort = tiny_cohort(Sparsifier(name="none"), convolutional=convolutional)
    cohort.fit(epochs=5)
    examples = tiny_examples()
    role = torch.full((2, 40), Role.OUTSIDE, dtype=torch.uint8)
    role[0, :16], role[0, 16:32] = Role.MEMBER, Role.NON_MEMBER
    role[1, :16], role[1, 16:32] = Role.NON_MEMBER, Role.MEMBER
    outputs = answers(cohort, role != Role.OUTSIDE, gradient_norm=True)
    signals = Signals(
        x=examples.x,
        y=examples.y,
        audited=role[0] != Role.OUTSIDE,
        target=outputs[0],
        shadows=outputs[torch.tensor([1])],
        shadow_role=role[1:],
    )
    scores = GradientNorm().score(signals)

    network = build(TinyModel(convolutional=convolutional), examples.shape, 0)
    weights = {name: weight[0] for name, weight in cohort.weights.items()}
    buffers = cohort.states()[0].buffers
    network.load_state_dict(weights | buffers)
    network.eval()
    x = (examples.x.float() - examples.mean) / examples.std
    for n in range(32):
        network.zero_grad()
        answer = cross_entropy(network(x[n : n + 1]), examples.y[n : n + 1])
        torch.autograd.backward(answer)
        squares = [
            float((p.grad.double() ** 2).sum()) for p in network.parameters() if p.grad is not None
        ]
        assert float(scores.score[n]) == pytest.approx(-math.sqrt(sum(squares)), rel=2e-4)
    assert scores.decision is not None
    assert float(scores.score[:32].std()) > 0
