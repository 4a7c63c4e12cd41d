"""Splits by coin: independent coins, for any chance, whoever else is trained."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, chi2, norm

from privaudit import RecipeError, Role
from privaudit.experiment.split import given_split, make_split
from privaudit.recipe import SplitOptions
from privaudit.statistics.metrics import roc_auc

seeds = st.integers(0, 2**40)


def coin(**options: object) -> SplitOptions:
    return SplitOptions.model_validate({"protocol": "coin", **options})


@given(
    count=st.integers(150, 400),
    shadows=st.integers(0, 5),
    members=st.floats(0.1, 0.9),
    validation=st.integers(0, 20),
    reference=st.integers(0, 20),
    every=st.booleans(),
    seed=seeds,
)
def test_everyone_who_is_not_held_out_is_audited_by_all_models(
    count: int,
    shadows: int,
    members: float,
    validation: int,
    reference: int,
    every: bool,
    seed: int,
) -> None:
    options = coin(
        members=members,
        validation=validation,
        reference=reference,
        targets="all" if every else 1,
    )
    split = make_split(options, count, shadows, seed)
    assert split.role.shape == (1 + shadows, count)
    for what, number in ((Role.VALIDATION, validation), (Role.REFERENCE, reference)):
        assert (split.role == what).sum(1).tolist() == [number] * (1 + shadows)
        assert bool(((split.role == what) == (split.role[0] == what)).all())
    audited = count - validation - reference
    inside = (split.role == Role.MEMBER).sum(1)
    assert (inside + (split.role == Role.NON_MEMBER).sum(1)).tolist() == [audited] * (1 + shadows)
    low, high = binom.ppf([1e-9, 1 - 1e-9], audited, members)
    assert all(low <= number <= high for number in inside.tolist())
    assert split.targets.tolist() == (list(range(1 + shadows)) if every else [0])
    for target, chosen in zip(split.targets.tolist(), split.shadows, strict=True):
        assert chosen.tolist() == [m != target for m in range(1 + shadows)]
    assert len(set(split.seeds.tolist())) == 1 + shadows


def test_coins_are_independent_over_examples_and_models() -> None:
    """Against the binomial law: who is in how many models, and how many are in each."""
    models, rows, chance = 20, 5000, 0.7
    inside = make_split(coin(members=chance, validation=0), rows, models - 1, 1).role == Role.MEMBER
    seen = inside.sum(0).bincount(minlength=models + 1).double().numpy()
    expected = rows * binom.pmf(range(models + 1), models, chance)
    common = expected > 5
    statistic = ((seen - expected) ** 2 / expected)[common].sum()
    assert chi2.sf(statistic, int(common.sum()) - 1) > 1e-3
    sizes = inside.sum(1).double()
    spread = ((sizes - rows * chance) ** 2 / (rows * chance * (1 - chance))).sum()
    assert 1e-3 < chi2.sf(float(spread), models) < 1 - 1e-3
    both = (inside[:, None] & inside[None]).sum(2).double()
    pairs = both[*torch.triu_indices(models, models, 1)]
    z = (pairs / rows - chance**2) / (chance**2 * (1 - chance**2) / rows) ** 0.5
    assert float(z.abs().max()) < norm.isf(1e-4 / len(z))


def test_counting_the_shadows_that_hold_an_example_tells_nothing() -> None:
    split = make_split(coin(members=0.7, validation=0, targets="all"), 2000, 15, 3)
    missed = 0
    for t, target in enumerate(split.targets.tolist()):
        count = (split.role[split.shadows[t]] == Role.MEMBER).sum(0)
        auc = roc_auc(count.numpy(), (split.role[target] == Role.MEMBER).numpy())
        missed += not auc.low <= 0.5 <= auc.high
    assert missed <= binom.ppf(1 - 1e-4, 16, 0.05)


@given(few=st.integers(0, 3), more=st.integers(1, 3), seed=seeds)
def test_more_shadows_leave_the_others_as_they_were(few: int, more: int, seed: int) -> None:
    before, after = (make_split(coin(), 120, shadows, seed) for shadows in (few, few + more))
    assert torch.equal(after.role[: 1 + few], before.role)
    assert torch.equal(after.seeds[: 1 + few], before.seeds)


def test_a_seed_of_the_split_fixes_the_roles_and_not_the_models() -> None:
    first, second = (make_split(coin(seed=7), 80, 2, seed) for seed in (0, 1))
    assert torch.equal(first.role, second.role)
    assert not set(first.seeds.tolist()) & set(second.seeds.tolist())
    assert not torch.equal(make_split(coin(), 80, 2, 0).role, make_split(coin(), 80, 2, 1).role)


def test_counts_say_how_many_are_audited_and_how_many_are_expected() -> None:
    options = coin(members=300, non_members=100, validation=50)
    split = make_split(options, 1000, 9, 0)
    assert bool(((split.role == Role.OUTSIDE).sum(1) == 550).all())
    inside = (split.role == Role.MEMBER).sum(1)
    assert inside.double().mean() == pytest.approx(300, abs=4 * (400 * 0.75 * 0.25 / 10) ** 0.5)
    assert len(set(inside.tolist())) > 1
    alone = make_split(coin(members=100, validation=0), 1000, 3, 0)
    assert bool(((alone.role != Role.OUTSIDE).sum(1) == 200).all())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"members": 60, "non_members": 50}, "110 audited [+] 6 validation .* dataset's 100"),
        ({"validation": 90, "reference": 11}, "cannot be had from the dataset's 100"),
        ({"validation": 100}, "coins made all or none of 0 examples members"),
        ({"members": 1, "non_members": 1, "validation": 0}, "coins made all or none of 2"),
    ],
)
def test_sizes_that_cannot_be_had_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make_split(coin(**options), 100, 4, 0)


@given(members=st.integers(1, 30), others=st.integers(1, 30), shadows=st.integers(1, 4), seed=seeds)
def test_shadows_of_a_given_target_toss_for_its_examples_and_the_attacker_s(
    members: int, others: int, shadows: int, seed: int
) -> None:
    split = given_split(coin(validation=6, reference=4), members, others, 60, shadows, seed)
    expected = [Role.MEMBER] * members + [Role.NON_MEMBER] * others + [Role.OUTSIDE] * 60
    assert split.role[0].tolist() == expected
    assert split.targets.tolist() == [0]
    assert split.shadows.tolist() == [[False] + [True] * shadows]
    role = split.role[1:]
    audited = (role == Role.MEMBER) | (role == Role.NON_MEMBER)
    assert bool(audited[:, : members + others].all())
    assert (role == Role.VALIDATION).sum(1).tolist() == [6] * shadows
    assert (role == Role.REFERENCE).sum(1).tolist() == [4] * shadows
    assert audited.sum(1).tolist() == [members + others + 50] * shadows
    more = given_split(coin(validation=6, reference=4), members, others, 60, shadows + 1, seed)
    assert torch.equal(more.role[:-1], split.role)
    with pytest.raises(RecipeError, match=f"dataset's 60 beside the target's {members + others}"):
        given_split(coin(members=1, non_members=200), members, others, 60, shadows, seed)
