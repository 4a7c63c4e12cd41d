"""Arrays of what dense originals answer: beside those of the sparse networks, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

import privaudit
from privaudit import DataError, RecipeError
from privaudit.api.host import load_plugins
from privaudit.outputs.arrays import read_answers
from privaudit.outputs.entries import possible
from privaudit.outputs.files.archives import read_archive

N, C, K = 120, 3, 4
Arrays = dict[str, Any]


def arrays() -> Arrays:
    draw = np.random.default_rng(0)
    y = draw.integers(C, size=N)
    inside = draw.random((1 + K, N)) < 0.5
    logits = draw.normal(size=(2, 1 + K, N, C)).astype(np.float32)
    logits[:, :, np.arange(N), y] += 1.2 * inside
    dense, sparse = logits
    return {
        "logits": sparse[0],
        "labels": y,
        "members": inside[0],
        "shadow_logits": sparse[1:],
        "shadow_members": inside[1:],
        "original_logits": dense[0],
        "shadow_original_logits": dense[1:],
    }


def odds(logits: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    p = np.exp(logits.astype(np.float64))
    own = p[np.arange(N), y]
    return np.asarray(np.log(own / (p.sum(1) - own)))


def audit(given: dict[str, Any], *attacks: str, **options: Any) -> Any:
    return privaudit.audit_outputs(**given, attacks=[*attacks], quiet=True, **options)


def test_scores_are_those_of_numpy_and_other_attacks_see_no_original() -> None:
    given = arrays()
    found = audit(given, "loss", "both_networks")
    alone = {key: value for key, value in given.items() if "original" not in key}
    np.testing.assert_array_equal(found["loss"].scores, audit(alone, "loss")["loss"].scores)
    without = {key: value for key, value in given.items() if "shadow" not in key}
    mean = audit(without, "both_networks")["both_networks"]
    dense, sparse = (odds(given[n], given["labels"]) for n in ("original_logits", "logits"))
    np.testing.assert_allclose(mean.scores, (dense + sparse) / 2, rtol=1e-6, atol=1e-6)
    single = roc_auc_score(given["members"], sparse)
    assert found["both_networks"].metrics["auc"]["value"] > single


@pytest.mark.parametrize("kind", ["probabilities", "log_probabilities"])
def test_every_kind_of_answer_is_taken_and_read_from_an_archive(kind: str, tmp_path: Path) -> None:
    given = arrays()
    expected = audit(given, "both_networks")["both_networks"].scores
    named: dict[str, Any] = {}
    for name, value in given.items():
        if name.endswith("logits"):
            z = value.astype(np.float64)
            value = z - np.log(np.exp(z).sum(-1, keepdims=True))
            value = np.exp(value) if kind == "probabilities" else value
            name = name.replace("logits", kind)
        named[name] = value
    np.savez(tmp_path / "a.npz", **named)
    part = read_archive(tmp_path / "a.npz", None, True)
    found = audit({**part.arrays, "kind": part.kind}, "both_networks")["both_networks"].scores
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_margins_have_no_axis_of_classes() -> None:
    given = arrays()
    margins = {
        name: value[..., 1] - value[..., 0] if name.endswith("logits") else value
        for name, value in given.items()
    }
    margins["labels"] = given["labels"] % 2
    found = audit(margins, "both_networks", kind="margins")["both_networks"]
    unknown = given["shadow_members"].all(0)  # no shadow without them to compare with
    np.testing.assert_array_equal(np.isnan(found.scores), unknown)
    assert unknown.any()


def changed(**values: Any) -> dict[str, Any]:
    return {k: v for k, v in (arrays() | values).items() if v is not None}


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"original_logits": None}, DataError, "shadow_original_logits are given without original"),
        ({"shadow_original_logits": None}, DataError, "original_logits are given without shadow_o"),
        (
            {"shadow_logits": None, "shadow_members": None},
            DataError,
            "shadow_original_logits are given without shadow_logits",
        ),
        ({"original_logits": np.zeros((N, C + 1))}, DataError, r"same shape: \(120, 3\), got \(12"),
        ({"original_logits": np.zeros((N - 1, C))}, DataError, r"got \(119, 3\)"),
        ({"original_logits": np.full((N, C), np.nan)}, DataError, "original_logits hold NaN"),
        ({"original_logits": np.zeros((N, C), bool)}, DataError, "original_logits must be real"),
        ({"original_logits": "dense.npz"}, DataError, "original_logits"),
        ({"shadow_original_logits": np.zeros((K - 1, N, C))}, DataError, r"\(4, 120, 3\), got \(3"),
        ({"original_logits": arrays()["logits"]}, DataError, "the same as the target's own"),
        (
            {"original_logits": None, "shadow_original_logits": None},
            RecipeError,
            r"attacks\[0\]: 'both_networks' needs the answers of the dense original: give orig",
        ),
    ],
)
def test_what_is_wrong_with_originals_is_told_in_a_line(
    values: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as told:
        audit(changed(**values), "both_networks")
    assert "\n" not in str(told.value)


def test_an_archive_of_two_kinds_is_refused(tmp_path: Path) -> None:
    given: dict[str, Any] = arrays()
    given["original_probabilities"] = given.pop("original_logits")
    np.savez(tmp_path / "a.npz", **given)
    with pytest.raises(DataError, match="give the answers of all networks once, and all in one"):
        read_archive(tmp_path / "a.npz", None, True)


def test_rows_without_a_label_and_single_probabilities_are_read_alike_for_originals() -> None:
    given: dict[str, Any] = arrays()
    given["labels"] = np.where(np.arange(N) < 10, -100, given["labels"])
    found = audit(given, "both_networks")["both_networks"]
    assert len(found.scores) == N - 10
    single = {
        name: 1 / (1 + np.exp(value[..., 0] - value[..., 1])) if "logits" in name else value
        for name, value in arrays().items()
    }
    single["labels"] = single["labels"] % 2
    found = audit(single, "both_networks", kind="probabilities")["both_networks"]
    margins = {
        name: value[..., 1] - value[..., 0] if "logits" in name else value
        for name, value in arrays().items()
    }
    margins["labels"] = margins["labels"] % 2
    same = audit(margins, "both_networks", kind="margins")["both_networks"]
    np.testing.assert_allclose(found.scores, same.scores, atol=1e-3)


def test_where_no_attack_is_named_it_is_possible_with_originals_alone() -> None:
    given = arrays()
    answers = read_answers(given["logits"], given["labels"], given["members"])
    plugins = load_plugins()
    entries, left = possible(answers, plugins, originals=False)
    assert "both_networks" not in dict(entries)
    assert any(line.startswith("both_networks: needs the answers of the dense") for line in left)
    entries, _ = possible(answers, plugins, originals=True)
    assert "both_networks" in dict(entries)
