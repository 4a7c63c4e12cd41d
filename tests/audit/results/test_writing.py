"""What a page says is the run's and the report's own, and what people wrote on it stays."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from benchmarks.results import measured as module
from benchmarks.results import record as records
from benchmarks.results.__main__ import main
from benchmarks.results.markdown import BEGIN, END, NOT_RUN
from benchmarks.results.measured import Told, measured
from benchmarks.results.pages import Pages
from benchmarks.results.record import Record
from benchmarks.results.settings import Shown

import privaudit
from privaudit.report import render
from privaudit.report.escape import markdown
from privaudit.report.verdict import sentences

Make = Callable[..., Path]
Made = tuple[Record, dict[str, bytes]]


def written(pages: Pages, made: tuple[Record, Mapping[str, bytes]]) -> str:
    pages.write(*made)
    return pages.page_path("digits").read_text()


def test_a_page_says_how_and_where_its_run_was_made(made_page: Made, pages: Pages) -> None:
    text = written(pages, made_page)
    assert "\nprivaudit run recipes/digits.yaml --set training.epochs=5\n" in text
    assert "Made by commit 0123456789ab on 2026-01-31, in 3 s." in text
    assert "2 processes, torch 2.9: as the run recorded." in text
    assert " cores: the machine that" in text or " of memory: the machine that" in text


def test_what_the_run_does_not_know_is_told_as_the_caller_s(make_run: Make, pages: Pages) -> None:
    told = Told(commit="fedcba987654", elsewhere=True)
    text = written(pages, measured(make_run(git="0123456789ab-dirty"), told))
    assert "commit fedcba987654" in text
    assert "a checkout with changes (0123456789ab-dirty); whoever wrote this page" in text
    assert "torch 2.9: as the run recorded." in text
    assert "the machine that" not in text


def test_numbers_and_sentences_are_those_of_the_report(
    made_page: Made, run_folder: Path, pages: Pages
) -> None:
    lines = written(pages, made_page).splitlines()
    run = privaudit.load_run(run_folder)
    metrics = ["defense", "auc", "tpr@0.01"]
    report = render([run], format="markdown", metrics=metrics).splitlines()
    table = [line for line in report if line.startswith(("| dense", "| imp"))]
    assert len(table) == 2
    assert set(table) <= set(lines)
    assert {line for line in report if line.startswith("- ")} <= set(lines)
    verdict = " ".join(map(markdown, sentences([run])))
    assert f"What the engine says: {verdict}" in lines
    numbers = json.loads(pages.record_path("digits").read_text())["numbers"]
    expected = json.loads(render([run], format="json", metrics=metrics))["rows"]
    assert numbers == expected


def test_only_the_chosen_attacks_and_metrics_are_shown(
    run_folder: Path, make_run: Make, pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "shown", lambda name: Shown({"loss": ("auc",)}))
    record, figures = measured(run_folder, Told())
    lines = written(pages, (record, figures)).splitlines()
    run = privaudit.load_run(run_folder)
    report = render([run], format="markdown", attacks=["loss"], metrics=["auc"]).splitlines()
    chosen = [line for line in report if line.startswith(("| ", "- "))]
    assert set(chosen) <= set(lines)
    expected = render([run], format="json", attacks=["loss"], metrics=["auc"])
    assert record.numbers == json.loads(expected)["rows"]
    assert len([line for line in lines if line.startswith("| ")]) == 4  # two heads, two rows
    assert not list(pages.folder.glob("*.svg"))


def test_attacks_on_a_single_network_stand_below_each_other(make_run: Make, pages: Pages) -> None:
    folder = make_run(subjects=[("dense", "")])
    lines = written(pages, measured(folder, Told())).splitlines()
    network, attacks = (table for table in pages.record("digits").tables)
    assert network.heads == ("subject", "nonzero %", "train %", "test %")
    assert attacks.heads == ("attack", "defense %", "AUC", "TPR % @ 1 %")
    assert [row[0] for row in attacks.rows] == ["shadow_mlp", "logistic_regression", "loss"]
    wide = render([privaudit.load_run(folder)], format="markdown", attacks=["loss"])
    (cells,) = (line for line in wide.splitlines() if line.startswith("| dense"))
    assert attacks.rows[2][1] in cells
    assert f"| {' | '.join(attacks.rows[2])} |" in lines


def test_the_figures_lie_beside_the_page(made_page: Made, pages: Pages) -> None:
    old = pages.folder / "digits-roc.svg"
    old.write_text("<svg/>")
    text = written(pages, made_page)
    assert "](digits-tradeoff.svg)" in text
    assert (pages.folder / "digits-tradeoff.svg").read_bytes().startswith(b"<svg")
    assert not old.exists(), "no figure of an earlier page is left"


def test_what_people_wrote_stays_to_the_letter(made_page: Made, pages: Pages) -> None:
    text = written(pages, made_page)
    ours = f"# digits\n\nIt leaks | a bit.\n\n{BEGIN}\n\n{NOT_RUN}\n\n{END}\n\n"
    theirs = "## What this says of the paper\n\n<!-- written for table x -->\n\n* one\n\n\n  two"
    pages.page_path("digits").write_text(f"{ours}{theirs}\n")
    again = written(pages, made_page)
    assert again.partition(f"{END}\n\n")[2] == f"{theirs}\n"
    assert again.startswith("# digits\n\nIt leaks | a bit.\n")
    assert again.partition(BEGIN)[2].partition(END)[0] == text.partition(BEGIN)[2].partition(END)[0]
    pages.write_index()
    assert "| [`digits`](results/digits.md) |" in pages.index_path.read_text()
    assert "| It leaks \\| a bit. | 0123456789ab | 2026-01-31 |" in pages.index_path.read_text()


@pytest.mark.parametrize("mark", [BEGIN, END])
def test_a_page_without_its_marks_is_not_written_over(
    mark: str, made_page: Made, pages: Pages
) -> None:
    text = written(pages, made_page).replace(f"{mark}\n", "")
    pages.page_path("digits").write_text(text)
    with pytest.raises(privaudit.StoreError, match="has lost its line"):
        written(pages, made_page)
    assert pages.page_path("digits").read_text() == text


@pytest.mark.parametrize(
    ("git", "commit", "problem"),
    [
        (None, "", "nothing recorded"),
        ("0123456789ab-dirty", "", "0123456789ab-dirty.*name it by --commit"),
        ("0123456789ab", "another", "was made by 0123456789ab"),
    ],
)
def test_a_commit_that_cannot_be_told_is_asked_for(
    git: str | None, commit: str, problem: str, make_run: Make
) -> None:
    with pytest.raises(privaudit.StoreError, match=problem):
        measured(make_run(git=git), Told(commit=commit))


def test_a_file_that_the_repository_would_not_take_is_not_made(
    made_page: Made, pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "MOST", 3_000)
    with pytest.raises(privaudit.StoreError, match="3,000 are kept at most"):
        written(pages, made_page)
    assert not list(pages.folder.iterdir())


@pytest.mark.parametrize("words", [("write", "none"), ("check", "digit")])
def test_a_mistake_is_one_line(
    words: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verb, name = words
    assert main([verb, str(tmp_path / name) if verb == "write" else name]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.splitlines()) == 1


@pytest.mark.parametrize("day", ["yesterday", "20260131", "2026-13-01"])
def test_a_date_that_is_none_is_refused(day: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["write", "run", "--date", day])
    assert end.value.code == 2
    assert f"{day!r} is no date: write it as YYYY-MM-DD" in capsys.readouterr().err
