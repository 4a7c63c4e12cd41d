from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from privaudit import DataError, Examples
from privaudit_plugins.datasets.table import Table

LOCATION30 = Path(__file__).parents[2].parent / "shared" / "data" / "location30.csv.xz"

PEOPLE = """age,city,label,income
30,Ulm,yes,1.5
50,"Bad Tölz, Süd",no,2.5
40,Ulm,yes,1e3
"""


def load(path: Path, **options: object) -> Examples:
    return Table.model_validate({"path": path, **options}).load(path.parent)


def table(folder: Path, text: str) -> Path:
    path = folder / "people.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_numbers_come_in_order_and_categories_one_hot_after_them(tmp_path: Path) -> None:
    examples = load(table(tmp_path, PEOPLE), categorical=["city"])
    assert examples.x.tolist() == [[30, 1.5, 0, 1], [50, 2.5, 1, 0], [40, 1000, 0, 1]]
    assert examples.x.dtype == torch.float32
    assert examples.classes == ("no", "yes")
    assert examples.y.tolist() == [1, 0, 1]
    assert examples.augmentation is None


def test_numeric_columns_are_standardised_and_categories_left_alone(tmp_path: Path) -> None:
    examples = load(table(tmp_path, PEOPLE), categorical=["city"])
    normalised = (examples.x - examples.mean) / examples.std
    third = 1.5**0.5  # (50 - 40) / √(200 / 3)
    torch.testing.assert_close(normalised[:, 0], torch.tensor([-third, third, 0]))
    assert normalised[:, 2:].tolist() == [[0, 1], [1, 0], [0, 1]]
    plain = load(table(tmp_path, PEOPLE), categorical=["city"], standardize=False)
    assert plain.mean.tolist() == [0] * 4
    assert plain.std.tolist() == [1] * 4


def test_a_constant_column_becomes_zero(tmp_path: Path) -> None:
    rows = "".join(f"0.1,{number},{number % 2}\n" for number in range(7))
    examples = load(table(tmp_path, "a,b,label\n" + rows))
    assert examples.std[0] == 1
    torch.testing.assert_close(examples.x[:, 0], examples.mean[0].expand(7), rtol=0, atol=1e-7)


@pytest.mark.parametrize("column", ["label", 2, -2])
def test_the_label_is_found_by_name_or_index(tmp_path: Path, column: str | int) -> None:
    examples = load(table(tmp_path, PEOPLE), label_column=column, categorical=["city"])
    assert examples.classes == ("no", "yes")


@pytest.mark.parametrize(
    ("labels", "classes", "y"),
    [
        (["10", "9", "10"], ("9", "10"), [1, 0, 1]),
        (["1.0", "-2", "1"], ("-2", "1"), [1, 0, 1]),
        (["0.5", "0.25", "0.5"], ("0.25", "0.5"), [1, 0, 1]),
        (["b", "10", "9"], ("10", "9", "b"), [2, 0, 1]),
    ],
)
def test_classes_are_sorted_by_value_where_all_are_numbers(
    tmp_path: Path, labels: list[str], classes: tuple[str, ...], y: list[int]
) -> None:
    path = table(tmp_path, "label,a\n" + "".join(f"{label},1\n" for label in labels))
    examples = load(path)
    assert examples.classes == classes
    assert examples.y.tolist() == y


@pytest.mark.parametrize(
    ("ending", "compress"), [(".gz", gzip.compress), (".xz", lzma.compress), (".bz2", bz2.compress)]
)
def test_compressed_tables_are_read_and_damaged_ones_named(
    tmp_path: Path, ending: str, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / f"people.csv{ending}"
    content = compress(PEOPLE.encode())
    path.write_bytes(content)
    assert load(path, categorical=["city"]).x.shape == (3, 4)
    for damaged in (content[:-12], content[:10] + bytes(20) + content[30:], b"plain text"):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=f"{path}: cannot be read"):
            load(path, categorical=["city"])


def test_byte_order_mark_blank_lines_and_line_endings_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes(b"\xef\xbb\xbflabel , a \r\n\r\nx,1\r\n y , 2 \r\n\r\n")
    examples = load(path)
    assert examples.x.tolist() == [[1], [2]]
    assert examples.classes == ("x", "y")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": the file is empty"),
        ("\n\n", ": the file is empty"),
        ("a,label\n", ": column names, but no rows"),
        ("a,label\n1,x\n2\n", ":3: 1 cells, but the first line names 2 columns"),
        ("a,label\n1,x\n2,y,3\n", ":3: 3 cells, but the first line names 2 columns"),
        ("a,label\n1,x\n\n\ntwo,y\n", ":5: column 'a' is not a number: 'two'; list .*categorical"),
        ("a,label\n1,x\n,y\n", ":3: column 'a' is empty"),
        ("a,label\n1,x\nNaN,y\n", ":3: column 'a' is NaN"),
        ("a,b,label\n1,2,x\n1,-inf,y\n", ":3: column 'b' is -inf"),
        ("a,b,label\n1,2,x\n1,1e39,y\n", ":3: column 'b' is 1e39"),
        ("a,label\n1,x\n2,\n", ":3: column 'label' is empty"),
        ("a,label\n1,1\n2,nan\n", ":3: column 'label' is NaN"),
        ("a,label\n1,x\n2,x\n", ": every label is 'x': .*2 classes"),
        ("a,lable\n1,x\n", ": label_column names 'label', .* did you mean 'lable'?"),
        ("a,b\n1,x\n", ": label_column names 'label', which is not a column; its columns are a, b"),
        ("1,2,3\n4,5,6\n", ": its first line names no columns, so label_column cannot be 'label'"),
        (",a,label\n0,1,x\n0,1,y\n", r": column 0 \(from 0\) has no name"),
        ("a,,label\n0,1,x\n", r":1: column 1 \(from 0\) has no name"),
        ("a,a,label\n0,1,x\n", ":1: two columns are named 'a'"),
        ("label\nx\n", ":1: one column only, 'label': .*separated by a comma"),
        ('a,label\n1,"x\n2,y\n', ":2: not comma-separated text"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = table(tmp_path, text)
    with pytest.raises(DataError, match=f"^{path}{message}") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_row_with_a_line_break_does_not_shift_the_count(tmp_path: Path) -> None:
    for text, line in (('1,"x\ny"\n?,z\n', 4), ('1,x\n?,"y\nz"\n', 3)):
        path = table(tmp_path, "a,label\n" + text)
        with pytest.raises(DataError, match=rf":{line}: column 'a' is '\?': fill it or drop"):
            load(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_column": 4}, "label_column 4 is out of range: there are 4 columns"),
        ({"label_column": -5}, "label_column -5 is out of range"),
        ({"categorical": ["citty"]}, "categorical names 'citty', .* did you mean 'city'"),
        ({"categorical": ["label"]}, "categorical names 'label', which is the label column"),
    ],
)
def test_options_that_fit_no_column_are_refused(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(table(tmp_path, PEOPLE), **options)


def test_an_empty_category_is_named(tmp_path: Path) -> None:
    path = table(tmp_path, "a,city,label\n1,Ulm,x\n2,,y\n")
    with pytest.raises(DataError, match=":3: column 'city' is empty"):
        load(path, categorical=["city"])


def test_files_that_are_no_tables_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{tmp_path}/none.csv: no such file"):
        load(tmp_path / "none.csv")
    path = tmp_path / "binary.csv"
    path.write_bytes(b"a,label\n1,\xff\xfe\n")
    with pytest.raises(DataError, match=f"{path}: not UTF-8 text"):
        load(path)


def test_a_relative_path_starts_at_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table(tmp_path, PEOPLE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert len(load(Path("people.csv"), categorical=["city"])) == 3
    assert len(load(Path("~/people.csv"), categorical=["city"])) == 3
    with pytest.raises(DataError, match=f"{tmp_path}/people.tsv: no such file"):
        load(Path("people.tsv"))


def test_npz_holds_x_and_y(tmp_path: Path) -> None:
    path = tmp_path / "people.npz"
    np.savez(path, x=np.array([[1, 2], [3, 4], [5, 9]]), y=np.array([7, 3, 7]))
    examples = load(path)
    assert examples.x.tolist() == [[1, 2], [3, 4], [5, 9]]
    assert examples.classes == ("3", "7")
    assert examples.y.tolist() == [1, 0, 1]
    assert examples.mean.tolist() == [3, 5]
    np.savez(path, x=np.ones((2, 3), np.float16), y=np.array(["ja", "nein"]))
    assert load(path).classes == ("ja", "nein")


@pytest.mark.parametrize("shape", [(6, 4), (6, 3, 4), (6, 2, 3, 4)])
def test_npz_may_hold_features_of_any_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = tmp_path / "series.npz"
    x = np.random.default_rng(0).normal(5, 3, shape)
    np.savez(path, x=x, y=np.arange(6) % 2)
    examples = load(path)
    assert torch.equal(examples.x, torch.from_numpy(x).float())
    normalised = ((examples.x - examples.mean) / examples.std).double()
    others = tuple(range(len(shape) - 1))
    torch.testing.assert_close(normalised.mean(others), torch.zeros(4).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(
        normalised.square().mean(others), torch.ones(4).double(), atol=1e-6, rtol=0
    )
    plain = load(path, standardize=False)
    assert (plain.mean.tolist(), plain.std.tolist()) == ([0] * 4, [1] * 4)


def test_whole_numbers_of_an_npz_are_features(tmp_path: Path) -> None:
    path = tmp_path / "counts.npz"
    np.savez(path, x=np.array([[3, 9], [5, 9], [7, 12]]), y=Y)
    examples = load(path)
    assert not examples.tokens
    assert examples.mean.tolist() == [5, 10]


X = np.ones((3, 2))
Y = np.array([0, 1, 0])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, "there is no array 'y'; it holds x"),
        ({"features": X, "y": Y}, "there is no array 'x'; it holds features, y"),
        ({"x": X[:, 0], "y": Y}, r"x must be numbers of shape \(N, D\).* got float64 .*\(3,\)"),
        ({"x": X[:, :0], "y": Y}, r"x must be numbers of shape \(N, D\).* \(3, 0\)"),
        ({"x": X.astype(str), "y": Y}, r"x must be numbers of shape \(N, D\).* got <U32"),
        ({"x": X.astype(complex), "y": Y}, r"x must be numbers of shape \(N, D\).* got complex128"),
        ({"x": X, "y": Y[:2]}, "y must hold one number or text for each of the 3 rows"),
        ({"x": X, "y": np.eye(3)[Y] / 2}, r"y must hold one .* one-hot .* \(3, 3\)"),
        ({"x": X, "y": Y.astype(object)}, "holds Python objects: make it with np.savez"),
        ({"x": X[:0], "y": Y[:0]}, "x and y have no rows"),
        ({"x": X * [[1], [1], [np.nan]], "y": Y}, r"row 2 \(from 0\) holds NaN"),
        ({"x": X, "y": np.array([0, np.nan, 1])}, r"row 1 \(from 0\) holds NaN"),
        ({"x": X, "y": Y * 0}, "every label is '0'"),
    ],
)
def test_npz_mistakes_are_named(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    path = tmp_path / "people.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\3\4 cut", b"text"])
def test_a_damaged_npz_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "people.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{path}: is damaged, or no archive"):
        load(path)


@pytest.mark.skipif(not LOCATION30.exists(), reason=f"Location-30 is not at {LOCATION30}")
def test_location30_is_read_whole() -> None:
    examples = load(LOCATION30)
    assert examples.x.shape == (5010, 446)
    assert ((examples.x == 0) | (examples.x == 1)).all()
    assert examples.classes == tuple(str(number) for number in range(1, 31))
    assert examples.y[:2].tolist() == [12, 10]  # labels 13 and 11
    assert examples.y.bincount().max() == 308
