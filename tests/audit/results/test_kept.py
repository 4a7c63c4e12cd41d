"""The pages, records and figures that are kept say what their records say, and nothing else."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from benchmarks.results.__main__ import main
from benchmarks.results.markdown import NOT_RUN, made
from benchmarks.results.pages import Pages
from benchmarks.results.pictures import FOLDER, PICTURES, coverage, drawn, shadows, tables
from benchmarks.results.record import MOST, short_digest
from benchmarks.results.settings import PAGES, shown
from benchmarks.results.sources import ROOT, full_name, of_commit

import privaudit
from privaudit.recipe import load_recipe
from privaudit.statistics import table

KEPT = Pages()
NAMES = KEPT.names()
WRITTEN = [name for name in NAMES if KEPT.record_path(name).exists()]


@pytest.mark.parametrize("name", NAMES)
def test_the_made_part_is_what_the_record_gives(name: str) -> None:
    expected = made(KEPT.record(name)) if name in WRITTEN else NOT_RUN
    assert KEPT.page(name).made == expected, "python -m benchmarks.results write makes it"


@pytest.mark.parametrize("name", WRITTEN)
def test_figures_and_records_are_whole(name: str) -> None:
    record = KEPT.record(name)
    assert record.name == name
    for drawing in record.drawings:
        assert short_digest((KEPT.folder / drawing.file).read_bytes()) == drawing.digest
    files = {path.name for path in KEPT.folder.glob(f"{name}-*.svg")}
    assert files == {drawing.file for drawing in record.drawings}


def test_the_index_is_what_the_pages_give() -> None:
    assert KEPT.index_path.read_text() == KEPT.index(), "python -m benchmarks.results index"


def test_every_quick_recipe_has_its_line() -> None:
    quick = {path.stem for path in (ROOT / "recipes").glob("*_quick.yaml")}
    others = {"digits", "location30", "attacks_digits", "attacks_location30"}
    others |= {"recurrent_digits", "cubist_spiral"}
    assert quick | others == PAGES.keys()
    text = KEPT.index_path.read_text()
    for name in PAGES:
        (line,) = [line for line in text.splitlines() if re.match(rf"\| \[?`{name}`", line)]
        assert ("no run yet" in line) == (name not in WRITTEN)


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_shows_is_there(name: str) -> None:
    recipe = load_recipe(name)
    labels = {label for label, _ in recipe.attack_entries()}
    what = shown(name)
    assert what.attacks.keys() <= labels
    table.named([metric for metrics in what.attacks.values() for metric in metrics])
    assert {attack for _, attack, _ in what.figures} <= labels | {""}


@pytest.mark.parametrize("path", sorted(KEPT.folder.iterdir()), ids=lambda path: path.name)
def test_kept_files_are_small_and_name_no_place_of_a_machine(path: Path) -> None:
    assert path.stat().st_size <= MOST
    assert not re.search(r"(?<![\w.])/(home|tmp|root|work|mnt|Users)\b", path.read_text())


@pytest.mark.parametrize("path", [KEPT.index_path, *sorted(KEPT.folder.glob("*.md"))])
def test_links_of_pages_lead_to_files(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", path.read_text()):
        assert "://" in target or (path.parent / target).exists(), target


def test_the_check_runs_and_exits_by_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["check"])
    lines = capsys.readouterr().out.splitlines()
    told = [line for line in lines if not line.startswith(" ")]
    assert [line.partition(":")[0] for line in told] == NAMES
    answers = ("of today's arithmetic", "older", "cannot be told", "missing")
    assert all(line.partition(": ")[2].startswith(answers) for line in told)
    assert code == (any("of today's arithmetic" not in line for line in told) or lines != told)


@pytest.mark.parametrize("name", PICTURES)
def test_figures_of_benchmarks_are_drawn_from_their_tables(name: str) -> None:
    assert (FOLDER / name).read_bytes() == drawn()[name], "python -m benchmarks.results pictures"
    assert f"]({name})" in (FOLDER / "README.md").read_text()


def test_figures_of_benchmarks_hold_the_numbers_of_the_page() -> None:
    text = (FOLDER / "README.md").read_text()
    points = [one for one in coverage(tables(text)).series if one.mark == "points"]
    cells = [round(100 * share, 1) for one in points for share in one.y]
    assert len(cells) == 204  # counted on the page: 141 of AUCs, 30 of others, 33 of differences
    assert min(cells) == 93.4
    lines = {one.label: one for one in shadows(tables(text)).series}
    rmia = lines["CIFAR-10, 2,000, CNN: RMIA"]
    assert rmia.x == (2, 8, 32)
    assert [round(100 * share, 1) for share in rmia.y] == [12.0, 23.4, 28.2]
    lira = lines["CIFAR-10, 2,000, CNN: LiRA, a variance for each"]
    assert lira.x == (8, 32)


def test_a_table_that_is_gone_is_missed() -> None:
    with pytest.raises(privaudit.StoreError, match="has no table below"):
        coverage(tables("no table\n"))


def test_sources_of_a_commit_are_read_from_git(tmp_path: Path) -> None:
    path = tmp_path / "audit" / "privaudit" / "x.py"
    for folder in ("audit/privaudit", "plugins/privaudit_plugins", "recipes"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "keep.yaml").write_text("a: 1\n")
    path.write_text("X = 1\n")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *words], check=True)
    path.write_text("X = 2\n")
    commit = full_name("HEAD", tmp_path)
    assert re.fullmatch(r"[0-9a-f]{12}", commit)
    assert of_commit(commit, tmp_path)["audit/privaudit/x.py"] == "X = 1\n"
    with pytest.raises(privaudit.StoreError, match="name a commit of this repository"):
        full_name("never", tmp_path)
