"""Networks that training has taught nothing are named, in the result and below the table."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from sklearn.metrics import cohen_kappa_score
from torch import Tensor, nn

from privaudit import (
    Attack,
    AttackScores,
    Model,
    PluginError,
    PrivauditError,
    RunResult,
    Signals,
    StoreError,
    load_recipe,
    load_run,
    run,
)
from privaudit.api.host import Plugins, Provided, load_plugins
from privaudit.doubts.doubt import Doubt
from privaudit.doubts.guessing import agreement
from privaudit.doubts.training import Fitness, fitness, training_doubts
from privaudit.networks.state import lost_epochs
from privaudit.report import render
from run_folders import without_manifest

ENDS: dict[str, type[nn.Module]] = {
    "softmax": nn.Softmax,
    "log_softmax": nn.LogSoftmax,
    "sigmoid": nn.Sigmoid,
}


class Ending(Model):
    """A linear network, and what it ends in."""

    name: Literal["ending"] = "ending"
    end: Literal["softmax", "log_softmax", "sigmoid"]

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        last = nn.Sigmoid() if self.end == "sigmoid" else ENDS[self.end](1)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, classes), last)


class Alike(Attack):
    """Takes everyone for the same."""

    name: Literal["alike"] = "alike"

    def score(self, signals: Signals) -> AttackScores:
        return AttackScores(torch.zeros(len(signals.y)))


INSTALLED = load_plugins()
PLUGINS = Plugins(
    (
        *INSTALLED.provided,
        Provided(Ending, "model", "ending", "test", "1", "0"),
        Provided(Alike, "attack", "alike", "test", "1", "0"),
    ),
    INSTALLED.problems,
)


def audited(folder: Path, *changes: str) -> RunResult:
    data: dict[str, Any] = {
        "name": "doubtful",
        "dataset": "digits",
        "model": {"name": "mlp", "hidden": [8]},
        "training": {"epochs": 8, "batch_size": 32, "lr": 0.1},
        "split": {"members": 150, "non_members": 150, "validation": 0},
        "attacks": ["loss"],
    }
    recipe = load_recipe(data, changes, plugins=PLUGINS)
    return run(recipe, folder / "run", device="cpu", cache=folder / "cache", plugins=PLUGINS)


def names(result: RunResult) -> list[str]:
    return [doubt.name for doubt in result.doubts]


def test_a_trained_network_is_not_doubted(tmp_path: Path) -> None:
    result = audited(tmp_path)
    assert result.audits[0].train_accuracy > 0.8
    assert result.doubts == ()
    assert "Doubt" not in render([result])


def test_a_network_that_learns_nothing_is_named_everywhere(tmp_path: Path) -> None:
    result = audited(
        tmp_path, "training.lr=1e-9", "seeds=[4]", "sparsifiers=[{name: imp, rounds: 1}]"
    )
    accuracy = result.audits[0].train_accuracy
    assert names(result) == ["chance"] * 2
    doubt = result.doubts[0]
    assert doubt.about == "imp / round 0, seed 4"
    assert doubt.seen.startswith(f"classifies {100 * accuracy:.1f} % ")
    assert "says nothing about privacy" in doubt.sentence
    assert result.folder is not None
    assert load_run(result.folder) == result
    text = render([result])
    assert " ".join(text.split()).count("Doubt chance (imp / round 0, seed 4: classifies") == 1
    assert "; imp / round 1, seed 4: classifies" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80
    told = json.loads(render([result], format="json"))["doubts"]
    assert [entry["name"] for entry in told] == ["chance"] * 2
    assert told[0]["run"] == "doubtful"
    for text in (render([result], format="markdown"), render([result], format="latex")):
        assert "Doubt chance (imp / round 0" in text


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["model=cnn"], "network 0 of seed 0 (a target) of subject 'dense' diverged in epoch 1"),
        (
            ["sparsifiers=[{name: imp, rounds: 1}]", "training.lr=1e30", "seeds=[2, 5]"],
            "network 0 of seed 2 (a target) of subject 'imp' diverged in epoch 1",
        ),
    ],
)
def test_training_that_diverges_is_told_as_such(
    tmp_path: Path, changes: list[str], told: str
) -> None:
    with pytest.raises(PrivauditError) as caught:
        audited(tmp_path, "training.lr=1e6", "training.epochs=1", *changes)
    assert not isinstance(caught.value, PluginError)
    assert str(caught.value).startswith(told)
    assert "Lower training.lr (now 1e+" in str(caught.value)


def test_training_that_diverges_to_finite_numbers_is_told_as_such(tmp_path: Path) -> None:
    """All its units are dead: it answers with its last bias, which is huge."""
    result = audited(tmp_path, "training.lr=1e6")
    assert names(result) == ["chance"]
    assert "training diverged" in result.doubts[0].sentence
    assert result.doubts[0].sentence.endswith("lower training.lr")


def test_the_first_epoch_without_a_number_is_found() -> None:
    nan = torch.nan
    loss = [[1.0, 0.5, 0.2], [1.0, nan, nan], [torch.inf, nan, nan], [0.3, nan, nan]]
    accuracy = [[0.5, 0.6, 0.7], [0.5, 0.1, 0.1], [0.1, 0.1, 0.1], [0.9, nan, nan]]
    history = torch.stack([torch.tensor(loss), torch.tensor(accuracy), torch.zeros(4, 3)], -1)
    assert lost_epochs(history).tolist() == [0, 2, 1, 0]  # the last has only stopped
    assert lost_epochs(torch.zeros(2, 0, 3)).tolist() == [0, 0]


def test_a_network_that_ends_in_a_softmax_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="model 'ending' ends in a softmax"):
        audited(tmp_path, "model={name: ending, end: softmax}")


@pytest.mark.parametrize(("end", "doubts"), [("log_softmax", []), ("sigmoid", ["bounded_answers"])])
def test_what_else_a_network_may_end_in(tmp_path: Path, end: str, doubts: list[str]) -> None:
    assert names(audited(tmp_path, f"model={{name: ending, end: {end}}}")) == doubts


def test_an_attack_that_says_nothing_has_no_numbers_in_the_table(tmp_path: Path) -> None:
    result = audited(tmp_path, "attacks=[loss, alike]", "seeds=2")
    assert names(result) == ["says_nothing"] * 2
    assert [doubt.about for doubt in result.doubts] == [
        "attack 'alike', dense, seed 0",
        "attack 'alike', dense, seed 1",
    ]
    table = render([result], metrics=["auc", "advantage"], width=200)
    (row,) = [line for line in table.splitlines() if line.startswith("dense")]
    assert row.count("says nothing") == 2
    assert "0.500" not in row
    rows = json.loads(render([result], format="json"))["rows"]
    assert [a["says_nothing"] for a in rows[0]["attacks"].values()] == [False, True]
    lines = list(csv.DictReader(io.StringIO(render([result], format="csv"))))
    said = [(line["attack"], line["says_nothing"], line["run_doubts"]) for line in lines]
    assert said == [("loss", "False", "says_nothing"), ("alike", "True", "says_nothing")]


def test_many_doubts_of_a_kind_take_one_sentence() -> None:
    doubts = tuple(
        Doubt(name, f"attack 'loss', subject {row}, seed 0", "it is so and so")
        for row in range(100)
        for name in ("below_half", "says_nothing", "chance")
    )
    text = render([RunResult("many", {}, {}, (), doubts)])
    lines = text.splitlines()
    assert text.count("Doubt ") == 3
    assert " ".join(lines).count("and 96 more") == 3
    assert len(lines) < 20
    assert max(map(len, lines)) <= 80


def test_a_doubt_that_nobody_knows_is_not_read_over(tmp_path: Path) -> None:
    result = audited(tmp_path)
    assert result.folder is not None
    without_manifest(result.folder)
    file = result.folder / "result.json"
    record = json.loads(file.read_text())
    record["doubts"] = [{"name": "chanse", "about": "a", "sentence": "b"}]
    file.write_text(json.dumps(record))
    with pytest.raises(StoreError, match=r"doubts\[0\].name is wrong.*did you mean 'chance'"):
        load_run(file)
    del record["doubts"]
    file.write_text(json.dumps(record))
    assert load_run(file) == result


def test_agreement_is_that_of_a_lottery() -> None:
    random = np.random.default_rng(0)
    labels = random.choice(4, 60, p=[0.6, 0.2, 0.1, 0.1])
    predicted = np.where(random.random(60) < 0.3, labels, random.choice(4, 60))
    seen = agreement(torch.tensor(labels), torch.tensor(predicted), 4)
    dealt = [(random.permutation(predicted) == labels).sum() for _ in range(20_000)]
    assert seen.correct == (labels == predicted).sum()
    assert seen.expected == pytest.approx(np.mean(dealt), abs=0.1)
    assert seen.z == pytest.approx((seen.correct - np.mean(dealt)) / np.std(dealt), rel=0.03)
    assert seen.kappa == pytest.approx(cohen_kappa_score(labels, predicted))


def test_guessers_are_called_so_99_times_in_100_and_others_are_not() -> None:
    """Labels in shares of .8, .1, .1: always answering the first is guessing, at 80 %."""
    random = torch.Generator().manual_seed(0)
    shares = torch.tensor([0.8, 0.1, 0.1])

    def draw(count: int) -> Tensor:
        return torch.multinomial(shares, count, True, generator=random)

    trials = 1000
    called = sum(agreement(draw(200), draw(200), 3).guessing for _ in range(trials))
    assert called >= 0.98 * trials
    labels = draw(200)
    always = agreement(labels, torch.zeros_like(labels), 3)
    assert always.guessing
    assert always.accuracy > 0.7
    knowing = torch.where(torch.rand(200, generator=random) < 0.5, labels, 0)
    assert not agreement(labels, knowing, 3).guessing


def test_too_few_examples_say_nothing_either_way() -> None:
    labels = torch.tensor([0, 1, 1])
    assert not agreement(labels, 1 - labels, 2).guessing


def test_shadows_that_guess_are_told_where_the_target_does_not() -> None:
    y = torch.arange(200) % 4
    members = torch.arange(200) < 100
    knows = nn.functional.one_hot(y, 4).double() * 5
    guesses = torch.zeros(200, 4).double() + torch.tensor([1e-3, 0, 0, 0])

    def of(logits: Tensor) -> Fitness:
        return fitness(logits, y, members)

    def told(target: Tensor, *shadows: Tensor) -> list[str]:
        doubts = training_doubts("dense", of(target), [of(shadow) for shadow in shadows])
        return [doubt.name for doubt in doubts]

    assert told(knows, guesses, guesses, knows) == ["shadows_at_chance"]
    assert told(knows, guesses, knows) == []
    assert told(knows) == []
    assert told(guesses, knows, knows) == ["chance"]
    assert told(guesses, guesses) == ["chance"]
    assert of(knows).loss == pytest.approx(np.log(np.exp(5) + 3) - 5)
    assert of(knows).guessing_loss == pytest.approx(np.log(4))
