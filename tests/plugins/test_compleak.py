"""The attacker who holds several versions, against plain Python and on nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from privaudit import AttackScores, Outputs, PrivauditError, Role, ShortageError, Signals
from privaudit_plugins.attacks import _training
from privaudit_plugins.attacks.compleak import CompLeak, TwoParts, features, two_parts

CLASSES = 4
QUICK = CompLeak(epochs=8, learning_rate=0.05)


def versions(
    surer: Sequence[float],
    *,
    names: Sequence[str] = ("original", "level a"),
    examples: int = 500,
    shadows: int = 4,
    seed: int = 3,
) -> tuple[Signals, Tensor]:
    """Networks in several versions, each surer of its members by so much; the last is audited."""
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(CLASSES, (examples,), generator=draw)
    role = torch.randint(1, 3, (shadows + 1, examples), generator=draw).to(torch.uint8)
    role[:, : examples // 5] = Role.OUTSIDE
    inside = role == Role.MEMBER
    every = []
    for sure in surer:
        logits = torch.randn(shadows + 1, 1, examples, CLASSES, generator=draw)
        logits[:, 0, torch.arange(examples), y] += 1 + sure * inside
        every.append(Outputs(logits))
    *others, own = every
    outputs = own.changed(versions=dict(zip(names, others, strict=False)))
    asked = role[0] != Role.OUTSIDE
    given = Signals(torch.empty(examples, 0), y, asked, outputs[0], outputs[1:], role[1:])
    return given, inside[0]


def auc(scores: AttackScores, signals: Signals, member: Tensor) -> float:
    rows = signals.audited
    return float(roc_auc_score(member[rows].numpy(), scores.score[rows].numpy()))


def softmax(logits: Sequence[float]) -> list[float]:
    total = sum(map(math.exp, logits))
    return [math.exp(z) / total for z in logits]


def test_features_are_the_predictions_label_and_losses_of_every_version() -> None:
    draw = torch.Generator().manual_seed(0)
    first, second, own = (torch.randn(1, 6, CLASSES, generator=draw) for _ in range(3))
    y = torch.tensor([0, 3, 1, 2, 2, 0])
    given = Outputs(own, versions={"original": Outputs(first), "level a": Outputs(second)})
    found = features(given, y)
    assert found.shape == (6, 4 * CLASSES + 3)
    for row in range(6):
        p = [softmax(logits[0, row].tolist()) for logits in (first, second, own)]
        rising = sorted(range(CLASSES), key=p[0].__getitem__)
        expected = [one[c] for one in p for c in rising]
        expected += [float(c == y[row]) for c in rising]
        expected += [-math.log(one[int(y[row])]) for one in p]
        assert found[row].tolist() == pytest.approx(expected, rel=1e-9)


def test_a_probability_of_nothing_has_the_loss_of_the_smallest_number() -> None:
    found = features(
        Outputs(torch.tensor([[[0.0, -torch.inf], [0.0, -1e4]]])), torch.tensor([1, 1])
    )
    assert found[:, -1].tolist() == [745.0, 745.0]
    assert -math.log(math.ulp(0.0)) < 745 < -math.log(math.ulp(0.0)) + 1
    assert bool(found.isfinite().all())


def test_the_network_has_as_many_weights_as_the_published_one() -> None:
    """For five compressed versions: two probabilities and one loss of each."""
    layers = [(10, 128), (128, 64), (5, 128), (128, 64), (128, 256), (256, 128), (128, 64), (64, 2)]
    network = TwoParts(10, 5)
    assert sum(p.numel() for p in network.parameters()) == sum(a * b + b for a, b in layers)
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.5] * 6


def test_networks_in_training_answer_as_the_network_without_what_is_dropped() -> None:
    networks = [TwoParts(5, 2).eval() for _ in range(3)]
    weights = {
        n: torch.stack([one.state_dict()[n] for one in networks]) for n in networks[0].state_dict()
    }
    x = torch.randn(3, 9, 7)

    class Keeper:
        def __call__(self, hidden: Tensor) -> Tensor:
            return hidden

    found = two_parts(5, 2).together(weights, x, Keeper())  # type: ignore[arg-type]
    for network, rows, logits in zip(networks, x, found, strict=True):
        torch.testing.assert_close(network(rows), logits)


def test_who_holds_a_version_that_leaks_finds_what_this_one_hides() -> None:
    given, member = versions((0.0, 5.0, 0.0))
    found = QUICK.score(given)
    assert auc(found, given, member) > 0.85
    assert abs(auc(found.variants["alone"], given, member) - 0.5) < 0.1
    assert found.decision is not None
    assert bool(found.score[~given.audited].isnan().all())


def test_versions_that_leak_nothing_tell_nothing() -> None:
    deviations = []
    for seed in range(3):
        given, member = versions((0.0, 0.0, 0.0), seed=seed)
        n, m = int(member[given.audited].sum()), int((~member[given.audited]).sum())
        error = math.sqrt((n + m + 1) / (12 * n * m))  # of an AUC under chance: the rank test's
        deviations.append((auc(QUICK.score(given), given, member) - 0.5) / error)
    assert abs(sum(deviations)) / math.sqrt(3) < 3.29  # 99.9 %


def test_alone_is_what_this_level_tells_whatever_the_others_do() -> None:
    given, _ = versions((0.0, 5.0, 1.0))
    bare = replace(
        given, target=given.target.changed(versions={}), shadows=given.shadows.changed(versions={})
    )
    alone = QUICK.score(given).variants["alone"].score
    torch.testing.assert_close(alone, QUICK.score(bare).score, rtol=0, atol=0, equal_nan=True)


def test_without_the_original_nothing_depends_on_it() -> None:
    given, _ = versions((5.0, 1.0, 1.0))
    other, _ = versions((0.0, 1.0, 1.0))
    attack = QUICK.model_copy(update={"original": False, "epochs": 1})
    whole = QUICK.model_copy(update={"epochs": 1})
    rows = given.audited
    assert torch.equal(attack.score(given).score[rows], attack.score(other).score[rows])
    assert not torch.equal(whole.score(given).score[rows], whole.score(other).score[rows])


def test_targets_scored_together_score_as_each_alone() -> None:
    several = [versions((1.0, 2.0, 1.0), seed=seed)[0] for seed in (1, 2)]
    several.append(versions((1.0, 1.0))[0])  # of fewer versions
    attack = QUICK.model_copy(update={"epochs": 2})
    for one, found in zip(several, attack.score_all(several), strict=True):
        alone = attack.score(one)
        for ours, theirs in ((found, alone), (found.variants["alone"], alone.variants["alone"])):
            torch.testing.assert_close(ours.score, theirs.score, rtol=0, atol=1e-4, equal_nan=True)


@pytest.mark.parametrize("where", ["target", "shadows"])
def test_an_earlier_version_that_diverged_is_told(where: str) -> None:
    given, _ = versions((1.0, 1.0, 1.0))
    outputs = getattr(given, where)
    broken = Outputs(torch.full_like(outputs.logits, torch.nan))
    changed = outputs.changed(versions=outputs.versions | {"level a": broken})
    with pytest.raises(PrivauditError, match=r"the target|shadow 0 answers NaN"):
        QUICK.score(replace(given, **{where: changed}))


def test_shadows_of_members_alone_are_refused() -> None:
    given, _ = versions((1.0, 1.0, 1.0))
    members = torch.full_like(given.shadow_role, Role.MEMBER)
    with pytest.raises(ShortageError, match="compleak learns from shadows' members and non-member"):
        QUICK.score(replace(given, shadow_role=members))


@pytest.mark.parametrize(
    "options", [{"epochs": 0}, {"learning_rate": 0}, {"original": "perhaps"}, {"levels": 3}]
)
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CompLeak.model_validate(options)


def test_features_are_standardised_by_what_the_shadows_show_and_the_target_by_the_same() -> None:
    given, _ = versions((1.0, 1.0, 1.0))
    plain, scaled = (_training._seen("compleak", given, features, way) for way in (False, True))
    (rows, member), others = plain
    known, asked = rows.double().numpy(), others.double().numpy()
    mean, std = known.mean(0), known.std(0)
    np.testing.assert_allclose(scaled[0][0].numpy(), (known - mean) / std, atol=1e-4)
    np.testing.assert_allclose(scaled[1].numpy(), (asked - mean) / std, atol=1e-4)
    assert torch.equal(scaled[0][1], member)
