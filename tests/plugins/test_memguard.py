"""MemGuard: the noise of algorithm 1, how often it is used, and what an attacker is left with."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import torch
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss

import privaudit
from privaudit import Model, PluginError, Step
from privaudit.api.split_options import SplitOptions
from privaudit.cohort import Cohort
from privaudit.cohort import companions as companions_module
from privaudit.cohort.answers import answers
from privaudit.keys import derive
from privaudit.keys import seeded as keyed
from privaudit.store.journal import Journal
from privaudit.testing import check_plugin
from privaudit_plugins.defenses.memguard import MemberClassifier, MemGuard
from privaudit_plugins.models.cnn import CNN

Make = Callable[..., Cohort]
Play = Callable[[Tensor, Tensor], Tensor]


def confident(slope: float = 6.0, least: float = 0.8) -> Play:
    """Takes for members those whose highest score is above `least`, smoothly."""
    return lambda logits, y: slope * (logits.softmax(-1).amax(-1) - least)


def some_logits(count: int, classes: int = 4, scale: float = 3.0) -> Tensor:
    return scale * torch.randn(count, classes, generator=seeded(3), dtype=torch.float64)


def alone(logits: Tensor, companion: Play, iterations: int) -> Tensor:
    """Algorithm 1 on one answer (C,), step by step."""
    label, scores = int(logits.argmax()), logits.softmax(0)

    def decide(z: Tensor) -> Tensor:
        return companion(z[None], torch.tensor([label]))[0]

    best, first = logits, float(decide(logits))
    if abs(1 / (1 + 2.718281828459045**-first) - 0.5) <= 1e-5:
        return best
    for power in range(-1, 6):
        z = logits
        for step in range(iterations + 1):
            if float(decide(z)) * first <= 0 and int(z.argmax()) == label:
                break
            if step == iterations:
                return best
            z = z.detach().requires_grad_()
            others = torch.cat([z[:label], z[label + 1 :]])
            loss = decide(z).abs() + 10 * (others.max() - z[label]).clamp(min=0)
            loss = loss + 10.0**power * len(z) * l1_loss(z.softmax(0), scores)
            (gradient,) = torch.autograd.grad(loss, z)
            z = z.detach() - 0.1 * gradient / gradient.pow(2).sum().sqrt()
        best = z
    return best


def distance(one: Tensor, other: Tensor) -> Tensor:
    return (one.softmax(-1) - other.softmax(-1)).abs().sum(-1)


def test_memguard_keeps_the_contract() -> None:
    check_plugin(MemGuard, iterations=20, epochs=2)


def lopsided(logits: Tensor, y: Tensor) -> Tensor:
    """Hardly leans one way, and one step further leans far the other: steps overshoot."""
    beyond = 0.8 - logits.softmax(-1).amax(-1)
    return torch.where(beyond > 0, 50 * beyond, 0.5 * beyond)


def labelled(logits: Tensor, y: Tensor) -> Tensor:
    """Compares two classes: to change its mind may cost the label, or next to no distortion."""
    return logits[:, 2] - logits[:, 3] + 1


@pytest.mark.parametrize("companion", [confident(), lopsided, labelled])
def test_noise_is_that_of_the_algorithm_answer_by_answer(companion: Play) -> None:
    logits = some_logits(16)
    logits[8:, 0] += 9  # sure of themselves: the other scores hardly count as distortion
    logits[0] = torch.tensor([1.0, -3.0, 0.8, 0.5])  # crosses where the label goes over
    shown = MemGuard(budget=2, iterations=60).respond(logits, companion)
    found = torch.stack([alone(one, companion, 60) for one in logits])
    helps = companion(found, logits).abs() < companion(logits, logits).abs()
    assert int(helps.sum()) > 4
    expected = torch.where(helps[:, None], found, logits).log_softmax(-1)
    assert (shown - expected).abs().max() < 1e-9


@pytest.mark.parametrize("scale", [3.0, 12.0])  # 12: float32 rounds most highest scores to 1
def test_labels_stay_and_scores_are_a_distribution(scale: float) -> None:
    logits = some_logits(50, scale=scale).float()
    shown = MemGuard(budget=2).respond(logits, confident())
    assert torch.equal(shown.argmax(-1), logits.argmax(-1))
    assert (shown.logsumexp(-1).abs() < 1e-5).all()
    crossed = (confident()(shown, logits) > 0) != (confident()(logits, logits) > 0)
    assert crossed.float().mean() > 0.9


@pytest.mark.parametrize("budget", [0.05, 0.2])
def test_noise_is_used_as_often_as_the_budget_allows(budget: float) -> None:
    row = torch.tensor([2.2, 0.5, 0.1, -1.0], dtype=torch.float64)
    logits = row + 1e-10 * some_logits(2000)  # one answer, 2,000 coins
    norm = float(
        distance(MemGuard(budget=2, iterations=60).respond(row[None], confident(least=0.6)), row)
    )
    assert norm > 0.21
    shown = MemGuard(budget=budget, iterations=60).respond(logits, confident(least=0.6))
    used = distance(shown, logits) > 1e-3
    chance = budget / norm
    spread = (chance * (1 - chance) / 2000) ** 0.5
    assert abs(float(used.double().mean()) - chance) < 4 * spread


def test_a_budget_of_nothing_shows_the_true_scores() -> None:
    logits = some_logits(30)
    assert torch.equal(
        MemGuard(budget=0, iterations=20).respond(logits, confident()), logits.log_softmax(-1)
    )


def test_an_answer_of_which_nothing_can_be_told_is_left_alone() -> None:
    logits = some_logits(50)
    shown = MemGuard(budget=2).respond(logits, lambda z, y: 1e-6 * z.sum(-1))
    assert torch.equal(shown, logits.log_softmax(-1))


def test_the_same_answer_is_shown_the_same_in_any_company() -> None:
    logits = some_logits(60)
    defense = MemGuard(budget=0.2, iterations=60)
    shown = defense.respond(logits, confident())
    order = torch.randperm(60, generator=seeded(0))[:20]
    assert (defense.respond(logits[order], confident()) - shown[order]).abs().max() < 1e-12


def test_what_was_not_asked_stays_unanswered() -> None:
    logits = some_logits(20)
    shown = MemGuard(iterations=60).respond(logits, confident())
    asked = torch.arange(20) % 3 > 0
    part = MemGuard(iterations=60).respond(
        logits.masked_fill(~asked[:, None], torch.nan), confident()
    )
    assert bool(part[~asked].isnan().all())
    assert (part[asked] - shown[asked]).abs().max() < 1e-12


def test_the_classifier_learns_balanced_cross_entropy() -> None:
    torch.manual_seed(0)
    classifier = MemberClassifier(4)
    inside, outside = some_logits(6).float(), some_logits(9, scale=0.5).float()
    step = Step(
        logits=inside,
        y=torch.zeros(6, dtype=torch.int64),
        epoch=torch.tensor(0),
        key=torch.tensor(0),
        reference_logits=outside,
        reference_y=torch.zeros(9, dtype=torch.int64),
        companion=classifier,
    )
    scores = torch.cat([inside, outside]).softmax(-1).sort(-1, descending=True).values
    guess = classifier.layers(scores)[:, 0]
    member = torch.cat([torch.ones(6), torch.zeros(9)])
    weight = torch.cat([torch.full((6,), 1 / 12), torch.full((9,), 1 / 18)])
    expected = binary_cross_entropy_with_logits(guess, member, weight=weight, reduction="sum")
    assert MemGuard().companion_loss(step).item() == pytest.approx(expected.item(), abs=1e-6)
    widths = [m.out_features for m in classifier.modules() if isinstance(m, nn.Linear)]
    assert widths == [256, 128, 64, 1]


def finished(cohort: Cohort) -> Cohort:
    """What the defense shows of a trained cohort."""
    shown = cohort.fork()
    cohort.defense.finish(shown)
    return shown


def test_the_classifier_learns_from_the_answers_that_are_shown(
    make_cohort: Make, convolutional: Callable[..., Model]
) -> None:
    """Five full batches of Adam, by hand, on answers in evaluation to plain examples."""
    options = {"reference": 40, "validation": 0, "augment": True, "epochs": 20}
    cohort = make_cohort(
        [40, 40], model=convolutional(), defense=MemGuard(epochs=5, lr=0.05), **options
    )
    cohort.fit()
    shown = finished(cohort)
    logits = cohort.logits()
    for m, play in enumerate(shown.companions()):
        with keyed(derive(cohort.seeds[m], "companion")):
            mine = MemberClassifier(10).double()
        inside, outside = (logits[m, cohort.rows(role)[m]] for role in ("member", "reference"))
        member = torch.cat([torch.ones(40), torch.zeros(40)]).double()
        scores = torch.cat([inside, outside]).softmax(-1).sort(-1, descending=True).values
        optimizer = torch.optim.Adam(mine.parameters(), lr=0.05)
        for _ in range(5):
            optimizer.zero_grad()
            cost = binary_cross_entropy_with_logits(mine.layers(scores)[:, 0], member)
            cost.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        assert play is not None
        with torch.no_grad():
            found, expected = play(logits[m], cohort.labels), mine(logits[m], cohort.labels)
        assert (found - expected).abs().max() < 1e-9
        assert expected.std() > 1e-3


def test_the_classifier_calls_as_many_members_as_one_of_another_library(make_cohort: Make) -> None:
    """Augmented BatchNorm networks, whose answers in training are nothing like those shown."""
    options = {"reference": 80, "validation": 0, "epochs": 40, "augment": True, "momentum": 0.9}
    model = CNN(width=8, norm="batch")
    cohort = make_cohort([80], model=model, defense=MemGuard(), **options)
    cohort.fit()
    (play,) = finished(cohort).companions()
    logits, y = cohort.logits()[0], cohort.labels
    inside, outside = (cohort.rows(role)[0] for role in ("member", "reference"))
    scores = logits.softmax(-1).sort(-1).values.numpy()
    rows = torch.cat([inside, outside])
    label = (torch.arange(160) < 80).numpy()
    other = MLPClassifier((256, 128, 64), learning_rate_init=3e-3, batch_size=128, max_iter=100)
    other.set_params(alpha=0, random_state=0, n_iter_no_change=100)
    with warnings.catch_warnings(action="ignore"):  # it has not converged: neither has ours
        other.fit(scores[rows], label)
    assert play is not None
    with torch.no_grad():
        called = (play(logits, y) > 0).double()
    theirs = torch.from_numpy(other.predict(scores)).double()
    for part in (inside, outside):
        assert abs(float(called[part].mean() - theirs[part].mean())) < 0.2
    assert float(called[inside].mean()) > 0.6
    assert float(called[inside].mean() - called[outside].mean()) > 0.15


def test_the_network_is_that_of_no_defense_and_tells_less(
    make_cohort: Make, tmp_path: Path
) -> None:
    options = {"reference": 60, "validation": 0, "epochs": 40, "augment": False}
    rows = torch.stack([torch.randperm(300, generator=seeded(m))[:80] for m in range(2)])
    audited = torch.zeros(2, 300, dtype=torch.bool).scatter(1, rows, True)
    told, journal = [], Journal(tmp_path)
    for defense in (None, MemGuard(budget=2, iterations=60)):
        cohort = make_cohort([40, 40], defense=defense, journal=journal, **options)
        cohort.fit()
        shown = cohort if defense is None else finished(cohort)
        surety = answers(shown, audited).logits[:, 0].softmax(-1).amax(-1).gather(1, rows)
        member = torch.arange(80) < 40
        told.append([abs(roc_auc_score(member, one) - 0.5) for one in surety])
    assert [r.found for r in cohort.records] == [2]  # the networks are the other cohort's
    assert min(told[0]) > 0.2
    assert max(told[1]) < 0.2
    assert sum(told[1]) < sum(told[0]) / 2


def test_a_classifier_is_kept_and_is_the_same_in_any_company(
    make_cohort: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def companions(models: list[int], **options: object) -> Tensor:
        both = {"reference": 40, "validation": 0, "journal": Journal(tmp_path)}
        cohort = make_cohort(
            [40, 40], models=models, defense=MemGuard(epochs=3), **{**both, **options}
        )
        cohort.fit()
        return torch.stack([state.companion for state in finished(cohort).states()])

    together = companions([0, 1])
    assert torch.equal(companions([1], journal=Journal(None))[0], together[1])
    files = len(list(tmp_path.rglob("*.unit")))
    assert files == 4

    def never(*args: object) -> None:
        raise AssertionError("trained once more")

    monkeypatch.setattr(companions_module._Learner, "fitted", never)
    assert torch.equal(companions([0, 1]), together)


def test_a_plan_trains_no_classifier(make_cohort: Make, tmp_path: Path) -> None:
    options = {"reference": 40, "validation": 0, "defense": MemGuard(epochs=3)}
    for units, plan in ((0, True), (2, False), (2, True)):  # of the networks, as they are trained
        cohort = make_cohort([40, 40], journal=Journal(tmp_path), plan=plan, **options)
        cohort.fit()
        if plan:
            finished(cohort)
        assert len(list(tmp_path.rglob("*.unit"))) == units


def test_a_split_without_reference_examples_is_refused(make_cohort: Make) -> None:
    reason = MemGuard().refusal(SplitOptions(members=10, reference=0))
    assert reason is not None
    assert "split.reference" in reason
    with pytest.raises(PluginError, match=r"split\.reference"):
        make_cohort(defense=MemGuard(), reference=0).fit()


class Forgetful(MemGuard):
    """Keeps its classifier out of training, and trains it nowhere."""

    name: Literal["forgetful"] = "forgetful"  # type: ignore[assignment]

    def finish(self, cohort: privaudit.Cohort) -> None:
        """Nothing."""


class Early(MemGuard):
    """Trains its classifier beside the network, too."""

    name: Literal["early"] = "early"  # type: ignore[assignment]

    def companion_schedule(self) -> tuple[int, float]:
        return 1, 1e-3


@pytest.mark.parametrize(
    ("defense", "words"),
    [
        (Forgetful(), r"have not learnt anything.*fit_companion"),
        (Early(), r"no second network learns afterwards.*`companion_schedule` of 0 steps"),
        (MemGuard(lr=1e300), r"no numbers after 100 epochs: give a lower learning rate"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(make_cohort: Make, defense: MemGuard, words: str) -> None:
    cohort = make_cohort([40], defense=defense, validation=0, reference=40, epochs=1)
    cohort.fit()
    with pytest.raises(PluginError, match=words) as told:
        answers(finished(cohort), torch.ones(1, 300, dtype=torch.bool))
    assert "\n" not in str(told.value)


def test_an_option_of_earlier_recipes_is_refused_with_what_to_give_instead() -> None:
    with pytest.raises(ValueError, match=r"no `steps` any more.*`epochs`"):
        MemGuard.model_validate({"steps": 5})


@pytest.mark.parametrize(("epochs", "batch_size"), [(0, 64), (-1, 64), (3, 0)])
def test_nothing_to_learn_is_refused(make_cohort: Make, epochs: int, batch_size: int) -> None:
    cohort = make_cohort([40], defense=MemGuard(), validation=0, reference=40)
    with pytest.raises(PluginError, match="from 1 on"):
        cohort.fit_companion(epochs, batch_size)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
