"""Tables at many widths: columns are left out and parts split before a name is broken."""

from __future__ import annotations

import re
from typing import Any

import pytest
from rich.cells import cell_len

from privaudit.report import render
from privaudit.report.fold import folded
from privaudit.store.result import AuditResult, RunResult

NAMES = (
    ("dense", ""),
    ("l1_unstructured", "density 0.5"),
    ("l1_structured + finetune_ppb", "density 0.05"),
    ("dense matched to l1_unstructured", "density 0.5"),
    ("network_slimming + adversarial_regularization", "round 12"),
    ("butterfly S=1 L=3", ""),
)
ATTACKS = ("shadow_mlp", "logistic_regression_with_augmentation", "loss")


def _run(names: tuple[tuple[str, str], ...] = NAMES, **more: Any) -> RunResult:
    interval = {"value": 0.612, "low": 0.590, "high": 0.636}
    rates = {"0.1": interval, "0.01": interval, "0.001": interval, "0.0001": None}
    metrics = {
        "defense": 0.9,
        "balanced_accuracy": interval,
        "best_balanced_accuracy": 0.62,
        "advantage": 0.24,
        "auc": interval,
        "tpr_at_fpr": rates,
    }
    audits = tuple(
        AuditResult(subject, level, seed, 0, 0.5, 9, 0.99, 0.87, attack, metrics, **more)
        for subject, level in names
        for seed in range(3)
        for attack in ATTACKS
    )
    return RunResult("digits", {}, {}, audits)


def _parts(text: str) -> list[str]:
    """A word's parts, by the sentence in the docstring of `fold` and not by its code."""
    found, start = [], 0
    for end, letter in enumerate(text, 1):
        if letter in "_-+/,:;|" or end == len(text):
            found.append(text[start:end])
            start = end
    return found


def _allowed(texts: tuple[str, ...]) -> set[str]:
    """Every word of these texts, and every piece of one that is broken between its parts."""
    words = [_parts(word) for text in texts for word in text.split()]
    return {
        "".join(parts[start:end])
        for parts in words
        for start in range(len(parts))
        for end in range(start + 1, len(parts) + 1)
    }


def _table(text: str) -> list[str]:
    return text[: text.index("mean ±")].splitlines()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("metrics", [[], ["auc,defense,balanced_accuracy,tpr@0.001"]])
def test_no_name_is_broken_inside_a_part_of_a_word(width: int, metrics: list[str]) -> None:
    lines = _table(render([_run()], width=width, metrics=metrics))
    heads = {"subject", "level", "nonzero", "train", "test", "defense", "AUC", "TPR", "balanced",
             "accuracy"}  # fmt: skip
    allowed = _allowed(tuple(name for row in NAMES for name in row) + ATTACKS) | heads
    told = {word for line in lines for word in line.split() if re.search("[A-Za-z]", word)}
    assert told <= allowed
    assert max(map(cell_len, lines)) <= width


def test_columns_are_left_out_before_names_are_broken_and_that_is_said() -> None:
    text = render([_run(NAMES[:4])], width=90)
    assert "dense matched to l1_unstructured  density 0.5" in text
    assert "@ 0.1 %" not in text
    said = " ".join(text.split())
    assert "Left out for want of room: tpr@0.001. A wider terminal" in said
    wide = render([_run(NAMES[:4])], width=200)
    assert "@ 0.1 %" in wide
    assert "Left out" not in wide


def test_no_more_is_left_out_than_helps() -> None:
    for width in (60, 80, 100, 120):
        lines = _table(render([_run(NAMES[:2])], width=width))
        left_out = "@ 0.1 %" not in " ".join(lines)
        names = len("l1_unstructured  density 0.5  ")
        numbers = len("logistic_regression_with_augmentation") + 4
        numbers = max(len("90.0 ± 0.0  0.612 [0.599, 0.626]    61.2     61.2"), numbers)
        assert left_out == (names + numbers > width), width


def test_what_is_asked_for_is_never_left_out() -> None:
    text = render([_run()], width=80, metrics=["auc,tpr@0.01,tpr@0.001"])
    assert {"@ 1 %", "@ 0.1 %", "train %"} <= set(re.findall(r"@ [\d.]+ %|train %", text))
    assert "Left out" not in text


def test_markdown_and_other_formats_leave_nothing_out() -> None:
    assert "loss: TPR % @ 0.1 %" in render([_run()], format="markdown", width=40)


def test_one_network_names_each_attack_whole() -> None:
    run = _run(NAMES[:1])
    one = RunResult("digits", {}, {}, run.audits[: len(ATTACKS)])
    lines = render([one], width=80).splitlines()
    assert any(line.startswith("logistic_regression_with_augmentation  ") for line in lines)
    assert max(map(cell_len, lines)) <= 80


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("dense matched to imp", 40, ["dense matched to imp"]),
        ("dense matched to imp", 13, ["dense matched", "to imp"]),
        ("l1_unstructured", 14, ["l1_", "unstructured"]),
        ("a l1_unstructured", 14, ["a", "l1_", "unstructured"]),
        ("unstructured", 5, ["unstr", "uctur", "ed"]),  # where nothing else is left
        ("density 0.5", 8, ["density", "0.5"]),  # a number is no word of parts
        ("", 5, [""]),
    ],
)
def test_text_is_broken_between_words_then_between_parts(
    text: str, width: int, lines: list[str]
) -> None:
    assert folded(text, width) == lines
