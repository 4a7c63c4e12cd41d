"""Arrays that are something else than they are said to be end in a doubt of the right name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, softmax

from field_arrays import AUDITED, ROWS, field_arrays
from privaudit.cli import main
from privaudit.doubts.doubt import DOUBTS
from privaudit.doubts.networks import named
from privaudit.outputs.arrays import read_answers
from privaudit.outputs.doubts import doubts_about

Arrays = dict[str, Any]
RNG = np.random.default_rng(1)
SHUFFLED = np.concatenate([RNG.permutation(AUDITED), np.arange(AUDITED, ROWS)])
CLASSES = np.roll(np.arange(10), 1)
SWAPPED = np.array([0, 1, 2, 8, 4, 5, 6, 7, 3, 9])


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    return field_arrays()


def _doubted(arrays: Arrays) -> dict[str, set[str]]:
    """Who is doubted, by the doubt's name."""
    found: dict[str, set[str]] = {}
    for doubt in doubts_about(read_answers(**arrays)):
        found.setdefault(doubt.name, set()).add(doubt.about)
    return found


def _all(change: Callable[[Any], Any]) -> Callable[[Arrays], Arrays]:
    return lambda a: {name: change(a[name]) for name in ("logits", "shadow_logits")}


def _one(name: str, k: int, change: Callable[[Any], Any]) -> Callable[[Arrays], Arrays]:
    """One network's entry of an array of the shadows, changed."""

    def changed(arrays: Arrays) -> Arrays:
        array = arrays[name].copy()
        array[k] = change(array[k])
        return {name: array}

    return changed


def _inverted(members: Any) -> Any:
    """Membership of the audited rows, the wrong way round."""
    return np.where(np.arange(ROWS) < AUDITED, ~members, members)


def _twice(a: Arrays) -> Arrays:
    """Fifty rows once more, those that were members as non-members and the other way round."""
    rows = np.concatenate([np.arange(ROWS), np.arange(50)])
    members = a["members"][rows]
    members[ROWS:] = ~members[ROWS:]
    return {
        "logits": a["logits"][rows], "labels": a["labels"][rows], "audited": a["audited"][rows],
        "members": members, "shadow_logits": a["shadow_logits"][:, rows],
        "shadow_members": a["shadow_members"][:, rows],
    }  # fmt: skip


def _sure_of_nothing(a: Arrays) -> Arrays:
    """A target that wins each example by little, and is said to be right every time."""
    z = 0.1 * a["logits"]
    return {"logits": z, "labels": z.argmax(-1)}


def _within_classes(labels: Any) -> Any:
    """Audited rows in another order that leaves every label where it is."""
    rows = np.arange(ROWS)
    for label in range(10):
        same = np.flatnonzero((labels == label) & (rows < AUDITED))
        rows[same] = np.roll(same, 3)
    return rows


def _scaled(z: Any) -> Any:
    low = z.min(-1, keepdims=True)
    return (z - low) / (z.max(-1, keepdims=True) - low)


def _easy(a: Arrays) -> Any:
    """Rows of which the shadows are surer than of most."""
    z, y = a["shadow_logits"].mean(0), a["labels"]
    margin = z[np.arange(ROWS), y] - np.where(np.arange(10) == y[:, None], -np.inf, z).max(-1)
    return margin > np.median(margin)


SHADOWS = {named(k) for k in range(1, 9)}
EVERY = {"target", *SHADOWS}
CASES: dict[str, tuple[Callable[[Arrays], Arrays], str, set[str]]] = {
    "softmax": (_all(lambda z: softmax(z, -1)), "kind", EVERY),
    "percentages": (_all(lambda z: 100 * softmax(z, -1)), "kind", EVERY),
    "two decimals": (_all(lambda z: softmax(z, -1).round(2)), "kind", EVERY),
    "sigmoids": (_all(expit), "kind", EVERY),
    "votes": (_all(lambda z: (50 * softmax(z, -1)).round()), "kind", EVERY),
    "minus log p": (_all(lambda z: -np.log(softmax(z, -1))), "kind", EVERY),
    "base 10": (_all(lambda z: np.log10(softmax(z, -1))), "kind", EVERY),
    "tanh": (_all(np.tanh), "kind", EVERY),
    "scaled to -1 and 1": (_all(lambda z: 2 * _scaled(z) - 1), "kind", EVERY),
    "unit vectors": (
        _all(lambda z: z / np.linalg.norm(z, axis=-1, keepdims=True)), "kind", EVERY,
    ),
    "labels instead of answers": (
        lambda a: _all(lambda z: np.where(z == z.max(-1, keepdims=True), 0.91, 0.01))(a)
        | {"kind": "probabilities"}, "rounded", EVERY,
    ),
    "predicted logits": (_all(lambda z: z.argmax(-1)[..., None] * np.ones(10)), "rounded", EVERY),
    "logits cut off": (_all(lambda z: z.clip(-3, 3)), "rounded", EVERY),
    "rows filled in": (
        lambda a: {"logits": np.where(np.arange(ROWS)[:, None] % 10 == 5, 0, a["logits"])},
        "rounded", {"target"},
    ),
    "temperature of the target": (lambda a: {"logits": a["logits"] / 4}, "unlike", {"target"}),
    "some of the target's members": (
        lambda a: {"members": np.where(RNG.random(ROWS) < 0.75, a["members"][SHUFFLED],
                                       a["members"])}, "order", {"target"},
    ),
    "queries in another order": (
        lambda a: {"logits": np.stack([a["logits"], a["logits"][SHUFFLED]]),
                   "shadow_logits": np.stack([a["shadow_logits"]] * 2, axis=1)},
        "order", {"target"},
    ),
    "easy non-members": (
        lambda a: {"audited": a["audited"] & (a["members"] | _easy(a))}, "shift", {"members"},
    ),
    "target among its shadows at another temperature": (
        lambda a: _one("shadow_logits", 0, lambda z: a["logits"] / 1.5)(a), "duplicate_network",
        {"target", "shadow 0"},
    ),
    "softmax of the target": (lambda a: {"logits": softmax(a["logits"], -1)}, "kind", {"target"}),
    "softmax of the shadows": (
        lambda a: {"shadow_logits": softmax(a["shadow_logits"], -1)}, "kind", SHADOWS,
    ),
    "softmax of one shadow": (
        _one("shadow_logits", 2, lambda z: softmax(z, -1)), "kind", {"shadow 2"},
    ),
    "rounded": (
        lambda a: _all(lambda z: softmax(z, -1).round(2))(a) | {"kind": "probabilities"},
        "rounded", EVERY,
    ),
    "half precision": (
        lambda a: _all(lambda z: softmax(3 * z, -1).astype(np.float16))(a)
        | {"kind": "probabilities"}, "rounded", EVERY,
    ),
    "a hundredth": (lambda a: {"logits": a["logits"] / 100}, "unlike", {"target"}),
    "one shadow of little use": (
        _one("shadow_logits", 6, lambda z: z + 9 * RNG.normal(size=z.shape)), "unlike",
        {"shadow 6"},
    ),
    "labels off by one": (lambda a: {"labels": (a["labels"] + 1) % 10}, "labels", EVERY),
    "two classes swapped": (lambda a: {"labels": SWAPPED[a["labels"]]}, "labels", EVERY),
    "labels shuffled": (lambda a: {"labels": a["labels"][SHUFFLED]}, "labels", EVERY),
    "classes of one shadow": (
        _one("shadow_logits", 4, lambda z: z[:, CLASSES]), "labels", {"shadow 4"},
    ),
    "every row shuffled": (_all(lambda z: z[..., SHUFFLED, :]), "labels", EVERY),
    "target's rows": (lambda a: {"logits": a["logits"][SHUFFLED]}, "order", {"target"}),
    "shadows' rows reversed": (
        lambda a: {"shadow_logits": a["shadow_logits"][:, ::-1]}, "order", EVERY,
    ),
    "shadows' rows and members": (
        lambda a: {"shadow_logits": a["shadow_logits"][:, SHUFFLED],
                   "shadow_members": a["shadow_members"][:, SHUFFLED]}, "order", EVERY,
    ),
    "one shadow's rows": (
        _one("shadow_logits", 5, lambda z: z[SHUFFLED]), "order", {"shadow 5"},
    ),
    "shadows' rows within classes": (
        lambda a: {
            "shadow_logits": a["shadow_logits"][:, _within_classes(a["labels"])],
            "shadow_members": a["shadow_members"][:, _within_classes(a["labels"])],
        },
        "order",
        {"target"},  # the odd one out
    ),
    "one shadow's rows within classes": (
        lambda a: _one("shadow_logits", 5, lambda z: z[_within_classes(a["labels"])])(a),
        "order",
        {"shadow 5"},
    ),
    "shadows' members": (
        lambda a: {"shadow_members": a["shadow_members"][:, SHUFFLED]}, "order", SHADOWS,
    ),
    "target's members": (lambda a: {"members": a["members"][SHUFFLED]}, "order", {"target"}),
    "networks": (
        lambda a: {"shadow_members": np.roll(a["shadow_members"], 1, axis=0)}, "order", set(),
    ),
    "target inverted": (
        lambda a: {"members": _inverted(a["members"])}, "inverted", {"target"},
    ),
    "one shadow inverted": (_one("shadow_members", 3, _inverted), "inverted", {"shadow 3"}),
    "shadows inverted": (
        lambda a: {"shadow_members": _inverted(a["shadow_members"])}, "inverted", SHADOWS,
    ),
    "all inverted": (
        lambda a: {name: _inverted(a[name]) for name in ("members", "shadow_members")},
        "inverted", EVERY,
    ),
    "target among its shadows": (
        lambda a: _one("shadow_logits", 0, lambda z: a["logits"])(a), "duplicate_network",
        {"target", "shadow 0"},
    ),
    "target in half precision": (
        lambda a: _one("shadow_logits", 0, lambda z: a["logits"].astype(np.float16))(a),
        "duplicate_network", {"target", "shadow 0"},
    ),
    "a shadow twice": (
        lambda a: _one("shadow_logits", 0, lambda z: a["shadow_logits"][7])(a),
        "duplicate_network", {"shadow 0", "shadow 7"},
    ),
    "rows twice": (_twice, "duplicate_rows", {"members"}),
    "labels that are the target's predictions": (
        lambda a: _sure_of_nothing(a), "labels", {"target"},
    ),
    "rows twice, in other batches": (
        lambda a: (a := _twice(a)) | _all(lambda z: z * (1 + 1e-7 * RNG.normal(size=z.shape)))(a),
        "duplicate_rows", {"members"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_what_it_is_said_to_be_is_doubted(arrays: Arrays, case: str) -> None:
    change, name, about = CASES[case]
    found = _doubted(arrays | change(arrays))
    assert name in found
    assert found[name] <= EVERY | {"members"}
    # Of many networks one or another may escape; what is not changed is never doubted.
    assert len(found[name] & about) >= 0.7 * len(about)
    assert found[name] <= (about or EVERY)


def test_arrays_that_are_as_they_should_be_are_not_doubted(arrays: Arrays) -> None:
    assert _doubted(arrays) == {}
    lone = {name: array for name, array in arrays.items() if not name.startswith("shadow")}
    assert _doubted(lone) == {}
    disjoint = arrays | {"shadow_members": np.zeros_like(arrays["shadow_members"])}
    assert "order" not in _doubted(disjoint)


def test_members_that_every_network_answers_worse_are_told() -> None:
    """The truth is AUC 0.1: networks made less sure of members, as by unlearning."""
    rng = np.random.default_rng(0)
    labels, half = rng.integers(0, 10, 1200), rng.random((4, 1200)) < 0.5
    members = np.concatenate([half, ~half[1:]])
    logits = rng.normal(size=(7, 1200, 10))
    logits[:, np.arange(1200), labels] += 4 - 2 * members
    found = _doubted(
        {
            "logits": logits[0], "labels": labels, "members": members[0],
            "shadow_logits": logits[1:], "shadow_members": members[1:],
        }
    )  # fmt: skip
    assert found == {"inverted": {named(k) for k in range(7)}}
    lone = _doubted({"logits": logits[0], "labels": labels, "members": members[0]})
    assert lone == {"inverted": {"target"}}


def test_the_examples_themselves_show_duplicates(arrays: Arrays) -> None:
    """Votes are too coarse to tell twins from strangers: they are told by x."""
    votes = _all(lambda z: np.log((20 * softmax(z, -1)).round() + 1))(arrays)
    x = RNG.normal(size=(ROWS, 3))
    assert "duplicate_rows" not in _doubted(arrays | votes | {"x": x})
    first, second = (np.flatnonzero(arrays["members"] == inside)[:20] for inside in (True, False))
    x[second] = x[first]
    labels = arrays["labels"].copy()
    labels[second] = labels[first]
    assert "duplicate_rows" in _doubted(arrays | votes | {"x": x, "labels": labels})


def _alone(arrays: Arrays) -> Arrays:
    return {name: array for name, array in arrays.items() if not name.startswith("shadow")}


def test_copies_are_found_in_what_one_network_answers(arrays: Arrays) -> None:
    """A quarter of the members once more as non-members, as answered in another batch."""
    lone = _alone(arrays)
    inside = np.flatnonzero(lone["members"] & lone["audited"])[:40]
    rows = np.concatenate([np.arange(len(lone["labels"])), inside])
    again = {name: array[rows].copy() for name, array in lone.items()}
    again["members"][-len(inside) :] = False
    again["logits"] = again["logits"] * (1 + 1e-7 * RNG.normal(size=again["logits"].shape))
    assert "duplicate_rows" in _doubted(again)


def test_each_example_on_both_sides_is_found_in_votes(arrays: Arrays) -> None:
    lone = _alone(arrays)
    votes = np.log((20 * softmax(lone["logits"], -1)).round() + 1)
    rows = np.concatenate([np.flatnonzero(lone["audited"])] * 2)
    members = np.arange(len(rows)) < len(rows) // 2
    both = {"logits": votes[rows], "labels": lone["labels"][rows], "members": members}
    assert "duplicate_rows" in _doubted(both)
    assert "duplicate_rows" not in _doubted(lone | {"logits": votes})


def test_trees_that_answer_many_examples_alike_are_no_copies_and_names_settle_it() -> None:
    """Leaves hold many examples of both sides, for every network: two features, cut in ten."""
    rng = np.random.default_rng(0)
    leaf = rng.integers(0, 100, 1000)
    labels, members = rng.integers(0, 2, 1000), rng.random((5, 1000)) < 0.5
    margins = rng.normal(size=(5, 100))[:, leaf]
    arrays = {
        "logits": margins[0], "labels": labels, "members": members[0], "kind": "margins",
        "shadow_logits": margins[1:], "shadow_members": members[1:],
    }  # fmt: skip
    assert "duplicate_rows" not in _doubted(arrays)
    names = np.array([f"customer {row}" for row in range(1000)])
    assert "duplicate_rows" not in _doubted(arrays | {"ids": names})
    inside = np.flatnonzero(members[0])
    names[np.flatnonzero(~members[0])[:20]] = names[inside[:20]]
    labels[np.flatnonzero(~members[0])[:20]] = labels[inside[:20]]
    assert "duplicate_rows" in _doubted(arrays | {"ids": names})


def test_a_doubt_breaks_a_gate_until_it_is_accepted(
    arrays: Arrays,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "outputs.npz"
    np.savez(path, **_all(lambda z: softmax(z, -1))(arrays), **_rest(arrays))

    def audit(*options: str) -> tuple[int, str]:
        command = ["privaudit", "audit", str(path), "--attacks", "loss", "--gate", "auc<0.9"]
        monkeypatch.setattr(sys, "argv", [*command, *options])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as caught:
            main()
        return int(caught.value.code or 0), capsys.readouterr().out

    code, said = audit()
    assert code == 3
    assert "doubt kind (target; shadow 0; " in said
    assert "look like probabilities, each row summing to 1: say kind=probabilities" in said
    assert audit("--accept-doubt", "kind")[0] == 0
    code, said = audit("--kind", "probabilities")
    assert code == 0
    assert "doubt" not in said


def _rest(arrays: Arrays) -> Arrays:
    return {name: array for name, array in arrays.items() if not name.endswith("logits")}


def test_every_doubt_of_arrays_has_its_case() -> None:
    cases = {name for _, name, _ in CASES.values()}
    of_attacks = {"below_half", "says_nothing", "shadow_counts"}
    of_recipes = {"bounded_answers", "chance", "promise", "shadows_at_chance"}
    of_recipes |= {"misasked", "unrelated"}
    assert cases | of_attacks | of_recipes == DOUBTS.keys()
