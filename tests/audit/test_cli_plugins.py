import json
import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from pydantic import BaseModel, Field

import privaudit
from privaudit.api import host
from privaudit.api.describe import describe, type_words
from privaudit.cli import main

FIXTURE = Path(__file__).parents[1] / "fixtures" / "third_party"


class Inner(BaseModel):
    epoch: int | None


class Gadget(privaudit.Attack):
    """Reads [bold]brackets[/bold] and \x1b[31mcolours[/] as they are.

    This is not the first line.
    """

    paper: ClassVar[str] = "Nobody 2031, On gadgets"
    deviations: ClassVar[tuple[str, ...]] = (
        "It reads [red]five[/] copies, because \x1b[31mten are slow.",
        "It never sleeps.",
    )
    noise: ClassVar[int] = 5
    name: Literal["gadget"] = "gadget"
    rate: float = Field(0.25, gt=0, le=1, description="share of [x] in each step")
    mode: Literal["best", "last"] = Field("best", description="which epoch")
    sizes: tuple[int, ...] = Field((128, 64), min_length=1, description="of the layers")
    limit: int | None = Field(None, ge=2, description="at most so many")
    folder: Path = Field(description="where it is")


class GadgetModel(privaudit.Model):
    """A model of the same name."""

    name: Literal["gadget"] = "gadget"


PROVIDED = tuple(
    host.Provided(cls, cls.kind, "gadget", "privaudit-gadgets", "3.1", "0" * 64)
    for cls in (GadgetModel, Gadget)
)
PROBLEM = host.LoadError("plugin 'x' of bad 0.1 cannot be loaded: Oops: [/red]", "x")


@pytest.fixture
def gadgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(host, "load_plugins", lambda **asked: host.Plugins(PROVIDED, (PROBLEM,)))


def privaudit_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    monkeypatch.setattr(sys, "argv", ["privaudit", *words])
    with pytest.raises(SystemExit) as end:
        main()
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


@pytest.mark.usefixtures("gadgets")
def test_the_list_fits_80_plain_columns_and_prints_brackets_as_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = privaudit_command(monkeypatch, capsys, "plugins")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out + err
    words = " ".join(out.split())
    assert "[bold]brackets[/bold]" in words
    assert "not the first line" not in words
    assert "privaudit-gadgets" in words
    assert "3.1" in words
    assert err == "warning: plugin 'x' of bad 0.1 cannot be loaded: Oops: [/red]\n"


@pytest.mark.parametrize("kind", ["dataset", "model", "sparsifier", "defense", "attack"])
def test_the_built_ins_of_a_kind_fit_a_screen_of_80_by_24_one_line_each(
    kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = privaudit_command(monkeypatch, capsys, "plugins", "--kind", kind)
    _, told, _ = privaudit_command(monkeypatch, capsys, "plugins", "--kind", kind, "--json")
    plugins = json.loads(told)["plugins"]
    assert {plugin["kind"] for plugin in plugins} == {kind}
    lines = out.splitlines()
    if len(plugins) <= 18:  # a screen holds as many, and the line where the next command is typed
        assert len(lines) <= 23
    assert max(map(len, lines)) <= 80
    rows = dict(line.split(maxsplit=1) for line in lines[2 : 2 + len(plugins)])
    assert len(rows) == len(plugins) > 3
    for plugin in plugins:
        shown = rows[plugin["name"]].strip()
        words = shown.removesuffix(" ...").split()
        whole = plugin["summary"].split()
        assert words[:-1] == whole[: len(words) - 1]
        assert words[-1].rstrip(",;:") == whole[len(words) - 1].rstrip(",;:")  # a whole word
        assert shown.endswith(" ...") == (len(words) < len(whole))


@pytest.mark.usefixtures("gadgets")
def test_a_kind_is_chosen_and_a_wrong_one_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = privaudit_command(monkeypatch, capsys, "plugins", "--kind", "model")
    assert code == 0
    assert "A model of the same name." in out
    assert "brackets" not in out
    code, out, _ = privaudit_command(monkeypatch, capsys, "plugins", "--kind", "defense")
    assert (code, out) == (0, "There is none.\n")
    code, out, err = privaudit_command(monkeypatch, capsys, "plugins", "--kind", "models")
    assert (code, out) == (2, "")
    assert "sparsifier" in err


@pytest.mark.usefixtures("gadgets")
def test_the_list_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = privaudit_command(monkeypatch, capsys, "plugins", "--json")
    listed = json.loads(out)
    assert code == 0
    assert [(each["kind"], each["name"]) for each in listed["plugins"]] == [
        ("model", "gadget"),
        ("attack", "gadget"),
    ]
    assert listed["plugins"][0]["summary"] == "A model of the same name."
    assert listed["problems"] == [str(PROBLEM)]


@pytest.mark.usefixtures("gadgets")
def test_show_tells_options_paper_and_needs_of_both_kinds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = privaudit_command(monkeypatch, capsys, "plugins", "show", "gadget")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out
    assert "gadget: model of privaudit-gadgets 3.1" in out
    assert "It has no options." in out
    assert "gadget: attack of privaudit-gadgets 3.1" in out
    assert "Paper: Nobody 2031, On gadgets" in out
    assert "Needs: noise 5\n" in out
    said = "It reads [red]five[/] copies, because \N{REPLACEMENT CHARACTER}[31mten are slow."
    rest = "Differs: It never sleeps. Needs: noise 5"
    assert f"Differs: {said} {rest}" in " ".join(out.split())
    assert out.count("Differs:") == 2  # the model departs from nothing
    rate = next(line for line in out.splitlines() if line.startswith("rate"))
    assert rate.split() == [
        "rate",
        "float",
        ">",
        "0,",
        "<=",
        "1",
        "0.25",
        "share",
        "of",
        "[x]",
        "in",
        "each",
        "step",
    ]


@pytest.mark.usefixtures("gadgets")
def test_show_as_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = privaudit_command(monkeypatch, capsys, "plugins", "show", "gadget", "--json")
    model, attack = json.loads(out)
    assert model["options"] == []
    assert model["deviations"] == []
    assert attack["deviations"] == list(Gadget.deviations)
    needs = {
        "queries": "1", "noise": "5", "noise_optional": "false", "signals": "[]",
        "answers": "[logits]", "shadows": "0", "verdicts": "false",
    }  # fmt: skip
    assert attack["needs"] == needs
    assert attack["options"][2] == {
        "name": "sizes",
        "type": "list of int",
        "bounds": "at least 1 long",
        "default": "[128, 64]",
        "meaning": "of the layers",
    }


@pytest.mark.usefixtures("gadgets")
def test_an_unknown_or_broken_name_is_one_line_and_exit_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = privaudit_command(monkeypatch, capsys, "plugins", "show", "gaget")
    assert (code, out) == (2, "")
    assert err == "no plugin is called 'gaget': did you mean 'gadget'?\n"
    code, out, err = privaudit_command(monkeypatch, capsys, "plugins", "show", "x")
    assert (code, out) == (2, "")
    assert err == f"{PROBLEM}\n"


def test_options_are_told_in_the_words_of_a_recipe() -> None:
    told = {o.name: (o.type, o.bounds, o.default) for o in describe(Gadget).options}
    assert told == {
        "rate": ("float", "> 0, <= 1", "0.25"),
        "mode": ("best or last", "", "best"),
        "sizes": ("list of int", "at least 1 long", "[128, 64]"),
        "limit": ("int or null", ">= 2", "null"),
        "folder": ("path", "", "required"),
    }
    assert type_words(privaudit.Defense | None) == "a defense or null"
    assert type_words(Inner) == "{epoch: int or null}"
    assert type_words(dict[str, float | bool]) == "mapping of text to float or true or false"


def test_a_strangers_distribution_installs_with_pip_and_is_found(tmp_path: Path) -> None:
    # --no-index: what it takes is here already, so the test needs no package registry.
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    alone = ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(tmp_path / "site")]
    subprocess.run([*pip, *alone, str(_copy(FIXTURE, tmp_path / "source"))], check=True)
    ran = subprocess.run(
        [sys.executable, "-c", "import privaudit.cli; privaudit.cli.main()", "plugins"],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site"), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.split() for line in ran.stdout.splitlines()]
    for kind, name in (("attack", "margin"), ("sparsifier", "random_pruning")):
        (row,) = (row for row in rows if row[:2] == [kind, name])
        assert row[-2:] == ["privaudit-stranger", "1.2.3"]
    assert "stranger" not in ran.stderr


def _copy(source: Path, target: Path) -> Path:
    """A copy to build in, so that the build leaves nothing in the working tree."""
    for path in source.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            copied = target / path.relative_to(source)
            copied.parent.mkdir(parents=True, exist_ok=True)
            copied.write_bytes(path.read_bytes())
    return target
