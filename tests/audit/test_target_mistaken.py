"""Given targets that are right but for one thing: classes, scale, last layer, or examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from privaudit import DataError, RunResult, load_recipe, run
from privaudit.doubts.renamed import other_names
from privaudit.experiment.running import run_context

COUNT = 400


class Rows:
    """Digits as rows of numbers from 0 to 16, and a perceptron that knows 400 of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        x, y = load_digits(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(x))
        self.x, self.y = 10 * x[order].astype(np.float32) + 500, y[order]
        parts = {"in": slice(0, COUNT), "out": slice(COUNT, 2 * COUNT)}
        parts["own"] = slice(2 * COUNT, None)
        for name, rows in parts.items():
            self.write(name, self.x[rows], self.y[rows])
        own = self.x[parts["own"]]
        self.mean, self.std = own.mean(0), own.std(0)
        self.std[self.std == 0] = 1
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        inside, labels = self.normalised(self.x[:COUNT]), torch.from_numpy(self.y[:COUNT])
        optimizer = torch.optim.Adam(self.network.parameters(), lr=0.01)
        for _ in range(60):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(self.network(inside), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    def normalised(self, x: Any) -> Tensor:
        return torch.from_numpy((x - self.mean) / self.std).float()

    def write(self, name: str, x: Any, y: Any) -> dict[str, str]:
        np.savez(self.folder / f"{name}.npz", x=x, y=y)
        return self.named(name)

    def named(self, name: str) -> dict[str, str]:
        return {"name": "arrays", "path": str(self.folder / f"{name}.npz")}

    def recipe(self, network: nn.Module | None = None, **changes: Any) -> Any:
        path = self.folder / "target.ts"
        chosen = self.network if network is None else network
        torch.jit.trace(chosen.eval(), torch.zeros(2, 64)).save(str(path))  # type: ignore[no-untyped-call]
        target = {"checkpoint": str(path), "members": self.named("in")}
        target |= {"non_members": self.named("out"), **changes.pop("target", {})}
        return load_recipe(
            {"name": "rows", "dataset": self.named("own"), "model": "mlp", "attacks": ["loss"]}
            | {"training": {"epochs": 1}, "shadows": 0, "target": target}
            | changes
        )

    def stops(self, message: str, network: nn.Module | None = None, **target: Any) -> None:
        recipe = self.recipe(network, target=target)
        with pytest.raises(DataError, match=message):
            run_context(recipe, device="cpu", cache=self.folder / "cache")

    def run(self, **changes: Any) -> RunResult:
        output = self.folder / f"run {len(list(self.folder.iterdir()))}"
        recipe = self.recipe(**changes)
        return run(recipe, output, device="cpu", cache=self.folder / "cache")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    return Rows(tmp_path_factory.mktemp("rows"))


class Ending(nn.Module):
    def __init__(self, network: nn.Module, end: Any) -> None:
        super().__init__()
        self.network, self.end = network, end

    def forward(self, x: Tensor) -> Any:
        return self.end(self.network(x))


def test_as_it_is_it_is_not_doubted(rows: Rows) -> None:
    assert rows.run(shadows=1, training={"epochs": 5}).doubts == ()


def test_a_few_classes_in_another_order_are_named(rows: Rows) -> None:
    """Four in five are right all the same, so guessing does not show it."""
    swapped = torch.tensor([1, 0, *range(2, 10)])
    rows.stops(
        r"With its classes in the order 1, 0, 2, .* it classifies (9\d|100)\.",
        Ending(rows.network, lambda logits: logits[:, swapped]),
    )


def test_names_are_those_of_a_clear_confusion_alone() -> None:
    y = np.repeat(np.arange(4), 30)
    turned = np.array([1, 2, 0, 3])
    found = other_names(y, turned[y], 4)
    assert found is not None
    assert found.tolist() == turned.tolist()
    assert other_names(y, y, 4) is None
    assert other_names(y, np.random.default_rng(0).integers(0, 4, len(y)), 4) is None
    assert other_names(y[:8], turned[y[:8]], 4) is None  # too few to be sure


def test_features_asked_on_another_scale_stop_the_run(rows: Rows) -> None:
    """A table is normalised as `dataset` is unless it is said otherwise: half are still right."""
    raw = nn.Linear(64, 64)
    with torch.no_grad():
        raw.weight.copy_(torch.diag(torch.from_numpy(1 / rows.std)))
        raw.bias.copy_(torch.from_numpy(-rows.mean / rows.std))
    network = nn.Sequential(raw, rows.network)
    rows.stops(r"With target\.normalise: none it classifies (9\d|100)\.", network)


@pytest.mark.parametrize(
    ("end", "meaning"),
    [
        (lambda logits: 100 * logits.softmax(1), "percentages"),
        (lambda logits: logits.log_softmax(1) / np.log(10), "decimal logarithms"),
        (lambda logits: (100 * logits.softmax(1)).round() / 100, "rounded probabilities|softmax"),
    ],
)
def test_what_no_network_answers_before_its_last_layer_is_refused(
    rows: Rows, end: Any, meaning: str
) -> None:
    rows.stops(meaning, Ending(rows.network, end))


def test_non_members_that_are_members_are_told_or_refused(rows: Rows) -> None:
    some = np.r_[0:40, COUNT + 40 : 2 * COUNT]
    result = rows.run(target={"non_members": rows.write("some", rows.x[some], rows.y[some])})
    (doubt,) = result.doubts
    assert (doubt.name, doubt.about, doubt.seen) == ("duplicate_rows", "target", "40 of 400")
    with pytest.raises(DataError, match=r"target\.non_members: 400 of 400 are members as well"):
        rows.run(target={"non_members": rows.named("in")})


def test_shadows_that_may_know_the_target_s_examples_are_told(rows: Rows) -> None:
    shadows = {"shadows": 1, "training": {"epochs": 5}}
    result = rows.run(**shadows, dataset=rows.write("wide", rows.x[200:], rows.y[200:]))
    (doubt,) = result.doubts
    assert (doubt.name, doubt.about, doubt.seen) == ("duplicate_rows", "dataset", "600 of 800")
    alone = rows.run(dataset=rows.named("wide"))
    assert alone.doubts == ()  # without shadows nobody is trained


def test_a_dataset_that_holds_examples_twice_is_told(rows: Rows, tmp_path: Path) -> None:
    twice = rows.write("twice", np.tile(rows.x[:300], (2, 1)), np.tile(rows.y[:300], 2))
    data = {"name": "twice", "dataset": twice, "model": "mlp", "attacks": ["loss"], "shadows": 0}
    result = run(load_recipe(data), tmp_path / "run", device="cpu", cache=tmp_path / "cache")
    assert [doubt.name for doubt in result.doubts] == ["duplicate_rows"]
