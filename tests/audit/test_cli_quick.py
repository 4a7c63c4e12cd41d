"""`privaudit audit --quick`: it may warn, says so in plain words, and never assures."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import privaudit
from privaudit.cli import main
from privaudit.errors import DataError, RecipeError
from privaudit.outputs.quick import quick_look

Said = tuple[int, str, str]
N = 3000


def _arrays(outliers: float, members: bool = False) -> dict[str, Any]:
    """A network of three classes that is wrong about a share of its non-members, or members."""
    rng = np.random.default_rng(0)
    labels, inside = rng.integers(0, 3, N), np.arange(N) % 2 == 0
    logits = rng.normal(size=(N, 3))
    logits[np.arange(N), labels] += 3
    wrong = (inside == members) & (rng.random(N) < outliers)
    logits[wrong, labels[wrong]] -= 12
    return {"logits": logits, "labels": labels, "members": inside}


@pytest.fixture
def audit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """Runs the command in this process: exit code, stdout, stderr."""

    def run(*arguments: str | Path, width: int = 80) -> Said:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(sys, "argv", ["privaudit", "audit", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        said = capsys.readouterr()
        return int(caught.value.code or 0), said.out, said.err

    return run


def _saved(folder: Path, **arrays: Any) -> Path:
    path = folder / "outputs.npz"
    np.savez(path, **arrays)
    return path


def _tail(arrays: dict[str, Any], allowed: int) -> float:
    """The share of non-members with a cross-entropy above that of all members but some."""
    logits = np.asarray(arrays["logits"], np.longdouble)
    loss = np.log(np.exp(logits).sum(1)) - logits[np.arange(N), arrays["labels"]]
    inside = arrays["members"]
    return float((loss[~inside] > np.sort(loss[inside])[-1 - allowed]).mean())


@pytest.mark.parametrize("width", [80, 200])
def test_a_leak_is_told_in_plain_words(
    tmp_path: Path, audit: Callable[..., Said], width: int
) -> None:
    arrays = _arrays(0.2)
    code, out, err = audit(_saved(tmp_path, **arrays), "--quick", width=width)
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= width
    text = " ".join(out.split())
    assert "quick look: leaks:" in text
    for rate, allowed in (("1 %", 15), ("0.1 %", 1)):
        assert f"At {rate}: {100 * _tail(arrays, allowed):.1f} % [" in text
        assert f"all members but {allowed}." in text
    assert "This assures nothing" in text
    assert "Next: leave out --quick" in text
    assert "pass" not in text


@pytest.mark.parametrize("members", [False, True])
def test_no_tail_is_no_safety(tmp_path: Path, audit: Callable[..., Said], members: bool) -> None:
    """Also where members have the outliers, which is another leak."""
    arrays = _arrays(0.2 if members else 0.0, members)
    code, out, _ = audit(_saved(tmp_path, **arrays), "--quick", "--accept-doubt", "inverted")
    assert code == 0
    text = " ".join(out.split())
    assert "quick look: cannot be told, because non-members' losses do not surely" in text
    assert "pass" not in text
    assert "safe" not in text


def test_json_holds_what_was_seen(tmp_path: Path, audit: Callable[..., Said]) -> None:
    arrays = _arrays(0.2)
    path, target = _saved(tmp_path, **arrays), tmp_path / "quick.json"
    code, out, err = audit(path, "--quick", "--format", "json", "--output", target)
    assert (code, out) == (0, "")
    assert "quick look in" in err
    assert "quick look: leaks" in err
    record = json.loads(target.read_text(), parse_constant=pytest.fail)
    assert record["files"][0]["name"] == "outputs.npz"
    quick = record["quick"]
    assert (quick["told"], quick["members"], quick["non_members"]) == ("leaks", 1500, 1500)
    one, tenth = quick["levels"]
    assert one["tnr"]["value"] == pytest.approx(_tail(arrays, 15))
    assert tenth["tnr"]["low"] <= _tail(arrays, 1) <= tenth["tnr"]["high"]
    assert "attacks" not in record
    assert "gates" not in record


@pytest.mark.parametrize(
    "arguments",
    [
        ["--gate", "auc<0.9"],
        ["--attacks", "loss"],
        ["--coins"],
        ["--delta", "0"],
        ["--seed", "1"],
        ["--set", "loss.label=x"],
        ["--plugin", "none.py"],
        ["--junit", "j.xml"],
        ["--sarif", "s.json", "--gate", "nonsense"],
    ],
)
def test_what_needs_attacks_is_refused(
    tmp_path: Path, audit: Callable[..., Said], arguments: list[str]
) -> None:
    code, out, err = audit(_saved(tmp_path, **_arrays(0.2)), "--quick", *arguments)
    assert (code, out) == (2, "")
    assert arguments[0] in err
    assert "cannot be used with --quick, which makes no attack" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "j.xml").exists()


def test_an_open_doubt_keeps_a_leak_from_being_told() -> None:
    arrays = _arrays(0.2)
    shares = np.exp(arrays["logits"]) / np.exp(arrays["logits"]).sum(1, keepdims=True)
    wrong = arrays | {"logits": shares}  # probabilities that are said to be logits
    look = quick_look(**wrong)
    assert look.tail.p_value < 1e-6
    assert (look.told, {doubt.name for doubt in look.doubts}) == ("cannot be told", {"kind"})
    assert "in doubt (kind)" in look.reason
    assert quick_look(**wrong, accept_doubts=["kind"]).told == "leaks"


def test_kinds_and_populations_come_to_the_same() -> None:
    arrays = _arrays(0.2)
    look = quick_look(**arrays)
    logits = np.asarray(arrays["logits"])
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    again = quick_look(shares, arrays["labels"], arrays["members"], kind="probabilities")
    assert again.tail == look.tail
    more: dict[str, Any] = {
        name: np.concatenate([value, value[:500]]) for name, value in arrays.items()
    }
    more["logits"][N:] = -more["logits"][N:]  # the population is no non-member
    assert quick_look(**more, audited=np.arange(N + 500) < N).tail == look.tail
    several = np.stack([logits, np.zeros_like(logits)])  # further queries are not the example
    assert quick_look(several, arrays["labels"], arrays["members"]).tail == look.tail


def test_tables_may_name_examples(tmp_path: Path, audit: Callable[..., Said]) -> None:
    """Whatever else an audit's files may hold can be looked at, too."""
    arrays = _arrays(0.2)

    def table(names: list[int]) -> Path:
        path = tmp_path / "outputs.csv"
        columns = arrays["labels"], arrays["members"].astype(int), names, *arrays["logits"].T
        rows = [",".join(map(str, row)) for row in zip(*columns, strict=True)]
        path.write_text("\n".join(["label,member,ids,logit_0,logit_1,logit_2", *rows]))
        return path

    code, out, _ = audit(table(list(range(N))), "--quick")
    assert (code, "leaks:" in out) == (0, True)
    right = arrays["logits"].argmax(1) == arrays["labels"]
    share = 100 * right[~arrays["members"]].mean()
    assert f"{share:.1f} % of the non-members." in " ".join(out.split())
    twice = [row - row % 2 if row < 1000 else row for row in range(N)]  # in both sides
    code, out, _ = audit(table(twice), "--quick", width=400)
    assert "quick look: cannot be told, because the outputs are in doubt (duplicate_rows)" in out


def test_what_cannot_be_looked_at_is_one_line() -> None:
    arrays = _arrays(0.0)
    with pytest.raises(RecipeError, match="confidence must be between 0 and 1"):
        quick_look(**arrays, confidence=1)
    with pytest.raises(RecipeError, match="unknown doubt"):
        quick_look(**arrays, accept_doubts=["nonsense"])
    with pytest.raises(RecipeError, match="quick_look takes no gate"):
        quick_look(**arrays, gate="auc<0.9")
    with pytest.raises(DataError, match="members"):
        quick_look(arrays["logits"], arrays["labels"], np.ones(N, bool))
    with pytest.raises(DataError, match="labels"):
        quick_look(arrays["logits"], arrays["labels"][:-1], arrays["members"])


def test_probabilities_of_nought_are_the_highest_losses() -> None:
    """A member whose probability is 0 keeps every non-member from lying above it."""
    shares = np.full((N, 2), 0.5)
    shares[:, 1] = np.linspace(0.2, 0.8, N)
    shares[:, 0] = 1 - shares[:, 1]
    shares[0] = [0, 1]
    labels = np.zeros(N, int)
    inside = np.arange(N) % 2 == 0
    look = quick_look(shares, labels, inside, kind="probabilities")
    assert look.tail.levels[1].allowed == 1
    assert look.tail.p_value > 0.5


def test_the_audit_without_it_is_as_it_was(tmp_path: Path, audit: Callable[..., Said]) -> None:
    code, out, _ = audit(_saved(tmp_path, **_arrays(0.2)), "--attacks", "loss", width=160)
    assert code == 0
    assert "quick" not in out
    assert privaudit.audit_outputs(**_arrays(0.2), attacks="loss", quiet=True).keys() == {"loss"}
