"""A given target beside its dense original: one recipe, two files, the attacker who holds both."""

from __future__ import annotations

import logging
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn.utils import prune

from privaudit import DataError, RecipeError, RunResult, load_recipe, run
from privaudit.experiment.relation import likeness

FEATURES, CLASSES = 5, 3
SIZES = {"members": 40, "others": 40, "own": 90}


def network() -> nn.Sequential:
    """What the plugin mlp builds with sixteen hidden units."""
    built = nn.Sequential()
    built.add_module("hidden1", nn.Linear(FEATURES, 16))
    built.add_module("relu1", nn.ReLU())
    built.add_module("output", nn.Linear(16, CLASSES))
    return built


class Company:
    """Three sets of examples, a network overfitted to the first, and its pruned version."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        draw = np.random.default_rng(1)
        self.sets: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}
        for name, count in SIZES.items():
            x = draw.normal(size=(count, FEATURES)).astype(np.float32)
            y = np.arange(count) % CLASSES
            self.sets[name] = x, y
            np.savez(folder / f"{name}.npz", x=x, y=y)
        torch.manual_seed(0)
        self.dense = network()
        inside, labels = map(torch.from_numpy, self.sets["members"])
        optimizer = torch.optim.Adam(self.dense.parameters(), lr=0.05)
        for _ in range(150):
            optimizer.zero_grad()
            nn.functional.cross_entropy(self.dense(inside), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        self.pruned = deepcopy(self.dense)
        for layer in (self.pruned[0], self.pruned[2]):
            prune.l1_unstructured(layer, "weight", amount=0.5)  # type: ignore[no-untyped-call]
            prune.remove(layer, "weight")  # type: ignore[no-untyped-call]
        for name in ("dense", "pruned"):
            save_file(getattr(self, name).state_dict(), folder / f"{name}.safetensors")

    def file(self, name: str) -> str:
        return str(self.folder / name)

    def recipe(self, *changes: str) -> Any:
        def arrays(name: str) -> dict[str, str]:
            return {"name": "arrays", "path": self.file(f"{name}.npz")}

        data = {
            "name": "pair",
            "dataset": arrays("own"),
            "model": {"name": "mlp", "hidden": [16]},
            "training": {"epochs": 3, "batch_size": 16, "lr": 0.05},
            "shadows": 0,
            "attacks": ["loss", "both_networks"],
            "target": {
                "checkpoint": self.file("pruned.safetensors"),
                "dense": self.file("dense.safetensors"),
                "members": arrays("members"),
                "non_members": arrays("others"),
                "normalise": "none",
            },
        }
        return load_recipe(data, changes)

    def run(self, name: str, *changes: str) -> RunResult:
        return run(
            self.recipe(*changes), self.folder / name, device="cpu", cache=self.folder / "cache"
        )

    def odds(self, asked: nn.Module) -> NDArray[np.float64]:
        """The log-odds of the true class, members first, by NumPy."""
        x, y = (np.concatenate([self.sets[n][i] for n in ("members", "others")]) for i in (0, 1))
        with torch.no_grad():
            z = asked(torch.from_numpy(x)).double().numpy()
        p = np.exp(z - z.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        own = p[np.arange(len(y)), y]
        rest = np.where(np.arange(CLASSES) == y[:, None], 0, p).sum(1)
        return np.asarray(np.log(own) - np.log(rest))


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Company:
    return Company(tmp_path_factory.mktemp("company"))


def scores_of(result: RunResult) -> dict[tuple[str, str], NDArray[Any]]:
    """By level and attack."""
    assert result.folder is not None
    with np.load(result.folder / "scores.npz", allow_pickle=False) as file:
        return {(a.level, a.attack): file[f"score_{i}"] for i, a in enumerate(result.audits)}


def test_two_files_alone_are_audited_alike_and_together(
    company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "privaudit"):
        result = company.run("alone")
    member = np.arange(80) < 40
    dense, pruned = company.odds(company.dense), company.odds(company.pruned)
    expected = {
        ("original", "loss"): dense,
        ("", "loss"): pruned,
        ("", "both_networks"): (dense + pruned) / 2,
    }
    scores = scores_of(result)
    assert list(scores) == list(expected)
    for audit in result.audits:
        key = audit.level, audit.attack
        np.testing.assert_allclose(scores[key], expected[key], atol=1e-4)
        auc = roc_auc_score(member, expected[key])
        assert audit.metrics["auc"]["value"] == pytest.approx(auc, abs=1e-9)
    difference = result.audits[2].variants["difference"]["auc"]["value"]
    assert difference == pytest.approx(roc_auc_score(member, dense - pruned), abs=1e-9)
    sizes = {a.level: a.parameters for a in result.audits}
    of_all = sum(p.numel() for p in company.dense.parameters())
    assert sizes == {"original": of_all, "": of_all - 40 - 24}
    assert not caplog.records  # that the original has no original is nobody's mistake


def test_shadows_are_pairs_as_well(company: Company) -> None:
    pruner = "sparsifiers=[{name: l1_unstructured, density: [0.5, 0.3]}]"
    result = company.run("pairs", pruner, "shadows=2", "attacks=[loss, both_networks, rmia]")
    assert [(a.level, a.attack) for a in result.audits] == [
        ("original", "loss"),
        ("original", "rmia"),
        *(
            (level, attack)
            for level in ("density 0.5", "density 0.3")
            for attack in ("loss", "both_networks", "rmia")
        ),
    ]
    alone = company.run("dense alone", "shadows=2", "attacks=[rmia]", "target.dense=null",
                        f"target.checkpoint={company.file('dense.safetensors')}")  # fmt: skip
    # The dense row is the audit of the dense file by shadows that are dense.
    np.testing.assert_array_equal(
        scores_of(result)["original", "rmia"], scores_of(alone)["", "rmia"]
    )


def test_a_given_target_has_its_original_for_other_version_whatever_its_shadows_went_through(
    company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    pruner = "sparsifiers=[{name: l1_unstructured, density: [0.5, 0.3]}]"
    asked = "attacks=[loss, {name: compleak, epochs: 1, label: all}, "
    asked += "{name: compleak, epochs: 1, original: false, label: this}]"
    with caplog.at_level(logging.WARNING, "privaudit"):
        result = company.run("versions", pruner, "shadows=2", asked)
    assert not result.failures
    assert not caplog.records
    scores = scores_of(result)
    names = "loss", "all", "this"
    assert list(scores) == [
        ("original", "loss"),
        *((level, name) for level in ("density 0.5", "density 0.3") for name in names),
    ]
    alone = {a.level: a.variants["alone"] for a in result.audits if a.attack == "all"}
    for audit in result.audits:
        if audit.attack == "this":  # nothing but this level is left to its attacker
            assert audit.metrics["auc"]["value"] == alone[audit.level]["auc"]["value"]


def test_dense_shadows_of_a_pruned_target_are_no_pairs(
    company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "privaudit"):
        result = company.run("no pairs", "shadows=2")
    assert {(a.level, a.attack) for a in result.audits} == {("original", "loss"), ("", "loss")}
    assert "name in sparsifiers what made the target sparse, or set shadows: 0" in caplog.text


def test_a_changed_dense_file_is_audited_again(company: Company, tmp_path: Path) -> None:
    path = tmp_path / "dense.safetensors"
    save_file(company.dense.state_dict(), path)
    first = company.run("changing", f"target.dense={path}")
    before = scores_of(first)["original", "loss"]
    again = company.run("changing", f"target.dense={path}")
    assert again.environment == first.environment
    other = {n: 1.1 * w for n, w in company.dense.state_dict().items()}
    save_file(other, path)
    changed = company.run("changing", f"target.dense={path}")
    assert not np.array_equal(scores_of(changed)["original", "loss"], before)


def test_a_recipe_without_dense_is_what_it_was(company: Company) -> None:
    plain = company.recipe("target.dense=null", "attacks=[loss]")
    assert "dense" not in plain.model_dump(mode="json", serialize_as_any=True)["target"]
    assert company.recipe("attacks=[loss]").digest() != plain.digest()


def wrong(company: Company, **weights: Tensor) -> str:
    path = company.folder / "wrong.safetensors"
    save_file({**company.dense.state_dict(), **weights}, path)
    return str(path)


def test_what_is_no_dense_original_is_told_of_its_own_key(company: Company) -> None:
    cases = [
        (company.file("gone.safetensors"), r"^target\.dense: .*gone\.safetensors: no such file"),
        (company.file("pruned.safetensors"), r"^target\.dense: .* answers exactly as"),
        (wrong(company, more=torch.zeros(1)), r"^target\.dense: .* does not fit model 'mlp'"),
    ]
    for path, message in cases:
        with pytest.raises(DataError, match=message):
            company.run("wrong", f"target.dense={path}")
    nan = wrong(company, **{"output.bias": torch.full((CLASSES,), torch.nan)})
    with pytest.raises(DataError, match=r"^target\.dense: .* answers NaN"):
        company.run("wrong", f"target.dense={nan}")
    text = company.folder / "text.safetensors"
    text.write_text("no weights")
    with pytest.raises(DataError, match=r"^target\.dense: .* cannot be read as safetensors"):
        company.run("wrong", f"target.dense={text}")


def test_a_dense_file_that_guesses_gets_advice_about_itself(company: Company) -> None:
    torch.manual_seed(5)
    blank = wrong(
        company, **{n: 0.1 * torch.randn_like(w) for n, w in network().state_dict().items()}
    )
    with pytest.raises(DataError, match=r"^target\.dense: ") as error:
        company.run("wrong", f"target.dense={blank}")
    assert "target.accuracy" not in str(error.value)
    assert "leave target.dense out" in str(error.value)


def test_swapped_files_are_told(company: Company) -> None:
    with pytest.raises(DataError, match="perhaps the two are swapped"):
        company.run(
            "wrong",
            f"target.checkpoint={company.file('dense.safetensors')}",
            f"target.dense={company.file('pruned.safetensors')}",
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("target.dense=dense.bin.gz", r"target\.dense: must end in"),
        ("target.dense=3", r"target\.dense: .*\(got 3\)"),
        ("target.dense=[a, b]", r"target\.dense: "),
        ("target.dens=x.safetensors", r"target\.dens: .*dense"),
    ],
)
def test_a_dense_key_that_is_wrong_is_told_on_loading(
    company: Company, change: str, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        company.recipe(change)


@pytest.mark.parametrize("name", ["both_networks", "compleak"])
def test_a_pair_without_dense_is_refused_before_anything_is_trained(
    company: Company, name: str
) -> None:
    with pytest.raises(RecipeError, match=rf"attacks\[1\]: '{name}' needs .*target\.dense"):
        company.recipe("target.dense=null", f"attacks=[loss, {name}]", "shadows=2")


def test_a_dense_network_that_is_another_is_doubted(company: Company) -> None:
    assert "unrelated" not in {doubt.name for doubt in company.run("related").doubts}
    torch.manual_seed(7)
    other = network()
    inside, labels = map(torch.from_numpy, company.sets["members"])
    optimizer = torch.optim.Adam(other.parameters(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(other(inside), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    save_file(other.state_dict(), company.folder / "other.safetensors")
    result = company.run("strangers", f"target.dense={company.file('other.safetensors')}")
    (doubt,) = (doubt for doubt in result.doubts if doubt.name == "unrelated")
    assert doubt.about == "target"
    assert doubt.seen.startswith("correlation ")


def test_likeness_is_the_correlation_of_the_weights_that_are_left() -> None:
    draw = np.random.default_rng(0)
    dense = draw.normal(size=(2, 30, 20)) + np.array([3.0, -2.0])[:, None, None]
    sparse = np.where(draw.random(dense.shape) < 0.3, dense + draw.normal(size=dense.shape), 0)
    pair = [
        {"a": torch.tensor(w[:1]), "b": torch.tensor(w[1:]), "bias": torch.ones(1, 9)}
        for w in (sparse, dense)
    ]
    found = likeness(*pair)
    counts, values = [], []
    for left, right in zip(sparse, dense, strict=True):
        kept = left != 0
        counts.append(kept.sum())
        values.append(np.corrcoef(left[kept], right[kept])[0, 1])
    assert found is not None
    assert found[0] == pytest.approx(np.average(values, weights=counts))
    assert found[1] == sum(counts)
    assert likeness({"a": torch.zeros(1, 3, 3)}, {"a": torch.ones(1, 3, 3)}) is None
    assert likeness({"a": torch.rand(1, 3, 3)}, {"a": torch.rand(1, 3, 4)}) is None
