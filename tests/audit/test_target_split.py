"""Who trains on what beside a given target: properties of both protocols for any sizes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from privaudit import RecipeError, Role
from privaudit.experiment.split import given_split
from privaudit.recipe import SplitOptions

sizes = st.integers(1, 30)
seeds = st.integers(0, 2**40)


def options(protocol: str, **others: object) -> SplitOptions:
    return SplitOptions.model_validate({"protocol": protocol, **others})


@pytest.mark.parametrize("protocol", ["disjoint", "halves"])
@given(members=sizes, non_members=sizes, pool=st.integers(40, 80), pairs=st.integers(0, 3))
def test_the_target_has_its_own_examples_and_nothing_else(
    protocol: str, members: int, non_members: int, pool: int, pairs: int
) -> None:
    split = given_split(options(protocol), members, non_members, pool, 2 * pairs, 0)
    expected = [Role.MEMBER] * members + [Role.NON_MEMBER] * non_members + [Role.OUTSIDE] * pool
    assert split.role[0].tolist() == expected
    assert split.targets.tolist() == [0]
    assert split.shadows.tolist() == [[False] + [True] * (2 * pairs)]
    assert len(set(split.seeds.tolist())) == len(split.role) == 1 + 2 * pairs


@given(
    candidates=sizes,
    pool=st.integers(40, 80),
    shadows=st.integers(1, 5),
    validation=st.floats(0, 0.5),
    reference=st.integers(0, 10),
    seed=seeds,
)
def test_disjoint_shadows_share_the_attacker_s_own_examples(
    candidates: int, pool: int, shadows: int, validation: float, reference: int, seed: int
) -> None:
    chosen = options("disjoint", validation=validation, reference=reference)
    role = given_split(chosen, candidates, candidates, pool, shadows, seed).role[1:]
    assert not bool(role[:, : 2 * candidates].any())
    half = (pool - reference) // 2
    aside = round(validation * half)
    for row in role:
        counts = [int((row == what).sum()) for what in Role]
        assert counts[1:] == [half - aside, half, aside, reference]
    if shadows > 1:
        assert not torch.equal(role[0], role[1])


@given(
    members=sizes,
    non_members=sizes,
    pool=st.integers(40, 80),
    pairs=st.integers(1, 3),
    validation=st.integers(0, 20),
    reference=st.integers(0, 20),
    seed=seeds,
)
def test_halves_have_every_example_in_one_of_each_pair(
    members: int,
    non_members: int,
    pool: int,
    pairs: int,
    validation: int,
    reference: int,
    seed: int,
) -> None:
    chosen = options("halves", validation=validation, reference=reference)
    role = given_split(chosen, members, non_members, pool, 2 * pairs, seed).role[1:]
    theirs, own = role[:, : members + non_members], role[:, members + non_members :]
    for what, count in ((Role.VALIDATION, validation), (Role.REFERENCE, reference)):
        assert (own == what).sum(1).tolist() == [count] * (2 * pairs)
        assert not bool((theirs == what).any())
    for side in range(0, 2 * pairs, 2):
        assert torch.equal(role[side] == Role.MEMBER, role[side + 1] == Role.NON_MEMBER)
        total = members + non_members + pool - validation - reference
        inside = [int((role[side + i] == Role.MEMBER).sum()) for i in (0, 1)]
        assert sum(inside) == total
        assert abs(inside[0] - inside[1]) <= 1
        both = (theirs[side] == Role.MEMBER) ^ (theirs[side + 1] == Role.MEMBER)
        assert bool(both.all())


@given(members=st.integers(1, 60), seed=seeds)
def test_halves_of_a_size_take_the_target_s_examples_first(members: int, seed: int) -> None:
    chosen = options("halves", members=members, validation=4)
    if not 20 <= 2 * members <= 20 + 50 - 4:
        with pytest.raises(RecipeError, match=f"{2 * members} in all cannot be had"):
            given_split(chosen, 12, 8, 50, 2, seed)
        return
    role = given_split(chosen, 12, 8, 50, 2, seed).role[1:]
    assert (role == Role.MEMBER).sum(1).tolist() == [members, members]
    assert bool(((role == Role.MEMBER) | (role == Role.NON_MEMBER))[:, :20].all())


@pytest.mark.parametrize("protocol", ["disjoint", "halves"])
@given(few=st.integers(0, 2), more=st.integers(1, 2), seed=seeds)
def test_more_shadows_leave_the_others_as_they_were(
    protocol: str, few: int, more: int, seed: int
) -> None:
    before = given_split(options(protocol), 10, 11, 40, 2 * few, seed)
    after = given_split(options(protocol), 10, 11, 40, 2 * (few + more), seed)
    assert torch.equal(after.role[: len(before.role)], before.role)
    if few:
        assert torch.equal(after.seeds[: len(before.seeds)], before.seeds)


@pytest.mark.parametrize(
    ("protocol", "others", "message"),
    [
        ("disjoint", {"members": 30, "non_members": 20}, "need 53 examples .* dataset has 40"),
        ("disjoint", {"validation": 20}, "need 40 examples .* at least one member"),
        ("halves", {"validation": 30, "reference": 11}, "30 validation [+] 11 reference"),
    ],
)
def test_an_attacker_with_too_few_examples_is_told(
    protocol: str, others: dict[str, object], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        given_split(options(protocol, **others), 10, 10, 40, 2, 0)


def test_a_seed_of_the_split_fixes_the_roles_and_not_the_models() -> None:
    chosen = options("halves", seed=7)
    first, second = (given_split(chosen, 10, 10, 40, 2, seed) for seed in (0, 1))
    assert torch.equal(first.role, second.role)
    assert not set(first.seeds.tolist()) & set(second.seeds.tolist())
