"""Anyone's own arrays: what x is taken for, how it is normalised, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from numpy.typing import NDArray

from privaudit import DataError, Examples
from privaudit_plugins.datasets.arrays import Arrays

Array = NDArray[Any]
Y = np.array([0, 1, 0, 1, 1, 0])


def save(folder: Path, **arrays: Array) -> Path:
    path = folder / "people.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def load(path: Path, **options: object) -> Examples:
    return Arrays.model_validate({"path": path, **options}).load(path.parent)


def drawn(shape: tuple[int, ...], dtype: str, high: int = 200) -> Array:
    return np.random.default_rng(0).integers(0, high, (len(Y), *shape)).astype(dtype)


@pytest.mark.parametrize(
    ("shape", "dtype", "holds"),
    [
        ((5,), "float32", "features"),
        ((5,), "float64", "features"),
        ((4, 5), "float16", "features"),
        ((4, 5), "int64", "features"),
        ((5,), "uint8", "features"),
        ((3, 8, 8), "uint8", "images"),
        ((8, 8), "uint8", "images"),
        ((3, 8, 8), "float32", "images"),
        ((1, 8, 8), "int16", "images"),
        ((5,), "int64", "tokens"),
        ((5,), "uint16", "tokens"),
        ((5,), "int8", "tokens"),
    ],
)
def test_auto_goes_by_shape_and_type(
    tmp_path: Path, shape: tuple[int, ...], dtype: str, holds: str
) -> None:
    x = drawn(shape, dtype, 100)
    examples = load(save(tmp_path, x=x, y=Y))
    named = load(save(tmp_path, x=x, y=Y), holds=holds)
    assert torch.equal(examples.x, named.x)
    assert torch.equal(examples.mean, named.mean)
    assert torch.equal(examples.std, named.std)
    assert examples.tokens == (holds == "tokens")
    lead = (1,) if holds == "images" and len(shape) == 2 else ()
    assert examples.shape == (*lead, *shape)
    statistics = {"features": shape[-1:], "images": ((*lead, *shape)[0], 1, 1), "tokens": ()}
    assert tuple(examples.mean.shape) == tuple(examples.std.shape) == statistics[holds]


def test_whole_numbers_below_zero_or_of_0_and_1_are_features(tmp_path: Path) -> None:
    for x in (drawn((5,), "int64", 2), drawn((5,), "int64") - 1, drawn((5,), "bool", 2)):
        x[0, 0] = min(0, int(x.min()))
        examples = load(save(tmp_path, x=x, y=Y))
        assert not examples.tokens
        assert torch.equal(examples.x, torch.from_numpy(x).float())


@given(
    x=arrays_of.arrays(
        st.sampled_from(["int8", "uint8", "int32", "uint16", "int64", "uint64", ">i4"]),
        st.tuples(st.just(6), st.integers(1, 4), st.integers(1, 3)),
        elements=st.integers(0, 127),
    )
)
def test_tokens_stay_the_whole_numbers_that_they_are(
    tmp_path_factory: pytest.TempPathFactory, x: Array
) -> None:
    folder = tmp_path_factory.mktemp("tokens")
    for standardize in (True, False):
        examples = load(save(folder, x=x, y=Y), holds="tokens", standardize=standardize)
        assert examples.x.dtype == torch.int64
        assert examples.x.tolist() == x.tolist()
        assert (examples.mean.item(), examples.std.item()) == (0, 1)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "int32"])
@pytest.mark.parametrize("shape", [(3, 5, 4), (5, 4)])
def test_channels_of_images_are_standardised_over_all_rows(
    tmp_path: Path, shape: tuple[int, ...], dtype: str
) -> None:
    x = drawn(shape, dtype)
    examples = load(save(tmp_path, x=x, y=Y), holds="images")
    assert examples.x.dtype == (torch.uint8 if dtype == "uint8" else torch.float32)
    assert examples.x.flatten().tolist() == x.flatten().tolist()
    wide = (examples.x.double() - examples.mean) / examples.std
    channels = examples.shape[0]
    for channel in range(channels):
        assert float(wide[:, channel].mean()) == pytest.approx(0, abs=1e-6)
        assert float(wide[:, channel].square().mean()) == pytest.approx(1, abs=1e-6)
    plain = load(save(tmp_path, x=x, y=Y), holds="images", standardize=False)
    assert (plain.mean.item(), plain.std.item()) == (0, 1)


def test_what_stands_at_a_place_of_the_last_axis_is_standardised(tmp_path: Path) -> None:
    x = drawn((7, 3), "float64") * [1, 1000, 0] + [0, 5, 0.1]
    examples = load(save(tmp_path, x=x, y=Y))
    numbers = x.reshape(-1, 3)
    np.testing.assert_allclose(examples.mean, numbers.mean(0), rtol=1e-6)
    np.testing.assert_allclose(examples.std[:2], numbers.std(0)[:2], rtol=1e-6)
    assert examples.std[2] == 1  # constant


def test_labels_are_numbers_or_text(tmp_path: Path) -> None:
    x = drawn((5,), "float32")
    named = load(save(tmp_path, x=x, y=np.array(["no", "yes", "no", "no", "yes", "maybe"])))
    assert named.classes == ("maybe", "no", "yes")
    assert named.y.tolist() == [1, 2, 1, 1, 2, 0]
    numbered = load(save(tmp_path, x=x, y=np.array([10, 9, 10, -1, 9, 9])))
    assert numbered.classes == ("-1", "9", "10")
    assert numbered.y.tolist() == [2, 1, 2, 0, 1, 1]


F = drawn((5,), "float32")
T = drawn((5,), "int64") + 2


def changed(x: Array, row: int, value: float) -> Array:
    x = x.copy()
    x[row, -1] = value
    return x


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({"a": F, "b": Y}, {}, "there is no array 'x'; it holds a, b: save"),
        ({"x": F}, {}, "there is no array 'y'; it holds x: save"),
        ({"x": F[:, 0], "y": Y}, {}, r"x must be numbers of shape .* got float32 of shape \(6,\)"),
        ({"x": F.astype("U"), "y": Y}, {}, "x must be numbers of shape .* got <U"),
        ({"x": F.astype(object), "y": Y}, {}, "holds Python objects: make it with np.savez"),
        ({"x": F, "y": Y.astype(object)}, {}, "holds Python objects: make it with np.savez"),
        ({"x": F, "y": Y[:4]}, {}, r"y must hold one number .* 6 rows of x, .* int64 .* \(4,\)$"),
        ({"x": F, "y": 1 - np.eye(3)[Y]}, {}, r"y must hold one .* one-hot .* of shape \(6, 3\)"),
        ({"x": F[:0], "y": Y[:0]}, {}, "x and y have no rows"),
        ({"x": F, "y": Y * 0}, {}, "every label is '0': an audit needs at least 2 classes"),
        ({"x": changed(F, 4, np.nan), "y": Y}, {}, r"row 4 \(from 0\) holds NaN or infinity"),
        ({"x": changed(F, 0, -np.inf), "y": Y}, {}, r"row 0 \(from 0\) holds NaN or infinity"),
        ({"x": changed(F.astype("f8"), 3, 1e39), "y": Y}, {}, r"row 3 \(from 0\) holds NaN or inf"),
        (
            {"x": F, "y": changed(Y[:, None] / 1, 2, np.nan)[:, 0]},
            {},
            r"row 2 \(from 0\) holds NaN",
        ),
        (
            {"x": changed(T, 5, -7), "y": Y},
            {"holds": "tokens"},
            r"row 5 \(from 0\) holds -7, and t",
        ),
        (
            {"x": changed(T.astype("u8"), 1, 2**64 - 1), "y": Y},
            {"holds": "tokens"},
            r"row 1 \(from 0\) holds 18446744073709551615, and tokens are",
        ),
        (
            {"x": F, "y": Y},
            {"holds": "tokens"},
            "tokens needs whole numbers, got x of float32: sav",
        ),
        ({"x": F, "y": Y}, {"holds": "images"}, r"images needs x of shape \(N, ch.* got \(6, 5\)"),
        (
            {"x": drawn((8, 8, 3), "uint8"), "y": Y},
            {},
            r"x of shape \(6, 8, 8, 3\) looks like .* channels last: save np.moveaxis\(x, -1, 1\)",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_line(
    tmp_path: Path, arrays: dict[str, Array], options: dict[str, str], message: str
) -> None:
    path = save(tmp_path, **arrays)
    with pytest.raises(DataError, match=message) as caught:
        load(path, **options)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_other_arrays_of_the_file_are_left_unread(tmp_path: Path) -> None:
    path = save(tmp_path, x=F, y=Y, names=np.array([None, "me"], dtype=object))
    assert len(load(path)) == 6


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{tmp_path}/none.npz: no such file; check the path"):
        load(tmp_path / "none.npz")


@pytest.mark.parametrize(
    "pair",
    [("X", "y"), ("features", "labels"), ("data", "target"), ("train_images", "train_labels")],
)
def test_examples_and_labels_may_have_other_usual_names(
    tmp_path: Path, pair: tuple[str, str]
) -> None:
    examples = load(save(tmp_path, **{pair[0]: F, pair[1]: Y}))
    assert examples.x.tolist() == load(save(tmp_path, x=F, y=Y)).x.tolist()
    assert examples.names == tuple(f"people.npz, row {row}" for row in range(6))


def test_labels_may_be_one_hot_or_a_column(tmp_path: Path) -> None:
    wanted = load(save(tmp_path, x=F, y=Y)).y.tolist()
    for labels in (np.eye(2)[Y], np.eye(2, dtype=bool)[Y], Y[:, None]):
        assert load(save(tmp_path, features=F, labels=labels)).y.tolist() == wanted


def test_parts_for_training_and_testing_are_joined_in_order(tmp_path: Path) -> None:
    path = save(tmp_path, x_train=F[:2], y_train=Y[:2], x_test=F[2:], y_test=Y[2:])
    examples = load(path)
    assert examples.x.tolist() == F.tolist()
    assert examples.names is not None
    assert examples.names[1:3] == ("people.npz, row 1 of x_train", "people.npz, row 0 of x_test")
    for arrays, message in (
        ({"x_test": F}, "holds 'x_test' but no 'y_test'"),
        ({"y_test": Y}, "holds 'y_test' but no 'x_test'"),
        ({"x_test": F[:, :2], "y_test": Y}, "x_train holds .* and x_test .*: they must be alike"),
        ({"x_test": F > 0, "y_test": Y}, "x_train holds .* and x_test .*: they must be alike"),
    ):
        with pytest.raises(DataError, match=message):
            load(save(tmp_path, x_train=F, y_train=Y, **arrays))


def test_numbers_to_predict_are_no_classes(tmp_path: Path) -> None:
    y = np.linspace(0, 1, 60)
    with pytest.raises(DataError, match="regression"):
        load(save(tmp_path, x=np.ones((60, 2)), y=y))
    assert len(load(save(tmp_path, x=F, y=Y), classes=["0", "1", "2"]).classes) == 3
