"""The answers in plain words: one for each question, and no more than the numbers carry."""

from __future__ import annotations

from privaudit.explain.disentangle import Disentangled
from privaudit.report.columns import Style
from privaudit.report.rows import UNEQUAL, Summary
from privaudit.statistics.intervals import Estimate


def answers(disentangled: Disentangled, style: Style) -> list[tuple[str, str]]:
    """Questions and answers about one attack, labels made safe by the style."""
    return [
        (
            "Does sparsity go with privacy?",
            _privacy(disentangled, style.escape(disentangled.attack)),
        ),
        ("Does error explain it?", _error(disentangled)),
        ("What is left at equal accuracy?", _left(disentangled)),
        ("Is the gain in privacy more than the loss in accuracy buys?", _buys(disentangled)),
    ]


def cautions(disentangled: Disentangled, runs: int, style: Style) -> list[str]:
    """What the numbers rest on."""
    lines = [
        f"{_count(disentangled.networks, 'network')} of {_count(disentangled.seeds, 'seed')}, "
        "without matched controls; intervals of 95 %. Correlation is not cause: the recipe chose "
        "these networks."
    ]
    if disentangled.seeds > 1:
        lines.append(
            "Networks of one seed share their data, levels of one network their training: they "
            "are not independent, and intervals allow for the spread over "
            f"{disentangled.seeds} seeds."
        )
    elif disentangled.targets > 1:
        lines.append(
            "There is one seed: intervals allow for the spread over its targets, which share its "
            "data, and not for that over seeds. They are too narrow."
        )
    else:
        lines.append(
            "All networks are of one seed and target, and not independent: the intervals take "
            "them as such and are too narrow. More seeds would tell."
        )
    if runs > 1:
        lines.append(
            f"Correlations are over {runs} runs at once: differences between their recipes count."
        )
    if disentangled.measure == "auc":
        lines.append(
            f"{style.escape(disentangled.attack)} does not decide about every network: its defense "
            "is taken as 2 (1 - AUC)."
        )
    return lines


def clear(estimate: Estimate | Summary | None) -> int:
    """1 or -1 where the interval lies above or below 0, else 0."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return 0
    return (estimate.low > 0) - (estimate.high < 0)


def correlation_text(estimate: Estimate | None) -> str:
    """A correlation with its interval."""
    if estimate is None:
        return "cannot be told"
    return f"{estimate.value:+.2f} [{estimate.low:+.2f}, {estimate.high:+.2f}]"


def points_text(difference: Summary) -> str:
    """A difference of shares in points of per cent, with its interval where it has one."""
    value = f"{100 * difference.mean:+.1f}"
    if difference.low is None or difference.high is None:
        return value
    return f"{value} [{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]"


def _privacy(disentangled: Disentangled, attack: str) -> str:
    both = disentangled.sparsity_defense
    if both.spearman is None:
        return (
            "It cannot be told: it takes at least 4 networks, and they must differ in sparsity and "
            "in defense."
        )
    sign = clear(both.spearman)
    numbers = f"(Spearman {correlation_text(both.spearman)})."
    text = {
        1: f"Yes: the sparser a network is, the better it withstands {attack}",
        0: f"Not clearly: sparsity and how well a network withstands {attack} may be unrelated",
        -1: f"The other way round: the sparser a network is, the worse it withstands {attack}",
    }[sign]
    if clear(both.pearson) != sign:
        numbers += f" Pearson's correlation does not agree: {correlation_text(both.pearson)}."
    return f"{text} {numbers}"


def _error(disentangled: Disentangled) -> str:
    sparse, wrong = disentangled.sparsity_error.spearman, disentangled.error_defense.spearman
    first = {
        1: "Sparser networks err more",
        0: "Sparsity and error do not clearly go together",
        -1: "Sparser networks err less",
    }[clear(sparse)]
    second = {
        1: "networks that err more are better defended",
        0: "error and defense do not clearly go together",
        -1: "networks that err more are worse defended",
    }[clear(wrong)]
    return (
        f"{first} ({correlation_text(sparse)}), and {second} ({correlation_text(wrong)}). "
        f"{_given_error(disentangled)}"
    )


def _given_error(disentangled: Disentangled) -> str:
    rest = disentangled.given_error.spearman
    if rest is None:
        return (
            "What goes with sparsity when error is held fixed cannot be told: too few networks, "
            "or numbers that do not vary apart."
        )
    before, after = clear(disentangled.sparsity_defense.spearman), clear(rest)
    finding = f"With error held fixed, sparsity and defense correlate by {correlation_text(rest)}"
    if after and after == before:
        return f"{finding}: error does not explain all of it."
    if after and before:
        return f"{finding}: error explains more than all of it, the relation turns round."
    if after:
        return f"{finding}: a relation shows that did not before."
    if before:
        return f"{finding}: error may explain all of it."
    return f"{finding}: there is no clear relation to explain."


def _left(disentangled: Disentangled) -> str:
    left = disentangled.at_equal_accuracy
    if left is None:
        return "Not measured: `matched: true` in the recipe trains dense controls that tell."
    text = {
        1: "Something: sparse networks are better defended than dense ones of their accuracy",
        0: "Nothing clear: sparse networks and dense ones of their accuracy differ little or "
        "unsteadily",
        -1: "Less than nothing: sparse networks are worse defended than dense ones of their "
        "accuracy",
    }[clear(left.difference)]
    if left.difference.low is None:
        text = "One pair of seed and target has no interval; sparse minus dense"
    text += (
        f" ({points_text(left.difference)} points of defense, {_count(left.pairs, 'pair')}; test "
        f"accuracy {100 * left.test_accuracy:.1f} % and {100 * left.control_accuracy:.1f} %)."
    )
    if abs(left.test_accuracy - left.control_accuracy) > UNEQUAL:
        text += " The accuracies are not equal: the match failed, and this tells little."
    return text


def _buys(disentangled: Disentangled) -> str:
    left = disentangled.at_equal_accuracy
    gains = [level.defense_gain for level in disentangled.levels if level.defense_gain is not None]
    if gains and max(gains) <= 0:
        verdict = "There is no gain to weigh: no level is better defended than the baseline."
    elif left is not None:
        verdict = {
            1: "Yes: some of it remains when accuracy is held equal.",
            0: "Not shown: it may be no more than losing that accuracy buys without sparsity.",
            -1: "No: losing that accuracy without sparsity buys more.",
        }[clear(left.difference)]
    elif clear(disentangled.given_error.spearman) > 0:
        verdict = (
            "Perhaps: some of it goes with sparsity when error is held fixed; only `matched: true` "
            "in the recipe tells."
        )
    else:
        verdict = "Not shown: only `matched: true` in the recipe tells."
    return f"{verdict} {_ratios(disentangled)}".rstrip()


def _ratios(disentangled: Disentangled) -> str:
    paid = [level.ratio for level in disentangled.levels if level.ratio is not None]
    free = [
        level
        for level in disentangled.levels
        if level.accuracy_loss is not None and level.accuracy_loss <= 0
    ]
    lines = []
    if paid:
        low, high = f"{min(paid):.1f}", f"{max(paid):.1f}"
        between = f"by {low} %" if low == high else f"by {low} % to {high} %"
        lines.append(
            f"Against the baseline, each per cent of accuracy lost came with a defense changed "
            f"{between} ({_count(len(paid), 'level')})."
        )
    if free:
        lines.append(f"{_count(len(free), 'level')} lost no accuracy.")
    return " ".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
