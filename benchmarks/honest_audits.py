"""Audits made as they should be, of many kinds, drawn by a seed: what no doubt should stop.

Data sets, networks, sizes, class balance, defenses, kinds of numbers and designs of the shadows
are drawn independently. Membership is drawn by a coin, so that nothing but training tells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from torch import nn

from privaudit_plugins.datasets.table import Table

Floats = NDArray[np.float64]
Fit = Callable[[Floats, NDArray[np.int64], int, int], Callable[[Floats], Floats]]
"""Features, labels, number of classes and a seed to a function of log-probabilities (N, C)."""

KINDS = ("logits", "log_probabilities", "probabilities")


@dataclass(frozen=True)
class HonestAudit:
    """One audit.

    Attributes:
        words: what was drawn.
        arrays: arguments of `audit_outputs`.
        attacks: for them.
    """

    words: str
    arrays: dict[str, Any]
    attacks: list[str]


def data_sets(location: Path | None) -> dict[str, Callable[[], tuple[Floats, NDArray[np.int64]]]]:
    """By name: features (N, F), standardised, and labels (N,)."""
    known = {
        "digits": lambda: datasets.load_digits(return_X_y=True),
        "breast_cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
        "wine": lambda: datasets.load_wine(return_X_y=True),
        "made": lambda: datasets.make_classification(
            4000, 30, n_informative=12, n_classes=4, flip_y=0.2, random_state=0
        ),
    }
    if location is not None:
        known["location30"] = lambda: _table(location)
    return known


@cache
def _table(path: Path) -> tuple[Floats, NDArray[np.int64]]:
    examples = Table(path=path, standardize=False).load(path.parent)
    return examples.x.numpy().astype(float), examples.y.numpy()


def _sklearn(make: Callable[[int], Any]) -> Fit:
    def fit(x: Floats, y: NDArray[np.int64], classes: int, seed: int) -> Callable[[Floats], Floats]:
        model = make(seed).fit(x, y)

        def answer(every: Floats) -> Floats:
            with np.errstate(divide="ignore"):
                some = model.predict_log_proba(every)
            whole = np.full((len(every), classes), -np.inf)
            whole[:, model.classes_] = some  # of a class that it never saw
            return whole

        return answer

    return fit


def _torch(width: int, epochs: int, decay: float, smoothing: float = 0.0) -> Fit:
    def fit(x: Floats, y: NDArray[np.int64], classes: int, seed: int) -> Callable[[Floats], Floats]:
        torch.manual_seed(seed)
        layers = [nn.Linear(x.shape[1], width), nn.ReLU(), nn.Linear(width, classes)]
        network = nn.Sequential(*layers)
        optimizer = torch.optim.AdamW(network.parameters(), 5e-3, weight_decay=decay)
        inputs, labels = torch.tensor(x).float(), torch.tensor(y)
        for _ in range(epochs):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(inputs), labels, label_smoothing=smoothing)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return lambda every: np.asarray(network(torch.tensor(every).float()).detach().numpy())

    return fit


FITS: dict[str, Fit] = {
    "torch": _torch(64, 150, 0.0),
    "torch, weight decay": _torch(64, 60, 5.0),
    "torch, label smoothing": _torch(64, 100, 0.0, 0.2),
    "torch, 5 epochs": _torch(64, 5, 0.0),
    "logistic regression": _sklearn(lambda seed: LogisticRegression(max_iter=200)),
    "logistic regression, C 0.01": _sklearn(lambda seed: LogisticRegression(C=0.01)),
    "naive Bayes": _sklearn(lambda seed: GaussianNB(var_smoothing=1e-2)),
    "random forest": _sklearn(lambda seed: RandomForestClassifier(100, random_state=seed)),
    "random forest, depth 4": _sklearn(
        lambda seed: RandomForestClassifier(50, max_depth=4, random_state=seed)
    ),
    "scikit-learn MLP": _sklearn(lambda seed: MLPClassifier((50,), max_iter=60, random_state=seed)),
}


def honest_audit(
    seed: int,
    location: Path | None = None,
    most: int = 3000,
    fits: Sequence[str] = tuple(FITS),
    shadows: Sequence[int] = (0, 2, 4, 8, 16),
) -> HonestAudit:
    """Draw an audit.

    Args:
        seed: of all that is drawn.
        location: of the Location-30 table, if it is at hand.
        most: examples.
        fits: networks to draw from, keys of `FITS`.
        shadows: how many of them, to draw from.
    """
    rng = np.random.default_rng(seed)
    sets = data_sets(location)
    data, fit_name = str(rng.choice(list(sets))), str(rng.choice(list(fits)))
    x, y = _some(*sets[data](), rng, int(np.exp(rng.uniform(np.log(50), np.log(most)))))
    count = int(rng.choice(shadows))
    classes = int(y.max()) + 1
    trained = y.copy()
    noise = float(rng.choice([0.0, 0.0, 0.2]))
    changed = rng.random(len(y)) < noise
    trained[changed] = rng.integers(0, classes, int(changed.sum()))
    audited = rng.random(len(y)) < float(rng.choice([1.0, 0.6]))
    inside = _inside(rng, count, audited)
    blur, temperature = float(rng.choice([0, 0, 0.3])), float(rng.choice([1, 1, 3]))
    answers = []
    for k, rows in enumerate(inside):
        z = FITS[fit_name](x[rows], trained[rows], classes, seed + k)(x) / temperature
        answers.append(z + blur * rng.normal(size=z.shape) if blur else z)
    kind = str(rng.choice(KINDS))
    if kind == "logits" and not np.isfinite(answers).all():
        kind = "log_probabilities"  # forests, and classes that a network never saw
    apart = np.ptp(answers, -1)
    if kind == "probabilities" and apart[np.isfinite(apart)].max(initial=0) > 700:
        kind = "log_probabilities"  # naive Bayes: what is too small for a float is rightly doubted
    numbers = _as(kind, np.stack(answers))
    arrays: dict[str, Any] = {
        "logits": numbers[0],
        "labels": trained,
        "members": inside[0],
        "audited": audited,
        "kind": kind,
    }
    attacks = ["loss", "correctness"]
    if count:
        arrays |= {"shadow_logits": numbers[1:], "shadow_members": inside[1:]}
        attacks += ["confidence", "reference"] if count > 2 else ["confidence"]
        attacks += ["lira"] if count > 7 else []
    words = (
        f"{data} {len(y)}, {fit_name}, {count} shadows, {kind}, label noise {noise}, "
        f"temperature {temperature}, blur {blur}"
    )
    return HonestAudit(words, arrays, attacks)


def _some(
    x: Floats, y: NDArray[np.int64], rng: np.random.Generator, count: int
) -> tuple[Floats, NDArray[np.int64]]:
    """So many rows of a data set at random; in a third of draws with one class rare."""
    weight = np.ones(len(y))
    if rng.random() < 1 / 3:
        weight[y == rng.integers(0, y.max() + 1)] = 0.2
    count = min(count, len(y) * 2 // 3)
    rows = rng.choice(len(y), count, replace=False, p=weight / weight.sum())
    x = x[rows]
    y = np.unique(y[rows], return_inverse=True)[1]
    return (x - x.mean(0)) / (x.std(0) + 1e-9), y.astype(np.int64)


def _inside(
    rng: np.random.Generator, shadows: int, audited: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Members of the target and of shadows: in pairs, each by its own coin, or of other rows."""
    count = len(audited)
    target = (rng.random((1, count)) < 0.5) & audited
    coin = rng.random((shadows, count)) < 0.5
    design = rng.choice(["pairs", "coin", "disjoint"])
    if design == "disjoint" and (~audited).sum() > 20:
        return np.concatenate([target, coin & ~audited])
    if design == "pairs":
        coin[shadows // 2 :] = ~coin[: shadows // 2]
    return np.concatenate([target, coin & audited])


def _as(kind: str, z: Floats) -> Floats:
    if kind == "logits":
        return z
    top = z.max(-1, keepdims=True)
    log_p = z - top - np.log(np.exp(z - top).sum(-1, keepdims=True))
    return np.asarray(np.exp(log_p) if kind == "probabilities" else log_p)
