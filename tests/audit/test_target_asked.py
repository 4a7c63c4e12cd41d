"""A given target is asked as it was trained: its normalisation, its accuracy, its rows' order."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from scipy.stats import binom
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from privaudit import Attack, AttackScores, DataError, Model, RunResult, Signals, load_recipe, run
from privaudit.api.host import Plugins, Provided, load_plugins
from privaudit.doubts.guessing import Agreement
from privaudit.experiment.export import export
from privaudit.experiment.running import run_context
from privaudit.experiment.target import _check_alike, content_order
from privaudit.experiment.target_accuracy import _far
from privaudit.gate import parse_gate
from privaudit.report.gates import judge_runs
from privaudit.store.inputs import packed

SIDE, MEMBERS, CLASSES = 12, 120, 3


class Convolved(Model):
    """Two convolutions with batch normalisation."""

    name: Literal["convolved"] = "convolved"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(shape[0], 12, 3),
            nn.BatchNorm2d(12),
            nn.Tanh(),
            nn.Conv2d(12, 16, 3, stride=2),
            nn.BatchNorm2d(16),
            nn.Tanh(),
            nn.Conv2d(16, 16, 3),
            nn.BatchNorm2d(16),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(16 * 4, classes),
        )


class RowNumber(Attack):
    """Cheats: the earlier a row, the likelier it is taken for a member."""

    name: Literal["row_number"] = "row_number"

    def score(self, signals: Signals) -> AttackScores:
        return AttackScores(-torch.arange(len(signals.y), dtype=torch.float64))


INSTALLED = load_plugins()
PLUGINS = Plugins(
    (
        *INSTALLED.provided,
        Provided(Convolved, "model", "convolved", "test", "1", "0"),
        Provided(RowNumber, "attack", "row_number", "test", "1", "0"),
    ),
    INSTALLED.problems,
)


class Photos:
    """Noisy images in files, and a network that knows its members by heart from x / 255 alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        random = np.random.default_rng(0)
        self.x: dict[str, NDArray[np.uint8]] = {}
        self.y = np.arange(MEMBERS) % CLASSES
        for name in ("members", "others", "own"):
            pixels = random.integers(150, 250, (MEMBERS, 3, SIDE, SIDE), dtype=np.uint8)
            self.x[name] = pixels
            np.savez(folder / f"{name}.npz", x=pixels, y=self.y)
        torch.manual_seed(0)
        self.network = Convolved().build((3, SIDE, SIDE), CLASSES)
        inside, labels = self.unit("members"), torch.from_numpy(self.y)
        weights = list(self.network.parameters())
        for _ in range(60):
            loss = nn.functional.cross_entropy(self.network(inside), labels)
            with torch.no_grad():
                for weight, change in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                    weight.sub_(change, alpha=0.1)
        self.network.eval()
        save_file(self.network.state_dict(), folder / "target.safetensors")

    def unit(self, name: str) -> Tensor:
        return torch.from_numpy(self.x[name]).float() / 255

    def recipe(self, *changes: str, **target: Any) -> Any:
        def arrays(name: str) -> dict[str, str]:
            return {"name": "arrays", "path": str(self.folder / f"{name}.npz")}

        data = {
            "name": "given",
            "dataset": arrays("own"),
            "model": "convolved",
            "training": {"epochs": 1, "batch_size": 40, "lr": 0.02},
            "shadows": 0,
            "attacks": ["loss"],
            "target": {
                "checkpoint": str(self.folder / "target.safetensors"),
                "members": arrays("members"),
                "non_members": arrays("others"),
                **target,
            },
        }
        return load_recipe(data, changes, plugins=PLUGINS)

    def place(self, *changes: str, **target: Any) -> Any:
        return run_context(self.recipe(*changes, **target), device="cpu", cache=self.folder / "c")

    def run(self, output: Path, *changes: str, **target: Any) -> RunResult:
        recipe = self.recipe(*changes, **target)
        return run(recipe, output, device="cpu", cache=self.folder / "c", plugins=PLUGINS)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Photos:
    return Photos(tmp_path_factory.mktemp("photos"))


def right(photos: Photos, tmp_path: Path, *changes: str, **target: Any) -> None:
    """The audit finds what the network itself says about its own inputs."""
    result = photos.run(tmp_path / "run", *changes, **target)
    with torch.no_grad():
        logits = photos.network(torch.cat([photos.unit(name) for name in ("members", "others")]))
    y = torch.from_numpy(np.concatenate([photos.y, photos.y]))
    loss = nn.functional.cross_entropy(logits, y, reduction="none")
    auc = roc_auc_score(np.arange(2 * MEMBERS) < MEMBERS, -loss.numpy())
    assert auc > 0.99
    (audit,) = result.audits
    assert audit.metrics["auc"]["value"] == pytest.approx(auc, abs=1e-4)
    assert audit.train_accuracy == 1
    assert audit.test_accuracy == pytest.approx(
        float((logits.argmax(1) == y)[MEMBERS:].float().mean())
    )


@pytest.mark.parametrize(
    "how", ["unit", {"mean": [0.0], "std": [1.0]}, {"mean": [0, 0, 0], "std": [1, 1, 1]}]
)
def test_the_right_normalisation_gives_the_right_number(
    photos: Photos, tmp_path: Path, how: Any
) -> None:
    right(photos, tmp_path, normalise=how)


@pytest.mark.parametrize(
    "how", ["dataset", "imagenet", "none", {"mean": [0.5] * 3, "std": [0.25] * 3}]
)
def test_a_wrong_normalisation_stops_the_run(photos: Photos, how: Any) -> None:
    with pytest.raises(DataError, match=r"of target\.members rightly.*target\.normalise: unit"):
        photos.place(normalise=how)


def test_images_need_to_be_told_how_they_were_normalised(photos: Photos) -> None:
    with pytest.raises(DataError, match=r"target\.normalise: .*unit .*imagenet.*mean.*none.*data"):
        photos.place()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"mean": [0.5, 0.5], "std": [1.0]}, r"normalise\.mean: must have 3 numbers, one for each"),
        ({"mean": [0.5], "std": [1.0, 1.0]}, r"normalise\.std: must have 3 numbers"),
    ],
)
def test_a_number_for_each_channel_is_asked_for(photos: Photos, how: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        photos.place(normalise=how)


def test_a_file_may_carry_its_normalisation(photos: Photos, tmp_path: Path) -> None:
    inputs = {
        "shape": [3, SIDE, SIDE],
        "dtype": "uint8",
        "classes": ["0", "1", "2"],
        "mean": [[[0.0]]] * 3,
        "std": [[[255.0]]] * 3,
    }
    path = tmp_path / "carrying.safetensors"
    save_file(photos.network.state_dict(), path, packed({"inputs": inputs}))
    right(photos, tmp_path, checkpoint=str(path))
    right(photos, tmp_path / "also", checkpoint=str(path), normalise="unit")
    with pytest.raises(DataError, match=r"carrying.safetensors says .*\[255.*leave normalise out"):
        photos.place(checkpoint=str(path), normalise="imagenet")


def test_an_exported_network_is_audited_without_saying_how_it_was_normalised(
    photos: Photos, tmp_path: Path
) -> None:
    """The attacker's data have another mean, which the exported network never saw."""
    mlp = "model={name: mlp, hidden: [16]}"
    trained = ("target=null", "shadows=1", "training.epochs=12", "split.validation=0")
    first = photos.run(tmp_path / "run", mlp, *trained)
    assert first.folder is not None
    file = export(first.folder, "dense", cache=photos.folder / "c").path
    with np.load(first.folder / "scores.npz") as scores:
        rows, member = scores["example_0_0"], scores["member_0_0"]
    for name, chosen in (("in", rows[member]), ("out", rows[~member])):
        np.savez(tmp_path / f"{name}.npz", x=photos.x["own"][chosen], y=photos.y[chosen])
    np.savez(tmp_path / "dark.npz", x=photos.x["own"] // 3, y=photos.y)
    again = photos.run(
        tmp_path / "again",
        mlp,
        f"dataset.path={tmp_path / 'dark.npz'}",
        checkpoint=str(file),
        members={"name": "arrays", "path": str(tmp_path / "in.npz")},
        non_members={"name": "arrays", "path": str(tmp_path / "out.npz")},
        # Twelve epochs need not have taught it more than others; it is what it is.
        accuracy={"members": first.audits[0].train_accuracy},
    )
    assert again.audits[0].train_accuracy == first.audits[0].train_accuracy
    assert again.audits[0].test_accuracy == first.audits[0].test_accuracy
    auc = first.audits[0].metrics["auc"]["value"]
    assert again.audits[0].metrics["auc"]["value"] == pytest.approx(auc, abs=1e-3)


def test_noise_is_the_same_noise_however_a_target_is_normalised(
    photos: Photos, tmp_path: Path
) -> None:
    """The same function of pixels, once of standardised and once of unit inputs, hears the same."""
    own = torch.from_numpy(photos.x["own"]).double()
    mean, std = own.mean((0, 2, 3)), own.std((0, 2, 3), unbiased=False)
    unit = photos.network.state_dict()
    absorbed = {name: tensor.clone() for name, tensor in unit.items()}
    weight = unit["0.weight"].double()
    absorbed["0.weight"] = (weight * (std / 255)[:, None, None]).float()
    absorbed["0.bias"] = (
        unit["0.bias"] + (weight * (mean / 255)[:, None, None]).sum((1, 2, 3)).float()
    )
    save_file(absorbed, tmp_path / "absorbed.safetensors")
    noisy = "attacks=[logistic_regression]", "shadows=1", "split.reference=0"
    here = photos.place(*noisy, normalise="unit").given_outputs
    there = photos.place(
        *noisy, normalise="dataset", checkpoint=str(tmp_path / "absorbed.safetensors")
    ).given_outputs
    rows = ~here.noisy[0].isnan().any(-1).any(0)
    assert int(rows.sum()) == 2 * MEMBERS
    change = (here.noisy - here.logits)[0, :, rows]
    other = (there.noisy - there.logits)[0, :, rows]
    assert float(change.abs().mean()) > 5e-4
    assert float((change - other).abs().max()) < 0.05 * float(change.abs().max())


def test_the_place_of_a_row_tells_nothing(photos: Photos, tmp_path: Path) -> None:
    """120 of each: by guessing, one standard deviation of the AUC is 0.037."""
    result = photos.run(tmp_path / "run", "attacks=[row_number]", normalise="unit")
    assert result.audits[0].metrics["auc"]["value"] == pytest.approx(0.5, abs=0.1)
    assert result.folder is not None
    with np.load(result.folder / "scores.npz") as scores:
        assert scores["example_0_0"].tolist() == list(range(2 * MEMBERS))
        assert scores["member_0_0"].tolist() == [True] * MEMBERS + [False] * MEMBERS


def test_the_order_of_rows_is_that_of_their_contents_alone() -> None:
    x = torch.randint(0, 3, (200, 2), generator=torch.Generator().manual_seed(0))  # many alike
    y = torch.arange(200) % 2
    halves = torch.arange(200).roll(100)  # members and non-members change places
    first, second = content_order(x, y), content_order(x[halves], y[halves])
    assert sorted(first.tolist()) == list(range(200))
    assert torch.equal(x[first], x[halves][second])
    assert torch.equal(y[first], y[halves][second])
    assert torch.equal(first, content_order(x, y))
    # Of rows that are alike, those of either half are as likely to come first.
    kind = (6 * x[:, 0] + 2 * x[:, 1] + y)[first]
    pairs = kind[1:] == kind[:-1]
    rising = (first[1:] > first[:-1])[pairs].double()
    assert float(rising.mean()) == pytest.approx(0.5, abs=0.15)


def swapped(photos: Photos, path: Path, change: Any) -> str:
    network = {name: tensor.clone() for name, tensor in photos.network.state_dict().items()}
    change(network)
    save_file(network, path)
    return str(path)


def test_classes_in_another_order_are_named(photos: Photos, tmp_path: Path) -> None:
    def roll(weights: dict[str, Tensor]) -> None:
        for name in ("10.weight", "10.bias"):
            weights[name] = weights[name].roll(1, 0)

    path = swapped(photos, tmp_path / "rolled.safetensors", roll)
    with pytest.raises(DataError, match=r"classes in the order 2, 0, 1 it classifies 100\.0 %"):
        photos.place(normalise="unit", checkpoint=path)


def test_channels_in_another_order_are_named(photos: Photos, tmp_path: Path) -> None:
    def flip(weights: dict[str, Tensor]) -> None:
        weights["0.weight"] = weights["0.weight"].flip(1)

    path = swapped(photos, tmp_path / "bgr.safetensors", flip)
    with pytest.raises(DataError, match=r"channels in the order BGR it classifies 100\.0 %"):
        photos.place(normalise="unit", checkpoint=path)


@pytest.mark.parametrize("accuracy", [1, 0.985, {"members": 1.0, "non_members": 0.35}])
def test_an_accuracy_that_is_reached_lets_a_run_go_on(photos: Photos, accuracy: Any) -> None:
    assert photos.place(normalise="unit", accuracy=accuracy).given is not None


@pytest.mark.parametrize(
    ("accuracy", "message"),
    [
        (0.8, r"100\.0 % \(120 of 120\) of target\.members rightly, and .* expects 80\.0 %"),
        ({"members": 1, "non_members": 0.9}, r"of target\.non_members rightly, .* expects 90\.0 %"),
    ],
)
def test_an_accuracy_that_is_not_reached_stops_it(
    photos: Photos, accuracy: Any, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        photos.place(normalise="unit", accuracy=accuracy)


@pytest.mark.parametrize(
    ("correct", "far"), [(511, True), (520, True), (521, False), (541, False), (550, False)]
)
def test_how_far_below_is_decided_by_an_exact_test(correct: int, far: bool) -> None:
    """At most so many of 576 right where 94 % was said, less the point that rounding may take."""
    assert (binom.cdf(correct, 576, 0.94 - 0.01) < 0.01) == far
    seen = Agreement(count=576, correct=correct, expected=60, z=9, most=10)
    assert bool(_far("members", seen, 0.94)) == far


def test_a_target_that_guesses_is_audited_where_it_is_said_to_guess(
    photos: Photos, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    save_file(
        Convolved().build((3, SIDE, SIDE), CLASSES).state_dict(), tmp_path / "new.safetensors"
    )
    options = {"normalise": "unit", "checkpoint": str(tmp_path / "new.safetensors")}
    with pytest.raises(DataError, match=r"better than guessing.*set target.accuracy: 0.3"):
        photos.place(**options)
    result = photos.run(tmp_path / "run", **options, accuracy=0.33)
    assert [doubt.name for doubt in result.doubts if doubt.name == "chance"] == ["chance"]


def test_members_that_are_known_less_than_others_are_told(photos: Photos) -> None:
    """It knows all that are said to be others, and two thirds or less of those said to be its."""
    recipe = photos.recipe(normalise="unit").target
    swap = {"members": recipe.non_members, "non_members": recipe.members}
    with pytest.raises(DataError, match=r"guessing|may be swapped"):
        photos.place(normalise="unit", **swap)
    mixed = photos.x["others"].copy()
    mixed[:40] = photos.x["members"][:40]
    parts = {"mixed": (mixed, photos.y), "known": (photos.x["members"][40:], photos.y[40:])}
    for name, (x, y) in parts.items():
        np.savez(photos.folder / f"{name}.npz", x=x, y=y)
    for key, name in (("members", "mixed"), ("non_members", "known")):
        swap[key] = {"name": "arrays", "path": str(photos.folder / f"{name}.npz")}
    with pytest.raises(DataError, match=r"target\.non_members: they may be swapped"):
        photos.place(normalise="unit", **swap)


def misasked(photos: Photos, folder: Path, **options: Any) -> tuple[RunResult, str]:
    """A run of a target whose order of channels is another, told what it then reaches."""

    def flip(weights: dict[str, Tensor]) -> None:
        weights["0.weight"] = weights["0.weight"].flip(1)

    path = swapped(photos, folder / "bgr.safetensors", flip)
    with pytest.raises(DataError) as refused:
        photos.place(normalise="unit", checkpoint=path, **options)
    reached = float(re.search(r"classifies ([0-9.]+) %", str(refused.value))[1]) / 100  # type: ignore[index]
    said = {"normalise": "unit", "checkpoint": path, "accuracy": reached}
    return photos.run(folder / "run", **said), str(refused.value)


@pytest.mark.parametrize("options", [{}, {"accuracy": 1}])
def test_what_a_wrongly_asked_target_reaches_makes_it_pass_no_gate(
    photos: Photos, tmp_path: Path, options: dict[str, Any]
) -> None:
    result, refused = misasked(photos, tmp_path, **options)
    assert refused.endswith("it classifies 100.0 % rightly: ask it so")
    doubts = [doubt for doubt in result.doubts if doubt.name == "misasked"]
    assert [doubt.about for doubt in doubts] == ["target"]
    assert "channels in the order BGR" in doubts[0].seen
    gate = [parse_gate("auc<0.99")]
    assert judge_runs(gate, [result])[0].told == "cannot be told"
    assert "misasked" not in judge_runs(gate, [result], ["misasked"])[0].rows[0].why


def test_a_target_that_is_asked_as_it_was_trained_is_not_doubted(photos: Photos) -> None:
    given = photos.place(normalise="unit", accuracy=1).given
    assert given is not None
    assert given.doubts == ()


@pytest.mark.parametrize(
    ("accuracy", "swap"),
    [({"members": 1, "non_members": 0.35}, True), (1, True), (0.8, False)],
)
def test_accuracies_that_fit_the_other_way_round_say_so(
    photos: Photos, accuracy: Any, swap: bool
) -> None:
    recipe = photos.recipe(normalise="unit").target
    options = {"members": recipe.non_members, "non_members": recipe.members}
    with pytest.raises(DataError) as refused:
        photos.place(normalise="unit", accuracy=accuracy, **options)
    assert str(refused.value).endswith("members and non_members seem to be swapped") == swap


def test_the_same_examples_twice_are_told_before_their_accuracy(photos: Photos) -> None:
    recipe = photos.recipe(normalise="unit").target
    with pytest.raises(DataError, match=r"120 of 120 are members as well"):
        photos.place(
            normalise="unit",
            accuracy={"members": 1, "non_members": 0.3},
            non_members=recipe.members,
        )


def test_the_size_of_images_is_among_the_causes(photos: Photos) -> None:
    with pytest.raises(DataError, match=rf"the size of images \(now {SIDE} x {SIDE}\)"):
        photos.place(normalise="unit", accuracy=0.8)


@pytest.mark.parametrize(
    ("theirs", "ours", "message"),
    [
        (("a", "b"), ("a", "b", "c"), r"lacks the class 'c' of dataset: .*`classes: \[a, b, c\]`"),
        (("A", "b"), ("a", "b"), r"lacks the class 'a' of .* has the class 'A'.*: spell classes"),
        (("b", "a"), ("a", "b"), r"has the classes of dataset in another order: .*\[a, b\]"),
        (("a", "b", "d", "e"), ("a", "b"), r"has the classes 'd', 'e', which .*: give both"),
    ],
)
def test_how_classes_differ_is_told(
    photos: Photos, theirs: tuple[str, ...], ours: tuple[str, ...], message: str
) -> None:
    whole = photos.place(normalise="unit").examples
    pool = replace(whole, y=torch.zeros_like(whole.y))
    with pytest.raises(DataError, match=rf"^target\.members {message}"):
        _check_alike("target.members", replace(pool, classes=theirs), replace(pool, classes=ours))
