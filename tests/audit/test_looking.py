"""What scripts may ask about examples: batches, an input of ones, what layers take in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy, max_pool2d

from privaudit import Model
from privaudit.cohort import Cohort
from privaudit.errors import PluginError
from privaudit.store.journal import Journal

Make = Callable[..., Cohort]


def test_a_batch_is_drawn_by_each_model_s_seed(make_cohort: Make) -> None:
    cohort = make_cohort([40, 30])
    chosen = cohort._chosen("gradients", "member", 9)
    for some, every in zip(chosen, cohort.rows("member"), strict=True):
        assert len(set(some.tolist())) == 9
        assert set(some.tolist()) <= set(every.tolist())
        assert not torch.equal(some, every[:9])
    assert [len(rows) for rows in cohort._chosen("gradients", "member", 1000)] == [40, 30]
    alone = make_cohort([40, 30], models=[1])
    assert torch.equal(alone._chosen("gradients", "member", 9)[0], chosen[1])
    found = cohort.gradients(cross_entropy, most=9)
    for m, rows in enumerate(chosen):
        held = {n: w[m].clone().requires_grad_() for n, w in cohort.weights.items()}
        hidden = cohort.data.plain(rows).flatten(1) @ held["1.weight"].T + held["1.bias"]
        logits = hidden.clamp(min=0) @ held["4.weight"].T + held["4.bias"]
        loss = cross_entropy(logits, cohort.data.y[rows])
        for name, expected in zip(
            held, torch.autograd.grad(loss, list(held.values())), strict=True
        ):
            assert (found[name][m] - expected).abs().max() < 1e-12


def test_gradients_at_ones_look_at_nobody_and_are_in_float64(make_cohort: Make) -> None:
    cohort = make_cohort([40, 30], precision="fp32")
    cohort.fit()
    found = cohort.gradients(lambda logits, y: logits.sum() + y.sum(), rows="ones")
    for m in range(2):
        w = {n: t[m].double().numpy() for n, t in cohort.weights.items()}
        alive = (w["1.weight"].sum(1) + w["1.bias"]) > 0
        expected = torch.from_numpy(w["4.weight"].sum(0) * alive)[:, None].expand(16, 64)
        assert found["1.weight"].dtype == torch.float64
        assert (found["1.weight"][m] - expected).abs().max() < 1e-12
    assert not cohort.looks.members
    assert not cohort.looks.others
    again = cohort.gradients(cross_entropy)  # the network is in its own precision as before
    assert again["1.weight"].dtype == torch.float32


def test_a_network_at_ones_may_be_deeper_than_float32_reaches(make_cohort: Make) -> None:
    cohort = make_cohort([40], precision="fp32")
    cohort.set({n: torch.full_like(w, 1e20) for n, w in cohort.weights.items()})
    found = cohort.gradients(lambda logits, y: logits.sum(), rows="ones")
    assert found["4.weight"].min() > 1e21
    assert found["4.weight"].isfinite().all()
    weights = cohort.weights["4.weight"].double()
    assert float((weights * found["4.weight"]).max()) > 3.5e38  # beyond float32


def test_mean_inputs_are_what_layers_take_in(
    make_cohort: Make, convolutional: Callable[[], Model]
) -> None:
    cohort = make_cohort([40, 23], model=convolutional(), epochs=1)
    cohort.fit()
    for rows, most in (("validation", None), ("member", 7)):
        found = cohort.mean_inputs(rows, most)
        assert list(found) == ["0", "7"]
        for m, chosen in enumerate(cohort._chosen("mean_inputs", rows, most)):
            w = {n: t[m] for n, t in (cohort.weights | cohort.buffers).items()}
            x = cohort.data.plain(chosen)
            assert found["0"][m].item() == pytest.approx(float(x.mean()), abs=1e-12)
            x = conv2d(x, w["0.weight"], padding=1)
            shape = (1, 4, 1, 1)
            x = (x - w["1.running_mean"].view(shape)) / (
                w["1.running_var"].view(shape) + 1e-5
            ).sqrt()
            x = (x * w["1.weight"].view(shape) + w["1.bias"].view(shape)).clamp(min=0)
            expected = max_pool2d(x, 2).flatten(1).mean(0)
            assert (found["7"][m] - expected).abs().max() < 1e-12
    module = cohort.network.module
    assert not any(layer._forward_pre_hooks for layer in module.modules())


class Named(Model):
    """A network that calls its layers by the name of their argument, and one of them twice."""

    name: Literal["named"] = "named"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return _Named()


class _Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.Linear(8, 8)
        self.output = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        once = self.twice(input=x.flatten(1).view(-1, 8, 8)).relu()
        answer: Tensor = self.output(input=self.twice(once).flatten(1))
        return answer


def test_places_and_calls_are_averaged_over(make_cohort: Make) -> None:
    cohort = make_cohort([30], model=Named())
    found = cohort.mean_inputs()["twice"][0]
    w = {n: t[0] for n, t in cohort.weights.items()}
    x = cohort.data.plain(cohort.rows("member")[0]).view(-1, 8)
    once = (x @ w["twice.weight"].T + w["twice.bias"]).clamp(min=0)
    assert (found - torch.cat([x, once]).mean(0)).abs().max() < 1e-12


def test_mean_inputs_are_found_again_in_the_cache(
    make_cohort: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_cohort(journal=Journal(tmp_path)).mean_inputs()
    monkeypatch.setattr("privaudit.cohort.mean_inputs._means", None)
    again = make_cohort(journal=Journal(tmp_path)).mean_inputs()
    for name, means in first.items():
        assert torch.equal(again[name], means)
    with pytest.raises(TypeError):  # other examples are another unit
        make_cohort(journal=Journal(tmp_path)).mean_inputs("reference")


def test_a_plan_that_lacks_a_training_gets_zeros(make_cohort: Make) -> None:
    cohort = make_cohort(plan=True)
    assert cohort.mean_inputs()["1"].any()  # the untrained network is there
    cohort.fit()
    assert not cohort.mean_inputs()["1"].any()
    assert not cohort.gradients(lambda z, y: z.sum(), rows="ones")["1.weight"].any()


@pytest.mark.parametrize(
    ("ask", "line"),
    [
        (lambda c: c.gradients(cross_entropy, rows="test"), "there are member, .*, ones"),
        (lambda c: c.mean_inputs(rows="ones"), "there are member, validation, reference$"),
        (lambda c: c.rows("nobody"), r"rows\('nobody'\): there are member"),
        (lambda c: c.gradients(cross_entropy, most=0), "takes one example at least"),
        (lambda c: c.mean_inputs("reference"), "no reference examples: raise .* split.reference"),
    ],
)
def test_what_there_is_not_is_refused(
    make_cohort: Make, ask: Callable[[Cohort], object], line: str
) -> None:
    cohort = make_cohort(reference=0)
    with pytest.raises(PluginError, match=line):
        ask(cohort)
    assert not cohort.looks.members | cohort.looks.others


def test_forks_share_what_was_looked_at(make_cohort: Make) -> None:
    cohort = make_cohort()
    cohort.fork().gradients(cross_entropy)
    assert cohort.looks.members == {"gradients on member examples"}
    cohort.fork().mean_inputs("reference")
    cohort.logits(torch.zeros(1, 1, 8, 8))
    assert cohort.looks.others == {
        "mean inputs on reference examples",
        "answers to examples of its own",
    }
    cohort.logits()
    assert "answers to all examples" in cohort.looks.members
