"""A table of hooks that fail, each beside what it would do once it is mended."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from tests.campaign._misbehaving import _HEAD


@dataclass(frozen=True)
class Failing:
    """One plugin whose hook fails until it is mended.

    Attributes:
        kind: of plugin.
        hook: the method.
        how: it fails.
        code: of the hook while it is broken.
    """

    kind: str
    hook: str
    how: str
    code: str


_RAISES = ("raises", "raise ValueError('no luck')")
_NOTHING = ("gives None", "return None")

# Each hook: its arguments, what is right, and what is wrong but raising.
_HOOKS: dict[tuple[str, str], tuple[str, str, dict[str, str]]] = {
    ("sparsifier", "prepare"): ("self, module", "return module", dict([_NOTHING])),
    ("sparsifier", "sparsify"): (
        "self, cohort",
        "cohort.fit(); yield ''; cohort.prune(keep=0.5); yield 'half'",
        {
            "raises after a level": "cohort.fit(); yield ''; raise ValueError('no luck')",
            "yields a number": "cohort.fit(); yield 3",
            "yields a label twice": "cohort.fit(); yield 'a'; yield 'a'",
            "yields nothing": "cohort.fit(); return; yield",
        },
    ),
    ("sparsifier", "penalty"): (
        "self, weights",
        "return 1e-4 * sum((w**2).sum() for w in weights.values())",
        dict([_NOTHING, ("gives a vector", "return next(iter(weights.values())).sum(-1)")]),
    ),
    ("sparsifier", "project"): (
        "self, weights, epoch",
        "return {name: w.clamp(-1, 1) for name, w in weights.items()}",
        dict([_NOTHING, ("gives another shape", "return {n: w[:1] for n, w in weights.items()}")]),
    ),
    ("sparsifier", "memory"): (
        "self, weights",
        "return {'old ' + name: w for name, w in weights.items()}",
        dict([_NOTHING, ("gives weights' names", "return dict(weights)")]),
    ),
    ("defense", "schedule"): ("self, training", "return training", dict([_NOTHING])),
    ("defense", "inputs"): ("self, x, key", "return 0.9 * x", dict([_NOTHING])),
    ("defense", "loss"): (
        "self, step",
        "return 0.5 * cross_entropy(step.logits, step.y)",
        dict([_NOTHING, ("gives a vector", "return step.logits.amax(-1)")]),
    ),
    ("defense", "example_gradient"): ("self, gradient", "return gradient / 2", dict([_NOTHING])),
    ("defense", "batch_gradient"): (
        "self, total, count, key",
        "return total / count",
        dict([_NOTHING, ("gives a number", "return total.sum()")]),
    ),
    ("defense", "finish"): ("self, cohort", "return None", {}),
    ("defense", "respond"): (
        "self, logits, companion",
        "return logits / 2",
        dict([_NOTHING, ("gives a column", "return logits.amax(-1, keepdim=True)")]),
    ),
    ("defense", "epsilon"): ("self, rate, steps", "return 3.0", {"gives less than 0": "return -1"}),
    ("attack", "score"): (
        "self, signals",
        "return AttackScores(signals.target.logits[0].amax(-1))",
        {
            "gives None": "return None",
            "gives a column": "return AttackScores(signals.target.logits[0])",
            "gives NaN": "return AttackScores(signals.target.logits[0].amax(-1) * float('nan'))",
            "lacks shadows": "raise privaudit.ShortageError('no shadow knows them')",
            "refuses the data": "raise DataError('not with these')",
            "fails on one seed": "if signals.seed // 8 % 2: raise ValueError('no luck')\n"
            "return AttackScores(signals.target.logits[0].amax(-1))",
        },
    ),
}

_DIVERGING = {
    ("sparsifier", "penalty"): "return float('nan') * sum(w.sum() for w in weights.values())",
    ("sparsifier", "project"): "return {n: w * float('inf') for n, w in weights.items()}",
    ("defense", "inputs"): "return x * float('inf')",
    ("defense", "loss"): "return float('nan') * cross_entropy(step.logits, step.y)",
    ("defense", "batch_gradient"): "return total * float('nan')",
}


def failures() -> list[Failing]:
    """Every hook in every way that it fails."""
    rows = []
    for (kind, hook), (_, _, wrong) in _HOOKS.items():
        for how, code in dict([_RAISES], **wrong).items():
            rows.append(Failing(kind, hook, how, code))
        if code := _DIVERGING.get((kind, hook), ""):
            rows.append(Failing(kind, hook, "diverges", code))
    return rows


def source(one: Failing, broken: bool) -> str:
    """The plugin's file, broken or mended."""
    arguments, right, _ = _HOOKS[one.kind, one.hook]
    body = ['name: Literal["bad"] = "bad"']
    if one.hook in ("example_gradient", "batch_gradient"):
        body.append("per_example: ClassVar[bool] = True")
    code = one.code if broken else right
    body += [f"def {one.hook}({arguments}):", *(f"    {line}" for line in code.splitlines())]
    indented = textwrap.indent("\n".join(body), "    ")
    return (
        f"{_HEAD}\nclass Bad(privaudit.{one.kind.capitalize()}):\n{indented}\n\n"
        "@privaudit.hookimpl\ndef privaudit_provide():\n    return [Bad]\n"
    )
