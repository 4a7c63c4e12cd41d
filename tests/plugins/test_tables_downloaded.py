"""Tables in the layouts in which they are passed around, and what only looks like a table."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from privaudit import DataError, Examples
from privaudit_plugins.datasets._classes import classes_of
from privaudit_plugins.datasets._layouts import LAYOUTS
from privaudit_plugins.datasets._text import separator_of
from privaudit_plugins.datasets.table import Table

ADULT = "39, State-gov, 77516, Bachelors, 13, Never-married, Adm-clerical, Not-in-family, White, Male, 2174, 0, 40, United-States, <=50K"  # noqa: E501 (one line of UCI's file)
ADULT_2 = (
    "52, ?, 209642, HS-grad, 9, Married-civ-spouse, ?, Husband, White, Male, 0, 0, 45, ?, >50K"
)
GERMAN = "A11 6 A34 A43 1169 A65 A75 4 A93 A101 4 A121 67 A143 A152 2 A173 1 A192 A201 1"
GERMAN_2 = "A12 48 A32 A43 5951 A61 A73 2 A92 A101 2 A121 22 A143 A152 1 A173 1 A191 A201 2"


def load(path: Path, **options: object) -> Examples:
    return Table.model_validate({"path": path, **options}).load(path.parent)


def file(folder: Path, name: str, text: str, encoding: str = "utf-8") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def rows(row: Callable[[int], str], count: int = 30) -> str:
    return "".join(row(number) + "\n" for number in range(count))


def refused(message: str, path: Path, **options: object) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load(path, **options)
    assert str(caught.value).startswith(str(path.parent))
    assert "\n" not in str(caught.value)


def test_adult_is_read_from_its_folder_with_both_files_and_one_pair_of_classes(
    tmp_path: Path,
) -> None:
    file(tmp_path, "adult.data", f"{ADULT}\n{ADULT_2}\n\n")
    file(tmp_path, "adult.test", f"|1x3 Cross validator\n{ADULT_2}.\n{ADULT}.\n\n")
    examples = load(tmp_path, layout="adult")
    assert examples.classes == ("<=50K", ">50K")
    assert examples.y.tolist() == [0, 1, 1, 0]
    assert examples.x[0, :6].tolist() == [39, 77516, 13, 2174, 0, 40]
    assert examples.x[0].tolist() == examples.x[3].tolist()
    # workclass, education, marital-status, occupation, relationship, native-country: 2 values each
    assert examples.x.shape == (4, 6 + 6 * 2 + 1 + 1)
    assert examples.names == (
        "adult.data, line 1", "adult.data, line 2", "adult.test, line 2", "adult.test, line 3",
    )  # fmt: skip
    assert load(tmp_path, layout="adult", missing="value").x.tolist() == examples.x.tolist()
    assert len(load(tmp_path / "adult.test", layout="adult")) == 2


def test_without_its_layout_adult_is_refused_in_steps_that_lead_to_it(tmp_path: Path) -> None:
    path = file(tmp_path, "adult.data", f"{ADULT}\n{ADULT_2}\n" * 20)
    refused("label_column: first, last, .*layout: adult reads such a file", path)
    texts = [1, 3, 5, 6, 7, 8, 9, 13]
    refused(rf"list the column in `categorical`: \[{str(texts)[1:-1]}\]", path, label_column="last")
    examples = load(path, label_column="last", categorical=texts)
    assert len(examples) == 40  # the first row among them
    assert examples.x[0, 0] == 39


def test_german_credit_is_separated_by_blanks_and_has_its_label_last(tmp_path: Path) -> None:
    path = file(tmp_path, "german.data", f"{GERMAN}\n{GERMAN_2}\n")
    examples = load(path, layout="german")
    assert examples.classes == ("1", "2")
    assert examples.x[0, :7].tolist() == [6, 1169, 4, 4, 67, 2, 1]
    numeric = file(tmp_path, "german.data-numeric", "   1   6   4  1\n   2  48   2  2\n")
    assert load(numeric, layout="german_numeric").x.tolist() == [[1, 6, 4], [2, 48, 2]]


def test_bank_marketing_is_quoted_and_separated_by_semicolons(tmp_path: Path) -> None:
    head, row = '"age";"job";"balance";"y"\n', '58;"management";2143;"no"\n'
    file(tmp_path, "bank-full.csv", head + row + row.replace("no", "yes"))
    file(tmp_path, "bank.csv", head + row)  # a part of the same people, who count once
    examples = load(tmp_path, layout="bank")
    assert examples.x.tolist() == [[58, 2143, 1], [58, 2143, 1]]
    assert examples.classes == ("no", "yes")


@pytest.mark.parametrize("folder", ["", "texas", "texas/100"])
def test_texas_has_its_labels_in_a_file_of_their_own(tmp_path: Path, folder: str) -> None:
    file(tmp_path, "texas/100/feats", "0,1,1\n1,0,0\n")
    labels = file(tmp_path, "texas/100/labels", "7\n100\n")
    examples = load(tmp_path / folder, layout="texas100")
    assert examples.x.tolist() == [[0, 1, 1], [1, 0, 0]]
    assert examples.classes == ("7", "100")
    for text, more, fewer in (("7\n", "feats", "labels"), ("7\n100\n7\n", "labels", "feats")):
        labels.write_text(text)
        with pytest.raises(DataError, match=f"{more} has more rows than .*{fewer}"):
            load(tmp_path / folder, layout="texas100")
    labels.write_text("7 1\n100 1\n")
    with pytest.raises(DataError, match="labels:1: 2 cells, where one label should be"):
        load(tmp_path / folder, layout="texas100")


def test_activities_come_from_train_and_test(tmp_path: Path) -> None:
    for part, values in (("train", "  2.5e-001 -1.0e+000\n"), ("test", " -5.0e-001  4\n")):
        file(tmp_path, f"{part}/X_{part}.txt", values)
        file(tmp_path, f"{part}/y_{part}.txt", "5\n" if part == "train" else "2\n")
    examples = load(tmp_path, layout="har")
    assert examples.x.tolist() == [[0.25, -1], [-0.5, 4]]
    assert (examples.classes, examples.y.tolist()) == (("2", "5"), [1, 0])


@pytest.mark.parametrize(("name", "quote"), [("dataset_purchase", ""), ("bangkok", '"')])
def test_purchases_and_locations_have_no_header_and_no_suffix(
    tmp_path: Path, name: str, quote: str
) -> None:
    path = file(tmp_path, name, f"{quote}100{quote},1,0,1\n{quote}2{quote},0,0,1\n")
    layout = next(n for n, one in LAYOUTS.items() if one.files == ((name,),))
    for options in ({"layout": layout}, {"label_column": "first"}, {"label_column": 0}):
        examples = load(path, **options)
        assert examples.x.tolist() == [[1, 0, 1], [0, 0, 1]]
        assert (examples.classes, examples.y.tolist()) == (("2", "100"), [1, 0])


def test_a_layout_needs_its_files_and_says_where_they_are_published(tmp_path: Path) -> None:
    path = file(tmp_path, "x.csv", "1,2,3\n")
    for name, layout in LAYOUTS.items():
        with pytest.raises(DataError, match=r"needs a folder that holds .*https://"):
            load(tmp_path, layout=name)
        assert layout.source.startswith("https://")
    refused("needs the folder that holds feats and labels", path, layout="texas100")
    refused("3 cells, but its layout has 15 columns", path, layout="adult")
    with pytest.raises(ValueError, match="adult says this itself: leave out header, separator"):
        Table.model_validate({"path": path, "layout": "adult", "header": True, "separator": "tab"})


@pytest.mark.parametrize(
    ("lines", "separator"),
    [
        (["a,b", "1,2"], "comma"),
        (["a;b", "1,5;2,5"], "semicolon"),
        (["1,5;2,5", "2,5;3,5"], "semicolon"),  # all commas are those of decimals
        (["a,b;c", "1,2;3"], "comma"),
        (["a\tb", "1\t2"], "tab"),
        (["a|b", "1|2"], "pipe"),
        (['"a;1",b', '"c;2",d'], "comma"),
        ([" 1  2 3", "4 5   6 "], "blanks"),
        (["a b c,d", "1 2 3,4"], "comma"),
        (["one", "two"], "comma"),
    ],
)
def test_the_separator_is_what_cuts_all_lines_alike(lines: list[str], separator: str) -> None:
    assert separator_of(Path("x.csv"), lines) == separator


@pytest.mark.parametrize(
    ("head", "row", "options", "count"),
    [
        ("5.1,a", lambda n: f"{n}.5,{'ab'[n % 2]}", {"label_column": "last"}, 31),
        ("1,0", lambda n: f"{n},{n % 2}", {"label_column": "last"}, 31),
        ("size,kind", lambda n: f"{n},{'ab'[n % 2]}", {"label_column": "last"}, 30),
        ("size,kind", lambda n: f"{n},{'ab'[n % 2]}", {"label_column": "kind"}, 30),
        ("label,2019", lambda n: f"{'ab'[n % 2]},{n}", {}, 30),
        (
            "3,?,a",
            lambda n: f"{n % 5},{n},{'ab'[n % 2]}",
            {"label_column": -1, "missing": "value"},
            31,
        ),
    ],
)
def test_no_row_is_lost_and_no_name_is_a_row(
    tmp_path: Path, head: str, row: Callable[[int], str], options: dict[str, object], count: int
) -> None:
    examples = load(file(tmp_path, "x.csv", f"{head}\n{rows(row)}"), **options)
    assert len(examples) == count
    assert examples.names is not None
    assert examples.names[0] == f"x.csv, line {32 - count}"


@pytest.mark.parametrize(
    ("head", "row"),
    [
        ("p,x", lambda n: f"{'pe'[n % 2]},{'xyz'[n % 3]}"),  # texts alone, which come again
        ("1.5,bad,0", lambda n: f"{n},{n % 7},{n % 2}"),  # a text where there are numbers below
        ("0,1,2", lambda n: f"{n},{n % 7},{n % 2}"),  # how pandas names columns without names
        ("first,a", lambda n: f"{['second', 'first'][n % 2]},{'ab'[n % 2]}"),  # `last` is no name
        ("7,u1", lambda n: f"{n},v{n}"),  # a text that never comes again
    ],
)
def test_where_the_first_line_may_be_a_row_the_recipe_has_to_say(
    tmp_path: Path, head: str, row: Callable[[int], str]
) -> None:
    path = file(tmp_path, "x.csv", f"{head}\n{rows(row)}")
    refused(":1: .*set header: true if .*, or false if", path, label_column="last")


@pytest.mark.parametrize(
    ("text", "name"), [(",", "comma"), (";", "semicolon"), ("\t", "tab"), (" ", "blanks")]
)
def test_a_separator_may_be_called_by_itself(tmp_path: Path, text: str, name: str) -> None:
    path = file(tmp_path, "x.csv", text.join("ab") + text + "label\n" + f"1{text}2{text}x\n" * 2)
    table = Table.model_validate({"path": path, "separator": text, "classes": ["x", "y"]})
    assert table.separator == name
    assert table.load(tmp_path).x.tolist() == [[1, 2]] * 2
    mistakes: list[object] = ["commma", 3, ["comma"], {}]
    for wrong in mistakes:
        with pytest.raises(ValueError, match="separator"):
            Table.model_validate({"path": path, "separator": wrong})


def test_decimal_commas_truth_and_other_encodings_are_read_where_they_are_said(
    tmp_path: Path,
) -> None:
    text = "größe;wahr;label\n1,5;True;jä\n-2,25;false;nein\n"
    for encoding in ("latin-1", "utf-16", "utf-8"):
        path = file(tmp_path, f"{encoding}.csv", text, encoding)
        examples = load(path, decimal=",", encoding=encoding)
        assert examples.x.tolist() == [[1.5, 1], [-2.25, 0]]
        assert examples.classes == ("jä", "nein")
    refused("is not a number: '1,5'; set decimal: ','", tmp_path / "utf-8.csv")
    refused("not UTF-8 text.*encoding: latin-1", tmp_path / "latin-1.csv")
    refused("not utf-16 text", tmp_path / "utf-8.csv", encoding="utf-16")
    points = file(tmp_path, "points.csv", "a;label\n1.234,5;x\n1;y\n")
    refused(r"is not a number: '1\.234,5'", points, decimal=",")


MISSING = "a,b,label\n1,u,x\n,v,y\n3,?,x\n5,NA,y\n"


def test_missing_cells_are_refused_dropped_or_a_value(tmp_path: Path) -> None:
    path = file(tmp_path, "x.csv", MISSING)
    b = {"categorical": ["b"]}
    refused(":3: column 'a' is empty: fill it or drop the row .*missing: drop, or value", path, **b)
    value = load(path, missing="value", **b)
    # the mean of 1, 3 and 5; where it was missing; and the values ?, u and v
    assert value.x.tolist() == [[1, 0, 0, 1, 0], [3, 1, 0, 0, 1], [3, 0, 1, 0, 0], [5, 0, 1, 0, 0]]
    assert value.mean[1:].tolist() == [0] * 4
    assert value.std[1:].tolist() == [1] * 4


def test_rows_that_are_dropped_are_counted_in_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = file(tmp_path, "x.csv", MISSING + "7,u,y\n9,u,\n")
    with caplog.at_level(logging.WARNING):
        examples = load(path, missing="drop", categorical=["b"])
    assert examples.x.tolist() == [[1, 1], [7, 1]]
    assert examples.names == ("x.csv, line 2", "x.csv, line 6")
    assert "4 of 6 rows lack a value and are left out" in caplog.text
    nothing = file(tmp_path, "y.csv", "a,label\n?,x\n,y\n")
    refused("no rows, as each of its 2 rows lacks a value", nothing, missing="drop")
    refused("'a' is missing in every row: leave it out by `drop`", nothing, missing="value")


def test_a_label_is_never_made_up(tmp_path: Path) -> None:
    path = file(tmp_path, "x.csv", "a,label\n1,x\n2,\n3,y\n")
    refused(":3: column 'label' is empty, and a label must be known", path, missing="value")


def test_a_question_mark_among_texts_is_a_text_as_it_always_was(tmp_path: Path) -> None:
    path = file(tmp_path, "x.csv", "a,label\n?,x\nu,y\n")
    assert load(path, categorical=["a"]).x.tolist() == [[1, 0], [0, 1]]
    refused(r"column 'a' is '\?'", path, categorical=["a"], missing="refuse")


def test_the_index_of_pandas_is_left_out_in_a_sentence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number, name in enumerate(("", "Unnamed: 0")):
        path = file(
            tmp_path, f"{number}.csv", f"{name},a,label\n7,{4.5},x\n3,2,y\n"
        )  # shuffled before it was saved
        with caplog.at_level(logging.WARNING):
            assert load(path).x.tolist() == [[4.5], [2]]
        assert f"{number}.csv: its first column numbers the rows" in caplog.text
    other = file(tmp_path, "z.csv", ",a,label\n0.5,4,x\n0.7,2,y\n")
    refused(r"column 0 \(from 0\) has no name: .*drop: \[0\]", other)
    assert load(other, drop=[0]).x.tolist() == [[4], [2]]


def test_a_column_that_counts_the_rows_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = file(tmp_path, "x.csv", "id,a,label\n" + rows(lambda n: f"{n + 5},{n % 3},{n % 2}"))
    with caplog.at_level(logging.WARNING):
        load(path)
        assert "column 'id' counts the rows, which is no feature: leave it out by drop: [id]" in (
            caplog.text
        )
        caplog.clear()
        assert load(path, drop=["id"]).x.shape == (30, 1)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([f"{n / 7:.3f}" for n in range(200)] * 5, r"200 different values .*regression"),
        ([str(n) for n in range(100)], "they tell rows apart, as an identifier"),
        ([f"user{n}" for n in range(100)], "they tell rows apart, as an identifier"),
        ([str(n * n) for n in range(60)] * 4, r"from 0 to 3481, .*regression"),
        ([">50K", "<=50K", ">50K."], "'>50K' and '>50K.' look like one"),
        (["Cat", "cat", "dog"], "'Cat' and 'cat' look like one"),
        (["new_york", "New York", "Rome"], "'New York' and 'new_york' look like one"),
        (["a"] * 5, "every label is 'a'"),
    ],
)
def test_what_only_looks_like_classes_is_refused(labels: list[str], message: str) -> None:
    with pytest.raises(DataError, match=f"^people: .*{message}"):
        classes_of(Path("people"), labels, labels)
    if len(set(labels)) > 1:
        assert classes_of(Path("people"), labels, labels, list(dict.fromkeys(labels)))[0].max() > 0


@pytest.mark.parametrize(
    "labels",
    [
        [str(n) for n in range(100)] * 3,  # Purchase-100
        ["a", "A", "b", "B"],  # letters to be read
        ["-1", "1"],
        ["1", "-1", "1.5", "x"],
        ["0.5", "1.5", "2.5"],
        [f"person {n}" for n in range(100)] * 2,
        [str(n) for n in range(20)],
        [">50K", "<=50K"],
        ["C", "C+", "C++"],
    ],
)
def test_classes_are_not_mistaken_for_something_else(labels: list[str]) -> None:
    y, classes = classes_of(Path("people"), labels, labels)
    assert [classes[number] for number in y.tolist()] == labels
    assert len(classes) == len(set(labels))


def test_classes_may_be_listed_some_of_them_without_rows(tmp_path: Path) -> None:
    path = file(tmp_path, "x.csv", "a,label\n1,2\n2,0\n3,2.0\n")
    examples = load(path, classes=[0, 1, 2, 3])
    assert examples.classes == ("0", "1", "2", "3")
    assert examples.y.tolist() == [2, 0, 2]
    with pytest.raises(DataError, match=r"x\.csv, line 2 has the label '2', which is none of"):
        load(path, classes=["0", "1"])
    for classes, message in ((["0", "2", "0"], "names '0' twice"), (["0"], "one class")):
        with pytest.raises(DataError, match=message):
            load(path, classes=classes)


def test_columns_may_be_left_out_but_not_the_label(tmp_path: Path) -> None:
    path = file(tmp_path, "x.csv", "a,b,label\n1,u,x\n2,v,y\n")
    assert load(path, drop=["b"]).x.tolist() == [[1], [2]]
    refused("drop names 'label', which is the label column", path, drop=["label"])
    refused("categorical and drop both name 'b'", path, drop=[1], categorical=["b"])
    refused("drop names 'c', which is not a column", path, drop=["c"])
    refused("no column is left beside the label", path, drop=["a", "b"])


def test_a_recipe_without_the_new_options_is_written_as_before() -> None:
    written = Table.model_validate({"path": "x.csv"}).model_dump(mode="json")
    assert written == {
        "name": "table", "path": "x.csv", "label_column": "label", "categorical": [],
        "standardize": True,
    }  # fmt: skip
    said = Table.model_validate({"path": "x.csv", "missing": "drop", "header": False})
    assert Table.model_validate(said.model_dump(mode="json")) == said


def test_options_of_text_are_refused_for_archives(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.eye(4), y=np.arange(4) % 2)
    for option, value in (("missing", "drop"), ("categorical", ["a"]), ("header", True)):
        refused(f"{option} is for text files", tmp_path / "x.npz", **{option: value})
