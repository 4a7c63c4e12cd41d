"""Who trains on what: properties of both protocols for any sizes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from privaudit import RecipeError, Role
from privaudit.experiment.split import make_split
from privaudit.recipe import SplitOptions

shares = st.one_of(st.integers(0, 20), st.floats(0, 0.4, allow_nan=False))


def counts(role: Tensor, what: Role) -> list[int]:
    return [int(n) for n in (role == what).sum(1)]


def disjoint(**options: object) -> SplitOptions:
    return SplitOptions.model_validate({"protocol": "disjoint", **options})


def halves(**options: object) -> SplitOptions:
    return SplitOptions.model_validate({"protocol": "halves", **options})


@given(
    count=st.integers(200, 400),
    shadows=st.integers(0, 5),
    validation=shares,
    reference=shares,
    seed=st.integers(0, 2**40),
)
def test_disjoint_uses_the_whole_dataset_in_two_pools_that_never_meet(
    count: int, shadows: int, validation: float, reference: float, seed: int
) -> None:
    options = disjoint(validation=validation, reference=reference)
    split = make_split(options, count, shadows, seed)
    assert split.role.shape == (1 + shadows, count)
    used = split.role != Role.OUTSIDE
    assert not bool((used[0] & used[1:]).any())
    if shadows:
        assert bool((used[1:] == used[1]).all())
    pool = count // 2
    held = reference if isinstance(reference, int) else round(reference * pool)
    half = (pool - held) // 2
    aside = validation if isinstance(validation, int) else round(validation * half)
    assert set(counts(split.role, Role.REFERENCE)) == {held}
    assert set(counts(split.role, Role.VALIDATION)) == {aside}
    assert set(counts(split.role, Role.MEMBER)) == {half - aside}
    assert set(counts(split.role, Role.NON_MEMBER)) == {half}
    assert split.targets.tolist() == [0]
    assert split.shadows.tolist() == [[False] + [True] * shadows]


def test_disjoint_gives_the_sizes_of_the_paper() -> None:
    options = disjoint(members=15_000 - 1500, non_members=15_000, validation=1500)
    split = make_split(options, 60_000, 1, 0)
    assert counts(split.role, Role.MEMBER) == [13_500, 13_500]
    assert counts(split.role, Role.VALIDATION) == [1500, 1500]
    assert counts(split.role, Role.NON_MEMBER) == [15_000, 15_000]
    assert counts(split.role, Role.OUTSIDE) == [30_000, 30_000]


def test_a_share_of_validation_is_a_share_of_members_and_validation() -> None:
    split = make_split(disjoint(members=90, validation=0.1), 1000, 1, 0)
    assert counts(split.role, Role.VALIDATION) == [10, 10]
    assert counts(split.role, Role.NON_MEMBER) == [100, 100]


@given(
    count=st.integers(60, 200),
    pairs=st.integers(0, 4),
    validation=st.integers(0, 20),
    reference=st.integers(0, 20),
    every=st.booleans(),
    seed=st.integers(0, 2**40),
)
def test_halves_balances_the_shadows_of_every_target(
    count: int, pairs: int, validation: int, reference: int, every: bool, seed: int
) -> None:
    options = halves(validation=validation, reference=reference, targets="all" if every else 1)
    split = make_split(options, count, 2 * pairs, seed)
    member, non_member = split.role == Role.MEMBER, split.role == Role.NON_MEMBER
    audited = member | non_member
    half = (count - validation - reference) // 2
    assert set(counts(split.role, Role.MEMBER)) == {half}
    assert set(counts(split.role, Role.NON_MEMBER)) == {half}
    assert set(counts(split.role, Role.VALIDATION)) == {validation}
    assert set(counts(split.role, Role.REFERENCE)) == {reference}
    assert bool((audited == audited[0]).all())
    assert split.targets.tolist() == (list(range(2 * pairs + 2)) if every else [0])
    for t, target in enumerate(split.targets.tolist()):
        chosen = split.shadows[t]
        assert int(chosen.sum()) == 2 * pairs
        assert not bool(chosen[target])
        inside = member[chosen][:, audited[target]].sum(0)
        assert inside.tolist() == [pairs] * (2 * half)
        opposite = (member == non_member[target]).all(1)
        assert not bool((chosen & opposite).any())


@given(
    protocol=st.sampled_from(["disjoint", "halves"]),
    few=st.integers(0, 3),
    more=st.integers(1, 3),
    seed=st.integers(0, 2**40),
)
def test_more_shadows_leave_the_others_as_they_were(
    protocol: str, few: int, more: int, seed: int
) -> None:
    options = SplitOptions.model_validate({"protocol": protocol, "validation": 0.2})
    before = make_split(options, 120, 2 * few, seed)
    after = make_split(options, 120, 2 * (few + more), seed)
    assert torch.equal(after.role[: len(before.role)], before.role)
    assert torch.equal(after.seeds[: len(before.seeds)], before.seeds)
    assert len(set(after.seeds.tolist())) == len(after.seeds)


@given(pairs=st.integers(0, 3), seed=st.integers(0, 2**40))
def test_attacking_every_model_trains_only_the_missing_complement(pairs: int, seed: int) -> None:
    one = make_split(halves(), 100, 2 * pairs, seed)
    every = make_split(halves(targets="all"), 100, 2 * pairs, seed)
    trained = dict(zip(every.seeds.tolist(), every.role, strict=True))
    for key, role in zip(one.seeds.tolist(), one.role, strict=True):
        assert torch.equal(trained[key], role)
    assert len(trained) == len(one.seeds) + 1
    fresh = next(role for key, role in trained.items() if key not in set(one.seeds.tolist()))
    assert torch.equal(fresh == Role.MEMBER, one.role[0] == Role.NON_MEMBER)


@pytest.mark.parametrize("protocol", ["disjoint", "halves"])
def test_a_seed_of_the_split_fixes_the_roles_and_not_the_models(protocol: str) -> None:
    options = SplitOptions.model_validate({"protocol": protocol, "seed": 7})
    first, second = (make_split(options, 80, 2, seed) for seed in (0, 1))
    assert torch.equal(first.role, second.role)
    assert not set(first.seeds.tolist()) & set(second.seeds.tolist())
    free = options.model_copy(update={"seed": None})
    assert not torch.equal(make_split(free, 80, 2, 0).role, make_split(free, 80, 2, 1).role)


@given(
    protocol=st.sampled_from(["disjoint", "halves"]),
    count=st.integers(1, 60),
    members=st.integers(1, 60),
    non_members=st.integers(1, 60),
    validation=st.integers(0, 30),
)
def test_sizes_are_kept_or_refused(
    protocol: str, count: int, members: int, non_members: int, validation: int
) -> None:
    assume(protocol == "disjoint" or members == non_members)
    options = SplitOptions.model_validate(
        {"protocol": protocol, "members": members, "non_members": non_members}
        | {"validation": validation}
    )
    need = members + non_members + validation
    if (2 * need if protocol == "disjoint" else need) > count:
        with pytest.raises(RecipeError, match=f"dataset.*{count}"):
            make_split(options, count, 2, 0)
        return
    split = make_split(options, count, 2, 0)
    assert set(counts(split.role, Role.MEMBER)) == {members}
    assert set(counts(split.role, Role.NON_MEMBER)) == {non_members}
    assert set(counts(split.role, Role.VALIDATION)) == {validation}


@pytest.mark.parametrize("protocol", ["disjoint", "halves"])
def test_a_dataset_without_a_member_left_is_refused(protocol: str) -> None:
    options = SplitOptions.model_validate({"protocol": protocol, "validation": 50})
    with pytest.raises(RecipeError, match="split: "):
        make_split(options, 20, 2, 0)


def test_counting_the_shadows_that_hold_an_example_tells_nothing() -> None:
    """An attack that knows only how many shadows trained on an example is blind with pairs."""
    split = make_split(halves(targets="all"), 400, 6, 3)
    for t, target in enumerate(split.targets.tolist()):
        inside = (split.role[split.shadows[t]] == Role.MEMBER).sum(0)
        assert len(set(inside[split.role[target] == Role.MEMBER].tolist())) == 1
        assert len(set(inside[split.role[target] == Role.NON_MEMBER].tolist())) == 1
