"""Every block of every page is run, read or compared, or a table says why it is not."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tests.pages import _tables as tables
from tests.pages._commands import Command, commands
from tests.pages._pages import Fence, fences, named, pages
from tests.pages._story import Story, headings, not_printed

import privaudit
from privaudit.testing.pretend import backend

RECIPE = "name: r\ndataset: digits\nmodel: mlp\nattacks: "
PAGES = [page for page in pages() if fences(page)]
TABLES = (
    tables.SMALLER, tables.VALIDATED, tables.NOT_RUN, tables.FRAGMENTS, tables.NOT_PRINTED,
    tables.PACKAGES,
)  # fmt: skip


def told(tmp_path: Path, *blocks: tuple[str, str]) -> Story:
    """A page of these blocks, told: what stands behind the backticks, and what is in between."""
    page = tmp_path / "page.md"
    page.write_text("\n".join(f"```{info}\n{text}\n```" for info, text in blocks))
    folder = tmp_path / "told"
    folder.mkdir()
    story = Story(folder)
    for fence in fences(page, tmp_path):
        story.tell(fence)
    return story


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("page", PAGES, ids=named)
def test_what_a_page_shows_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where other tests of this process have pretended to have a device, none is there any more.
    monkeypatch.setattr(backend._Module, "is_available", lambda self: False)
    story = Story(tmp_path)
    for fence in fences(page):
        story.tell(fence)


def test_no_block_is_overlooked() -> None:
    for page in pages():
        marks = sum(
            line.lstrip().startswith(("```", "~~~")) for line in page.read_text().split("\n")
        )
        assert marks == 2 * len(fences(page)), named(page)


def test_the_tables_speak_of_what_is_there() -> None:
    texts = "".join(page.read_text() for page in pages())
    asked = [
        command.text
        for page in pages()
        for fence in fences(page)
        if fence.language == "console"
        for command in commands(fence.text)
    ]
    openings = [fence.opening for page in pages() for fence in fences(page)]
    for key in [key for table in TABLES for key in table]:
        used = any(said.startswith(key) for said in [*asked, *openings])
        assert used or (key in tables.PACKAGES and key in texts), f"no page has {key!r} any more"


@pytest.mark.parametrize(
    ("blocks", "problem"),
    [
        ([("bash", "ls")], r"page.md:1: ```bash: a block begins with"),
        ([("", "ls")], "a block begins with"),
        ([("python linenums", "1")], "a block begins with"),
        ([("console", "git status")], "nobody said why `git status` is not run"),
        ([("console", "ls | cat")], "more than these tests take of a shell"),
        ([("console", "privaudit audit x.npz --gate auc<0.6")], "more than these tests take"),
        ([("console", "privaudit plugins show 'loss")], "the quotation in .* does not end"),
        ([("console", "# nothing")], "there is no command"),
        ([("console", "privaudit plugins show los")], "ended with 2 instead of 0"),
        ([("console", "privaudit plugins show loss  # exits with 2")], "ended with 0 instead of 2"),
        ([("python", "1 / 0")], "page.md:1: ZeroDivisionError"),
        ([('python title="../x.py"', "1")], "is not below the page's own folder"),
        ([("yaml", "epochs: 1")], "FRAGMENTS does not say what this is a part of"),
        ([("text", "a word")], "no command above prints this"),
        ([("python", "print('it is 3')"), ("text", "it was 3")], "is not printed any more"),
        ([("console", "privaudit plugins show loss"), ("text", "LOSS")], "is not printed any more"),
    ],
)
def test_what_is_wrong_in_a_page_is_said_with_its_line(
    tmp_path: Path, blocks: list[tuple[str, str]], problem: str
) -> None:
    with pytest.raises(AssertionError, match=problem):
        told(tmp_path, *blocks)


@pytest.mark.parametrize(
    ("info", "text", "error"),
    [
        ("python", "def f(:", SyntaxError),
        ("json", "{'a': 1}", ValueError),
        ("toml", "a =", ValueError),
        ("yaml", "a: [", yaml.YAMLError),
        ('yaml title="r.yaml"', f"{RECIPE}[los]", privaudit.RecipeError),
        ('python title="p.py"', "@privaudit.hookimpl\ndef f(): pass", privaudit.PluginError),
    ],
)
def test_what_cannot_be_read_is_refused(
    tmp_path: Path, info: str, text: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        told(tmp_path, (info, text))


def test_one_block_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    told(
        tmp_path,
        ("python", "x = 2"),
        ('python title="twice.py"', "print('wrote 3 files')"),
        ("console", "mkdir sub && cd sub  # from here on"),
        ("console", "python ../twice.py"),
        ("text", "...\nwrote 4\nfiles"),
        ("python", "assert x == 2; from pathlib import Path; assert Path.cwd().name == 'sub'"),
    )


def test_commands_are_read_as_a_shell_reads_them() -> None:
    text = "a 'b\n c' \\\n  -d # why not\n\ne  # exits with 3\nf && g\n"
    assert commands(text) == [
        Command(("a", "b\n c", "-d")), Command(("e",), 3), Command(("f",)), Command(("g",)),
    ]  # fmt: skip


def test_output_is_compared_but_for_numbers_rules_and_line_breaks() -> None:
    printed = "name   AUC\n──────────\nloss  0.512 [0.4, 0.6]\nThe rest\nis silence (-1.5e-3)."
    assert not not_printed(
        "name AUC\n...\nloss 0.6 [0.1, 0.9]\nThe rest is\nsilence (+2).", printed
    )
    assert not_printed("name AUC\nlira 0.512", printed) == "lira 0.512"
    assert headings(printed) == "name AUC"


def test_a_made_up_fence_keeps_its_place(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text('# A\n\n- item:\n\n    ```python title="a.py"\n    if 1:\n        2\n    ```\n')
    assert fences(page, tmp_path) == [
        Fence("page.md", 5, "python", "a.py", "if 1:\n    2\n", 'python title="a.py"')
    ]
