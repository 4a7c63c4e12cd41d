from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from privaudit.doubts.attacks import attack_doubts, attacks_doubts, mute
from privaudit.doubts.doubt import Doubt, check_accepted, still_open
from privaudit.errors import RecipeError
from privaudit.gate import judge, parse_gate
from privaudit.statistics.metrics import evaluate


def _metrics(**changes: Any) -> dict[str, Any]:
    """Metrics of one attack on 500 non-members, every interval from 0.4 to 0.6."""
    interval = {"value": 0.5, "low": 0.4, "high": 0.6}
    rates: dict[str, Any] = {"0.1": interval, "0.01": interval, "0.001": None, "0.0001": None}
    metrics = {"auc": interval, "balanced_accuracy": interval, "tpr_at_fpr": rates}
    return {**metrics, "defense": 1.0, "members": 400, "non_members": 500, **changes}


@pytest.mark.parametrize("metric", ["auc", "balanced_accuracy", "tpr@0.1", "tpr@0.01"])
def test_the_upper_limit_must_be_below_the_gate(metric: str) -> None:
    found = {"loss": _metrics()}
    for limit, passed in (("0.55", False), ("0.6", False), ("0.601", True)):
        verdict = judge(parse_gate(f"{metric}<{limit}"), found)
        assert (verdict.passed, verdict.reached, verdict.attacks) == (passed, 0.6, ("loss",))


def test_the_defense_is_judged_by_its_lower_limit() -> None:
    # Accuracy of at most 0.6 leaves a defense of at least 2 (1 - 0.6) = 0.8.
    found = {"loss": _metrics()}
    assert judge(parse_gate("defense>0.79"), found).passed
    broken = judge(parse_gate("defense>0.81"), found)
    assert not broken.passed
    assert broken.reached == pytest.approx(0.8)
    # An attack that is wrong in up to 80 % of its calls is as good as one that is right in 80 %.
    interval = {"value": 0.3, "low": 0.2, "high": 0.4}
    wrong = judge(parse_gate("defense>0.9"), {"a": _metrics(balanced_accuracy=interval)})
    assert (wrong.passed, wrong.reversed) == (False, True)
    assert wrong.reached == pytest.approx(0.4)


@pytest.mark.parametrize("metric", ["auc", "balanced_accuracy", "advantage"])
def test_a_leak_in_the_wrong_direction_breaks_a_gate(metric: str) -> None:
    scores, members = np.arange(2000.0), np.arange(2000) >= 1000
    for sign in (1, -1):
        found = {"loss": evaluate(sign * scores, members, sign * scores > sign * 999.5)}
        verdict = judge(parse_gate(f"{metric}<0.9"), found)
        assert (verdict.passed, verdict.reversed) == (False, sign < 0)
        assert verdict.reached is not None
        assert verdict.reached > 0.99
    assert "with scores reversed (loss)" in verdict.sentence()
    # What guesses is the same in both directions.
    noise = np.random.default_rng(0).normal(size=2000)
    assert judge(parse_gate(f"{metric}<0.6"), {"a": evaluate(noise, members, noise > 0)}).passed


@pytest.mark.parametrize("gate", ["defense>0.5", "balanced_accuracy<0.9"])
def test_one_verdict_for_all_examples_is_no_protection(gate: str) -> None:
    rng = np.random.default_rng(0)
    members = np.arange(1000) < 500
    scores = rng.normal(size=1000) + 3 * members  # a leak that the threshold is too low to see
    told = {"loss": evaluate(scores, members, scores > -9)}
    assert told["loss"]["balanced_accuracy"]["value"] == 0.5
    verdict = judge(parse_gate(gate), told)
    assert not verdict.passed
    assert "gives 100 % of examples one verdict" in verdict.sentence()
    assert judge(parse_gate("auc<0.999"), told).passed
    some = {"loss": evaluate(scores, members, scores > np.quantile(scores, 0.02))}
    assert judge(parse_gate("defense>0.5"), some).passed


def test_an_open_doubt_breaks_a_gate_that_the_numbers_keep() -> None:
    gate, doubt = parse_gate("auc<0.9"), Doubt("says_nothing", "attack 'a'", "all alike")
    assert judge(gate, {"a": _metrics()}).passed
    verdict = judge(gate, {"a": _metrics()}, [doubt, doubt])
    assert (verdict.passed, verdict.doubts, verdict.reached) == (False, ("says_nothing",), 0.6)
    assert verdict.sentence() == (
        "gate auc<0.9: CANNOT BE TOLD for the open doubt says_nothing, though the upper "
        "confidence limit 0.6 (a) would keep it: clear it up, or accept it by --accept-doubt "
        "says_nothing"
    )
    assert judge(gate, {"a": _metrics()}, still_open([doubt], ["says_nothing"])).passed
    assert still_open([doubt], ["below_half"]) == (doubt,)
    with pytest.raises(RecipeError, match="unknown doubt 'say_nothing'; did you mean"):
        check_accepted(["below_half", "say_nothing"])


def test_an_attack_whose_scores_are_alike_says_nothing() -> None:
    members = np.arange(1000) < 500
    few = np.where(np.arange(1000) % 20 == 0, np.arange(1000), 0.0)  # 95 % alike
    some = np.where(np.arange(1000) % 5 == 0, np.arange(1000), 0.0)  # 80 %
    for scores, silent in (
        (np.zeros(1000), True),
        (few, True),
        (some, False),
        (np.arange(1000) % 20 == 0, False),  # an attack that says yes or no
        (np.arange(1000) == 3, True),
    ):
        metrics = evaluate(np.asarray(scores, float), members)
        assert mute(metrics) == silent
        names = [doubt.name for doubt in attack_doubts("a", metrics)]
        assert ("says_nothing" in names) == silent
    old = {key: metrics[key] for key in metrics if key not in ("largest_tie", "distinct_scores")}
    assert not mute(old)


def test_an_attack_that_gives_verdicts_is_doubted_only_where_no_other_speaks() -> None:
    members = np.arange(400) < 200
    alike = evaluate(np.ones(400), members)
    loud = evaluate(np.arange(400.0)[::-1], members)
    for records, verdicts, doubted in (
        ({"right": alike, "loss": loud}, ["right"], []),
        ({"right": alike}, ["right"], ["right"]),
        ({"right": alike, "rmia": alike}, ["right"], ["right", "rmia"]),
        ({"right": alike, "rmia": alike, "loss": loud}, ["right"], ["rmia"]),
    ):
        doubts = attacks_doubts(records, verdicts)
        assert [doubt.about for doubt in doubts] == [f"attack {label!r}" for label in doubted]


@pytest.mark.parametrize(("high", "doubted"), [(0.49, True), (0.51, False)])
def test_an_interval_below_one_half_is_said_in_words(high: float, doubted: bool) -> None:
    interval = {"value": 0.45, "low": 0.4, "high": high}
    for name in ("auc", "balanced_accuracy"):
        doubts = attack_doubts("a", _metrics(**{name: interval}))
        assert [doubt.name for doubt in doubts] == ["below_half"] * doubted
        assert all("Membership may be inverted" in doubt.sentence for doubt in doubts)


@pytest.mark.parametrize("gate", ["auc<0.65", "defense>0.7"])
def test_the_strongest_attack_breaks_a_gate(gate: str) -> None:
    strong = {"value": 0.8, "low": 0.7, "high": 0.9}
    found = {
        "weak": _metrics(),
        "strong": _metrics(auc=strong, balanced_accuracy=strong),
        "also weak": _metrics(),
    }
    verdict = judge(parse_gate(gate), found)
    assert (verdict.passed, verdict.attacks) == (False, ("strong",))
    del found["strong"]
    assert judge(parse_gate(gate), found).passed


def test_what_cannot_be_resolved_breaks_a_gate() -> None:
    verdict = judge(parse_gate("tpr@0.001<0.99"), {"loss": _metrics(), "lira": _metrics()})
    assert (verdict.passed, verdict.reached, verdict.attacks) == (False, None, ("loss", "lira"))
    assert verdict.sentence() == (
        "gate tpr@0.001<0.99: CANNOT BE TOLD, not resolvable with 500 non-members: it takes "
        "1000 or more (loss, lira)"
    )


@pytest.mark.parametrize("gate", ["defense>0.01", "balanced_accuracy<0.99"])
def test_an_attack_without_a_decision_breaks_a_gate_on_it(gate: str) -> None:
    found = {"loss": _metrics(), "rmia": _metrics(balanced_accuracy=None, defense=None)}
    verdict = judge(parse_gate(gate), found)
    assert (verdict.passed, verdict.attacks) == (False, ("rmia",))
    assert "no threshold was chosen" in verdict.sentence()


def test_no_attacks_and_no_numbers_break_a_gate() -> None:
    gate = parse_gate("auc<0.9")
    assert not judge(gate, {}).passed
    nan = {"value": 0.5, "low": 0.4, "high": float("nan")}
    assert not judge(gate, {"a": _metrics(), "b": _metrics(auc=nan)}).passed


def test_a_limit_just_over_the_gate_is_not_rounded_under_it() -> None:
    interval = {"value": 0.5, "low": 0.4, "high": 0.600001}
    sentence = judge(parse_gate("auc<0.6000005"), {"a": _metrics(auc=interval)}).sentence()
    assert sentence == "gate auc<0.6000005: BROKEN, upper confidence limit 0.600001 (a)"


def test_metrics_as_they_are_measured() -> None:
    members = [1] * 1000 + [0] * 1000
    blind = evaluate([0.0] * 2000, members)
    sharp = evaluate(members, members, decision=members)
    gate = parse_gate("tpr@0.001<0.01")
    # 0 of 1,000: the exact upper 97.5 % limit is 1 - 0.025 ** (1 / 1000).
    kept = judge(gate, {"blind": blind})
    assert kept.passed
    assert kept.reached == pytest.approx(1 - 0.025**0.001)
    assert not judge(gate, {"blind": blind, "sharp": sharp}).passed
    assert not judge(parse_gate("defense>0.5"), {"sharp": sharp}).passed


def test_rates_may_be_spelled_as_any_number() -> None:
    assert parse_gate(" tpr@1e-2 < 5e-1 ").metric == parse_gate("tpr@.010<.5").metric == "tpr@0.01"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("auc", "is not METRIC<NUMBER"),
        ("auc<=0.6", "is not METRIC<NUMBER"),
        ("0.4<auc<0.6", "is not METRIC<NUMBER"),
        ("auk<0.6", "did you mean 'auc'?"),
        ("tpr@0.05<0.6", "unknown metric 'tpr@0.05'"),
        ("tpr<0.6", "unknown metric 'tpr'"),
        ("best_balanced_accuracy<0.6", "has no confidence interval"),
        ("auc>0.6", "less is safer, so write auc<0.6"),
        ("defense<0.6", "more is safer, so write defense>0.6"),
        ("auc<high", "'high' must be a number between 0 and 1"),
        ("auc<nan", "'nan' must be a number between 0 and 1"),
        ("auc<1", "'1' must be a number between 0 and 1"),
        ("defense>0", "'0' must be a number between 0 and 1"),
        ("tpr@0.01<1%", "'1%' must be a number between 0 and 1"),
    ],
)
def test_gates_that_would_prove_nothing_are_refused(text: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_gate(text)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"--gate {text}: ")
    assert "\n" not in str(caught.value)


def _bounded(**bounds: float) -> dict[str, Any]:
    return _metrics(**bounds, provable=dict.fromkeys(bounds, 12.0))


def test_a_proven_epsilon_breaks_its_gate_and_a_smaller_one_only_fails_to() -> None:
    gate = parse_gate("epsilon<8")
    broken = judge(gate, {"weak": _bounded(epsilon=0.5), "strong": _bounded(epsilon=9.25)})
    assert not broken.passed
    assert broken.sentence() == "gate epsilon<8: BROKEN, proven lower bound 9.25 (strong)"
    assert broken.caveat == ""
    kept = judge(gate, {"weak": _bounded(epsilon=0.5), "other": _bounded(epsilon=2.0)})
    assert kept.passed
    assert kept.sentence() == (
        "gate epsilon<8: not disproved, proven lower bound 2 (other); not disproved is not safe: "
        "a stronger attack, or more examples, may prove a larger epsilon"
    )
    assert "passed" not in kept.sentence()
    assert not judge(gate, {"a": _bounded(epsilon=8.0)}).passed


def test_a_gate_that_no_attack_could_break_is_broken() -> None:
    # 100 of each side: a perfect attack proves 2.85, whatever the network does.
    record = evaluate([0.0] * 200, [1] * 100 + [0] * 100)
    verdict = judge(parse_gate("epsilon<8"), {"loss": record})
    assert (verdict.passed, verdict.reached, verdict.attacks) == (False, None, ("loss",))
    assert verdict.sentence() == (
        "gate epsilon<8: CANNOT BE TOLD, not resolvable: with 100 members and 100 non-members "
        "even a perfect attack proves no more than 2.85: audit more, or lower the limit (loss)"
    )
    assert judge(parse_gate("epsilon<2.8"), {"loss": record}).passed
    assert not judge(parse_gate("epsilon<2.9"), {"loss": record}).passed


def test_bounds_of_one_run_need_coins() -> None:
    scores, members = range(400), [row % 2 for row in range(400)]
    verdict = judge(parse_gate("one_run_epsilon<1"), {"loss": evaluate(scores, members)})
    assert (
        "CANNOT BE TOLD, unknown, as no coin decided on each example's membership"
        in verdict.sentence()
    )
    assert judge(
        parse_gate("one_run_epsilon<1"), {"loss": evaluate(scores, members, coins=True)}
    ).passed


@pytest.mark.parametrize("text", ["epsilon<0", "epsilon<-1", "epsilon<inf", "epsilon<nan"])
def test_the_limit_of_an_epsilon_is_any_number_above_zero(text: str) -> None:
    assert parse_gate("epsilon<100").limit == 100
    with pytest.raises(RecipeError, match="must be a number above 0"):
        parse_gate(text)


def test_a_verdict_is_true_where_it_passed() -> None:
    gate = parse_gate("auc<0.6")
    for high in (0.55, 0.7):
        metrics = {"loss": {"auc": {"value": 0.5, "low": 0.45, "high": high}}}
        assert bool(judge(gate, metrics)) == (high < 0.6)
