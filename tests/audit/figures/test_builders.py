from __future__ import annotations

from dataclasses import replace
from math import isnan, nan
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import beta

from made_up_runs import made_up_run
from plotted_runs import plotted_run
from privaudit import load_recipe
from privaudit import run as run_recipe
from privaudit.errors import RecipeError, StoreError
from privaudit.events import EpochDone, Event
from privaudit.figures.figure import NEUTRAL, Figure, Series
from privaudit.figures.kinds import KINDS, figure
from privaudit.report import compare
from privaudit.store.failure import Failure
from privaudit.store.result import RunResult


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return plotted_run(tmp_path_factory.mktemp("run"))


def _series(drawn: Figure, label: str) -> Series:
    return next(series for series in drawn.series if series.label == label)


def _scores(run: RunResult, number: int) -> tuple[np.ndarray, np.ndarray]:
    assert run.folder is not None
    arrays = np.load(run.folder / "scores.npz")
    return arrays[f"score_{number}"], arrays[f"member_{run.audits[number].seed}_0"]


def test_the_tradeoff_shows_what_the_report_says(run: RunResult) -> None:
    (drawn,) = figure([run], "tradeoff", attack="loss")
    rows = {row.name: row for row in compare([run])}
    imp = _series(drawn, "imp")
    assert imp.names == ("imp / round 1", "imp / round 2")
    for n, name in enumerate(imp.names):
        row, defense = rows[name], rows[name].attacks["loss"].metrics["defense"]
        assert defense is not None
        assert (imp.x[n], imp.y[n]) == (row.test.mean, defense.mean)
        assert imp.low is not None
        assert imp.high is not None
        assert (imp.low[n], imp.high[n]) == (defense.low, defense.high)
    # accuracies of 0.88 and 0.86: a standard deviation of 0.02 / sqrt(2)
    assert imp.x_high is not None
    assert imp.x_high[0] - imp.x[0] == pytest.approx(0.02 / 2**0.5)


def test_the_means_are_those_of_the_audits(run: RunResult) -> None:
    (drawn,) = figure([run], "tradeoff", metric="auc")
    dense = _series(drawn, "dense")
    aucs = []
    for number in (0, 1):  # of the two seeds
        scores, member = _scores(run, number)
        aucs.append((scores[member][:, None] > scores[~member]).mean())
    assert dense.y == pytest.approx((np.mean(aucs),))
    assert dense.x == pytest.approx((0.89,))


def test_a_control_is_joined_to_its_subject(run: RunResult) -> None:
    (drawn,) = figure([run], "tradeoff")
    imp, control = _series(drawn, "imp"), _series(drawn, "dense matched to imp")
    assert control.hollow
    assert not imp.hollow
    assert control.colour == imp.colour != _series(drawn, "dense").colour
    (thread,) = (series for series in drawn.series if series.thin)
    assert thread.x == (imp.x[1], control.x[0])
    assert thread.y == (imp.y[1], control.y[0])


def test_the_front_holds_who_is_beaten_by_nobody(run: RunResult) -> None:
    (drawn,) = figure([run], "tradeoff")
    front = _series(drawn, "Pareto front")
    points = [
        (x, y)
        for series in drawn.series
        if series.mark == "points"
        for x, y in zip(series.x, series.y, strict=True)
    ]

    def beaten(x: float, y: float) -> bool:
        leak = abs(1 - y)
        return any(
            (other[0] >= x and abs(1 - other[1]) < leak)
            or (other[0] > x and abs(1 - other[1]) <= leak)
            for other in points
        )

    assert set(zip(front.x, front.y, strict=True)) == {p for p in points if not beaten(*p)}
    assert front.colour == NEUTRAL


def test_no_control_no_hollow_mark_and_no_word_of_it(tmp_path: Path) -> None:
    (drawn,) = figure([plotted_run(tmp_path, controls=False)], "tradeoff")
    assert not any(series.hollow for series in drawn.series)
    assert not any("Hollow" in note for note in drawn.notes)


def test_density_is_drawn_against_accuracy_and_leak(run: RunResult) -> None:
    accuracy, leak = figure([run], "density")
    assert (accuracy.x, accuracy.x.scale) == (leak.x, "log")
    assert _series(accuracy, "imp").x == (0.5, 0.1)
    assert _series(accuracy, "imp").y == pytest.approx((0.87, 0.79))
    rows = {row.name: row for row in compare([run])}
    aucs = [rows[f"imp / round {n}"].attacks["loss"].metrics["auc"] for n in (1, 2)]
    assert _series(leak, "imp").y == tuple(auc.mean for auc in aucs if auc)
    line = next(series for series in leak.series if series.mark == "line")
    assert (line.x, line.y) == (_series(leak, "imp").x, _series(leak, "imp").y)


def test_a_roc_is_the_mean_of_its_networks(run: RunResult) -> None:
    (drawn,) = figure([run], "roc", attack="loss", level="dense")
    mean = _series(drawn, "loss")
    thin = [series for series in drawn.series if series.thin]
    assert [series.mark for series in thin] == ["steps", "steps"]
    expected = []
    for number in (0, 1):
        scores, member = _scores(run, number)
        rates = []
        for rate in mean.x:
            called = int(np.floor(rate * 150 + 1e-9))  # non-members that may be called members
            threshold = np.sort(scores[~member])[::-1][called] if called < 150 else -np.inf
            rates.append((scores[member] > threshold).mean())
        assert thin[number].y == pytest.approx(rates)
        expected.append(rates)
    assert mean.y == pytest.approx(np.mean(expected, 0))


def test_the_band_is_that_of_the_report(run: RunResult) -> None:
    (drawn,) = figure([run], "roc", level="imp/round 1")
    band = next(series for series in drawn.series if series.mark == "band")
    row = next(row for row in compare([run]) if row.name == "imp / round 1")
    reported = row.attacks["loss"].metrics["tpr@0.1"]
    assert reported is not None
    assert band.low is not None
    assert band.high is not None
    at = band.x.index(0.1)
    assert (band.y[at], band.low[at], band.high[at]) == (
        reported.mean,
        reported.low,
        reported.high,
    )
    assert all(0 <= low <= y <= high <= 1 for low, y, high in zip(band.low, band.y, band.high))  # noqa: B905


def test_the_band_is_no_narrower_than_the_count_of_members_allows(tmp_path: Path) -> None:
    (drawn,) = figure([plotted_run(tmp_path, seeds=1)], "roc", level="dense")
    band = next(series for series in drawn.series if series.mark == "band")
    assert band.low is not None
    for y, low in zip(band.y, band.low, strict=True):
        hits = round(120 * y)
        exact = beta.ppf(0.025, hits, 121 - hits) if hits else 0.0
        assert low <= exact + 1e-12
    assert not any(series.thin for series in drawn.series)  # one network is its own mean


def test_what_cannot_be_resolved_is_a_zone_without_a_curve(run: RunResult) -> None:
    (drawn,) = figure([run], "roc")
    (zone,) = drawn.zones
    assert (zone.low, zone.high) == (0.001, 1 / 150)
    assert zone.low == drawn.x.low
    for series in drawn.series:
        if series.label != "guess":
            assert min(series.x) == 1 / 150
    guess = _series(drawn, "guess")
    assert guess.x == guess.y
    assert (guess.x[0], guess.x[1]) == (max(0.001, drawn.y.low or 0.0), 1.0)


def test_a_roc_without_a_level_is_of_the_most_exposed(run: RunResult) -> None:
    (drawn,) = figure([run], "roc")
    aucs = {row.name: row.attacks["loss"].metrics["auc"] for row in compare([run])}
    most = max(aucs, key=lambda name: auc.mean if (auc := aucs[name]) else 0.0)
    assert drawn.title == f"ROC of attacks on {most}"


def test_a_level_that_the_strongest_attack_lacks_is_drawn_by_the_others(run: RunResult) -> None:
    assert run.folder is not None
    weak = tuple(
        replace(audit, attack="other" if audit.level == "round 2" else "loss")
        for audit in run.audits
    )
    (drawn,) = figure([replace(run, audits=weak)], "roc", level="imp/round 2")
    assert [series.label for series in drawn.series if series.label] == [
        "guess",
        "other",
    ]
    with pytest.raises(RecipeError, match="'imp/round 2' is not known"):
        figure([replace(run, audits=weak)], "roc", attack="loss", level="imp/round 2")


def test_histograms_count_every_example_once(run: RunResult) -> None:
    (drawn,) = figure([run], "scores", level="dense")
    assert [series.label for series in drawn.series] == ["non-members (300)", "members (240)"]
    others, members = drawn.series
    assert sum(members.y) == pytest.approx(1)
    assert sum(others.y) == pytest.approx(1)
    half = (members.x[1] - members.x[0]) / 2
    every = [_scores(run, number) for number in (0, 1)]
    inside = np.concatenate([scores[member] for scores, member in every])
    bar = 20
    counted = ((inside >= members.x[bar] - half) & (inside < members.x[bar] + half)).mean()
    assert members.y[bar] == pytest.approx(counted)
    beyond = ((inside < members.x[0] + half).mean(), members.y[0])
    assert beyond[0] == pytest.approx(beyond[1])


def test_infinite_scores_are_in_the_outermost_bars(tmp_path: Path) -> None:
    run = plotted_run(tmp_path, seeds=1)
    path = tmp_path / "scores.npz"
    arrays = dict(np.load(path))
    arrays["score_0"] = np.where(np.arange(270) < 60, np.inf, arrays["score_0"])
    np.savez(path, **arrays)
    (drawn,) = figure([run], "scores", level="dense")
    assert drawn.series[1].y[-1] >= 0.5
    assert sum(drawn.series[1].y) == pytest.approx(1)
    assert any("beyond the axis" in note for note in drawn.notes)


def test_what_is_not_known_is_left_out_and_named(run: RunResult) -> None:
    audits = [
        replace(audit, metrics={**audit.metrics, "defense": None, "balanced_accuracy": None})
        if audit.level == "round 1"
        else audit
        for audit in run.audits
    ]
    failure = Failure("slim", "it broke", level="round 9", attack="loss")
    (drawn,) = figure([replace(run, audits=tuple(audits), failures=(failure,))], "tradeoff")
    assert _series(drawn, "imp").names == ("imp / round 2",)
    told = next(note for note in drawn.notes if note.startswith("Left out"))
    assert "imp / round 1 (not known)" in told
    assert "slim / round 9 (failed)" in told


def test_two_runs_are_told_apart(run: RunResult, tmp_path: Path) -> None:
    other = plotted_run(tmp_path, name="other")
    (drawn,) = figure([run, other], "tradeoff")
    assert {"plotted: imp", "other: imp"} <= {series.label for series in drawn.series}
    assert len(figure([run, other], "roc")) == 2


def test_a_run_without_scores_says_so(tmp_path: Path) -> None:
    bare = plotted_run(tmp_path, kept=False)
    for kind in ("roc", "scores"):
        with pytest.raises(StoreError, match="has not kept who was a member"):
            figure([bare], kind)
    assert figure([bare], "tradeoff")


def test_a_run_without_epochs_says_so(run: RunResult) -> None:
    with pytest.raises(StoreError, match="has not kept its epochs") as caught:
        figure([run], "curves")
    assert "\n" not in str(caught.value)


def test_training_curves_are_means_of_those_that_still_train(tmp_path: Path) -> None:
    run = plotted_run(tmp_path, epochs=4)
    loss, accuracy = figure([run], "curves", level="dense")
    networks = [[1, 1 / 2, 1 / 3, 1 / 4], [1 / 2, 1 / 3, 1 / 4]]
    mean = _series(loss, "training loss")
    assert mean.x == (1, 2, 3, 4)
    assert mean.y == pytest.approx((3 / 4, 5 / 12, 7 / 24, 1 / 4))
    thin = [series for series in loss.series if series.thin]
    for series, values in zip(thin, networks, strict=True):
        assert series.y[: len(values)] == pytest.approx(values)
        assert all(map(isnan, series.y[len(values) :]))
    members = _series(accuracy, "training accuracy")
    assert members.y == pytest.approx([1 - y / 2 for y in mean.y])
    validation = _series(accuracy, "validation accuracy")
    assert validation.y == (0.5,) * 4
    assert validation.dashed
    assert "from 0.75 to 0.25 in 4 epochs" in loss.alternative


def test_what_a_training_left_is_kept_with_the_scores(tmp_path: Path) -> None:
    recipe = load_recipe(
        {
            "name": "short",
            "dataset": "digits",
            "split": {"members": 40, "non_members": 40, "validation": 10},
            "model": {"name": "mlp", "hidden": [4]},
            "training": {"epochs": 3, "lr": 0.1},
            "shadows": 2,
            "sparsifiers": ["dense", {"name": "imp", "rounds": 1}],
            "attacks": ["loss"],
        }
    )
    told: list[EpochDone] = []

    def note(event: Event) -> None:
        if isinstance(event, EpochDone):
            told.append(event)

    result = run_recipe(recipe, tmp_path / "run", cache=tmp_path / "c", device="cpu", on_event=note)
    loss, accuracy = figure([result], "curves", level="imp/round 1")
    assert loss.series[-1].x == (1, 2, 3)
    kept = np.load(tmp_path / "run" / "scores.npz")
    assert kept["epoch_loss_0"].shape == (3,)
    assert min(kept["epoch_loss_0"]) < kept["epoch_loss_0"][0]
    assert {series.label for series in accuracy.series} == {
        "training accuracy",
        "validation accuracy",
    }
    # from the cache, trained nothing: the same epochs
    trained = len(told)
    run_recipe(recipe, tmp_path / "more", cache=tmp_path / "c", device="cpu", on_event=note)
    again = np.load(tmp_path / "more" / "scores.npz")
    assert len(told) == trained
    for name in kept.files:
        assert np.array_equal(kept[name], again[name]), name


@pytest.mark.parametrize(
    ("kind", "choices", "message"),
    [
        ("pie", {}, "unknown kind of plot 'pie'"),
        ("roc", {"attack": "los"}, "did you mean 'loss'"),
        ("tradeoff", {"attack": "los"}, "did you mean 'loss'"),
        ("roc", {"level": "imp/round 7"}, "--level 'imp/round 7' is not known"),
        ("roc", {"metric": "auc"}, "--metric is for plots of the kind tradeoff, density, not roc"),
        ("density", {"metric": "acu"}, "did you mean 'auc'"),
        ("density", {"metric": "auc,defense"}, "one name"),
        ("density", {"metric": "tpr@0.0001"}, "no network has a tpr@0.0001 of loss"),
        ("tradeoff", {"level": "imp"}, "--level is for plots of the kind roc, scores, curves"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(
    run: RunResult, kind: str, choices: dict[str, str], message: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        figure([run], kind, **choices)  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nothing_to_plot_is_said(run: RunResult) -> None:
    for kind in KINDS:
        with pytest.raises((StoreError, RecipeError), match="there is nothing to plot"):
            figure([replace(run, audits=())], kind)


def test_every_figure_says_in_a_sentence_what_it_shows(tmp_path: Path) -> None:
    run = plotted_run(tmp_path, epochs=3)
    for kind in KINDS:
        for drawn in figure([run], kind):
            assert drawn.kind == kind
            assert drawn.alternative.endswith((".", "nothing."))
            assert str(nan) not in drawn.alternative


def test_of_many_attacks_the_strongest_are_drawn_and_the_others_are_named(tmp_path: Path) -> None:
    attacks = [f"attack {n}" for n in range(8)]  # each stronger than the one before
    many = made_up_run(tmp_path / "run", attacks=attacks, seeds=1, examples=2000)
    (drawn,) = figure([many], "roc")
    labels = [series.label for series in drawn.series if series.mark == "line" and series.label]
    assert labels == ["guess", *attacks[2:]]  # a legend begins with the last
    assert any(note.startswith("Left out, as weaker: attack 1, attack 0;") for note in drawn.notes)
