"""Of answers what attacks need: the same scores as from logits, and memory that stays small."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

import pytest
import torch

from privaudit import Attack, AttackScores, Outputs, PrivauditError, Signals, load_recipe
from privaudit.api.calls import scored
from privaudit.api.needs import needed_answers, seen_by
from privaudit.api.plugin import overrides
from privaudit.cohort import kept as kept_module
from privaudit.cohort.kept import FileTable, MemoryTable, joined_outputs, new_tables
from privaudit.errors import PluginError
from privaudit.experiment.attack_jobs import shared_outputs
from privaudit.experiment.kept_kinds import kept_kinds
from privaudit.experiment.levels import levels
from privaudit.experiment.own_answers import confidences, fitnesses, lost, predictions
from privaudit.experiment.running import run_context
from privaudit.reductions import reduced
from privaudit.testing.material import tiny_signals
from privaudit_plugins.attacks.gradient_norm import GradientNorm
from privaudit_plugins.attacks.label_only import LabelOnly
from privaudit_plugins.attacks.lira import LiRA, LiRAAugmented
from privaudit_plugins.attacks.loss import Loss
from privaudit_plugins.attacks.population import Population
from privaudit_plugins.attacks.quantile import Quantile
from privaudit_plugins.attacks.reference import Reference
from privaudit_plugins.attacks.rmia import RMIA
from privaudit_plugins.attacks.thresholds import Correctness

DECLARING = (
    Loss(), LiRA(), LiRAAugmented(), RMIA(), RMIA(temperature=3.0), Population(), Quantile(),
    Reference(), LabelOnly(), Correctness(), GradientNorm(),
)  # fmt: skip


class Stranger(Attack):
    """Declares nothing."""

    name: Literal["stranger"] = "stranger"

    def score(self, signals: Signals) -> AttackScores:
        """The largest logit."""
        return AttackScores(signals.target.logits[0].double().amax(-1))


class Forgetful(Stranger):
    """Declares one thing and reads another."""

    name: Literal["forgetful"] = "forgetful"  # type: ignore[assignment]
    answers: ClassVar[tuple[str, ...]] = ("log_odds",)


class Confused(Stranger):
    """Declares what there is not."""

    name: Literal["confused"] = "confused"  # type: ignore[assignment]
    answers: ClassVar[tuple[str, ...]] = ("logodds",)


def with_logits(attack: Attack) -> Signals:
    """Made-up signals of an attack as if it had declared nothing."""
    like = Stranger()
    for name in ("queries", "noise", "signals", "shadows"):
        object.__setattr__(like, name, getattr(attack, name))
    return tiny_signals(like)


def in_tables(outputs: Outputs, names: tuple[str, ...], y: torch.Tensor) -> Outputs:
    """The same answers, of which only some reductions are kept."""
    every = torch.arange(len(y))
    one = outputs.logits.ndim == 3
    logits = outputs.logits[None] if one else outputs.logits
    kept = {name: MemoryTable(reduced(name, logits, y, every)) for name in names}
    some = outputs.changed(logits=None, kept=kept)
    return some.changed(chosen=0) if one else some


@pytest.mark.parametrize("attack", DECLARING, ids=repr)
def test_scores_are_the_same_from_reduced_answers(attack: Attack) -> None:
    signals = with_logits(attack)
    names = needed_answers(attack)
    small = replace(
        signals,
        target=in_tables(signals.target, names, signals.y),
        shadows=in_tables(signals.shadows, names, signals.y),
    )
    assert not small.target.has_logits
    one, other = attack.score(signals), scored(attack, small)
    assert torch.equal(one.score[signals.audited], other.score[signals.audited])
    assert (one.decision is None) == (other.decision is None)
    if one.decision is not None and other.decision is not None:
        assert torch.equal(one.decision, other.decision)


def test_reductions_are_the_formulas() -> None:
    logits, y = torch.randn(2, 3, 7, 5), torch.arange(7) % 5
    p = logits.double().softmax(-1)
    own = p.gather(-1, y.expand(2, 3, 7)[..., None])[..., 0]
    outputs = Outputs(logits, labels=y)
    assert (outputs.log_odds - (own.log() - torch.log1p(-own))).abs().max() < 1e-12
    assert (outputs.label_probability - own).abs().max() < 1e-7
    assert torch.equal(outputs.predicted.long(), logits.argmax(-1))
    assert torch.equal(outputs.top, p.sort(dim=-1, descending=True).values[..., :3])
    halved = Outputs(logits / 2, labels=y).log_odds
    assert (outputs.of("log_odds@2.0") - halved).abs().max() < 1e-12


def test_what_was_not_declared_is_one_plain_line() -> None:
    with pytest.raises(PrivauditError, match=r"'logits' is not kept .* `answers: ClassVar") as told:
        scored(Forgetful(), tiny_signals(Forgetful()))
    assert "\n" not in str(told.value)
    with pytest.raises(PrivauditError, match="'top' is not kept"):
        _ = tiny_signals(Forgetful()).target.top
    with pytest.raises(PluginError, match="names 'logodds': there are 'logits', 'log_odds'"):
        needed_answers(Confused())


def test_logits_are_kept_for_who_declares_nothing_and_where_they_are_less() -> None:
    assert kept_kinds([Loss(), LiRA()], 10) == {
        "log_odds": 1, "label_probability": 1, "predicted": 1,
    }  # fmt: skip
    assert kept_kinds([Loss(), Stranger()], 10) is None
    assert kept_kinds([LiRA(), RMIA()], 10) is None  # ten float64 against ten float32
    assert len(kept_kinds([LiRA(), RMIA()], 100) or {}) == 12
    signals = with_logits(Loss())
    assert seen_by(Stranger(), signals.target, signals.y).has_logits
    assert not seen_by(Loss(), signals.target, signals.y).has_logits


def test_networks_too_sure_for_the_declared_temperatures_keep_their_logits() -> None:
    attack = RMIA()
    assert overrides(attack, "answers_suffice")
    logits, y = torch.randn(3, 1, 8, 4), torch.arange(8) % 4
    rows = torch.arange(8)
    for scale, enough in ((1.0, True), (1000.0, False)):
        sure = logits + scale * torch.nn.functional.one_hot(y, 4)
        outputs = in_tables(Outputs(sure), needed_answers(attack), y)
        assert attack.answers_suffice(outputs, rows) is enough


RECIPE = {
    "name": "kept",
    "dataset": "digits",
    "split": {"protocol": "halves", "members": 300, "validation": 0, "targets": "all"},
    "model": {"name": "mlp", "hidden": [8]},
    "training": {"epochs": 2, "lr": 0.1},
    "shadows": 4,
    "attacks": ["loss", "lira"],
}


@pytest.mark.parametrize("in_files", [False, True])
def test_networks_of_a_level_answer_alike_reduced_or_not(
    in_files: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if in_files:
        monkeypatch.setattr(kept_module, "MOST_HELD", 0)
    found = []
    for number, attacks in enumerate((["loss", "lira"], ["loss", "lira", "entropy"])):
        recipe = load_recipe(RECIPE | {"attacks": attacks})
        context = run_context(recipe, device="cpu", cache=tmp_path)
        (level,) = levels(context, recipe.subjects()[0])
        assert level.outputs.has_logits == bool(number)
        found.append(level.outputs)
    small, whole = found
    assert isinstance(small.kept["log_odds"], FileTable if in_files else MemoryTable)
    y = context.examples.y
    assert torch.equal(small.log_odds, whole.of("log_odds", None, y))
    assert torch.equal(predictions(small), predictions(whole))
    rows = torch.arange(5, 50, 3)
    assert torch.equal(confidences(small[2], rows, y), confidences(whole[2], rows, y))
    members = context.ensemble.learned
    pairs = zip(fitnesses(small, y, members), fitnesses(whole, y, members), strict=True)
    for one, other in pairs:
        assert (one.members, one.bounded) == (other.members, other.bounded)
        assert one.loss == pytest.approx(other.loss, rel=1e-5)
    assert not lost(small).any()
    both = joined_outputs([small[2:], small[:2]])
    assert torch.equal(both.log_odds, torch.cat([small.log_odds[2:], small.log_odds[:2]]))
    with shared_outputs(small) as files:
        assert torch.equal(pickle.loads(pickle.dumps(files)).load().log_odds, small.log_odds)


def test_files_of_answers_are_gone_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_module, "MOST_HELD", 0)
    tables = new_tables({"log_odds": 2, "top": 1}, 3, 10)
    tables["top"].write(1, 0, 4, torch.full((2, 3), 0.25).double())
    assert set(tables["top"].read(1)[0, 4:6].flatten().tolist()) == {0.25}
    assert tables["top"].read(1, torch.tensor([3, 5]))[0].tolist() == [[0.0] * 3, [0.25] * 3]
    table = tables["log_odds"]
    assert isinstance(table, FileTable)
    path = table.path
    assert path.stat().st_size == 3 * 2 * 10 * 8
    del tables, table
    assert not path.exists()


def test_memory_of_attacks_is_linear_and_below_their_logits() -> None:
    """Two sizes in processes of their own: at most 0.4 of 100 classes' logits are added."""
    added = []
    for rows in (2_000, 10_000):
        code = (
            "import json; from benchmarks._attacked import attacked; "
            f"print(json.dumps(attacked(16, {rows}, 100, 1, False)))"
        )
        root = Path(__file__).parents[2]
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
        )
        one = json.loads(done.stdout)
        added.append((one["peak"] - one["before"]) * 2**20)
    logits = 4 * 16 * 8_000 * 100
    assert added[1] - added[0] < 0.4 * logits
