"""A target trained elsewhere: read from its file, asked as it is, attacked with shadows of ours."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, Literal
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from privaudit import DataError, Model, Role, RunResult, load_recipe, run
from privaudit.api.host import Plugins, Provided, load_plugins
from privaudit.events import Event, FitStarted
from privaudit.experiment.levels import levels
from privaudit.experiment.plan import plan
from privaudit.experiment.running import run_context
from privaudit.networks.network import Network, stack

FEATURES, CLASSES = 5, 3


class Normed(Model):
    """BatchNorm, dropout, a weight that is not trained, and a residual sum."""

    name: Literal["normed"] = "normed"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return _Residual(classes)


class _Residual(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.first = nn.Linear(FEATURES, 12)
        self.norm = nn.BatchNorm1d(12)
        self.dropout = nn.Dropout(0.3)
        self.second = nn.Linear(12, 12)
        self.last = nn.Linear(12, classes)
        self.last.bias.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.norm(self.first(x)).relu()
        out: Tensor = self.last(hidden + self.dropout(self.second(hidden)).relu())
        return out


INSTALLED = load_plugins()
PLUGINS = Plugins(
    (*INSTALLED.provided, Provided(Normed, "model", "normed", "test", "1", "0")), INSTALLED.problems
)


def write_table(path: Path, x: NDArray[Any], y: NDArray[Any]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(f"f{i}" for i in range(x.shape[1])), "label"])
        writer.writerows(
            [*map(repr, row.tolist()), f"c{label}"] for row, label in zip(x, y, strict=True)
        )


def perceptron() -> nn.Sequential:
    """What the plugin mlp builds with eight hidden units."""
    network = nn.Sequential()
    network.add_module("hidden1", nn.Linear(FEATURES, 8))
    network.add_module("relu1", nn.ReLU())
    network.add_module("output", nn.Linear(8, CLASSES))
    return network


class Home:
    """Three tables, a network overfitted to the members, and recipes about it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        random = np.random.default_rng(0)
        self.tables: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}
        for name, count in (("members", 30), ("others", 36), ("own", 90)):
            x = (3 + 2 * random.normal(size=(count, FEATURES))).astype(np.float32)
            y = np.arange(count) % CLASSES
            self.tables[name] = x, y
            write_table(folder / f"{name}.csv", x, y)
        own = self.tables["own"][0].astype(np.float64)
        self.mean, self.std = own.mean(0), own.std(0)
        torch.manual_seed(0)
        self.network = perceptron()
        inside, labels = self.normalised("members"), torch.from_numpy(self.tables["members"][1])
        optimizer = torch.optim.Adam(self.network.parameters(), lr=0.05)
        for _ in range(200):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(self.network(inside), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        with torch.no_grad():
            self.network.get_parameter("hidden1.weight")[0, :2] = 0
        save_file(self.network.state_dict(), folder / "target.safetensors")
        self.network.eval()

    def normalised(self, name: str) -> Tensor:
        return torch.from_numpy((self.tables[name][0] - self.mean) / self.std).float()

    def recipe(self, *changes: str) -> Any:
        def table(name: str) -> dict[str, str]:
            return {"name": "table", "path": str(self.folder / f"{name}.csv")}

        data = {
            "name": "given",
            "dataset": table("own"),
            "model": {"name": "mlp", "hidden": [8]},
            "training": {"epochs": 2, "batch_size": 16, "lr": 0.05},
            "shadows": 2,
            "attacks": ["loss", "logistic_regression"],
            "target": {
                "checkpoint": str(self.folder / "target.safetensors"),
                "members": table("members"),
                "non_members": table("others"),
            },
        }
        return load_recipe(data, changes, plugins=PLUGINS)

    def place(self, *changes: str) -> Any:
        return run_context(self.recipe(*changes), device="cpu", cache=self.folder / "cache")

    def run(self, name: str, *changes: str) -> tuple[RunResult, list[Event]]:
        events: list[Event] = []
        result = run(
            self.recipe(*changes),
            self.folder / name,
            device="cpu",
            cache=self.folder / "cache",
            plugins=PLUGINS,
            on_event=events.append,
        )
        return result, events


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("given"))


def script(network: nn.Module, path: Path) -> None:
    torch.jit.script(network).save(path)  # type: ignore[no-untyped-call]


def export(network: nn.Module, path: Path, any_size: bool = True) -> None:
    shapes = ({0: torch.export.Dim("batch")},) if any_size else None
    program = torch.export.export(network, (torch.zeros(7, FEATURES),), dynamic_shapes=shapes)
    torch.export.save(program, path)


def fits(events: list[Event]) -> list[tuple[int, int]]:
    return [(e.models, e.found) for e in events if isinstance(e, FitStarted)]


def scores_of(result: RunResult) -> dict[str, NDArray[Any]]:
    assert result.folder is not None
    with np.load(result.folder / "scores.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def test_the_target_is_asked_as_it_is_and_only_shadows_are_trained(home: Home) -> None:
    result, events = home.run(
        "plain", "seeds=2", "sparsifiers=[dense, {name: imp, rounds: 1}]", "training.stack=4"
    )
    assert fits(events) == [(4, 0), (4, 4), (4, 0)]  # of two seeds, two shadows each
    with torch.no_grad():
        logits = torch.cat([home.network(home.normalised(n)) for n in ("members", "others")])
    y = torch.from_numpy(np.concatenate([home.tables[n][1] for n in ("members", "others")]))
    p = logits.double().softmax(1)[torch.arange(66), y].numpy()
    odds = np.log(p) - np.log1p(-p)
    member = np.arange(66) < 30
    right = (logits.argmax(1) == y).numpy()
    expected = roc_auc_score(member, odds)
    assert expected > 0.8
    scores = scores_of(result)
    rows = [a for a in result.audits if a.attack == "loss"]
    assert [(a.subject, a.level, a.seed) for a in rows] == [
        (*level, seed)
        for level in (("dense", ""), ("imp", "round 0"), ("imp", "round 1"))
        for seed in (0, 1)
    ]
    size = FEATURES * 8 + 8 + 8 * CLASSES + CLASSES
    for number, audit in enumerate(result.audits):
        assert audit.parameters == size - 2
        assert audit.density == pytest.approx((size - 2) / size)
        assert audit.train_accuracy == pytest.approx(right[:30].mean())
        assert audit.test_accuracy == pytest.approx(right[30:].mean())
        assert scores[f"example_{audit.seed}_0"].tolist() == list(range(66))
        assert scores[f"member_{audit.seed}_0"].tolist() == member.tolist()
        if audit.attack == "loss":
            assert np.allclose(scores[f"score_{number}"], odds, atol=1e-4)
            assert audit.metrics["auc"]["value"] == pytest.approx(expected, abs=1e-9)
    assert not list((home.folder / "plain").rglob("*.safetensors"))


def test_shadows_stay_in_their_places_beside_the_target(home: Home) -> None:
    changes = ["seeds=2", "shadows=3", "training.precision=fp64", "attacks=[logistic_regression]"]
    place = home.place(*changes)
    (subject,) = place.recipe.subjects()
    (level,) = levels(place, subject)
    cohort = place.cohort(subject, torch.tensor([1, 2, 3, 5, 6, 7]))
    for _ in subject.sparsifier.sparsify(cohort):
        expected = cohort.logits()
    assert place.trained.tolist() == [1, 2, 3, 5, 6, 7]
    assert (level.outputs.logits[place.trained, 0] - expected).abs().max() < 1e-12
    assert torch.equal(level.outputs.logits[0], level.outputs.logits[4])
    x = torch.cat([home.normalised(n) for n in ("members", "others", "own")])[place.order]
    assert (level.outputs.logits[0, 0] - home.network(x)).abs().max() < 1e-4
    noisy = level.outputs.noisy
    assert noisy is not None
    assert noisy.isnan().all(-1).all(1)[[0, 4]].tolist() == [[False] * 66 + [True] * 90] * 2
    (cut,) = levels(replace(place, memory=1), subject)  # a cohort for each shadow
    assert (cut.outputs.logits - level.outputs.logits).abs().max() < 1e-10
    assert torch.equal(cut.density, level.density)


def test_without_shadows_nothing_is_trained(home: Home) -> None:
    result, events = home.run("alone", "shadows=0", "attacks=[loss, gradient_norm]")
    assert fits(events) == []
    assert [(a.subject, a.level, a.attack) for a in result.audits] == [
        ("target", "", "loss"),
        ("target", "", "gradient_norm"),
    ]
    norms = []
    for name in ("members", "others"):
        for x, y in zip(home.normalised(name), home.tables[name][1].tolist(), strict=True):
            loss = nn.functional.cross_entropy(home.network(x[None]), torch.tensor([y]))
            grads = torch.autograd.grad(loss, list(home.network.parameters()))
            norms.append(float(torch.cat([g.flatten() for g in grads]).norm()))
    auc = roc_auc_score(np.arange(66) < 30, -np.array(norms))
    assert result.audits[1].metrics["auc"]["value"] == pytest.approx(auc, abs=0.005)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("kind", ["script", "script in training", "trace", "export"])
def test_a_program_is_audited_like_its_weights(home: Home, kind: str, tmp_path: Path) -> None:
    network, x = home.network, home.normalised("members")
    path = tmp_path / ("target.pt2" if kind == "export" else "target.ts")
    if kind == "export":
        export(network, path)
    elif kind == "script":
        script(network, path)
    elif kind == "script in training":
        script(nn.Sequential(deepcopy(network), nn.Dropout(0.5)).train(), path)
    else:
        torch.jit.trace(network, x).save(str(path))  # type: ignore[no-untyped-call]
    changes = ["training.precision=fp64", "defenses=[none]"]
    expected, _ = home.run("weights", *changes)
    result, _ = home.run(f"program {kind}", *changes, f"target.checkpoint={path}")
    for one, other in zip(result.audits, expected.audits, strict=True):
        assert (one.density, one.parameters) == (other.density, other.parameters)
        assert one.metrics["auc"]["value"] == pytest.approx(other.metrics["auc"]["value"])
    theirs, ours = scores_of(expected), scores_of(result)
    assert np.allclose(theirs["score_0"], ours["score_0"], atol=1e-4)


def test_a_network_without_weights_of_its_own_has_no_flat_weights() -> None:
    module = nn.ReLU()
    flat, buffers = stack([module, module], torch.float64)
    network = Network(module, torch.device("cpu"), torch.float64)
    assert (flat.shape, buffers, network.size) == ((2, 0), {}, 0)
    assert network.views(flat) == {}
    assert network.flatten({}, flat).shape == (2, 0)


def test_a_model_that_a_run_kept_is_audited_to_the_same_result(home: Home) -> None:
    """BatchNorm's statistics and frozen weights are in the file, and dropout's keys are not."""
    base = ["target=null", "model=normed", "training.epochs=6", "attacks=[loss]", "shadows=0"]
    first, _ = home.run("own", *base, "seeds=[3]")
    assert first.folder is not None
    (path,) = (first.folder / "models").glob("dense-seed-3-*.safetensors")
    kept = load_file(path)
    assert set(kept) == set(_Residual(CLASSES).state_dict())
    assert int(kept["norm.num_batches_tracked"]) > 0
    scores = scores_of(first)
    rows, member = scores["example_3_0"], scores["member_3_0"]
    x, y = home.tables["own"]
    for name, chosen in (("in", rows[member]), ("out", rows[~member])):
        write_table(home.folder / f"{name}.csv", x[chosen], y[chosen])
    again, _ = home.run(
        "again",
        *base[1:],
        f"target.checkpoint={path}",
        f"target.members.path={home.folder / 'in.csv'}",
        f"target.non_members.path={home.folder / 'out.csv'}",
    )
    one, other = first.audits[0], again.audits[0]
    assert (one.density, one.parameters) == (other.density, other.parameters)
    assert (one.train_accuracy, one.test_accuracy) == (other.train_accuracy, other.test_accuracy)
    ours, theirs = scores["score_0"], scores_of(again)["score_0"]
    assert np.allclose(np.concatenate([ours[member], ours[~member]]), theirs, atol=1e-5)
    assert other.metrics["auc"]["value"] == pytest.approx(one.metrics["auc"]["value"], abs=1e-9)
    network = _Residual(CLASSES).eval()
    network.load_state_dict(kept)
    with torch.no_grad():
        logits = network(home.normalised("own"))[rows]
    p = logits.double().softmax(1)[torch.arange(len(rows)), torch.from_numpy(y[rows])]
    assert np.allclose(ours, p.log() - (1 - p).log(), atol=1e-4)


def test_with_halves_shadows_train_on_the_target_s_examples(home: Home) -> None:
    place = home.place("split.protocol=halves", "shadows=4", "attacks=[loss]")
    role = place.ensemble.role
    assert ((role[1:, :66] == Role.MEMBER).sum(0) == 2).all()
    assert ((role[1:, :66] == Role.NON_MEMBER).sum(0) == 2).all()
    assert (role[0, 66:] == Role.OUTSIDE).all()
    result, events = home.run("halves", "split.protocol=halves", "shadows=4", "attacks=[loss]")
    assert fits(events) == [(4, 0)]
    assert len(result.audits) == 1


def test_a_finished_run_stands_only_for_the_same_file(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "target.safetensors"
    path.write_bytes((home.folder / "target.safetensors").read_bytes())
    changes = (f"target.checkpoint={path}", "shadows=0", "attacks=[loss]")
    first, _ = home.run("twice", *changes)
    same, events = home.run("twice", *changes)
    assert (same.audits, events) == (first.audits, [])
    torch.manual_seed(9)
    blurred = {n: t + 0.3 * torch.randn(t.shape) for n, t in home.network.state_dict().items()}
    save_file(blurred, path)
    other, events = home.run("twice", *changes)
    assert events
    assert other.audits[0].metrics["auc"]["value"] < first.audits[0].metrics["auc"]["value"]


def test_a_plan_counts_the_shadows_alone(home: Home, tmp_path: Path) -> None:
    recipe = home.recipe("seeds=2", "shadows=3")
    (row,) = plan(run_context(recipe, device="cpu", cache=tmp_path))
    assert (row.trainings, row.found, row.levels) == (6, 0, 1)
    (row,) = plan(home.place("shadows=0", "attacks=[loss]"))
    size = FEATURES * 8 + 8 + 8 * CLASSES + CLASSES
    assert (row.trainings, row.steps, row.levels, row.parameters) == (0, 0, 1, size)


def hollow(path: Path) -> None:
    with ZipFile(path, "w") as archive:
        archive.writestr("a/constants.pkl", b"")


class Evil:
    """A pickle that makes a folder where it is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_nothing_in_a_program_is_unpickled(home: Home, tmp_path: Path) -> None:
    path, marker, pickled = tmp_path / "a.pt2", tmp_path / "executed", BytesIO()
    export(home.network, path)
    torch.save(Evil(marker), pickled)
    with ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    places = [name for name in parts if name.endswith(".pt")]
    assert places
    for place in (*places, "a/data/constants/opaque_obj_0"):
        with ZipFile(path, "w") as archive:
            for name, part in (parts | {place: pickled.getvalue()}).items():
                archive.writestr(name, part)
        with pytest.raises(DataError, match=r"cannot be loaded as torch\.export"):
            home.run("evil", f"target.checkpoint={path}")
        assert not marker.exists()
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


class Tupled(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


def _weights(change: Callable[[dict[str, Tensor]], object]) -> Callable[[Home, Path], object]:
    def save(home: Home, path: Path) -> None:
        tensors = {name: tensor.clone() for name, tensor in home.network.state_dict().items()}
        change(tensors)
        save_file(tensors, path)

    return save


BROKEN: dict[str, tuple[str, Callable[[Home, Path], object], str]] = {
    "missing": ("a.safetensors", lambda home, path: None, "no such file"),
    "garbage": (
        "a.safetensors",
        lambda home, path: path.write_bytes(b"x" * 99),
        "cannot be read as safetensors",
    ),
    "lacking": (
        "a.safetensors",
        _weights(lambda t: t.pop("output.bias")),
        r"does not fit model 'mlp': it lacks output.bias \(it is only a part of this network",
    ),
    "foreign": (
        "a.safetensors",
        _weights(lambda t: t.update({f"conv{i}.weight": torch.zeros(1) for i in range(9)})),
        r"it holds, and the model has not, conv0.weight, .* and 6 more \(it is a larger network",
    ),
    "reshaped": (
        "a.safetensors",
        _weights(lambda t: t.update({"output.weight": torch.zeros(4, 8)})),
        r"shape output.weight \(4, 8\) instead of \(3, 8\) \(it was trained for 4 classes",
    ),
    "nan": (
        "a.safetensors",
        _weights(lambda t: t["output.bias"].fill_(torch.nan)),
        "answers NaN or infinity",
    ),
    "pickle": (
        "a.pt",
        lambda home, path: torch.save(home.network, path),
        "holds a torch.nn.modules.container.Sequential, and unpickling such an object could run",
    ),
    "no export": (
        "a.pt2",
        lambda home, path: path.write_text("x"),
        r"is no safetensors, torch.export, TorchScript or state_dict",
    ),
    "damaged": (
        "a.ts",
        lambda home, path: hollow(path),
        "cannot be loaded as TorchScript",
    ),
    "classes": (
        "a.pt2",
        lambda home, path: export(nn.Linear(FEATURES, 4), path),
        r"shape \(156, 4\) instead of \(156, 3\)",
    ),
    "features": (
        "a.ts",
        lambda home, path: script(nn.Linear(9, 3), path),
        r"cannot answer 156 examples, or a single one, of shape \(5,\)",
    ),
    "two answers": (
        "a.ts",
        lambda home, path: script(Tupled(), path),
        "cannot answer",
    ),
    "one size": (
        "a.pt2",
        lambda home, path: export(home.network, path, any_size=False),
        "cannot answer 156 examples, or a single one",
    ),
    "training": (
        "a.pt2",
        lambda home, path: export(
            nn.Sequential(deepcopy(home.network), nn.Dropout(0.5)).train(), path
        ),
        r"otherwise each time it is asked, .*: save it after .eval\(\)",
    ),
    "softmax": (
        "a.pt2",
        lambda home, path: export(nn.Sequential(home.network, nn.Softmax(1)), path),
        "probabilities",
    ),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_cannot_be_audited_is_refused_in_one_line(
    home: Home, tmp_path: Path, case: str
) -> None:
    name, make, message = BROKEN[case]
    path = tmp_path / name
    make(home, path)
    with pytest.raises(DataError, match=message) as caught:
        home.place(f"target.checkpoint={path}", "attacks=[loss]")
    assert str(caught.value).startswith("target.checkpoint: ")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("columns", "labels", "message"),
    [
        (FEATURES + 1, 3, r"target.members has examples of shape \(6,\), and dataset \(5,\)"),
        (FEATURES, 2, "target.members lacks the class 'c2' of dataset: give both all classes"),
    ],
)
def test_data_of_another_kind_is_named(
    home: Home, tmp_path: Path, columns: int, labels: int, message: str
) -> None:
    x = np.random.default_rng(1).normal(size=(8, columns)).astype(np.float32)
    write_table(tmp_path / "odd.csv", x, np.arange(8) % labels)
    with pytest.raises(DataError, match=message):
        home.place(f"target.members.path={tmp_path / 'odd.csv'}")


def test_images_and_features_are_told_apart(home: Home) -> None:
    with pytest.raises(DataError, match=r"target.non_members has examples of shape \(1, 8, 8\)"):
        home.place("target.non_members=digits")
