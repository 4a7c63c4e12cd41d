from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from privaudit import Attack, AttackScores, Role, Signals, audit_outputs
from privaudit.api.host import Plugins, load_plugins
from privaudit.errors import DataError, PluginError, PrivauditError, RecipeError

N, C, K = 60, 4, 6


class Told(Attack):
    """Scores an example by one number that it is given, so that tests see what that was."""

    name: Literal["told"] = "told"
    what: str = "logits"

    def score(self, signals: Signals) -> AttackScores:
        found = {
            "logits": signals.target.logits.double().mean((0, 2)),
            "shadows": signals.shadows.logits.double().sum((0, 1, 3)),
            "members": (signals.shadow_role == Role.MEMBER).double().sum(0),
            "non_members": (signals.shadow_role == Role.NON_MEMBER).double().sum(0),
            "population": (~signals.audited).sum().double().expand(len(signals.y)),
            "random": torch.rand(N, generator=torch.Generator().manual_seed(signals.seed)),
            "x": signals.x.double().flatten(1).sum(1),
        }
        return AttackScores(found[self.what].double())


class Gradients(Told):
    name: Literal["gradients"] = "gradients"  # type: ignore[assignment]
    signals: ClassVar[frozenset[str]] = frozenset({"gradient_norm"})


class Looking(Told):
    name: Literal["looking"] = "looking"  # type: ignore[assignment]
    signals: ClassVar[frozenset[str]] = frozenset({"x"})
    what: str = "x"


class Noisy(Told):
    name: Literal["noisy"] = "noisy"  # type: ignore[assignment]
    noise: ClassVar[int] = 2


class Comparing(Told):
    name: Literal["comparing"] = "comparing"  # type: ignore[assignment]
    shadows: ClassVar[int] = 8


class Never(Told):
    name: Literal["never"] = "never"  # type: ignore[assignment]

    def score(self, signals: Signals) -> AttackScores:
        raise AssertionError("an attack ran although something was wrong")


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load_plugins()


@pytest.fixture
def given() -> dict[str, Any]:
    """A target and six shadows that answer their members with a little more confidence."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, C, N)
    members = rng.permutation(N) < N // 2
    first = rng.random((K // 2, N)) < 0.5
    shadow_members = np.concatenate([first, ~first])

    def answers(inside: Any) -> Any:
        logits = rng.normal(size=(N, C))
        logits[np.arange(N), labels] += 1.0 + 1.0 * inside
        return logits.astype(np.float16).astype(np.float32)  # so that float16 holds them, too

    return {
        "logits": answers(members),
        "labels": labels,
        "members": members,
        "shadow_logits": np.stack([answers(inside) for inside in shadow_members]),
        "shadow_members": shadow_members,
    }


def _minus_loss(logits: Any, labels: Any) -> Any:
    logits = logits.astype(np.float64)
    return logits[np.arange(len(labels)), labels] - logsumexp(logits, axis=1)


def test_loss_against_scikit_learn(given: dict[str, Any], plugins: Plugins) -> None:
    found = audit_outputs(**given, attacks=["loss"], plugins=plugins)["loss"]
    expected = _minus_loss(given["logits"], given["labels"])  # -L; the odds are 1 / (exp L - 1)
    assert found.scores.dtype == np.float64
    np.testing.assert_allclose(found.scores, -np.log(np.expm1(-expected)), atol=1e-12)
    auc = found.metrics["auc"]
    assert auc["value"] == pytest.approx(roc_auc_score(given["members"], expected))
    assert auc["low"] < auc["value"] < auc["high"]
    assert found.decision is not None
    assert found.decision.dtype == np.bool_
    assert found.metrics["balanced_accuracy"]["value"] == pytest.approx(
        balanced_accuracy_score(given["members"], found.decision)
    )
    assert (found.metrics["members"], found.metrics["non_members"]) == (30, 30)


def test_without_shadows_there_is_no_decision(given: dict[str, Any], plugins: Plugins) -> None:
    del given["shadow_logits"], given["shadow_members"]
    found = audit_outputs(**given, attacks=["loss"], plugins=plugins)["loss"]
    assert found.decision is None
    assert found.metrics["defense"] is None


@pytest.mark.parametrize(
    "change",
    [
        lambda array: torch.from_numpy(array),
        lambda array: torch.from_numpy(array).clone().float().requires_grad_(),
        lambda array: array.tolist(),
        lambda array: [torch.from_numpy(each) for each in array] if array.ndim > 1 else array,
        lambda array: array.astype(np.float64),
        lambda array: array.astype(np.float16) if array.dtype == np.float32 else array,
        lambda array: array.astype(np.uint8) if array.dtype == np.bool_ else array,
        lambda array: array.astype(array.dtype.newbyteorder(">")),
        lambda array: np.flip(np.flip(array).copy()),
        lambda array: np.broadcast_to(array, array.shape),
        lambda array: np.asfortranarray(array),
    ],
    ids=[
        "torch", "gradient", "lists", "list of tensors", "float64", "float16", "flags as numbers",
        "foreign byte order", "negative strides", "read-only", "Fortran order",
    ],
)  # fmt: skip
def test_every_kind_of_array_gives_the_same(
    given: dict[str, Any], change: Any, plugins: Plugins
) -> None:
    plain = audit_outputs(**given, attacks=["loss"], plugins=plugins)["loss"]
    changed = {name: change(array) for name, array in given.items()}
    other = audit_outputs(**changed, attacks=["loss"], plugins=plugins)["loss"]
    np.testing.assert_array_equal(other.scores, plain.scores)
    assert other.metrics == plain.metrics


def test_whole_numbers_as_logits_are_kept_exactly(plugins: Plugins) -> None:
    logits = np.array([[2**24 + 1, 0], [2**24, 0], [0, 0]])
    found = audit_outputs(logits, [0, 0, 0], [1, 0, 0], [Told()], plugins=plugins)["told"]
    assert found.scores.tolist() == [(2**24 + 1) / 2, 2**23, 0]


def test_rows_that_are_not_audited_are_the_population(
    given: dict[str, Any], plugins: Plugins
) -> None:
    audited = np.arange(N) % 3 > 0
    attacks: list[Any] = ["loss", Told(what="population")]
    found = audit_outputs(**given, attacks=attacks, audited=audited, plugins=plugins)
    expected = _minus_loss(given["logits"], given["labels"])[audited]
    np.testing.assert_allclose(found["loss"].scores, -np.log(np.expm1(-expected)), atol=1e-12)
    assert found["told"].scores.tolist() == [20.0] * 40
    members = given["members"][audited]
    assert found["loss"].metrics["auc"]["value"] == pytest.approx(roc_auc_score(members, expected))
    # What members says about the population is ignored, even where it is not known.
    given["members"] = np.where(audited, given["members"], np.nan)
    again = audit_outputs(**given, attacks=attacks, audited=audited, plugins=plugins)
    assert again["loss"].metrics == found["loss"].metrics


def test_attacks_get_queries_shadows_and_their_membership(
    given: dict[str, Any], plugins: Plugins
) -> None:
    queries = np.stack([given["logits"], given["logits"] + 1, given["logits"] - 3])
    shadows = np.stack([given["shadow_logits"]] * 3, axis=1)
    shadows[:, 2] *= 2
    given |= {"logits": queries, "shadow_logits": shadows}
    found = {
        what: audit_outputs(**given, attacks=[Told(what=what)], plugins=plugins)["told"].scores
        for what in ("logits", "shadows", "members", "non_members")
    }
    np.testing.assert_allclose(found["logits"], queries.astype(float).mean((0, 2)))
    np.testing.assert_allclose(found["shadows"], shadows.astype(float).sum((0, 1, 3)))
    inside = given["shadow_members"].sum(0)
    np.testing.assert_array_equal(found["members"], inside)
    np.testing.assert_array_equal(found["non_members"], K - inside)


def test_the_population_is_outside_the_shadows_that_were_not_trained_on_it(
    given: dict[str, Any], plugins: Plugins
) -> None:
    audited = np.arange(N) % 3 > 0
    untouched = np.arange(N) % 6 == 0  # half of the population
    given["shadow_members"][:, untouched] = False
    inside = given["shadow_members"].sum(0)
    given["shadow_members"][:, 1] = False  # an audited row that no shadow was trained on

    class Everywhere(Told):
        """Tells about each audited row what is so of the row before it."""

        def score(self, signals: Signals) -> AttackScores:
            return AttackScores(super().score(signals).score.roll(1))

    for what, expected in (
        ("members", inside),
        ("non_members", np.where(untouched, 0, K - inside)),
    ):
        attack = Everywhere(what=what)
        found = audit_outputs(**given, attacks=[attack], audited=audited, plugins=plugins)
        expected = np.where(np.arange(N) == 1, K if what == "non_members" else 0, expected)
        np.testing.assert_array_equal(found["told"].scores, np.roll(expected, 1)[audited])


def test_labels_options_and_order(given: dict[str, Any], plugins: Plugins) -> None:
    attacks: list[Any] = [{"name": "loss", "label": "second"}, "loss", Told()]
    found = audit_outputs(**given, attacks=attacks, plugins=plugins)
    assert list(found) == ["second", "loss", "told"]
    np.testing.assert_array_equal(found["second"].scores, found["loss"].scores)


def test_the_seed_and_the_confidence_are_passed_on(given: dict[str, Any], plugins: Plugins) -> None:
    def scored(**options: Any) -> Any:
        attack = Told(what="random")
        return audit_outputs(**given, attacks=[attack], plugins=plugins, **options)["told"]

    np.testing.assert_array_equal(scored(seed=1).scores, scored(seed=1).scores)
    assert (scored(seed=1).scores != scored(seed=2).scores).any()
    wide, narrow = scored(confidence=0.99).metrics["auc"], scored(confidence=0.5).metrics["auc"]
    assert wide["low"] < narrow["low"] < narrow["high"] < wide["high"]


def test_examples_reach_the_attacks_that_look_at_them(
    given: dict[str, Any], plugins: Plugins
) -> None:
    x = np.arange(2 * N).reshape(N, 2, 1)
    found = audit_outputs(**given, x=x, attacks=[Looking()], plugins=plugins)["looking"]
    np.testing.assert_array_equal(found.scores, x.sum((1, 2)))


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (Noisy(), "attacks[1]: 'noisy' needs answers to noisy copies"),
        (Gradients(), "attacks[1]: 'gradients' needs gradient_norm of every network"),
        (Looking(), "attacks[1]: 'looking' needs the examples themselves: give x (N, ...)"),
        (
            Comparing(),
            "attacks[1]: 'comparing' needs at least 8 shadow models: "
            "give shadow_logits and shadow_members of them (got 6)",
        ),
    ],
)
def test_attacks_that_need_more_are_refused_first(
    given: dict[str, Any], attack: Attack, message: str, plugins: Plugins
) -> None:
    with pytest.raises(RecipeError) as caught:
        audit_outputs(**given, attacks=[Never(), attack], plugins=plugins)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("attacks", "lines"),
    [
        (["los"], ["attacks[0]: unknown attack 'los'; did you mean 'loss'?"]),
        (["digits"], ["attacks[0]: 'digits' names another kind of plugin: dataset, not attack"]),
        (["loss", "loss"], ["attacks[1]: is called 'loss' like attacks[0]: give one a label"]),
        ("los", ["attacks[0]: unknown attack 'los'; did you mean 'loss'?"]),
        ([], ["attacks: must have at least 1 entry (got 0)"]),
        ([Told], ["attacks[0]: must be the name of a plugin"]),
        (
            [{"name": "loss", "shadow_defense": "none"}],
            ["attacks[0].shadow_defense: has no meaning here"],
        ),
        (
            ["los", {"name": "loss", "modes": 1}, {"name": "logistic_regression", "C": -1}],
            ["attacks[0]: unknown attack", "attacks[1].modes: unknown", "attacks[2].C: must be"],
        ),
    ],
)  # fmt: skip
def test_every_mistake_about_attacks_is_told_at_once(
    given: dict[str, Any], attacks: Any, lines: list[str], plugins: Plugins
) -> None:
    with pytest.raises(RecipeError) as caught:
        audit_outputs(**given, attacks=attacks, plugins=plugins)
    assert len(caught.value.problems) == len(lines)
    for problem, line in zip(caught.value.problems, lines, strict=True):
        assert problem.startswith(line)


def _at(name: str, place: Any, value: Any) -> Any:
    def change(given: dict[str, Any]) -> dict[str, Any]:
        array = given[name].astype(np.result_type(given[name], type(value)))
        array[place] = value
        return {name: array}

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_at("logits", (7, 1), np.nan), "logits hold NaN in row 7"),
        (_at("logits", (0, 0), -np.inf), "logits hold infinity in row 0"),
        (_at("shadow_logits", (4, 9, 0), np.inf), "shadow_logits hold infinity in model 4, row 9"),
        (
            lambda g: {
                "logits": np.stack([g["logits"], np.where(g["logits"] > 3, np.nan, 0)]),
                "shadow_logits": None,
                "shadow_members": None,
            },
            "logits hold NaN in query 1, row ",
        ),
        (
            lambda g: {"logits": g["logits"][0]},
            "logits must be (N, C) or (Q, N, C), got shape (4,)",
        ),
        (lambda g: {"logits": g["logits"][:0]}, "logits are empty: shape (0, 4)"),
        (lambda g: {"logits": g["logits"][:, :1]}, "logits must have at least 2 classes"),
        (lambda g: {"logits": g["logits"] + 1j}, "logits must be an array of numbers, got complex"),
        (lambda g: {"logits": [[1.0, 2.0], [3.0]]}, "logits cannot be read as an array"),
        (lambda g: {"logits": g["logits"].astype(str)}, "logits must be an array of numbers"),
        (lambda g: {"logits": g["logits"] > 0}, "logits must be real numbers, got bool"),
        (lambda g: {"logits": None}, "logits must be an array of numbers, got object"),
        (_at("labels", 5, C), "labels must be from 0 to 3, as logits have 4 classes: row 5 is 4"),
        (_at("labels", 6, -1), "labels must be from 0 to 3, as logits have 4 classes: row 6 is -1"),
        (_at("labels", 7, 1.5), "labels must be whole numbers: row 7 is 1.5"),
        (_at("labels", 7, np.nan), "labels must be whole numbers: row 7 is nan"),
        (lambda g: {"labels": g["members"]}, "labels must be whole numbers, got bool"),
        (
            lambda g: {"labels": g["labels"][1:]},
            "labels must have one entry for each row of logits: labels have shape (59,), "
            "logits (60, 4)",
        ),
        (lambda g: {"labels": 2 * np.eye(C)[g["labels"]]}, "one-hot rows of 4 classes: got shape"),
        (lambda g: {"members": g["members"][1:]}, "members have shape (59,), logits (60, 4)"),
        (_at("members", 8, 2), "members must be true or false (or 1 and 0): row 8 is 2"),
        (_at("members", 8, np.nan), "members must be true or false (or 1 and 0): row 8 is nan"),
        (lambda g: {"members": [True] * N}, "members: all 60 audited rows are members"),
        (
            lambda g: {"audited": ~g["members"]},
            "members: all 30 audited rows are non-members, and an attack is measured on both",
        ),
        (lambda g: {"audited": [False] * N}, "audited is false everywhere"),
        (lambda g: {"audited": np.arange(N)}, "audited must be true or false (or 1 and 0): row 2"),
        (lambda g: {"audited": [True]}, "audited have shape (1,), logits (60, 4)"),
        (lambda g: {"shadow_members": None}, "shadow_logits are given without shadow_members"),
        (lambda g: {"shadow_logits": None}, "shadow_members are given without shadow_logits"),
        (
            lambda g: {"shadow_members": g["shadow_members"].T},
            "shadow_members have shape (60, 6), shadow_logits (6, 60, 4)",
        ),
        (
            _at("shadow_members", (3, 9), 2),
            "shadow_members must be true or false (or 1 and 0): model 3, row 9 is 2",
        ),
        (
            lambda g: {"shadow_logits": g["shadow_logits"][..., 1:]},
            "(K, 60, 4): shadow_logits have shape (6, 60, 3), logits (60, 4)",
        ),
        (lambda g: {"shadow_logits": g["shadow_logits"][0]}, "shadow_logits have shape (60, 4)"),
        (
            lambda g: {"logits": np.stack([g["logits"]] * 2)},
            "(K, 2, 60, 4): shadow_logits have shape (6, 60, 4), logits (2, 60, 4)",
        ),
        (
            lambda g: {
                "shadow_logits": g["shadow_logits"][:0],
                "shadow_members": g["shadow_members"][:0],
            },
            "shadow_logits have shape (0, 60, 4)",
        ),
        (lambda g: {"x": np.zeros((N - 1, 2))}, "x has shape (59, 2), logits (60, 4)"),
        (lambda g: {"x": np.full((N, 2), np.nan)}, "x holds NaN or infinity in row 0"),
    ],
)
def test_bad_arrays_are_refused_first(
    given: dict[str, Any], change: Any, message: str, plugins: Plugins
) -> None:
    changed = given | change(given)
    with pytest.raises(DataError) as caught:
        audit_outputs(**changed, attacks=[Never()], plugins=plugins)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "options", [{"confidence": 1.0}, {"confidence": 95}, {"seed": -1}, {"seed": 0.5}]
)
def test_bad_numbers_are_refused(
    given: dict[str, Any], options: dict[str, Any], plugins: Plugins
) -> None:
    with pytest.raises(RecipeError, match=next(iter(options))):
        audit_outputs(**given, attacks=[Never()], plugins=plugins, **options)


class Failing(Told):
    name: Literal["failing"] = "failing"  # type: ignore[assignment]

    def score(self, signals: Signals) -> AttackScores:
        raise PrivauditError("too few shadows for this variance")


class Wrong(Told):
    name: Literal["wrong"] = "wrong"  # type: ignore[assignment]

    def score(self, signals: Signals) -> AttackScores:
        return AttackScores(torch.full((N,), torch.nan))


def test_what_an_attack_finds_fault_with_names_the_attack(
    given: dict[str, Any], plugins: Plugins
) -> None:
    with pytest.raises(DataError, match=r"^attack 'failing': too few shadows for this variance$"):
        audit_outputs(**given, attacks=[Failing()], plugins=plugins)
    with pytest.raises(PluginError, match=r"attack 'wrong' .* gives NaN for"):
        audit_outputs(**given, attacks=[Wrong()], plugins=plugins)


def test_probabilities_given_as_logits_are_doubted(
    given: dict[str, Any], plugins: Plugins, caplog: pytest.LogCaptureFixture
) -> None:
    audit_outputs(**given, attacks=["loss"], plugins=plugins)
    assert not caplog.records
    logits = torch.from_numpy(given["logits"])
    audit_outputs(**given | {"logits": logits.log_softmax(1)}, attacks=["loss"], plugins=plugins)
    assert not caplog.records
    audit_outputs(**given | {"logits": logits.softmax(1)}, attacks=["loss"], plugins=plugins)
    assert "look like probabilities" in caplog.text


def test_shadows_that_give_membership_away_are_doubted(
    given: dict[str, Any], plugins: Plugins, caplog: pytest.LogCaptureFixture
) -> None:
    # Each example in exactly half of the models, the target among them: a member has one less.
    rng = np.random.default_rng(1)
    half = np.argsort(rng.random((K + 1, N)), axis=0) < (K + 1) // 2
    changed = given | {"members": half[0], "shadow_members": half[1:]}
    audit_outputs(**changed, attacks=["loss"], plugins=plugins)
    assert "tells by itself who is a member (AUC 0.00)" in caplog.text
