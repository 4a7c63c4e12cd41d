"""fp32 is fp32 and TF32 is asked for; the attacker's noise is the same wherever it is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from privaudit import Examples, Model
from privaudit.api.float32 import float32_products, settings
from privaudit.api.world import own_world
from privaudit.cohort import Cohort
from privaudit.cohort.answers import answers
from privaudit.keys import derive, fold, normal

Make = Callable[..., Cohort]
SEEN: dict[bool, set[tuple[Any, ...]]] = {}


class _Watching(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.output = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        SEEN.setdefault(self.training, set()).add(tuple(settings()))
        answer: Tensor = self.output(x.flatten(1))
        return answer


class Watching(Model):
    name: Literal["watching"] = "watching"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return _Watching(classes)


def _told(precision: str) -> tuple[Any, ...]:
    with float32_products(precision):
        return tuple(settings())


def test_torch_is_told_both_ways_and_left_as_it_was() -> None:
    before = settings()
    exact, quick = _told("fp32"), _told("tf32")
    assert exact[:2] == (False, False)
    assert quick[:2] == (True, True)
    assert _told("bf16") == _told("fp64") == exact
    assert settings() == before
    with pytest.raises(ZeroDivisionError), float32_products("tf32"):
        raise ZeroDivisionError
    assert settings() == before


@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="torch before 2.9")
def test_each_operation_is_told_and_older_flags_agree() -> None:
    cuda: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    for precision, word in (("fp32", "ieee"), ("tf32", "tf32")):
        with float32_products(precision):
            told = [cuda.fp32_precision, cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision]
            assert told == [word] * 3
            assert (cuda.allow_tf32, cudnn.allow_tf32) == (word == "tf32",) * 2
            wanted = "highest" if word == "ieee" else "high"
            assert torch.get_float32_matmul_precision() == wanted
            with torch.backends.cudnn.flags(enabled=False):  # as networks ask for it
                pass


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_training_has_its_precision_and_answers_are_exact(
    make_cohort: Make, precision: str
) -> None:
    SEEN.clear()
    before = settings()
    cohort = make_cohort(model=Watching(), precision=precision, epochs=1, validation=0)
    cohort.fit()
    assert _told(precision) in SEEN[True]
    assert SEEN[True] <= {_told(precision), _told("fp32")}  # a way is tried exactly
    SEEN.clear()
    cohort.logits()
    answers(cohort, torch.ones(2, len(cohort.data.y), dtype=torch.bool), noise=1)
    assert {*SEEN} == {False}
    assert SEEN[False] == {_told("fp32")}
    assert settings() == before


def test_a_guest_s_choice_of_products_is_put_back() -> None:
    before = settings()
    with own_world():
        torch.backends.cuda.matmul.allow_tf32 = True
    assert settings() == before


def test_tf32_on_a_cpu_is_fp32(make_cohort: Make) -> None:
    found = []
    for precision in ("fp32", "tf32"):
        cohort = make_cohort(precision=precision)
        cohort.fit()
        found.append(cohort._state.weights.flat)
    assert torch.equal(*found)


class _Linear(Model):
    name: Literal["linear"] = "linear"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))


def test_noise_is_each_example_s_own_and_no_block_s(
    make_cohort: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort = make_cohort(model=_Linear())
    count, scale = len(cohort.data.y), 0.05
    audited = torch.ones(2, count, dtype=torch.bool)
    found = []
    for block in (1000, 7):
        monkeypatch.setattr("privaudit.cohort.answers._BLOCK", block)
        found.append(answers(cohort, audited, noise=2, noise_scale=scale))
    assert found[0].noisy is not None
    assert found[1].noisy is not None
    assert (found[0].noisy - found[1].noisy).abs().max() < 1e-12
    weight = cohort.weights["1.weight"]
    drawn = []
    for copy in range(2):
        one_key = torch.tensor(derive(0, "noise", copy))
        numbers = [
            normal(fold(one_key, row), 1, 8, 8, dtype=torch.float64).flatten()
            for row in range(count)
        ]
        drawn.append(torch.stack(numbers))
        expected = found[0].logits[:, 0] + scale * drawn[-1] @ weight.mT
        assert (found[0].noisy[:, copy] - expected).abs().max() < 1e-10
    both = torch.stack(drawn).flatten(1)
    assert (both.mean(1).abs() < 5 / both.shape[1] ** 0.5).all()
    assert ((both.std(1) - 1).abs() < 0.02).all()
    assert torch.corrcoef(both)[0, 1].abs() < 0.03


LAYOUTS: list[bool] = []


class _Layout(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 8:  # not the few that a way is tried with
            LAYOUTS.append(x.is_contiguous(memory_format=torch.channels_last))
        return x


class Looking(Model):
    """Notes how the images lie that it is asked about."""

    name: Literal["looking"] = "looking"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return nn.Sequential(_Layout(), nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(72, classes))


def test_all_images_are_asked_about_with_their_channels_last(
    make_cohort: Make, digits: Examples
) -> None:
    colours = replace(digits, x=torch.cat([digits.x, digits.x, digits.x], 1))
    cohort = make_cohort(model=Looking(), examples=colours)
    audited = torch.rand(2, len(colours), generator=torch.Generator().manual_seed(0)) < 0.5
    LAYOUTS.clear()
    answers(cohort, audited, noise=2)
    assert len(LAYOUTS) >= 2 + 2 * 2
    assert all(LAYOUTS)
