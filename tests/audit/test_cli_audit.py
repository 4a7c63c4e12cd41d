from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from privaudit.cli import main
from privaudit.version import __version__

N = 1200
Said = tuple[int, str, str]


def _arrays() -> dict[str, Any]:
    """A network that answers its members with more confidence, and three shadows of it."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, N)

    def answers(inside: Any) -> Any:
        logits = rng.normal(size=(N, 3))
        logits[np.arange(N), labels] += 1 + inside
        return logits.astype(np.float32)

    members = np.arange(N) % 2 == 0
    shadow_members = rng.random((3, N)) < 0.5
    return {
        "logits": answers(members),
        "labels": labels,
        "members": members,
        "shadow_logits": np.stack([answers(inside) for inside in shadow_members]),
        "shadow_members": shadow_members,
    }


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("outputs") / "outputs.npz"
    np.savez(path, **_arrays())
    return path


@pytest.fixture
def audit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """Runs the command in this process: exit code, stdout, stderr."""

    def run(*arguments: str | Path, width: int = 160) -> Said:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(sys, "argv", ["privaudit", "audit", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        said = capsys.readouterr()
        return int(caught.value.code or 0), said.out, said.err

    return run


def test_every_number_has_its_interval(archive: Path, audit: Callable[..., Said]) -> None:
    code, out, err = audit(archive, "--attacks", "loss")
    assert (code, err) == (0, "")
    arrays = _arrays()
    logits = arrays["logits"].astype(float)
    minus_loss = logits[np.arange(N), arrays["labels"]] - np.log(np.exp(logits).sum(1))
    auc = roc_auc_score(arrays["members"], minus_loss)
    row = next(line for line in out.splitlines() if line.startswith("loss"))
    assert row.split()[1] == f"{auc:.3f}"
    assert len(re.findall(r"[\d.]+ \[[\d.]+, [\d.]+\]", row)) == 4  # AUC, accuracy, two TPRs
    assert row.count("n/r") == 2  # 600 non-members resolve neither 0.1 % nor 0.01 %
    assert "600 members and 600 non-members; brackets hold the 95 % interval." in out


@pytest.mark.parametrize(
    ("gates", "code", "words"),
    [
        (["auc<0.9"], 0, ["passed"]),
        (["auc<0.9", "auc<0.51"], 3, ["passed", "BROKEN"]),
        (["defense>0.1", "tpr@0.01<0.9"], 0, ["passed", "passed"]),
        (["defense>0.99"], 3, ["BROKEN"]),
        (["tpr@0.001<0.99"], 3, ["CANNOT BE TOLD"]),
        (["precision@1e3<0.9", "precision@10<0.9"], 3, ["passed", "CANNOT BE TOLD"]),
    ],
)
def test_gates(
    archive: Path, audit: Callable[..., Said], gates: list[str], code: int, words: list[str]
) -> None:
    options = [each for gate in gates for each in ("--gate", gate)]
    found, out, err = audit(archive, "--attacks", "loss", *options)
    lines = [line for line in out.splitlines() if line.startswith("gate ")]
    assert (found, err) == (code, "")
    assert [line.partition(": ")[2].partition(",")[0] for line in lines] == words
    assert [line.partition(": ")[0] for line in lines] == [f"gate {gate}" for gate in gates]
    assert all("(loss)" in line for line in lines)


def test_the_upper_limit_and_not_the_estimate_is_gated(
    archive: Path, audit: Callable[..., Said]
) -> None:
    _, out, _ = audit(archive, "--attacks", "loss", "--format", "json")
    auc = json.loads(out)["attacks"]["loss"]["auc"]
    between = (auc["value"] + auc["high"]) / 2
    above = auc["high"] + 1e-6
    assert audit(archive, "--attacks", "loss", "--gate", f"auc<{between}")[0] == 3
    assert audit(archive, "--attacks", "loss", "--gate", f"auc<{above}")[0] == 0
    # A bolder interval ends lower, so that the same gate holds.
    options = ["--gate", f"auc<{between}", "--confidence", "0.5"]
    assert audit(archive, "--attacks", "loss", *options)[0] == 0


def test_json_leaves_stdout_to_the_program(archive: Path, audit: Callable[..., Said]) -> None:
    options = ["--format", "json", "--gate", "auc<0.51", "--gate", "tpr@0.001<0.5"]
    code, out, err = audit(archive, "--attacks", "loss", *options)
    record = json.loads(out)
    assert (code, record["confidence"]) == (3, 0.95)
    assert [gate["passed"] for gate in record["gates"]] == [False, False]
    assert record["gates"][1]["reached"] is None
    assert [line.split()[1] for line in err.splitlines()] == ["auc<0.51:", "tpr@0.001<0.5:"]
    assert record["doubts"] == record["accepted_doubts"] == []


def test_a_leak_in_the_wrong_direction_is_said_and_breaks_the_gate(
    tmp_path: Path, audit: Callable[..., Said]
) -> None:
    arrays = _arrays()
    arrays["logits"][np.arange(N), arrays["labels"]] -= 3 * arrays["members"]  # less sure of them
    np.savez(tmp_path / "inverted.npz", **{k: arrays[k] for k in ("logits", "labels", "members")})
    command = [tmp_path / "inverted.npz", "--attacks", "loss", "--gate", "auc<0.6"]
    code, out, _ = audit(*command)
    assert code == 3
    assert "doubt below_half (attack 'loss': AUC 0." in out
    assert "BROKEN" in out
    # Accepting the doubt does not make the leak go away: the gate looks at both directions.
    names = ["below_half", "inverted", "labels"]
    accept = [word for name in names for word in ("--accept-doubt", name)]
    code, out, _ = audit(*command, *accept)
    assert code == 3
    assert "with scores reversed (loss)" in out
    code, out, err = audit(*command, *accept, "--format", "json")
    record = json.loads(out)
    assert (code, record["accepted_doubts"]) == (3, names)
    assert [gate["reversed"] for gate in record["gates"]] == [True]
    assert all(doubt["accepted"] for doubt in record["doubts"])
    assert "[accepted]" in err


def test_an_attack_that_says_nothing_is_no_defense(
    tmp_path: Path, audit: Callable[..., Said]
) -> None:
    labels, members = np.arange(N) % 3, np.arange(N) % 2 == 0
    logits = np.eye(3)[labels] * 5  # every answer is right, and all are equally sure
    np.savez(tmp_path / "alike.npz", logits=logits, labels=labels, members=members)
    command = [tmp_path / "alike.npz", "--attacks", "correctness", "--gate", "auc<0.6"]
    code, out, _ = audit(*command)
    assert code == 3
    row = next(line for line in out.splitlines() if line.startswith("correctness"))
    assert "says nothing" in row
    assert "0.500" not in row
    assert "all of the scores are alike" in out


def test_rows_that_are_left_out_are_named_below_the_table(
    tmp_path: Path, audit: Callable[..., Said]
) -> None:
    arrays = _arrays()
    arrays["shadow_members"][0] = ~arrays["shadow_members"][1]
    arrays["shadow_members"][:, [5, 77]] = True  # every shadow was trained on these two
    np.savez(tmp_path / "coin.npz", **arrays)
    code, out, err = audit(tmp_path / "coin.npz", "--attacks", "reference", width=400)
    assert code == 0
    assert f"reference leaves out 2 of {N} audited rows" in out
    assert "rows 5, 77" in out
    assert "leaves out" not in err


def test_an_unknown_doubt_is_refused(archive: Path, audit: Callable[..., Said]) -> None:
    code, out, err = audit(archive, "--attacks", "loss", "--accept-doubt", "below_haf")
    assert (code, out) == (2, "")
    assert "did you mean 'below_half'?" in err


def test_options_reach_the_attack(archive: Path, audit: Callable[..., Said]) -> None:
    code, out, err = audit(archive, "--attacks", "loss", "--set", r'loss.label="\x1b[1mx"')
    assert (code, out) == (2, "")
    assert "attacks[0].label: must be 1 to 80 printable characters" in err
    assert "\x1b" not in err
    code, out, _ = audit(archive, "--attacks", "loss", "--set", 'loss.label="[red]x[/]"')
    assert code == 0
    assert "[red]x[/]" in out


def _without(name: str) -> dict[str, Any]:
    return {key: array for key, array in _arrays().items() if key != name}


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({}, ["--attacks", "los"], "attacks[0]: unknown attack 'los'; did you mean 'loss'?"),
        ({}, ["--attacks", "loss,loss"], "is called 'loss' like attacks[0]"),
        ({}, ["--attacks", "loss", "--set", "loss.mode=1"], "attacks[0].mode: unknown option"),
        ({}, ["--attacks", "loss", "--set", "loss.mode"], "--set loss.mode: has no '='"),
        ({}, ["--attacks", "loss", "--set", "los.a=1"], "did you mean 'loss'?"),
        ({}, ["--attacks", "loss", "--gate", "auc>0.5"], "less is safer"),
        ({}, ["--attacks", "loss", "--gate", "best_balanced_accuracy<0.9"], "has no conf"),
        ({}, ["--attacks", "loss", "--confidence", "95"], "confidence must be between 0 and 1"),
        ({}, ["--attacks", "loss", "--format", "xml"], "xml"),
        ({}, ["--set", "loss.a=1"], "--set loss.a=1: name the attacks by --attacks as well"),
        (_without("members"), ["--attacks", "loss"], "lacks the array 'members'"),
        ({"audit": np.ones(N)}, ["--attacks", "loss"], "unknown array 'audit'; did you mean"),
        ({"labels": np.arange(N)}, ["--attacks", "loss"], "labels must be from 0 to 2"),
        (
            _without("logits") | {"logits": np.array([None])},
            ["--attacks", "loss"],
            "holds Python objects",
        ),
    ],
)
def test_what_is_wrong_is_said_in_a_line_on_stderr(
    tmp_path: Path,
    audit: Callable[..., Said],
    arrays: dict[str, Any],
    options: list[str],
    message: str,
) -> None:
    path = tmp_path / "outputs.npz"
    np.savez(path, **(arrays if "logits" in arrays else _arrays() | arrays))
    code, out, err = audit(path, *options)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "is damaged, or no archive"),
        (b"logits, labels\n1, 2\n", "is damaged, or no archive"),
        (b"PK\x03\x04 cut off", "is damaged, or no archive"),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '<f8'", "is damaged, or no archive"),
        (b"\x80\x04K\x01.", "is damaged, or no archive"),  # a pickle
    ],
)
def test_files_that_are_no_archive(
    tmp_path: Path, audit: Callable[..., Said], content: bytes | None, message: str
) -> None:
    path = tmp_path / "outputs.npz"
    if content is not None:
        path.write_bytes(content)
    code, out, err = audit(path, "--attacks", "loss")
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_path_that_cannot_be_printed_is_spelled_out(
    tmp_path: Path, audit: Callable[..., Said]
) -> None:
    code, _, err = audit(tmp_path / "two\nlines\x1b.npz", "--attacks", "loss")
    assert code == 2
    assert "two\\nlines\\x1b.npz: cannot be read" in err
    assert len(err.splitlines()) == 1


def test_one_array_is_no_archive(tmp_path: Path, audit: Callable[..., Said]) -> None:
    np.save(tmp_path / "logits.npy", np.zeros((4, 2)))
    code, _, err = audit(tmp_path / "logits.npy", "--attacks", "loss")
    assert code == 2
    assert "holds one array: give labels.npy and members.npy with it" in err


def test_a_damaged_array_is_named_as_damage(
    archive: Path, tmp_path: Path, audit: Callable[..., Said]
) -> None:
    content = bytearray(archive.read_bytes())
    content[2000] ^= 0xFF  # within the logits
    (tmp_path / "damaged.npz").write_bytes(content)
    code, _, err = audit(tmp_path / "damaged.npz", "--attacks", "loss")
    assert code == 2
    assert "is damaged" in err


def test_a_release_pipeline_sees_the_exit_code(archive: Path) -> None:
    command = [sys.executable, "-m", "privaudit", "audit", str(archive), "--attacks", "loss"]
    environment = {key: os.environ[key] for key in os.environ if key != "FORCE_COLOR"}
    done = subprocess.run(
        [*command, "--gate", "auc<0.51"],
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env=environment | {"COLUMNS": "60", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )
    assert (done.returncode, done.stderr) == (3, b"")
    assert max(map(len, done.stdout.decode("ascii").splitlines()[:-1])) <= 60
    assert done.stdout.splitlines()[-1].startswith(b"gate auc<0.51: BROKEN, upper")


def test_bounds_on_epsilon_are_shown_gated_and_never_called_safe(
    archive: Path, audit: Callable[..., Said]
) -> None:
    code, out, _ = audit(archive, "--attacks", "loss", "--gate", "epsilon<4", "--coins")
    assert code == 0
    assert "gate epsilon<4: not disproved, proven lower bound" in out
    assert "not disproved is not safe" in out
    assert "A small one shows a weak attack or few examples, never" in " ".join(out.split())
    assert "one-run epsilon" in out
    code, out, _ = audit(archive, "--attacks", "loss", "--gate", "epsilon<8")
    assert code == 3
    assert "CANNOT BE TOLD, not resolvable: with 600 members and 600 non-members" in out
    assert "one-run epsilon" not in out
    code, out, _ = audit(
        archive, "--attacks", "loss", "--format", "json", "--gate", "epsilon<4", "--delta", "0.01"
    )
    record = json.loads(out)
    assert record["attacks"]["loss"]["delta"] == 0.01
    assert record["gates"][0]["caveat"].startswith("not disproved is not safe")
    assert record["attacks"]["loss"]["one_run_epsilon"] is None
    code, _, error = audit(archive, "--attacks", "loss", "--delta", "1")
    assert (code, error.strip()) == (2, "delta must be from 0 to below 1, such as 1e-5 (got 1.0)")


def test_json_says_what_it_was_made_from_and_is_the_same_twice(
    archive: Path, tmp_path: Path, audit: Callable[..., Said]
) -> None:
    options = ["--attacks", "correctness,loss", "--format", "json"]
    options += ["--seed", "7", "--delta", "1e-4", "--confidence", "0.9"]
    texts = []
    for name in ("a.json", "b.json"):
        code, out, err = audit(archive, *options, "--output", tmp_path / name)
        assert (code, out) == (0, "")
        assert err.splitlines()[0] == f"audit in {tmp_path / name}"
        texts.append((tmp_path / name).read_bytes())
    assert texts[0] == texts[1]
    record = json.loads(texts[0])
    content = archive.read_bytes()
    assert record["files"] == [
        {
            "name": "outputs.npz",
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    ]
    assert {key: record[key] for key in ("kind", "seed", "delta", "confidence", "coins")} == {
        "kind": "logits",
        "seed": 7,
        "delta": 1e-4,
        "confidence": 0.9,
        "coins": False,
    }
    assert record["privaudit"] == __version__
    assert record["options"]["loss"] == {"name": "loss"}
    assert record["attacks"]["loss"]["delta"] == 1e-4


@pytest.mark.parametrize("width", [80, 200])
def test_a_table_in_a_file_is_what_would_be_printed(
    archive: Path, tmp_path: Path, audit: Callable[..., Said], width: int
) -> None:
    command = [archive, "--attacks", "loss", "--gate", "auc<0.51"]
    code, printed, _ = audit(*command, width=width)
    file = tmp_path / "audit.txt"
    written, out, err = audit(*command, "--output", file, width=width)
    assert (code, written, out) == (3, 3, "")
    assert file.read_text("utf-8") == printed
    assert "gate auc<0.51: BROKEN" in err  # a person reads stderr
    table = printed.partition("gate ")[0]
    assert max(map(len, table.splitlines())) <= width


def test_files_for_a_pipeline_tell_of_each_attack_what_the_command_tells_of_all(
    archive: Path, tmp_path: Path, audit: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(archive.parent)
    junit, sarif = tmp_path / "gates.xml", tmp_path / "gates.sarif"
    gates = ["auc<0.9", "auc<0.55", "tpr@0.001<0.5", "defense>0.01"]
    options = [f"--gate={gate}" for gate in gates]
    command = [archive.name, "--attacks=loss,correctness", *options, "--format=json"]
    code, out, _ = audit(*command, f"--junit={junit}", f"--sarif={sarif}")
    assert code == 3
    told = {gate["gate"]: gate["told"] for gate in json.loads(out)["gates"]}
    words = {"failure": "broken", "error": "cannot be told"}
    worst = ("broken", "cannot be told", "kept")
    for suite in ET.parse(junit).getroot():
        cases = [words.get(child.tag, "") for case in suite for child in case] or ["kept"]
        assert len(suite) == 2
        gate = str(suite.get("name")).removeprefix("gate ")
        # Where one attack cannot tell, the others do not make the gate broken or kept.
        expected = told[gate]
        assert next(word for word in worst if word in cases) in (expected, "broken")
        assert ("kept" in cases) == (expected == "kept")
    (run,) = json.loads(sarif.read_text())["runs"]
    alerts = [result["ruleId"] for result in run["results"]]
    assert alerts == ["gate/auc", "gate/tpr@0.001"]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == archive.name


def test_a_doubt_that_is_accepted_stands_in_every_file(
    tmp_path: Path, audit: Callable[..., Said]
) -> None:
    arrays = _arrays()
    p = np.exp(arrays["logits"].astype(float))
    known = {name: arrays[name] for name in ("labels", "members")}
    np.savez(tmp_path / "named.npz", logits=p / p.sum(-1, keepdims=True), **known)
    junit, sarif = tmp_path / "gates.xml", tmp_path / "gates.sarif"
    command = [tmp_path / "named.npz", "--attacks=loss", "--gate=auc<0.95"]
    command += [f"--junit={junit}", f"--sarif={sarif}"]
    assert audit(*command)[0] == 3
    (error,) = ET.parse(junit).getroot().iter("error")
    assert "the audit is in doubt (kind): look into it, or accept it by" in str(error.text)
    assert audit(*command, "--accept-doubt=kind")[0] == 0
    root = ET.parse(junit).getroot()
    assert not [*root.iter("error"), *root.iter("failure")]
    (told,) = root.iter("system-out")
    assert str(told.text).startswith("accepted (--accept-doubt): doubt kind (target")
    (run,) = json.loads(sarif.read_text())["runs"]
    assert run["results"] == []
    assert [doubt["name"] for doubt in run["properties"]["acceptedDoubts"]] == ["kind"]


def test_no_file_of_an_earlier_audit_stays_where_this_one_fails(
    archive: Path, tmp_path: Path, audit: Callable[..., Said]
) -> None:
    junit = tmp_path / "gates.xml"
    assert audit(archive, "--attacks=loss", "--gate=auc<0.95", f"--junit={junit}")[0] == 0
    assert junit.exists()
    broken = tmp_path / "broken.npz"
    broken.write_bytes(archive.read_bytes()[:1000])
    assert audit(broken, "--attacks=loss", "--gate=auc<0.95", f"--junit={junit}")[0] == 2
    assert not junit.exists()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--junit=j.xml"], 2, "--junit tell of gates: give --gate"),
        (["--gate=mean(auc)<0.6"], 2, "outputs are of one network: leave out mean()"),
        (["--output=outputs.npz"], 2, "is what the command reads, too: name another file"),
        (["--gate=auc<0.9", "--sarif=outputs.npz"], 2, "is what the command reads, too"),
        (["--gate=auc<0.9", "--sarif=./x", "--junit=x"], 2, "is the file of --junit, too"),
        (["--output=no/such/folder.txt"], 1, "cannot write no/such/folder.txt: No such file"),
        (["--output=."], 1, "--output .: is a folder: name a file"),
        (["--output=/dev/stdout"], 1, "is no regular file: name a file"),
        (["--output=outputs.npz/x"], 1, "cannot write outputs.npz/x: Not a directory"),
    ],
)
def test_a_file_that_cannot_be_written_is_one_line_before_any_work(
    archive: Path,
    audit: Callable[..., Said],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    code: int,
    message: str,
) -> None:
    def never(*given: object, **options: object) -> None:
        raise AssertionError("work was begun")

    monkeypatch.chdir(archive.parent)
    monkeypatch.setattr("privaudit.outputs.files.read_files", never)
    before = archive.read_bytes()
    found, out, err = audit("outputs.npz", "--attacks=loss", *options)
    assert (found, out, err.count("\n")) == (code, "", 1)
    assert message in err
    assert archive.read_bytes() == before
    assert [path.name for path in archive.parent.iterdir()] == ["outputs.npz"]
