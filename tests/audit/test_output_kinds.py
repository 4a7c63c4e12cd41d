from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.naive_bayes import GaussianNB

from field_arrays import field_arrays
from privaudit import audit_outputs
from privaudit.api.host import Plugins, load_plugins
from privaudit.doubts.digits import coarseness, decimals
from privaudit.errors import DataError
from privaudit.outputs.convert import as_tensor
from privaudit.outputs.files import read_files
from privaudit.outputs.kinds import as_logits

ROWS = 300


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load_plugins()


@pytest.fixture(scope="module")
def arrays() -> dict[str, Any]:
    return field_arrays()


def _changed(arrays: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    return arrays | {name: change(arrays[name]) for name in ("logits", "shadow_logits")}


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("probabilities", lambda z: softmax(z, -1)),
        ("probabilities", lambda z: softmax(z.astype(np.float64), -1)),
        ("log_probabilities", lambda z: log_softmax(z, -1)),
        ("logits", lambda z: log_softmax(z, -1)),  # harmless: the softmax is the same
        ("logits", lambda z: z - 7),
    ],
)
def test_every_kind_gives_the_number_of_the_logits(
    arrays: dict[str, Any], plugins: Plugins, kind: str, change: Callable[[Any], Any]
) -> None:
    true = audit_outputs(**arrays, attacks=["lira"], plugins=plugins)
    other = audit_outputs(**_changed(arrays, change), attacks=["lira"], plugins=plugins, kind=kind)
    assert (true.doubts, other.doubts) == ((), ())
    np.testing.assert_allclose(other["lira"].scores, true["lira"].scores, atol=1e-3)
    value = true["lira"].metrics["auc"]["value"]
    assert other["lira"].metrics["auc"]["value"] == pytest.approx(value, abs=1e-4)
    assert value > 0.6


@pytest.mark.parametrize("change", [lambda z: z, lambda z: z[:, None], lambda z: z[None, :, None]])
def test_margins_are_the_log_odds_of_class_1(plugins: Plugins, change: Any) -> None:
    rng = np.random.default_rng(0)
    labels, members = rng.integers(0, 2, ROWS), rng.random(ROWS) < 0.5
    margins = rng.normal(size=ROWS) + (2 * labels - 1) * (1 + members)
    found = audit_outputs(
        change(margins), labels, members, ["loss"], kind="margins", plugins=plugins
    )
    sign = np.where(labels, margins, -margins)
    auc = found["loss"].metrics["auc"]["value"]
    assert auc == pytest.approx(roc_auc_score(members, sign))
    shadows: dict[str, Any] = {"shadow_logits": margins[None], "shadow_members": members[None]}
    answers = audit_outputs(
        margins, labels, members, ["loss"], kind="margins", plugins=plugins, **shadows
    )
    assert [doubt.name for doubt in answers.doubts] == ["duplicate_network"] * 2 + ["shadow_counts"]


def _forest() -> tuple[Any, Any, Any, Any]:
    """A forest that is sure of many members: probabilities of exactly 0 and 1."""
    x, y = load_digits(return_X_y=True)
    members = np.random.default_rng(0).random(len(y)) < 0.3
    forest = RandomForestClassifier(20, random_state=0).fit(x[members], y[members])
    p = forest.predict_proba(x)
    with np.errstate(divide="ignore"):
        return p, np.log(p), y, members


@pytest.mark.parametrize("kind", ["probabilities", "log_probabilities", "logits"])
def test_a_probability_of_zero_is_an_infinite_loss_and_ranked(plugins: Plugins, kind: str) -> None:
    p, log_p, labels, members = _forest()
    true = p[np.arange(len(p)), labels]
    assert (true == 0).any()
    assert (true == 1).any()
    numbers = p if kind == "probabilities" else log_p
    found = audit_outputs(numbers, labels, members, ["loss"], kind=kind, plugins=plugins)
    expected = roc_auc_score(members, true)
    assert found["loss"].metrics["auc"]["value"] == pytest.approx(expected, abs=1e-3)
    assert found.doubts == ()


def test_labels_given_as_probabilities_are_ranked_and_doubted(plugins: Plugins) -> None:
    """Each attack can tell right from wrong, and no more; no training diverged."""
    rng = np.random.default_rng(0)
    labels, members = rng.integers(0, 3, 400), rng.random((5, 400)) < 0.5
    audited = np.arange(400) < 300
    members &= audited
    right = rng.random((5, 400)) < np.where(members, 0.9, 0.6)
    answers = np.eye(3)[np.where(right, labels, (labels + 1) % 3)]
    found = audit_outputs(
        answers[0], labels, members[0], ["loss", "rmia"], kind="probabilities", plugins=plugins,
        shadow_logits=answers[1:], shadow_members=members[1:], audited=audited, quiet=True,
    )  # fmt: skip
    shares = [right[0][audited & side].mean() for side in (members[0], ~members[0])]
    expected = (1 + shares[0] - shares[1]) / 2
    assert found["loss"].metrics["auc"]["value"] == pytest.approx(expected, abs=1e-6)
    assert 0.5 < found["rmia"].metrics["auc"]["value"] < 0.9
    assert {doubt.about for doubt in found.doubts if doubt.name == "rounded"} >= {"target"}


def test_numbers_too_large_to_be_squared_are_refused(plugins: Plugins) -> None:
    logits = np.random.default_rng(0).normal(size=(20, 3))
    logits[7, 2] = -1e200
    with pytest.raises(DataError, match=r"logits hold -1e\+200 in row 7: no more than 1e\+150"):
        audit_outputs(logits, np.arange(20) % 3, np.arange(20) < 9, ["loss"], plugins=plugins)


def test_naive_bayes_log_probabilities_are_audited(plugins: Plugins) -> None:
    x, y = load_breast_cancer(return_X_y=True)
    members = np.random.default_rng(0).random(len(y)) < 0.5
    log_p = GaussianNB().fit(x[members], y[members]).predict_log_proba(x)
    found = audit_outputs(log_p, y, members, ["loss"], kind="log_probabilities", plugins=plugins)
    assert "rounded" not in {doubt.name for doubt in found.doubts}


_P = np.full((ROWS, 4), 0.25)


@pytest.mark.parametrize(
    ("kind", "numbers", "message"),
    [
        ("probability", _P, "kind: unknown kind 'probability'; did you mean 'probabilities'?"),
        ("probabilities", 100 * _P, "each row sums to 1, and row 0 sums to 100"),
        ("probabilities", _P - 0.5, "probabilities must not be negative, and row 0 is -0.25"),
        ("probabilities", _P[:, :3], "row 0 sums to 0.75"),
        ("probabilities", _P * np.nan, "probabilities hold NaN in row 0"),
        ("log_probabilities", _P, "must be natural logarithms of probabilities"),
        ("log_probabilities", np.log10(_P), "their exponentials sum to 1, and row 0 sums to"),
        ("log_probabilities", np.full((ROWS, 4), -np.inf), "log_probabilities hold infinity in"),
        ("logits", np.where(np.eye(ROWS, 4) > 0, -np.inf, _P), "say kind=log_probabilities"),
        ("margins", _P, "margins must be one number for each example"),
        ("margins", np.full(ROWS, np.inf), "margins hold infinity in row 0"),
    ],
)
def test_numbers_of_another_kind_are_refused(
    plugins: Plugins, kind: str, numbers: Any, message: str
) -> None:
    labels, members = np.arange(ROWS) % 2, np.arange(ROWS) % 3 == 0
    with pytest.raises(DataError) as caught:
        audit_outputs(numbers, labels, members, ["loss"], kind=kind, plugins=plugins)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_shadow_and_the_row_of_another_kind_are_named(
    arrays: dict[str, Any], plugins: Plugins
) -> None:
    changed = _changed(arrays, lambda z: softmax(z, -1))
    changed["shadow_logits"][3, 7] *= 2
    with pytest.raises(DataError, match=r"^shadow_probabilities must .* model 3, row 7 sums to 2"):
        audit_outputs(**changed, attacks=["loss"], plugins=plugins, kind="probabilities")


@pytest.mark.parametrize("places", [0, 1, 2, 3, 4])
def test_decimals_are_counted(places: int) -> None:
    numbers = np.random.default_rng(0).normal(size=(50, 4))
    for kind in (np.float32, np.float64):
        rounded = numbers.round(places).astype(kind)
        assert decimals(as_tensor(rounded, "")) == places
    assert decimals(as_tensor(numbers, "")) is None
    sure = np.array([[1.0, 1e-9], [1e-9, 1.0]])
    assert decimals(as_tensor(sure, "")) is None  # but for rounding, 1 and 0


_Z = np.random.default_rng(0).normal(size=(ROWS, 5)) * 6
_SOFT = softmax(_Z, -1)
_TOP = np.where(np.sort(_SOFT, -1)[:, 3:4] <= _SOFT, _SOFT, 0)


@pytest.mark.parametrize(
    ("kind", "numbers", "words"),
    [
        ("probabilities", _SOFT, ""),
        ("probabilities", _SOFT.astype(np.float32), ""),
        ("probabilities", _SOFT.round(3), "have 3 decimals"),
        ("probabilities", _SOFT.astype(np.float16).astype(np.float32), "in half precision"),
        ("probabilities", np.maximum(_SOFT, 1e-5), "are cut off at 1e-05"),
        ("probabilities", _TOP / _TOP.sum(-1, keepdims=True), "of the 2 likeliest classes only"),
        ("probabilities", softmax(20 * _Z, -1).astype(np.float32), "too small for float32"),
        ("log_probabilities", np.log(np.maximum(_SOFT, 1e-5)), "are cut off at -11.5"),
        ("logits", _Z, ""),
        ("logits", _Z.round(1), "have 1 decimals"),
        ("logits", _Z.clip(-6, 6), "are cut off at -6"),
        ("logits", _Z.astype(np.float16).astype(np.float32), "in half precision"),
    ],
)
def test_what_made_numbers_coarse_is_seen(kind: str, numbers: Any, words: str) -> None:
    found = coarseness(as_tensor(numbers, ""), kind)
    assert words in found
    assert bool(found) == bool(words)


def test_votes_are_not_rounded_numbers() -> None:
    for trees in (16, 50, 64, 100):
        p = np.random.default_rng(0).multinomial(trees, [0.7, 0.2, 0.1], 200) / trees
        assert coarseness(as_tensor(p, ""), "probabilities") == ""
    one = 1 / (1 + np.exp(-_Z[:, 0].astype(np.float32)))
    rest = np.stack([1 - one, one], axis=1)
    assert "as fine as 1 - p" in coarseness(as_tensor(rest, ""), "probabilities")


def test_an_array_s_name_says_its_kind(tmp_path: Path, arrays: dict[str, Any]) -> None:
    names = {"logits": "probabilities", "shadow_logits": "shadow_probabilities"}
    path = tmp_path / "outputs.npz"
    np.savez(path, **{names.get(name, name): array for name, array in arrays.items()})
    read, _ = read_files([path])
    assert read["kind"] == "probabilities"
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
    assert read_files([path], kind="probabilities")[0]["kind"] == "probabilities"
    with pytest.raises(DataError, match="holds probabilities, which --kind margins contradicts"):
        read_files([path], kind="margins")
    np.savez(path, **arrays)
    assert read_files([path])[0]["kind"] == "logits"
    assert read_files([path], kind="probabilities")[0]["kind"] == "probabilities"
    np.savez(path, probabilities=arrays["logits"], **arrays)
    with pytest.raises(DataError, match="holds logits, probabilities, shadow_logits: give the ans"):
        read_files([path])


def test_rows_of_whole_numbers_are_no_probabilities_unless_they_sum_to_one() -> None:
    one_hot = np.eye(2)[np.arange(20) % 2]
    as_logits(as_tensor(one_hot, "")[None], "probabilities", "probabilities")
    with pytest.raises(DataError, match="row 0 sums to 2"):
        as_logits(as_tensor(np.ones((20, 2)), "")[None], "probabilities", "probabilities")
