"""Outputs from every file that people have: the same answers, or one line that says why not."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from privaudit.errors import DataError, PrivauditError, RecipeError
from privaudit.outputs import audit_outputs
from privaudit.outputs.files import parse_columns, read_files

N, C = 40, 3
_DRAW = np.random.default_rng(0)
_LABELS = _DRAW.integers(0, C, N)
_MEMBERS = np.arange(N) % 2 == 0
_Z = _DRAW.normal(size=(N, C)) + 3 * np.eye(C)[_LABELS] * (0.5 + _MEMBERS[:, None])
_P = np.exp(_Z) / np.exp(_Z).sum(1, keepdims=True)
_NAMES = np.array(["cat", "dog", "eel"])


def lines(header: list[str], rows: Any, separator: str = ",") -> str:
    return "\n".join(separator.join(map(str, row)) for row in [header, *rows]) + "\n"


def table(
    answers: Any = _Z, prefix: str = "logit_", labels: Any = _LABELS, members: Any = _MEMBERS
) -> tuple[list[str], list[list[Any]]]:
    header = ["label", *(f"{prefix}{k}" for k in range(np.shape(answers)[1])), "member"]
    return header, [
        [y, *map(repr, map(float, z)), m] for y, z, m in zip(labels, answers, members, strict=True)
    ]


def as_csv(path: Path) -> list[Path]:
    path.with_suffix(".csv").write_text(lines(*table()))
    return [path.with_suffix(".csv")]


def as_tsv(path: Path) -> list[Path]:
    path.with_suffix(".tsv").write_text(lines(*table(), "\t"))
    return [path.with_suffix(".tsv")]


def as_utf16(path: Path) -> list[Path]:
    path.with_suffix(".csv").write_text(lines(*table()), encoding="utf-16")
    return [path.with_suffix(".csv")]


def as_gzip(path: Path) -> list[Path]:
    file = path.with_suffix(".csv.gz")
    file.write_bytes(gzip.compress(lines(*table()).encode()))
    return [file]


def with_decimal_commas(path: Path) -> list[Path]:
    text = lines(*table(), ";").replace(".", ",")
    path.with_suffix(".csv").write_text(text)
    return [path.with_suffix(".csv")]


def in_two_tables(path: Path) -> list[Path]:
    header, rows = table()
    files = [path.with_name(f"{name}.csv") for name in ("first", "second")]
    for file, part in zip(files, (rows[:7], rows[7:]), strict=True):
        file.write_text(lines(header, part))
    return files


def _objects() -> list[dict[str, Any]]:
    return [
        {"label": int(y), "member": bool(m), "logits": z.tolist(), "id": "a"}
        for y, m, z in zip(_LABELS, _MEMBERS, _Z, strict=True)
    ]


def as_json_lines(path: Path) -> list[Path]:
    path.with_suffix(".jsonl").write_text("\n".join(map(json.dumps, _objects())))
    return [path.with_suffix(".jsonl")]


def as_json(path: Path) -> list[Path]:
    path.with_suffix(".json").write_text(json.dumps(_objects(), indent=1))
    return [path.with_suffix(".json")]


def as_parquet(path: Path) -> list[Path]:
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs privaudit[files]")
    from pyarrow import parquet

    columns = {f"logit_{k}": _Z[:, k] for k in range(C)}
    made = pyarrow.table({"label": _LABELS, "member": _MEMBERS, **columns})
    parquet.write_table(made, path.with_suffix(".parquet"))
    return [path.with_suffix(".parquet")]


def as_parquet_lists(path: Path) -> list[Path]:
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs privaudit[files]")
    from pyarrow import parquet

    made = pyarrow.table({"label": _LABELS, "member": _MEMBERS, "logits": _Z.tolist()})
    parquet.write_table(made, path.with_suffix(".parquet"))
    return [path.with_suffix(".parquet")]


def as_arrays(path: Path) -> list[Path]:
    files = {"logits": _Z, "labels": _LABELS, "members": _MEMBERS}
    for name, array in files.items():
        np.save(path.with_name(f"{name}.npy"), array)
    return [path.with_name(f"{name}.npy") for name in files]


def as_dump(path: Path) -> list[Path]:
    np.savez(path.with_suffix(".npz"), predictions=_Z, label_ids=_LABELS, members=_MEMBERS)
    return [path.with_suffix(".npz")]


def as_sides(path: Path) -> list[Path]:
    arrays = {"logits": _Z, "labels": _LABELS}
    sides = {"train": _MEMBERS, "test": ~_MEMBERS}
    np.savez(
        path.with_suffix(".npz"),
        **{f"{side}_{name}": a[rows] for side, rows in sides.items() for name, a in arrays.items()},
    )
    return [path.with_suffix(".npz")]


WRITERS = [
    as_csv, as_tsv, as_utf16, as_gzip, with_decimal_commas, in_two_tables, as_json_lines, as_json,
    as_parquet, as_parquet_lists, as_arrays, as_dump, as_sides,
]  # fmt: skip


@pytest.mark.parametrize("write", WRITERS)
def test_every_format_says_the_same(write: Callable[[Path], list[Path]], tmp_path: Path) -> None:
    arrays, _ = read_files(write(tmp_path / "outputs"))
    members = np.asarray(arrays["members"], dtype=bool)
    order = np.argsort(np.asarray(arrays["logits"])[:, 0])
    expected = np.argsort(_Z[:, 0])
    np.testing.assert_allclose(np.asarray(arrays["logits"])[order], _Z[expected], rtol=0)
    np.testing.assert_array_equal(members[order], _MEMBERS[expected])
    np.testing.assert_array_equal(np.asarray(arrays["labels"])[order], _LABELS[expected])
    found = audit_outputs(**arrays, attacks="loss", quiet=True)
    true = audit_outputs(_Z, _LABELS, _MEMBERS, "loss", quiet=True)
    assert found["loss"].metrics["auc"] == true["loss"].metrics["auc"]


def test_names_of_classes_in_columns_and_labels(tmp_path: Path) -> None:
    header = ["id", "label", "p_eel", "p_cat", "p_dog", "in_train"]
    rows = [
        [f"=1+{i}", _NAMES[y], *p[[2, 0, 1]], "yes" if m else "no"]
        for i, (y, p, m) in enumerate(zip(_LABELS, _P, _MEMBERS, strict=True))
    ]
    (tmp_path / "a.csv").write_text(lines(header, rows))
    arrays, said = read_files([tmp_path / "a.csv"], columns={"member": "in_train"})
    assert arrays["kind"] == "probabilities"
    assert arrays["classes"] == ("eel", "cat", "dog")
    assert said == ["columns not used: id"]
    found = audit_outputs(**arrays, attacks="loss", quiet=True)
    true = audit_outputs(_P, _LABELS, _MEMBERS, "loss", kind="probabilities", quiet=True)
    assert found["loss"].metrics["auc"] == true["loss"].metrics["auc"]


def test_other_names_of_columns_are_said_and_never_guessed(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    header, rows = table(_P, "score_")
    path.write_text(lines(["true_label", *header[1:]], rows))
    with pytest.raises(DataError, match=r"is it 'true_label'. Say --columns label=true_label"):
        read_files([path])
    columns = parse_columns(["label=true_label,p_*=score_*"])
    arrays, _ = read_files([path], columns=columns)
    np.testing.assert_array_equal(arrays["logits"], _P)
    with pytest.raises(DataError, match=r"--columns p_.=scor_.: no such column"):
        read_files([path], columns={"label": "true_label", "p_*": "scor_*"})


def test_members_and_others_in_two_files_with_a_population(tmp_path: Path) -> None:
    header, rows = table()
    for name, which in (("in", _MEMBERS), ("out", ~_MEMBERS)):
        own = [row[:-1] for row, kept in zip(rows, which, strict=True) if kept]
        (tmp_path / f"{name}.csv").write_text(lines(header[:-1], own))
    inside, outside = [tmp_path / "in.csv"], [tmp_path / "out.csv"]
    others = [tmp_path / "others.csv"]
    others[0].write_text(
        lines(header[:-1], [[y, *z] for y, z in zip(_LABELS[:20], _Z[:20] + 1, strict=True)])
    )
    arrays, _ = read_files([], members=inside, non_members=outside, population=others)
    assert np.asarray(arrays["members"]).tolist() == [True] * 20 + [False] * 40
    assert np.asarray(arrays["audited"]).tolist() == [True] * 40 + [False] * 20
    found = audit_outputs(**arrays, attacks=["loss", "population"], quiet=True)
    assert found["population"].metrics["members"] == 20
    with pytest.raises(RecipeError, match="--members is given without --non-members"):
        read_files([], members=inside)
    (tmp_path / "all.csv").write_text(lines(header, rows))
    with pytest.raises(DataError, match="says itself that a row is no member"):
        read_files([], members=[tmp_path / "all.csv"], non_members=outside)


def test_files_that_do_not_fit_together(tmp_path: Path) -> None:
    header, rows = table()
    (tmp_path / "a.csv").write_text(lines(header, rows))
    other, others = table(_P[:, :2], "p_")
    (tmp_path / "b.csv").write_text(lines(other, others))
    with pytest.raises(DataError, match=r"its answers are probabilities, and those of .* logits"):
        read_files([tmp_path / "a.csv", tmp_path / "b.csv"])
    header[1:3] = header[2:0:-1]
    (tmp_path / "c.csv").write_text(lines(header, [[r[0], r[2], r[1], *r[3:]] for r in rows]))
    turned, _ = read_files([tmp_path / "c.csv"])
    np.testing.assert_array_equal(turned["logits"], read_files([tmp_path / "a.csv"])[0]["logits"])
    with pytest.raises(DataError, match=r"c\.csv: holds the same rows as .*a\.csv: leave one"):
        read_files([tmp_path / "a.csv", tmp_path / "c.csv"])


def _sides(tmp_path: Path, labels: Any, names: Any) -> tuple[list[Path], list[Path]]:
    files = []
    for name, own in (("in.csv", _MEMBERS), ("out.csv", ~_MEMBERS)):
        files.append(tmp_path / name)
        rows = [[y, *map(repr, z)] for y, z in zip(labels[own], _Z[own].tolist(), strict=True)]
        files[-1].write_text(lines(["label", *(f"logit_{one}" for one in names)], rows))
    return files[:1], files[1:]


def test_a_file_given_twice_is_refused(tmp_path: Path) -> None:
    inside, outside = _sides(tmp_path, _LABELS, range(C))
    for members, non_members in ((inside, inside), (inside * 2, outside)):
        with pytest.raises(DataError, match=r"in\.csv: is given twice: leave one of them out"):
            read_files([], members=members, non_members=non_members)


@pytest.mark.parametrize("names", [(1, 2, 3), (2, 5, 7), (-1, 0, 1), (1, 2, "other")])
def test_labels_are_names_of_columns_in_all_files_alike(names: Any, tmp_path: Path) -> None:
    kept = np.flatnonzero(_LABELS < C - 1)  # the last name, which would give it away, is no label
    labels = np.array([int(one) for one in names[: C - 1]])[np.minimum(_LABELS, C - 2)]
    labels[_LABELS == C - 1] = -100  # without a label, on both sides or, below, on one
    for one_sided in (False, True):
        if one_sided:
            labels[_MEMBERS & (labels == -100)] = names[0]
        inside, outside = _sides(tmp_path, labels, names)
        arrays, _ = read_files([], members=inside, non_members=outside)
        order = np.argsort(~_MEMBERS, kind="stable")
        same = np.isin(order, kept)
        np.testing.assert_array_equal(arrays["labels"][same], _LABELS[order][same])
        assert set(arrays["labels"][~same].tolist()) <= {-100, 0}


def test_a_label_that_no_column_is_called_by_is_refused(tmp_path: Path) -> None:
    inside, outside = _sides(tmp_path, _LABELS, (1, 2, 3))
    with pytest.raises(DataError, match="label 0 has no column, and columns are called by the cl"):
        read_files([], members=inside, non_members=outside)


def test_truths_are_the_columns_called_by_them(tmp_path: Path) -> None:
    rows = [{"label": True, "member": True, "p_True": 0.9, "p_False": 0.1}] * 2
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert read_files([tmp_path / "a.jsonl"])[0]["labels"].tolist() == [0, 0]


def test_sides_of_an_archive_are_said(tmp_path: Path) -> None:
    own = {"train_logits": _Z[:9], "train_labels": _LABELS[:9]}
    np.savez(tmp_path / "a.npz", **own, test_logits=_Z[9:], test_labels=_LABELS[9:])
    arrays, said = read_files([tmp_path / "a.npz"])
    assert arrays["members"].tolist() == [True] * 9 + [False] * (N - 9)
    assert said == ["arrays called train_ are taken for members, and test_ for non-members"]


@pytest.mark.parametrize("cut", [1, 3])
@pytest.mark.parametrize("wider", [True, False])
def test_a_side_that_stands_on_the_other_is_doubted(cut: int, wider: bool) -> None:
    whole = np.random.default_rng(1).normal(size=(3000, 5))
    labels = whole.argmax(1)
    copies = np.concatenate([whole[: 1500 // cut], whole[np.argsort(labels, kind="stable")]])
    members = (np.arange(len(copies)) < 1500 // cut) == wider
    audits = audit_outputs(copies, copies.argmax(1), members, "loss")
    assert "duplicate_rows" in {doubt.name for doubt in audits.doubts}
    assert not audits.verdict("auc<0.6").passed
    clean = audit_outputs(whole, labels, np.arange(3000) < 1500, "loss")
    assert "duplicate_rows" not in {doubt.name for doubt in clean.doubts}


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (_LABELS + 1, "labels run up to 3: taken for classes counted from 1"),
        (np.eye(C)[_LABELS], "labels are one-hot: taken for the class that is 1"),
        (_LABELS[:, None], None),
        (_LABELS.astype(float), None),
    ],
)
def test_labels_are_converted_and_it_is_said(labels: Any, sentence: str | None) -> None:
    found = audit_outputs(_Z, labels, _MEMBERS, "loss", quiet=True)
    true = audit_outputs(_Z, _LABELS, _MEMBERS, "loss", quiet=True)
    assert found.read == ((sentence,) if sentence else ())
    assert found["loss"].metrics["auc"] == true["loss"].metrics["auc"]


@pytest.mark.parametrize("labels", [np.where(_MEMBERS, 1, -1), _MEMBERS.copy()])
def test_two_classes_as_signs_or_truths(labels: Any) -> None:
    margins = _DRAW.normal(size=N)
    found = audit_outputs(margins, labels, _MEMBERS, "loss", kind="margins", quiet=True)
    true = audit_outputs(margins, _MEMBERS * 1, _MEMBERS, "loss", kind="margins", quiet=True)
    assert len(found.read) == 1
    assert found["loss"].metrics["auc"] == true["loss"].metrics["auc"]


@pytest.mark.parametrize("shape", [(N,), (N, 1)])
def test_one_probability_is_that_of_class_1(shape: tuple[int, ...]) -> None:
    p = 1 / (1 + np.exp(-_Z[:, 0]))
    labels = (_LABELS == 0) * 1
    both = np.stack([1 - p, p], 1)
    found = audit_outputs(
        p.reshape(shape), labels, _MEMBERS, "loss", kind="probabilities", quiet=True
    )
    true = audit_outputs(both, labels, _MEMBERS, "loss", kind="probabilities", quiet=True)
    assert "taken for that of class 1 of two" in found.read[0]
    np.testing.assert_array_equal(found["loss"].scores, true["loss"].scores)


def test_rows_without_a_label_are_left_out_of_everything() -> None:
    labels = _LABELS.copy()
    labels[[3, 8]] = -100
    kept = labels >= 0
    shadows, inside = np.stack([_Z, _Z + 1]), np.stack([_MEMBERS, ~_MEMBERS])
    found = audit_outputs(
        _Z, labels, _MEMBERS, ["loss", "reference"], quiet=True,
        shadow_logits=shadows, shadow_members=inside,
    )  # fmt: skip
    true = audit_outputs(
        _Z[kept], labels[kept], _MEMBERS[kept], ["loss", "reference"], quiet=True,
        shadow_logits=shadows[:, kept], shadow_members=inside[:, kept],
    )  # fmt: skip
    assert found.read == ("2 rows left out: the label -100 stands for no label",)
    for name, audit in true.items():
        np.testing.assert_array_equal(found[name].scores, audit.scores)


def test_labels_that_mean_nothing_here_are_refused() -> None:
    for labels, message in (
        (_LABELS * 2, "labels must be from 0 to 2"),
        (np.where(_LABELS == 0, 3, _LABELS - 1), "labels must be from 0 to 2"),
        (_NAMES[_LABELS], "labels are text, such as "),
        (np.full(N, -100), "labels are all -100"),
        (np.eye(C)[_LABELS] + np.eye(C)[0], "one-hot"),
        (np.eye(C + 1)[_LABELS], "or one-hot rows of 3 classes: got shape"),
    ):
        with pytest.raises(PrivauditError, match=message):
            audit_outputs(_Z, labels, _MEMBERS, "loss")
    with pytest.raises(
        PrivauditError, match=r"row . is 'eel', and the answers are about the class"
    ):
        audit_outputs(_Z, _NAMES[_LABELS], _MEMBERS, "loss", classes=["cat", "dog", "emu"])


def test_noisy_copies_are_used_where_they_are_and_missed_where_not() -> None:
    shadows, inside = np.stack([_Z, _Z[::-1]]), np.stack([_MEMBERS, ~_MEMBERS])
    noisy = _Z + _DRAW.normal(size=(4, N, C)) * (1 + _MEMBERS[:, None]) * 1e-3
    arrays: dict[str, Any] = {"shadow_logits": shadows, "shadow_members": inside}
    copies = {"noisy": noisy, "shadow_noisy": np.stack([noisy, noisy[:, ::-1]])}
    without = audit_outputs(_Z, _LABELS, _MEMBERS, "logistic_regression", quiet=True, **arrays)
    assert "logistic_regression goes without what noisy copies" in without.read[0]
    told = audit_outputs(
        _Z, _LABELS, _MEMBERS, "logistic_regression", quiet=True, **arrays, **copies
    )
    assert told.read == ()
    scores = [found["logistic_regression"].scores for found in (without, told)]
    assert not np.allclose(scores[0], scores[1])
    with pytest.raises(DataError, match="shadow_noisy is missing: give noisy and shadow_noisy"):
        audit_outputs(_Z, _LABELS, _MEMBERS, "loss", noisy=noisy, **arrays)
    with pytest.raises(DataError, match="noisy must be the answers to D noisy copies"):
        audit_outputs(_Z, _LABELS, _MEMBERS, "loss", noisy=noisy[:, :9])
    with pytest.raises(DataError, match="noise_scale must be the standard deviation"):
        audit_outputs(_Z, _LABELS, _MEMBERS, "loss", noise_scale=0)


def test_without_names_all_attacks_that_can_be_made_are() -> None:
    found = audit_outputs(_Z, _LABELS, _MEMBERS, quiet=True)
    assert {"loss", "correctness"} <= set(found)
    left = " ".join(found.left_out)
    assert "lira: needs at least 2 shadow models" in left
    assert "gradient_norm: needs gradient_norm of every network" in left
    assert not {"lira", "shadow_mlp", "gradient_norm"} & set(found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must name columns separated by"),
        ("label\n1\n", "must name columns separated by"),
        ("1,2,3\n4,5,6\n", "the first line holds numbers: it must name the columns"),
        ("label,p_0,p_0,member\n", "two columns are named 'p_0'"),
        ("label,p_0,p_1,member\n", "holds no rows"),
        ("label,p_0,p_1,member\n0,1,0\n", "row 0 has 3 cells, and the first line 4"),
        ("label,p_0,p_1,member\n0,1,,1\n", "column 'p_1': row 0 is empty"),
        ("label,p_0,p_1,member\n0,1,x,1\n", "column 'p_1': row 0 is 'x', no number"),
        ("label,p_0,p_1,member\n0,1,1_0,1\n", "column 'p_1': row 0 is '1_0', no number"),
        ("label,p_0,p_1,member\n,1,0,1\n", "column 'label': row 0 is empty"),
        ("label,p_0,p_1,member\n0,1,0,perhaps\n", "column 'member' must say true or false"),
        ("label,p_0,p_1,member\n0,1,0,1\n0,1,0,perhaps\n", "row 1 is 'perhaps'"),
        (
            "true_label,p_0,p_1,member\n",
            "--columns label=true_label; the columns are true_label, p_0",
        ),
        ("label,p_0,logit_1,member\n", "two kinds of answers"),
        ("label,p_0,p0,member\n", "'p_0' and 'p0' mean the same"),
        ("label,p_0,p,member\n", "column 'p' names no class"),
        ("label,member,a,b\n", "no column holds answers: name them p_CLASS"),
        ("label,p_0,p_1\n", "no column 'member': .* or give two files, --members"),
        (
            "y_true,split,a,b\n",
            "no column 'label': is it 'y_true'.*; and there is no column 'member': is it 'split'"
            ".*; and no column holds answers",
        ),
        ("label,p_0,p_1,member,audit\n", "column 'audit' may be 'audited'"),
        ("label,p_0,p_1,member,shadow_0_p_0\n", "the answers of shadow 0 differ in class '1'"),
        (
            "label,p_0,p_1,member,shadow_0_p_0,shadow_0_p_1\n",
            "shadow 0 lacks shadow_0_member",
        ),
        ('label,p_0,p_1,member\n0,"1,0,1\n', "is no table of text"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_files([path])
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no rows"),
        ("{", "row 0 is no JSON"),
        ("3", "row 0 is 3, and must be an object"),
        ('{"label":0,"member":1,"logits":[1,2]}\n{"label":0}', "row 1 lacks 'member'"),
        ('{"label":0,"member":1,"logits":[1,"2"]}', "'logits': row 0 is .*, no number"),
        (
            '{"label":0,"member":1,"logits":[1,2]}\n{"label":0,"member":1,"logits":[1]}',
            "row 1 has 1 numbers, and row 0 2",
        ),
        ('{"label":0,"member":1,"member":0,"logits":[1,2]}', "row 0 holds 'member' twice"),
        ('{"label":null,"member":1,"logits":[1,2]}', "'label': row 0 is null"),
        ("[1]", "row 0 is 1, and must be an object"),
        ("[" * 100_000, "row 0 is no JSON|lists stand in lists without end"),
    ],
)
def test_records_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_files([path])
    assert "\n" not in str(caught.value)


def test_files_that_are_something_else(tmp_path: Path) -> None:
    for name, content, message in (
        ("a.csv", b"\xff\xfe\x00\xd8", "is not UTF-8 text|must name columns"),
        ("a.csv", b"label,p_0,p_1,member\n\xe9,1,0,1\n", "is not UTF-8 text: save it as CSV"),
        ("a.csv.gz", b"no gzip", "it is damaged"),
        ("a.xlsx", b"PK", "ends in '.xlsx', and outputs are read from .npz, .npy, .csv"),
        ("a", b"", "ends in ''"),
        ("logits.npy", b"no array", "holds one array"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_files([path])
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_files([tmp_path / "none.csv"])
    with pytest.raises(RecipeError, match="give a file of outputs"):
        read_files([])


def test_damaged_parquet_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="Parquet needs privaudit[files]")
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(DataError, match="is damaged, or no Parquet file") as caught:
        read_files([path])
    assert "\n" not in str(caught.value)


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    for name in ("logits", "labels", "members"):
        np.save(tmp_path / f"{name}.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="holds Python objects"):
        read_files([tmp_path / f"{name}.npy" for name in ("logits", "labels", "members")])


def test_columns_are_read_with_every_mistake() -> None:
    with pytest.raises(RecipeError) as caught:
        parse_columns(["label", "p_*=q", "label=a,label=b"])
    assert len(caught.value.problems) == 3


def test_rows_without_a_label_are_left_out_of_answers_of_one_number() -> None:
    labels = _MEMBERS * 1
    labels[[3, 8]] = -100
    kept = labels >= 0
    z, shadows = _Z[:, 0], np.stack([_Z[:, 1], _Z[:, 2]])
    inside, noisy = np.stack([_MEMBERS, ~_MEMBERS]), np.stack([z + 0.01, z - 0.02, z])
    arrays: dict[str, Any] = {"shadow_logits": shadows, "noisy": noisy}
    arrays["shadow_noisy"] = shadows[:, None] + 0.01
    arrays["shadow_noisy"] = np.concatenate([arrays["shadow_noisy"]] * 3, axis=1)
    for kind in ("margins", "probabilities"):
        asked: dict[str, Any] = {
            n: 1 / (1 + np.exp(-a)) if kind != "margins" else a for n, a in arrays.items()
        }
        own = 1 / (1 + np.exp(-z)) if kind != "margins" else z
        options: dict[str, Any] = {"kind": kind, "quiet": True, "attacks": "logistic_regression"}
        found = audit_outputs(own, labels, _MEMBERS, shadow_members=inside, **asked, **options)
        cut: dict[str, Any] = {name: array[..., kept] for name, array in asked.items()}
        true = audit_outputs(
            own[kept], labels[kept], _MEMBERS[kept], shadow_members=inside[:, kept],
            **cut, **options,
        )  # fmt: skip
        left, right = (one["logistic_regression"].scores for one in (found, true))
        np.testing.assert_array_equal(left, right)


def test_columns_called_by_their_classes_alone_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("truth,seen,yes,no\nyes,1,0.75,0.25\nno,0,0.5,0.5\n")
    columns = {"label": "truth", "member": "seen", "p_*": "*"}
    arrays, _ = read_files([path], columns=columns)
    assert arrays["classes"] == ("yes", "no")
    assert arrays["logits"].tolist() == [[0.75, 0.25], [0.5, 0.5]]


@pytest.mark.parametrize(
    ("rows", "remedy"),
    [
        ([[60.0, 40.0], [99.5, 0.5]], "per cent: divide them by 100"),
        ([[0.9, 0.8], [0.1, 0.2]], "give the numbers before the sigmoid as logits"),
        ([[1.5, 0.2], [1.1, 0.4]], "say so by kind"),
    ],
)
def test_what_is_no_probability_is_refused_with_what_it_looks_like(
    rows: list[list[float]], remedy: str
) -> None:
    with pytest.raises(DataError, match=remedy):
        audit_outputs(np.array(rows), [0, 1], [True, False], "loss", kind="probabilities")
