from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from privaudit.errors import RecipeError
from privaudit.report import Format, print_table, render
from privaudit.store.result import AuditResult, RunResult

ATTACKS = ("shadow_mlp", "logistic_regression", "loss")


def _audit(subject: str, level: str, seed: int, attack: str, defense: float | None) -> AuditResult:
    interval = {"value": 0.612, "low": 0.590, "high": 0.636}
    metrics = {
        "defense": defense,
        "balanced_accuracy": None if defense is None else interval,
        "best_balanced_accuracy": 0.62,
        "advantage": 0.24,
        "auc": interval,
        "tpr_at_fpr": {"0.1": interval, "0.01": {"value": 0.031, "low": 0.02, "high": 0.05},
                       "0.001": None, "0.0001": None},
    }  # fmt: skip
    return AuditResult(subject, level, seed, 0, 0.0123, 9, 0.99, 0.875, attack, metrics)


def _run(*labels: tuple[str, str], name: str = "digits", seeds: int = 3) -> RunResult:
    audits = [
        _audit(subject, level, seed, attack, None if attack == "loss" else 0.6 + 0.1 * place + step)
        for place, (subject, level) in enumerate(labels)
        for seed, step in zip(range(seeds), (0.0, 0.01, 0.02), strict=False)
        for attack in ATTACKS
    ]
    return RunResult(name, {}, {}, tuple(audits))


def _usual(name: str = "digits") -> RunResult:
    rounds = [("imp", f"round {number}") for number in range(3)]
    return _run(("dense", "final"), *rounds, ("butterfly", "S=1, L=2"), name=name)


# Cells of "imp round 0". The mean of three equal audits: its limits are 1 / √3 as far away.
WHOLE = {"1.23", "99.0 ± 0.0", "87.5 ± 0.0", "71.0 ± 1.0 ▲", "0.612 [0.599, 0.626]", "3.1", "n/r"}


def test_a_wide_table_stands_in_one_piece() -> None:
    lines = render([_usual()], width=200).splitlines()
    assert max(map(cell_len, lines)) <= 200
    assert sum(line.startswith("imp        round 1") for line in lines) == 1
    assert all(attack in lines[0] for attack in ATTACKS)


def test_a_narrow_table_goes_on_below_attack_by_attack() -> None:
    text = render([_usual()], width=80)
    lines = text.splitlines()
    assert max(map(cell_len, lines)) <= 80
    assert sum(line.startswith("imp        round 1") for line in lines) == 1 + len(ATTACKS)
    assert set(re.split(r" {2,}|\n", text)) >= WHOLE


def test_many_attacks_on_one_network_stand_below_each_other() -> None:
    audits = tuple(_audit("dense", "", 0, attack, 0.9) for attack in ("loss", "lira", "rmia"))
    lines = render([replace(_usual(), audits=audits)], width=80).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("attack"))
    assert [line.split()[0] for line in lines[start + 2 : start + 5]] == ["loss", "lira", "rmia"]
    assert "dense" in lines[2]
    assert not any("loss" in line for line in lines[:start])


@pytest.mark.parametrize("width", [80, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    long = _run(
        ("magnitude pruning with a very long label 日本語" * 2, "round 12 of 24"), name="x" * 50
    )
    for runs in ([_usual()], [_usual("a"), _usual("cifar_resnet20_quick")], [_usual(), long]):
        lines = render(runs, width=width, metrics=["defense,auc,tpr@0.1,advantage"]).splitlines()
        assert max(map(cell_len, lines)) <= width


@pytest.mark.parametrize("width", [1, 20, 40])
def test_numbers_are_whole_however_narrow_the_terminal(width: int) -> None:
    text = render([_usual()], width=width, metrics=["defense,auc,tpr@0.01,tpr@0.001"])
    assert set(re.split(r" {2,}|\n", text)) >= WHOLE
    assert "…" not in text
    fewer = set(re.split(r" {2,}|\n", render([_usual()], width=width)))
    assert fewer >= WHOLE - {"99.0 ± 0.0", "3.1", "n/r"}


def test_a_piped_table_has_no_colour_and_a_terminal_does() -> None:
    piped = io.StringIO()
    print_table([_usual()], Console(file=piped, width=80))
    assert "\x1b" not in piped.getvalue()
    assert piped.getvalue() == render([_usual()], width=80)
    terminal = io.StringIO()
    print_table(
        [_usual()], Console(file=terminal, width=80, force_terminal=True, color_system="standard")
    )
    assert "\x1b[32m▲" in terminal.getvalue()


def test_a_console_that_knows_only_ascii_gets_ascii() -> None:
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding="ascii", write_through=True) as file:
        print_table([_run(("dense", "final"), ("größer ▲", "final"))], Console(file=file, width=80))
        text = raw.getvalue().decode("ascii")
    assert "gr??er ?" in text
    assert "71.0 +- 1.0 ^" in text
    assert "^ better, v worse" in text


def test_the_legend_speaks_of_what_is_shown() -> None:
    text = " ".join(render([_usual()], width=80).split())
    assert "each row is 3 networks (3 seeds)" in text
    assert "n/r: not resolvable with this many non-members." in text
    assert "No defense for loss: the attack chose no threshold" in text
    assert "n/r" not in render([_usual()], metrics=["auc"])
    alone = " ".join(render([_run(("dense", "final"), seeds=1)]).split())
    assert "Each row is 1 network (1 seed). Baseline: dense / final; the paper's rule" in alone


@pytest.mark.parametrize("format", ["table", "markdown", "csv", "json", "latex"])
def test_a_run_without_audits_is_still_a_report(format: Format) -> None:
    assert render([_run()], format=format).endswith("\n")


# A label that means something to every format, and what must not reach its reader.
EVIL = "\x1b[31m\x9b2J[bold]a[/bold]\u202eb\u2066|`c`\n<img src=x>\\input{x} $&%#_^~ [link](http://e)\r"


@pytest.mark.parametrize("format", ["table", "markdown", "csv", "json", "latex"])
def test_labels_inject_nothing_a_terminal_obeys(format: Format) -> None:
    evil = _run((EVIL, EVIL), ("=b", "c"), name=EVIL)
    text = render([evil, _usual()], format=format)
    assert all(each == "\n" or each.isprintable() for each in text)
    console_text = io.StringIO()
    print_table([evil], Console(file=console_text, width=200, force_terminal=True))
    without_styles = re.sub(r"\x1b\[[0-9;]*m", "", console_text.getvalue())
    assert all(each == "\n" or each.isprintable() for each in without_styles)
    assert "\x1b[31m[bold]" not in console_text.getvalue()


def test_rich_markup_in_labels_is_shown_not_obeyed() -> None:
    file = io.StringIO()
    print_table([_run(("[red]x[/red]", ":smile:"))], Console(file=file, width=80))
    assert "[red]x[/red]" in file.getvalue()
    assert ":smile:" in file.getvalue()


def test_labels_break_no_markdown_table() -> None:
    lines = render([_run((EVIL, "b"))], format="markdown").splitlines()
    table = [line for line in lines if line.startswith("|")]
    columns = [len(re.findall(r"(?<!\\)\|", line)) for line in table]
    assert len(table) == 3
    assert len(set(columns)) == 1
    assert "<img" not in "\n".join(lines)
    assert not re.search(r"(?<!\\)`|(?<!\\)\[link", "\n".join(lines))


def test_labels_are_no_latex_commands() -> None:
    text = render([_run(("dense", "final"), (EVIL, "*"), ("[2pt]", "a"))], format="latex")
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")].splitlines()[1:]
    assert len(body) == 3
    commands = set(re.findall(r"\\[a-zA-Z]+", "\n".join(body)))
    assert commands <= {
        r"\pm", r"\uparrow", r"\downarrow", r"\textbackslash", r"\textasciitilde",
        r"\textasciicircum", r"\textless", r"\textgreater", r"\textbar",
    }  # fmt: skip
    cells = {len(re.findall(r"(?<!\\)&", line)) for line in body}
    assert cells == {len(re.findall("[lr]", re.findall(r"tabular}{(\w+)}", text)[0])) - 1}
    assert not re.search(r"(?<!\\)[%#_]", "\n".join(body))
    assert body[2].startswith("{[}2pt]")
    assert all(line.startswith("%") for line in text.split("\\end{tabular}\n")[1].splitlines())


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r=", " =", "＝"])
def test_labels_are_no_spreadsheet_formulas(start: str) -> None:
    label = f'{start}HYPERLINK("http://e";1),2'
    text = render([_run((label, "b"), name=label)], format="csv")
    for line in csv.DictReader(io.StringIO(text)):
        for key in ("subject", "run", "baseline"):
            assert line[key].startswith("'")
            assert line[key].lstrip("' ")[0] in "=+-@＝"


def test_plain_numbers_stay_numbers_in_csv() -> None:
    lines = list(csv.DictReader(io.StringIO(render([_run(("-3", "+1.5"))], format="csv"))))
    assert (lines[0]["subject"], lines[0]["level"]) == ("-3", "+1.5")


def test_csv_holds_every_share_raw() -> None:
    lines = list(csv.DictReader(io.StringIO(render([_usual()], format="csv"))))
    assert len(lines) == 5 * len(ATTACKS)
    line = lines[3]
    names = ("run", "subject", "level", "attack", "change")
    assert [line[name] for name in names] == ["digits", "imp", "round 0", "shadow_mlp", "better"]
    assert float(line["density"]) == pytest.approx(0.0123)
    assert float(line["defense"]) == pytest.approx(0.71)
    assert float(line["defense_std"]) == pytest.approx(0.01)
    assert float(line["tpr@0.01"]) == pytest.approx(0.031)
    assert line["tpr@0.001"] == ""
    assert lines[2]["defense"] == ""


def test_json_holds_every_share_raw_and_every_label_as_it_is() -> None:
    text = render([_run(("dense", "final"), (EVIL, "b"))], format="json")
    rows: list[dict[str, Any]] = json.loads(text)["rows"]
    assert rows[1]["subject"] == EVIL
    attack = rows[1]["attacks"]["shadow_mlp"]
    assert attack["change"] == "better"
    assert set(attack["defense"]) == {"mean", "std", "low", "high"}
    assert (attack["defense"]["mean"], attack["defense"]["std"]) == pytest.approx((0.71, 0.01))
    assert attack["auc"]["mean"] == pytest.approx(0.612)
    assert attack["tpr@0.001"] is None
    assert rows[1]["attacks"]["loss"]["defense"] is None


def test_markdown_and_latex_hold_the_same_numbers() -> None:
    markdown = render([_usual()], format="markdown")
    latex = render([_usual()], format="latex")
    assert "| imp | round 0 | 1.23 | 99.0 ± 0.0 | 87.5 ± 0.0 | 71.0 ± 1.0 ▲ |" in markdown
    assert (
        r"imp & round 0 & 1.23 & 99.0 $\pm$ 0.0 & 87.5 $\pm$ 0.0 & 71.0 $\pm$ 1.0 $\uparrow$ &"
        in latex
    )
    assert r"\multicolumn{4}{c}{shadow\_mlp}" in latex


def test_chosen_metrics_are_shown_in_the_order_asked() -> None:
    head = render([_usual()], format="markdown", metrics=["auc,defense", "tpr@0.1", "auc"])
    shown = re.findall(r"shadow_mlp: ([^|]+?) \|", head.splitlines()[0])
    assert shown == ["AUC", "defense %", "TPR % @ 10 %"]
    balanced = render([_usual()], format="markdown", metrics=["balanced_accuracy"])
    assert "| 61.2 [59.9, 62.6] |" in balanced


def _measured() -> RunResult:
    """Two subjects of two seeds; the first is old and knows no cost."""
    found: list[dict[str, Any]] = [
        {"multiply_adds": 1_000_000, "seconds": 2e-6, "notes": {"epsilon": 7.5}},
        {"multiply_adds": 1_000_500, "seconds": 3e-6, "notes": {"epsilon": 8.5, EVIL: None}},
    ]
    old, new = (_run((name, ""), seeds=2).audits for name in ("old", "new"))
    new = tuple(replace(audit, parameters=9000, **found[audit.seed]) for audit in new)
    return RunResult("digits", {}, {}, (*old, *new))


def test_cost_is_shown_where_it_is_asked_for() -> None:
    quiet = render([_measured()], format="markdown")
    assert "multiply" not in quiet
    lines = render([_measured()], format="markdown", cost=True).splitlines()
    heads, old, new = ([cell.strip() for cell in lines[i].split("|")] for i in (0, 2, 3))
    at = heads.index("nonzero parameters")
    assert heads[at : at + 3] == ["nonzero parameters", "multiply-adds", "ms per example"]
    assert old[at : at + 3] == ["9", "–", "–"]
    assert new[at : at + 3] == ["9,000", "1,000,250", "0.0025"]
    assert any("channels that are zero have been cut away" in line for line in lines)


def test_what_has_been_noted_is_shown_without_being_asked_for() -> None:
    text = render([_measured()], width=200)
    assert "8 ± 0.71" in text
    assert "epsilon: of differential privacy" in text
    assert "epsilon" not in render([_usual()], width=200)
    assert all(each == "\n" or each.isprintable() for each in text)


def test_other_programs_always_get_costs_and_notes() -> None:
    (old, new) = json.loads(render([_measured()], format="json"))["rows"]
    assert (old["parameters"], old["multiply_adds"], old["seconds"], old["notes"]) == (
        9, None, None, {},
    )  # fmt: skip
    assert (new["parameters"], new["multiply_adds"]) == (9000, 1_000_250)
    assert new["seconds"] == pytest.approx(2.5e-6)
    assert new["notes"]["epsilon"]["mean"] == 8
    assert new["notes"][EVIL] is None
    lines = list(csv.DictReader(io.StringIO(render([_measured()], format="csv"))))
    assert (lines[0]["multiply_adds"], lines[0]["note: epsilon"]) == ("", "")
    assert (float(lines[3]["multiply_adds"]), float(lines[3]["note: epsilon"])) == (1_000_250, 8)


def test_chosen_attacks_are_shown_in_the_order_asked() -> None:
    def heads(*attacks: str) -> list[str]:
        text = render([_usual()], format="markdown", attacks=attacks, metrics=["auc"])
        return re.findall(r"([^| ]+): AUC", text.splitlines()[0])

    assert heads() == [*ATTACKS]
    assert heads("loss,shadow_mlp") == heads("loss", "shadow_mlp") == ["loss", "shadow_mlp"]
    rows = json.loads(render([_usual()], format="json", attacks=["loss"]))["rows"]
    assert [[*row["attacks"]] for row in rows] == [["loss"]] * len(rows)


def test_an_attack_s_label_may_hold_a_comma() -> None:
    audits = tuple(_audit("dense", "", 0, attack, 0.9) for attack in ("a", "b", "a, b"))
    run = replace(_usual(), audits=audits)
    rows = json.loads(render([run], format="json", attacks=["a, b"]))["rows"]
    assert [*rows[0]["attacks"]] == ["a, b"]
    with pytest.raises(RecipeError, match=r"there are a, b, a, b$"):
        render([run], attacks=["c"])


def test_a_run_without_a_chosen_attack_keeps_its_row() -> None:
    other = replace(_usual("b"), audits=(_audit("dense", "", 0, "lira", 0.9),))
    lines = render([_usual("a"), other], format="markdown", attacks=["lira"]).splitlines()
    assert lines[2].startswith("| a | dense | final | 1.23 | 99.0 ± 0.0 | 87.5 ± 0.0 | – | – |")


@pytest.mark.parametrize("format", ["table", "markdown", "latex"])
def test_means_stand_alone_and_what_is_marked_stays_marked(format: Format) -> None:
    text = render([_usual()], format=format, means=True, width=200)
    better = r"$\uparrow$" if format == "latex" else "▲"
    assert f"71.0 {better}" in text
    assert text.count("0.612 [") == (format == "table")  # in a sentence, which says it all
    assert "Brackets" not in text
    assert not re.search(r"\d (±|\$\\pm\$) \d", text)
    assert "Means; each row is 3 networks (3 seeds)." in text


def test_other_programs_get_intervals_though_people_want_means() -> None:
    formats: tuple[Format, ...] = ("csv", "json")
    for format in formats:
        assert render([_usual()], format=format, means=True) == render([_usual()], format=format)


def _noted(*epsilons: float | None) -> RunResult:
    """A subject without levels for each ε, of three networks."""
    audits = [
        replace(each, notes={} if epsilon is None else {"epsilon": epsilon})
        for number, epsilon in enumerate(epsilons)
        for each in _run((f"subject {number}", "")).audits
    ]
    return replace(_usual(), audits=tuple(audits))


def test_an_epsilon_that_promises_nothing_is_no_number_to_people() -> None:
    run = _noted(137.0, 7230.0, None)
    lines = render([run], format="markdown").splitlines()
    assert [line.split(" | ")[4] for line in lines[2:5]] == ["137", "&gt; 1000", "–"]
    lines = render([run], format="latex").splitlines()
    cells = [line.split(" & ")[4] for line in lines if line.startswith("subject ")]
    assert cells[1:] == ["137", r"\textgreater{} 1000", "--"]
    assert "above 1000 it promises nothing" in render([run], width=200)
    rows = json.loads(render([run], format="json"))["rows"]
    assert rows[1]["notes"]["epsilon"]["mean"] == 7230
    table = csv.DictReader(io.StringIO(render([run], format="csv")))
    assert {line["note: epsilon"] for line in table} == {"137.0", "7230.0", ""}


@pytest.mark.parametrize("width", [80, 120])
def test_notes_stand_beside_their_networks(width: int) -> None:
    lines = render([_noted(None, 3.0, None)], width=width).splitlines()
    heads = [line.split() for line in lines if "epsilon" in line.split()]
    assert [line[:7] for line in heads] == [["subject", "nonzero", "%", "train", "%", "test", "%"]]
    assert not any("level" in line for line in lines)  # nobody has one


def test_where_notes_need_lines_of_their_own_only_what_has_any_is_shown() -> None:
    metrics = ["defense,auc,balanced_accuracy,tpr@0.01,tpr@0.1"]  # as wide as the costs
    run = _noted(None, 3.0, None)
    lines = render([run], width=80, cost=True, metrics=metrics).splitlines()
    start = next(i for i, line in enumerate(lines) if line.split() == ["subject", "epsilon"])
    assert [line.split() for line in lines[start + 2 : start + 4]] == [["subject", "1", "3"], []]
