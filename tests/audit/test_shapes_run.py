"""Whole runs on examples of any shape, and on tokens: what works, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor, nn

from privaudit import Model, Recipe, RecipeError, RunResult, load_recipe, run
from privaudit.api.host import Plugins, Provided, load_plugins
from privaudit.cli import main
from privaudit.events import Event
from privaudit.experiment.checkpoint import Program
from privaudit.experiment.export import export

ROWS, WORDS = 120, 9


class Flat(Model):
    """One linear layer of all that an example holds."""

    name: Literal["flat"] = "flat"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), classes))


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(-2)


class Words(Model):
    """The mean of the embeddings of an example's tokens, and a linear layer."""

    name: Literal["words"] = "words"
    vocabulary: int = WORDS

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return nn.Sequential(nn.Embedding(self.vocabulary, 6), Mean(), nn.Linear(6, classes))


INSTALLED = load_plugins()
OWN = [Provided(cls, "model", cls.__name__.lower(), "test", "1", "0") for cls in (Flat, Words)]
PLUGINS = Plugins((*INSTALLED.provided, *OWN), INSTALLED.problems)


def numbers(*shape: int) -> NDArray[Any]:
    return np.random.default_rng(0).normal(3, 2, (ROWS, *shape)).astype(np.float32)


def tokens(length: int = 7) -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, WORDS, (ROWS, length))


def recipe(folder: Path, x: NDArray[Any], model: str, **changes: Any) -> Recipe:
    y = x.reshape(ROWS, -1).sum(1) > np.median(x.reshape(ROWS, -1).sum(1))
    np.savez(folder / "examples.npz", x=x, y=y)
    data = {
        "name": "shapes",
        "dataset": {"name": "arrays", "path": str(folder / "examples.npz")},
        "split": {"members": 25, "validation": 5, "non_members": 25},
        "model": model,
        "training": {"epochs": 30, "batch_size": 8, "lr": 0.1},
        "sparsifiers": ["dense", {"name": "imp", "rounds": 1}],
        "defenses": ["none"],
        "attacks": ["loss"],
    }
    return load_recipe(data | changes, plugins=PLUGINS)


def audited(folder: Path, asked: Recipe, told: Callable[[Event], None] | None = None) -> RunResult:
    cache = folder / "cache"
    return run(asked, folder / "run", device="cpu", cache=cache, plugins=PLUGINS, on_event=told)


@pytest.mark.parametrize(
    ("x", "model", "attacks"),
    [
        (numbers(4, 30), "flat", ["loss", "logistic_regression", "gradient_norm"]),
        (numbers(9, 9), "flat", ["loss", "shadow_mlp", "quantile"]),
        (numbers(4, 30), "mlp", ["loss", "logistic_regression"]),
        (numbers(2, 6, 6), "cnn", ["loss", "logistic_regression"]),
        (tokens(), "words", ["loss", "gradient_norm", "population", "reference"]),
    ],
)
def test_a_recipe_audits_examples_of_any_shape(
    tmp_path: Path, x: NDArray[Any], model: str, attacks: list[str]
) -> None:
    result = audited(tmp_path, recipe(tmp_path, x, model, attacks=attacks))
    assert [(a.subject, a.level, a.attack) for a in result.audits] == [
        (*subject, attack)
        for subject in (("dense", ""), ("imp", "round 0"), ("imp", "round 1"))
        for attack in attacks
    ]
    for audit in result.audits:
        assert audit.train_accuracy > 0.6
        assert audit.multiply_adds
        assert 0 <= audit.metrics["auc"]["value"] <= 1


@pytest.mark.parametrize(
    ("defense", "precision"),
    [("dp_sgd", "fp32"), ("min_max", "fp32"), ("none", "bf16"), ("none", "fp64")],
)
def test_tokens_train_under_any_defense_and_precision(
    tmp_path: Path, defense: str, precision: str
) -> None:
    asked = recipe(
        tmp_path, tokens(), "words", defenses=[defense], sparsifiers=["dense"],
        training={"epochs": 2, "precision": precision},
        split={"members": 20, "validation": 5, "non_members": 20, "reference": 10},
    )  # fmt: skip
    (audit,) = audited(tmp_path, asked).audits
    assert audit.multiply_adds == 6 * 2  # an embedding is looked up


def test_a_network_of_tokens_is_exported_with_what_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: privaudit[onnx]")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed: privaudit[onnx]")
    from onnx.reference import ReferenceEvaluator

    audited(tmp_path, recipe(tmp_path, tokens(), "words"))
    (tmp_path / "examples.npz").unlink()  # the run's own file says what the network takes
    known = partial(load_recipe, plugins=PLUGINS)
    monkeypatch.setattr("privaudit.experiment.export.load_recipe", known)
    plain = export(tmp_path / "run", "dense")
    words = ["export", tmp_path / "run", "--subject", "dense", "--format", "onnx"]
    monkeypatch.setattr("sys.argv", ["privaudit", *map(str, words)])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert "It takes tokens (N, 7) of int64.\n" in capsys.readouterr().out
    with safe_open(plain.path, framework="pt") as file:
        inputs = json.loads(file.metadata()["privaudit"])["inputs"]
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert (inputs["shape"], inputs["dtype"]) == ([7], "int64")
    assert (inputs["mean"], inputs["std"]) == (0, 1)
    model = onnx.load(plain.path.with_suffix(".onnx"))
    (entry,) = model.graph.input
    assert entry.type.tensor_type.elem_type == onnx.TensorProto.INT64
    for count in (1, 11):
        x = tokens()[:count]
        answers: Any = ReferenceEvaluator(model).run(None, {"examples": x})
        embedded = weights["0.weight"][x].mean(1)
        expected = embedded @ weights["2.weight"].T + weights["2.bias"]
        np.testing.assert_allclose(answers[0], expected, atol=1e-5)


REFUSED: list[tuple[dict[str, Any], list[str]]] = [
    ({"attacks": ["loss", "shadow_mlp"]}, [r"attacks\[1\]: 'shadow_mlp' .* noise added.*leave it"]),
    ({"defenses": ["mixup"]}, [r"defenses\[0\]: 'mixup' calculates with .* leave it out"]),
    (
        {
            "sparsifiers": [{"name": "imp", "rounds": 1}],
            "defenses": [{"name": "cwrf", "defense": "mixup"}],
        },
        [r"defenses\[0\]\.defense: 'mixup' calculates with"],
    ),
    ({"shadow_defense": "mixup"}, ["shadow_defense: 'mixup' calculates with"]),
    (
        {"attacks": ["loss", {"name": "loss", "label": "naive", "shadow_defense": "mixup"}]},
        [r"attacks\[1\]\.shadow_defense: 'mixup' calculates with"],
    ),
    (
        {"model": "mlp"},
        ["model: 'mlp' cannot answer the tokens of dataset 'arrays', 0 to 8: .* an embedding"],
    ),
    ({"model": {"name": "words", "vocabulary": 8}}, ["model: 'words' .* at least 9 rows"]),
    (
        {"attacks": ["logistic_regression"], "defenses": ["mixup"], "model": "flat"},
        [r"attacks\[0\]: 'logistic_regression'", r"defenses\[0\]: 'mixup'", "model: 'flat' cannot"],
    ),
]


@pytest.mark.parametrize(("changes", "lines"), REFUSED)
def test_what_works_on_numbers_refuses_tokens_before_anything_is_trained(
    tmp_path: Path, changes: dict[str, Any], lines: list[str]
) -> None:
    told: list[Event] = []
    asked = recipe(tmp_path, tokens(), **{"model": "words"} | changes)
    with pytest.raises(RecipeError) as caught:
        audited(tmp_path, asked, told.append)
    assert not told
    problems = str(caught.value).splitlines()
    assert len(problems) == len(lines)
    for problem, line in zip(problems, lines, strict=True):
        assert re.match(line, problem)


def test_tokens_of_a_targets_members_need_an_embedding_too(tmp_path: Path) -> None:
    (tmp_path / "target.safetensors").touch()
    np.savez(tmp_path / "more.npz", x=tokens() + 1, y=np.arange(ROWS) % 2 == 0)
    more = {"name": "arrays", "path": str(tmp_path / "more.npz")}
    checkpoint = str(tmp_path / "target.safetensors")
    target = {"checkpoint": checkpoint, "members": more, "non_members": more}
    asked = recipe(tmp_path, tokens(), "words", target=target)
    with pytest.raises(RecipeError, match=r"model: 'words' cannot .*, 0 to 9: .* at least 10 rows"):
        audited(tmp_path, asked)


def test_a_program_trained_elsewhere_is_asked_about_tokens_as_they_are() -> None:
    network = Words().build((7,), 2)
    x = torch.from_numpy(tokens()[:5])
    logits = Program(network)(x)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, network(x))
