"""What a sparsifier's script can do to a cohort: prune, freeze, rewind, fork, save, set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy

from privaudit import (
    Model,
    PluginError,
)
from privaudit.cohort import Cohort
from privaudit.cohort.models import keep_largest

Make = Callable[..., Cohort]
PRUNABLE = ["1.weight", "4.weight"]  # of the perceptron
SIZE = 64 * 16 + 16 + 16 * 10 + 10


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(w, other[n]) for n, w in one.items())


def remaining(cohort: Cohort, names: list[str] = PRUNABLE) -> list[int]:
    return [sum(int(cohort.masks[n][m].sum()) for n in names) for m in range(len(cohort))]


@given(data=st.data(), count=st.integers(1, 30))
def test_the_largest_scores_stay_and_of_equal_ones_the_first(
    data: st.DataObject, count: int
) -> None:
    values = st.sampled_from([0.0, 1.0, 2.0, 3.0, -float("inf"), float("inf")])
    scores = [data.draw(st.lists(values, min_size=count, max_size=count)) for _ in range(2)]
    flags = st.lists(st.booleans(), min_size=count, max_size=count)
    kept = [data.draw(flags) for _ in range(2)]
    keep = [data.draw(st.floats(0, 1)) for _ in range(2)]
    mask = keep_largest(
        torch.tensor(scores), torch.tensor(kept), torch.tensor(keep, dtype=torch.float64)
    )
    for m in range(2):
        candidates = [i for i in range(count) if kept[m][i]]
        stays = sorted(candidates, key=lambda i: (-scores[m][i], i))
        expected = set(stays[: round(keep[m] * len(candidates))])
        assert {i for i in range(count) if mask[m, i]} == expected


def test_each_round_prunes_exactly_its_share_of_what_remains(make_cohort: Make) -> None:
    cohort = make_cohort([40, 30])
    prunable, left = 64 * 16 + 16 * 10, 64 * 16 + 16 * 10
    for _ in range(6):
        cohort.fit(epochs=1)
        cohort.prune(keep=0.8)
        left = round(0.8 * left)
        assert remaining(cohort) == [left, left]
        others = SIZE - prunable
        assert cohort.nonzero().tolist() == [left + others] * 2
        assert cohort.density().tolist() == [(left + others) / SIZE] * 2


def test_global_pruning_compares_all_layers_and_layer_pruning_each_with_itself(
    make_cohort: Make,
) -> None:
    for scope in ("global", "layer"):
        cohort = make_cohort([40, 30])
        weights = {n: cohort.weights[n].abs() for n in PRUNABLE}
        cohort.prune(keep=0.5, scope=scope)
        masks = cohort.masks
        for m in range(2):
            groups = [PRUNABLE] if scope == "global" else [[n] for n in PRUNABLE]
            for group in groups:
                values = torch.cat([weights[n][m].flatten() for n in group])
                threshold = values.sort(descending=True).values[len(values) // 2 - 1]
                for name in group:
                    assert torch.equal(masks[name][m], weights[name][m] >= threshold)
        for name in ("1.bias", "4.bias"):
            assert bool(masks[name].all())
    first = masks["1.weight"].flatten(1)
    assert not torch.equal(first[0], first[1])  # one mask per model


def test_a_share_for_each_model_and_scores_of_one_s_own(make_cohort: Make) -> None:
    cohort = make_cohort([40, 30])
    scores = {"4.bias": torch.arange(20.0).view(2, 10)}
    cohort.prune(keep=torch.tensor([0.3, 1.0]), scores=scores)
    assert cohort.masks["4.bias"].tolist() == [[False] * 7 + [True] * 3, [True] * 10]
    assert remaining(cohort) == [64 * 16 + 16 * 10] * 2


def test_candidates_that_are_none_prune_nothing(make_cohort: Make) -> None:
    cohort = make_cohort()
    for scope in ("global", "layer"):
        cohort.prune(keep=0.1, scores={}, scope=scope)
    assert remaining(cohort) == [64 * 16 + 16 * 10] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keep": 1.2}, "share from 0 to 1"),
        ({"keep": 0.5, "scores": {"fc": torch.zeros(2, 3)}}, "no weight is called 'fc'.*1.weight"),
        ({"keep": 0.5, "scores": {"4.bias": torch.zeros(10)}}, r"\(2, 10\), got \(10,\)"),
    ],
)
def test_wrong_pruning_is_refused(
    make_cohort: Make, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(PluginError, match=message):
        make_cohort().prune(**arguments)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_pruned_weights_stay_zero_and_frozen_ones_bit_for_bit(
    make_cohort: Make, convolutional: Callable[..., Model], optimizer: str
) -> None:
    cohort = make_cohort(
        [40, 20],
        model=convolutional(),
        optimizer=optimizer,
        lr=0.01,
        weight_decay=0.1,
        precision="fp32",
    )
    cohort.fit()
    cohort.prune(keep=0.5)
    pruned = {n: ~mask for n, mask in cohort.masks.items()}
    chosen = {n: torch.zeros_like(m) for n, m in cohort.masks.items()}
    chosen["7.weight"][0, :5] = True  # some rows of one model only
    chosen["1.bias"][:] = True
    cohort.freeze({n: chosen[n] for n in ("7.weight", "1.bias")})
    before = cohort.weights
    cohort.fit()
    after = cohort.weights
    for name, weight in after.items():
        assert not bool(weight[pruned[name]].any())
        assert torch.equal(weight[chosen[name]], before[name][chosen[name]])
        free = ~chosen[name] & ~pruned[name]
        if bool(free.any()):
            assert float((weight != before[name])[free].double().mean()) > 0.8
    cohort.rewind("initial")
    for name, weight in cohort.weights.items():
        expected = cohort.initial_weights[name].masked_fill(pruned[name], 0)
        assert torch.equal(weight, expected)


def test_an_epoch_to_rewind_to_is_the_state_a_shorter_first_fit_leaves(make_cohort: Make) -> None:
    cohort = make_cohort([40, 20], epochs=5, schedule="constant")
    cohort.fit()
    cohort.prune(keep=0.5)
    cohort.fit()  # the second fit does not count
    masks = cohort.masks
    for epoch in (0, 2, 5):
        short = make_cohort([40, 20], epochs=max(epoch, 1), schedule="constant")
        if epoch:
            short.fit()
        cohort.rewind(epoch)
        for name, weight in cohort.weights.items():
            expected = short.weights[name] * masks[name]
            assert (weight - expected).abs().max() < 1e-12


def test_an_early_epoch_is_one_of_the_whole_schedule(make_cohort: Make) -> None:
    """Epoch 1 of 4 under a cosine has the rate of 4 epochs, not of 1."""
    cohort = make_cohort(epochs=4, schedule="cosine")
    cohort.fit()
    cohort.rewind(2)
    with_rates = make_cohort(epochs=2, schedule="step", milestones=[1], gamma=(2 + 2**0.5) / 4)
    with_rates.fit()
    for name, weight in cohort.weights.items():
        assert (weight - with_rates.weights[name]).abs().max() < 1e-12


def test_rewinding_goes_to_saved_names_and_only_where_asked(make_cohort: Make) -> None:
    cohort = make_cohort()
    cohort.fit()
    cohort.save("dense")
    dense = cohort.weights
    cohort.prune(keep=0.3)
    cohort.fit()
    sparse, masks = cohort.weights, cohort.masks
    where = {"4.bias": torch.ones(2, 10, dtype=torch.bool), "1.weight": ~masks["1.weight"]}
    cohort.rewind("dense", where=where)
    assert torch.equal(cohort.weights["4.bias"], dense["4.bias"])
    assert torch.equal(cohort.weights["1.weight"], sparse["1.weight"])  # pruned ones stay zero
    assert torch.equal(cohort.weights["4.weight"], sparse["4.weight"])
    assert same(cohort.masks, masks)
    cohort.rewind("dense")
    assert same(cohort.weights, dense)
    assert all(bool(mask.all()) for mask in cohort.masks.values())


@pytest.mark.parametrize(
    ("to", "message"),
    [("nowhere", "no such state; there are best, initial, here"), (3, "no such epoch")],
)
def test_a_state_that_is_none_cannot_be_rewound_to(
    make_cohort: Make, to: str | int, message: str
) -> None:
    cohort = make_cohort()
    cohort.fit()
    cohort.save("here")
    with pytest.raises(PluginError, match=message):
        cohort.rewind(to)
    with pytest.raises(PluginError, match="'best'"):
        cohort.save("best")


def test_a_fork_leaves_the_original_undisturbed(make_cohort: Make) -> None:
    cohort, untouched = make_cohort(), make_cohort()
    for each in (cohort, untouched):
        each.fit()
        each.save("first")
    fork = cohort.fork()
    fork.prune(keep=0.2)
    fork.fit(lr=0.5)
    fork.save("first")
    fork.set({n: torch.zeros_like(w) for n, w in fork.weights.items()})
    fork.freeze({"4.bias": torch.ones(2, 10, dtype=torch.bool)})
    for each in (cohort, untouched):
        each.prune(keep=0.7)
        each.fit()
    assert same(cohort.weights, untouched.weights)
    for to in ("best", "first"):
        cohort.rewind(to)
        untouched.rewind(to)
        assert same(cohort.weights, untouched.weights)


def test_weights_are_given_and_taken_as_copies(make_cohort: Make) -> None:
    cohort = make_cohort()
    cohort.fit()
    before = cohort.weights
    mine = cohort.weights
    cohort.set(mine)
    for weight in mine.values():
        weight.fill_(7)
    assert same(cohort.weights, before)
    cohort.rewind("initial")
    assert same(cohort.weights, make_cohort().weights)


@pytest.mark.parametrize("name", ["weights", "initial_weights", "masks"])
@pytest.mark.parametrize("then", ["fit", "rewind", "save", "fork", "logits", "prune", "set"])
def test_writing_into_a_copy_is_an_error_and_changes_nothing(
    make_cohort: Make, name: str, then: str
) -> None:
    cohort = make_cohort()
    untouched = make_cohort().weights
    for tensor in getattr(cohort, name).values():
        tensor.zero_()
    arguments: dict[str, tuple[Any, ...]] = {"save": ("x",), "prune": (0.5,), "set": ({},)}
    with pytest.raises(PluginError, match=rf"cohort\.{name}.*cohort\.set"):
        getattr(cohort, then)(*arguments.get(then, ()))
    assert same(cohort.weights, untouched)


def test_what_was_written_may_be_handed_back(make_cohort: Make) -> None:
    """A script may work in a copy, as long as it gives it to the cohort."""
    cohort = make_cohort()
    weights, scores = cohort.weights, cohort.weights
    weights["1.weight"].zero_()
    cohort.set(weights)
    assert not cohort.weights["1.weight"].any()
    scores["4.weight"].abs_()
    cohort.prune(0.5, scores)
    cohort.fit()


def test_set_changes_what_is_named_and_keeps_pruned_weights_zero(make_cohort: Make) -> None:
    cohort = make_cohort()
    cohort.prune(keep=0.5)
    masks, before = cohort.masks, cohort.weights
    cohort.set({"1.weight": torch.full((2, 16, 64), 3.0)})
    assert torch.equal(cohort.weights["1.weight"], masks["1.weight"] * 3.0)
    assert torch.equal(cohort.weights["4.weight"], before["4.weight"])
    with pytest.raises(PluginError, match="no weight is called 'weight'"):
        cohort.set({"weight": torch.zeros(2)})
    with pytest.raises(PluginError, match=r"\(2, 10\), got \(3, 10\)"):
        cohort.set({"4.bias": torch.zeros(3, 10)})


def test_each_fit_has_batches_of_its_own(make_cohort: Make) -> None:
    """Two fits from the same weights differ by their order alone."""
    cohort = make_cohort(epochs=1)
    cohort.fit()
    first = cohort.weights
    cohort.rewind("initial")
    cohort.fit()
    assert not same(cohort.weights, first)


def test_gradients_are_those_of_the_mean_loss_over_all_rows(make_cohort: Make) -> None:
    cohort = make_cohort([40, 23])
    cohort.fit()
    data, rows = cohort.data, cohort._rows
    for which in ("member", "validation"):
        found = cohort.gradients(lambda logits, y: cross_entropy(logits, y) * 2, rows=which)
        for m in range(2):
            chosen = getattr(rows[m], which)
            held = {n: w[m].clone().requires_grad_() for n, w in cohort.weights.items()}
            hidden = data.plain(chosen).flatten(1) @ held["1.weight"].T + held["1.bias"]
            logits = hidden.clamp(min=0) @ held["4.weight"].T + held["4.bias"]
            loss = 2 * cross_entropy(logits, data.y[chosen])
            expected = torch.autograd.grad(loss, list(held.values()))
            for name, gradient in zip(held, expected, strict=True):
                assert (found[name][m] - gradient).abs().max() < 1e-12


@pytest.mark.parametrize("seed", range(6))
def test_what_stays_is_what_sorting_all_scores_puts_first(seed: int) -> None:
    """With ties, infinities, and what is no number, which sorting takes for the largest."""
    random = np.random.default_rng(seed)
    scores = random.integers(-3, 3, (4, 60)).astype(float)
    for odd in (np.inf, -np.inf, np.nan)[: seed % 4]:
        scores[random.random(scores.shape) < 0.1] = odd
    kept = random.random(scores.shape) < 0.7
    share = np.array([0, 0.3, 0.55, 1])
    mask = keep_largest(*map(torch.from_numpy, (scores, kept, share)))
    for m in range(4):
        columns = np.flatnonzero(kept[m])
        ranks = [
            (not np.isnan(v), -v if not np.isnan(v) else 0, c)
            for v, c in zip(scores[m, columns], columns, strict=True)
        ]
        stays = sorted(c for *_, c in sorted(ranks)[: round(share[m] * len(columns))])
        assert mask[m].nonzero()[:, 0].tolist() == stays


def test_a_dense_parameter_count_is_the_one_before_pruning(make_cohort: Make) -> None:
    cohort = make_cohort()
    cohort.prune(keep=0.1)
    assert cohort.dense_parameters == SIZE
    assert len(cohort) == 2
