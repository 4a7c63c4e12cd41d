"""Dense originals of sparse networks: which they are, what they answer, and who may see them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from privaudit import (
    Attack,
    AttackScores,
    Cohort,
    DataError,
    Outputs,
    PluginError,
    RunResult,
    Signals,
    Sparsifier,
    load_recipe,
    run,
)
from privaudit.answers import ORIGINAL
from privaudit.api.host import Plugins, Provided, load_plugins
from privaudit.api.needs import seen_by
from privaudit.cohort.kept import joined_outputs
from privaudit.experiment.attack_job import attack_job
from privaudit.experiment.attack_jobs import shared_outputs
from privaudit.experiment.levels import levels
from privaudit.experiment.running import run_context
from privaudit.testing import tiny_cohort
from privaudit_plugins.attacks.both_networks import BothNetworks
from privaudit_plugins.attacks.loss import Loss


class Gradual(Sparsifier):
    """A third party's: two prunings, and the network before them is their original."""

    name: Literal["gradual"] = "gradual"
    marks: bool = True

    def sparsify(self, cohort: Cohort) -> Iterator[str]:
        cohort.fit()
        if self.marks:
            cohort.mark_original()
        for step in ("first", "second"):
            cohort.prune(keep=0.5)
            yield step


class Nosy(Attack):
    """Scores by the original alone."""

    answers: ClassVar[tuple[str, ...]] = ("log_odds",)
    signals: ClassVar[frozenset[str]] = frozenset({"original"})
    name: Literal["nosy"] = "nosy"

    def score(self, signals: Signals) -> AttackScores:
        assert signals.target.original is not None
        return AttackScores(signals.target.original.log_odds[0])


INSTALLED = load_plugins()
PLUGINS = Plugins(
    (
        *INSTALLED.provided,
        Provided(Gradual, "sparsifier", "gradual", "test", "1", "0"),
        Provided(Nosy, "attack", "nosy", "test", "1", "0"),
    ),
    INSTALLED.problems,
)
DENSE: dict[str, Any] = {
    "name": "originals",
    "dataset": "breast_cancer",
    "model": {"name": "mlp", "hidden": [12]},
    "training": {"epochs": 3, "batch_size": 32, "lr": 0.05},
    "split": {"members": 80},
    "shadows": 2,
}


def recipe(*sparsifiers: Any, attacks: Any = ("loss", "nosy"), **changes: Any) -> Any:
    data = DENSE | {"sparsifiers": [*sparsifiers], "attacks": [*attacks]} | changes
    return load_recipe(data, plugins=PLUGINS)


def ran(asked: Any, folder: Path, processes: int = 1) -> RunResult:
    return run(
        asked, folder / "run", device="cpu", cache=folder / "cache", plugins=PLUGINS,
        processes=processes,
    )  # fmt: skip


def scores_of(result: RunResult) -> dict[tuple[str, str, str], Any]:
    assert result.folder is not None
    with np.load(result.folder / "scores.npz", allow_pickle=False) as file:
        return {
            (a.subject, a.level, a.attack): file[f"score_{i}"] for i, a in enumerate(result.audits)
        }


@pytest.mark.parametrize("processes", [1, 2])
def test_every_pruners_original_is_the_dense_network_of_its_own_seed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, processes: int
) -> None:
    asked = recipe(
        "dense",
        {"name": "l1_unstructured", "density": [0.5, 0.2]},
        {"name": "imp", "rounds": 1},
        {"name": "quantize", "bits": 3},
        "random",
    )
    with caplog.at_level(logging.WARNING, "privaudit"):
        result = ran(asked, tmp_path, processes)
    assert not result.failures
    scores = scores_of(result)
    dense = scores["dense", "", "loss"]
    nosy = {key: value for key, value in scores.items() if key[2] == "nosy"}
    assert [key[:2] for key in nosy] == [
        ("l1_unstructured", "density 0.5"),
        ("l1_unstructured", "density 0.2"),
        ("imp", "round 1"),
        ("quantize", "3 bits"),
        ("random", "density 0.5"),
    ]
    for value in nosy.values():
        np.testing.assert_array_equal(value, dense)
    for key in nosy:
        assert not np.array_equal(scores[(*key[:2], "loss")], dense)
    sentence = "it was not made sparse from a dense network that was trained before"
    assert f"attack 'nosy' is left out for dense: {sentence}" in caplog.text
    assert f"attack 'nosy' is left out for imp / round 0: {sentence}" in caplog.text


def test_shadows_have_their_own_originals_whatever_cohorts_they_train_in(tmp_path: Path) -> None:
    asked = recipe({"name": "l1_unstructured", "density": 0.3}, "dense", seeds=2)
    context = run_context(asked, device="cpu", cache=tmp_path)
    sparse, plain = asked.subjects()
    (reached,), (dense,) = levels(context, sparse), levels(context, plain)
    (cut,) = levels(replace(context, memory=1), sparse)
    for level in (reached, cut):
        assert level.outputs.original is not None
        for model in range(6):
            found = level.outputs[model].original
            assert found is not None
            torch.testing.assert_close(
                found.of("log_odds"), dense.outputs[model].of("log_odds"), rtol=0, atol=1e-10
            )


def test_who_asks_for_no_original_sees_none_and_none_is_asked(tmp_path: Path) -> None:
    asked = recipe({"name": "l1_unstructured", "density": 0.3}, attacks=["loss"])
    context = run_context(asked, device="cpu", cache=tmp_path)
    (level,) = levels(context, *asked.subjects())
    assert level.outputs.original is None


def test_an_attack_sees_originals_only_if_it_asks_whatever_its_neighbours_ask(
    tmp_path: Path,
) -> None:
    asked = recipe({"name": "l1_unstructured", "density": 0.3}, attacks=["loss", "both_networks"])
    context = run_context(asked, device="cpu", cache=tmp_path)
    (level,) = levels(context, *asked.subjects())
    for entry, sees in zip(asked.attacks, (False, True), strict=True):
        job = attack_job(context, entry.plugin, 0, 0)
        signals = job.signals(context.examples, level.outputs, level.outputs)
        assert (signals.target.original is not None) == sees
        assert (signals.shadows.original is not None) == sees


def test_keys_of_scores_of_other_attacks_stay_and_those_with_originals_depend_on_them(
    tmp_path: Path,
) -> None:
    from privaudit.experiment.kept_scores import _OutputDigests

    y = torch.tensor([0, 1, 1])
    logits = torch.randn(2, 1, 3, 2, generator=torch.Generator().manual_seed(0))
    alone = _OutputDigests(Outputs(logits), y)
    first = _OutputDigests(Outputs(logits, versions={ORIGINAL: Outputs(logits + 1)}), y)
    other = _OutputDigests(Outputs(logits, versions={ORIGINAL: Outputs(2 * logits)}), y)
    assert alone.of(Loss(), [0]) == first.of(Loss(), [0]) == other.of(Loss(), [0])
    assert first.of(BothNetworks(), [0]) != other.of(BothNetworks(), [0])


def test_answers_of_originals_are_reduced_joined_shared_and_chosen_like_the_others() -> None:
    y = torch.tensor([0, 1, 1])
    draw = torch.Generator().manual_seed(0)

    def outputs() -> Outputs:
        logits, dense = (torch.randn(2, 1, 3, 2, generator=draw) for _ in range(2))
        return Outputs(logits, labels=y, versions={ORIGINAL: Outputs(dense, labels=y)})

    parts = outputs(), outputs()
    both = seen_by(BothNetworks(), joined_outputs(parts), y)
    assert both.original is not None
    with shared_outputs(both) as files:
        read = files.load()
        assert read.original is not None
        for model in range(4):
            expected = parts[model // 2].original
            assert expected is not None
            for seen in (both[model].original, read.original[model]):
                assert seen is not None
                assert not seen.has_logits
                assert torch.equal(seen.log_odds, expected[model % 2].log_odds)
    lone = joined_outputs([parts[0], parts[1].changed(versions={})])
    assert lone.original is None
    whole = joined_outputs(parts)
    assert whole.nbytes == 2 * whole.changed(versions={}).nbytes


def test_a_third_partys_sparsifier_says_what_its_original_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = recipe("gradual", {"name": "gradual", "marks": False, "label": "silent"})
    with caplog.at_level(logging.WARNING, "privaudit"):
        result = ran(asked, tmp_path)
    assert [a.level for a in result.audits if a.attack == "nosy"] == ["first", "second"]
    assert "'nosy' is left out for silent / second" in caplog.text


@pytest.mark.parametrize("moment", ["before fit", "after pruning"])
def test_what_can_be_no_original_is_refused(moment: str) -> None:
    cohort = tiny_cohort(Sparsifier(name="none"))
    if moment == "after pruning":
        cohort.fit()
        cohort.prune(keep=0.5)
    with pytest.raises(PluginError, match=r"mark_original\(\) (before any fit|after pruning)"):
        cohort.mark_original()


def test_a_recipe_in_which_nothing_has_an_original_ends_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing can be audited: attack 'both_networks' is left"):
        ran(recipe("dense", "butterfly", attacks=["both_networks"]), tmp_path)


def test_an_attacker_who_believes_in_unpruned_shadows_has_no_pairs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = recipe(
        {"name": "l1_unstructured", "density": 0.3}, attacks=["loss", "both_networks"],
        shadow_sparsifier="none",
    )  # fmt: skip
    with caplog.at_level(logging.WARNING, "privaudit"):
        result = ran(asked, tmp_path)
    assert [a.attack for a in result.audits] == ["loss"]
    assert "believes in shadows that have no dense originals" in caplog.text


def test_answers_of_an_original_are_what_its_weights_say(tmp_path: Path) -> None:
    """By the network's own forward, not by the engine's way to ask."""
    cohort = tiny_cohort(Sparsifier(name="none"))
    cohort.fit()
    cohort.mark_original()
    weights = {n: w.clone() for n, w in cohort.weights.items()}
    cohort.prune(keep=0.2)
    cohort.fit()
    snapshot = cohort.original
    assert snapshot is not None
    dense = cohort.fork()
    dense.return_to(snapshot)
    assert all(torch.equal(dense.weights[n], w) for n, w in weights.items())
    assert not all(torch.equal(cohort.weights[n], w) for n, w in weights.items())
    expected: Tensor = _perceptron(weights, cohort)
    torch.testing.assert_close(dense.logits()[0], expected, rtol=1e-4, atol=1e-4)


def _perceptron(weights: dict[str, Tensor], cohort: Any) -> Tensor:
    examples = cohort.data.examples
    x = ((examples.x.float() - examples.mean) / examples.std).flatten(1)
    hidden = (x @ weights["hidden.weight"][0].T + weights["hidden.bias"][0]).relu()
    answer: Tensor = hidden @ weights["output.weight"][0].T + weights["output.bias"][0]
    return answer


def test_who_holds_both_finds_as_much_as_who_holds_the_better_one(tmp_path: Path) -> None:
    """On real data: nine targets, each against the eight others, all of them pairs."""
    asked = recipe(
        "dense",
        {"name": "l1_unstructured", "density": 0.2},
        attacks=["reference", "both_networks"],
        dataset="digits",
        model={"name": "mlp", "hidden": [32]},
        training={"epochs": 20, "batch_size": 32, "lr": 0.05},
        split={"members": 150, "targets": "all", "protocol": "halves"},
        shadows=8,
    )
    found: dict[tuple[str, str], list[float]] = {}
    for audit in ran(asked, tmp_path).audits:
        found.setdefault((audit.subject, audit.attack), []).append(audit.metrics["auc"]["value"])
    auc = {key: float(np.mean(values)) for key, values in found.items()}
    single = auc["dense", "reference"], auc["l1_unstructured", "reference"]
    assert auc["l1_unstructured", "both_networks"] > max(single) - 0.005
    assert min(single) > 0.55
