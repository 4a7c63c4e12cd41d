"""A table of what plugins do that they must not do."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

FAILS = (1, 2)
HARMLESS = (0,)
EITHER = (0, 1, 2)


@dataclass(frozen=True)
class Misbehaviour:
    """One.

    Attributes:
        kind: of plugin.
        name: unique within the kind.
        code: of the hook, before the line that does what is right.
        hook: the method; empty where the code is the class's own body.
        codes: exit codes that are right.
        words: that must be said.
        anonymous: the message may leave out the plugin's name: it is its author's own.
    """

    kind: str
    name: str
    code: str
    hook: str = ""
    codes: tuple[int, ...] = FAILS
    words: str = ""
    anonymous: bool = False


_HEAD = """
import os, sys, gc, random, signal, logging, warnings, locale, threading
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, ClassVar
import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
import privaudit
from privaudit import AttackScores, Examples, DataError, PluginError, PrivauditError
from sklearn.datasets import load_digits

KEPT = []

class Broken(Exception):
    def __str__(self): raise RuntimeError("no words")

class Own(PrivauditError):
    exit_code = 0

class Base(BaseException):
    pass

def examples():
    d = load_digits()
    return Examples(torch.from_numpy(d.data).float(), torch.from_numpy(d.target).long(),
                    tuple(map(str, range(10))), torch.tensor(8.0), torch.tensor(8.0))
"""

_TAIL = """
@privaudit.hookimpl
def privaudit_provide():
    return [Hostile]
"""

# Each kind's hooks: signature, and what is right.
_HOOKS = {
    "score": ("self, signals", "return AttackScores(signals.target.logits[0].amax(-1))"),
    "refusal": ("self, *told", "return None"),
    "respond": ("self, logits, companion", "return logits"),
    "loss": ("self, step", "return cross_entropy(step.logits, step.y)"),
    "inputs": ("self, x, key", "return x"),
    "schedule": ("self, training", "return training"),
    "finish": ("self, cohort", "return None"),
    "epsilon": ("self, rate, steps", "return None"),
    "build": (
        "self, shape, classes",
        "return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, classes))",
    ),
    "load": ("self, root", "return examples()"),
    "sparsify": ("self, cohort", "cohort.fit(); yield 'a'"),
    "penalty": ("self, weights", "return sum((w**2).sum() for w in weights.values())"),
    "project": ("self, weights, epoch", "return dict(weights)"),
    "memory": ("self, weights", "return {'old ' + n: w for n, w in weights.items()}"),
    "prepare": ("self, module", "return module"),
}
_MAIN = {
    "attack": "score", "model": "build", "dataset": "load", "sparsifier": "", "defense": "",
}  # fmt: skip


def source(one: Misbehaviour) -> str:
    """The plugin's file."""
    body = ['name: Literal["hostile"] = "hostile"']
    if not one.hook:
        body += one.code.splitlines()
    for hook in dict.fromkeys(filter(None, [one.hook, _MAIN[one.kind]])):
        if not one.hook and one.code.startswith((f"def {hook}", f"{hook} =", f"{hook}:")):
            continue
        signature, right = _HOOKS[hook]
        code = one.code.splitlines() if hook == one.hook else []
        body += [f"def {hook}({signature}):", *(f"    {line}" for line in [*code, right])]
    kind = one.kind.capitalize()
    indented = textwrap.indent("\n".join(body), "    ")
    return f"{_HEAD}\nclass Hostile(privaudit.{kind}):\n{indented}\n{_TAIL}"


def _many(
    kind: str, hook: str, rows: dict[str, str], codes: tuple[int, ...] = FAILS, words: str = ""
) -> list[Misbehaviour]:
    return [
        Misbehaviour(kind, f"{hook}: {name}", code, hook, codes, words)
        for name, code in rows.items()
    ]


_WRITES = {
    "zeroes x": "signals.x.zero_()",
    "adds to logits": "signals.target.logits.add_(1)",
    "adds to shadows": "signals.shadows.logits.mul_(2)",
    "turns audited": "signals.audited.logical_not_()",
    "changes roles": "signals.shadow_role.fill_(1)",
    "changes labels": "signals.y.zero_()",
    "writes by data": "signals.x.data.zero_()",
    "writes by numpy": "signals.x.numpy()[:] = 0",
    "sorts by numpy": "signals.target.logits.numpy().sort(0); signals.y.numpy().sort()",
    "writes into a view": "signals.x[:5].flatten(1)[:, 3] = 1",
    "resizes": "signals.x.resize_(3, 3)",
    "swaps memory": "signals.x.set_(torch.zeros(2).to(signals.x.dtype))",
    "writes and fails": "signals.x.zero_(); raise ValueError('and so on')",
    "writes labels, then fails": "signals.y.data.zero_(); 1 / 0",
}
_RAISES = {
    "exits with 0": "sys.exit(0)",
    "exits with words": "sys.exit('enough')",
    "raises BaseException": "raise Base('base')",
    "raises GeneratorExit": "raise GeneratorExit",
    "raises StopIteration": "raise StopIteration",
    "recurses": "f = lambda: f()\nf()",
    "lacks memory": "raise MemoryError",
    "has no words": "raise Broken",
    "has many words": "raise ValueError('x' * 10**7)",
    "has an exit code of its own": "raise Own('mine')",
    "has empty words": "raise PrivauditError('')",
    "raises a group": "raise ExceptionGroup('many', [ValueError('one')])",
    "asserts": "assert False",
    "warns as an error": "warnings.simplefilter('error'); warnings.warn('w')",
    "prints controls": "raise ValueError('\\x1b[2J\\x07 cleared')",
}
_WORLD = {
    "dtype": "torch.set_default_dtype(torch.float64)",
    "device": "torch.set_default_device('meta'); torch.set_default_device('meta')",
    "threads": "torch.set_num_threads(2)",
    "no gradients": "torch.set_grad_enabled(False)",
    "generators": "torch.manual_seed(1); np.random.seed(1); random.seed(1)",
    "determinism": "torch.use_deterministic_algorithms(True)",
    "precision": "torch.set_float32_matmul_precision('medium')",
    "small numbers": "torch.set_flush_denormal(True)",
    "autocast": "torch.set_autocast_enabled('cpu', True)",
    "anomalies": "torch.autograd.set_detect_anomaly(True)",
    "errors of numpy": "np.seterr(all='raise')",
    "warnings": "warnings.simplefilter('error')",
    "folder": "os.chdir('/')",
    "environment": "os.environ.clear()",
    "mode of files": "os.umask(0o777)",
    "logging": "logging.disable(50); logging.getLogger().handlers.clear()",
    "signals": "signal.signal(signal.SIGINT, signal.SIG_DFL)",
    "alarm": "signal.alarm(1)",
    "streams": "sys.stdout = sys.stderr = None",
    "recursion": "sys.setrecursionlimit(150)",
    "garbage": "gc.disable(); gc.set_threshold(1)",
    "tracing": "sys.settrace(lambda *a: None)",
    "hooks": "sys.excepthook = None",
    "locale": "locale.setlocale(locale.LC_ALL, 'C')",
}
_SCORES = {
    "None": "return None",
    "list": "return AttackScores([1.0])",
    "a column": "return AttackScores(signals.target.logits[0].amax(-1, keepdim=True))",
    "NaN": "return AttackScores(signals.target.logits[0].amax(-1) * float('nan'))",
    "sparse": "return AttackScores(signals.target.logits[0].amax(-1).to_sparse())",
    "meta": "return AttackScores(signals.target.logits[0].amax(-1).to('meta'))",
    "complex": "return AttackScores(signals.target.logits[0].amax(-1).to(torch.complex64))",
    "counts": "return AttackScores(signals.target.logits[0].argmax(-1))",
    "variants in a list": "s = signals.target.logits[0].amax(-1)\n"
    "return AttackScores(s, variants=[AttackScores(s)])",
    "a variant without a name": "s = signals.target.logits[0].amax(-1)\n"
    "return AttackScores(s, variants={3: AttackScores(s)})",
    "a generator": "yield 1",
    "a decision of numbers": "s = signals.target.logits[0].amax(-1)\n"
    "return AttackScores(s, decision=s)",
}
_ANSWERS = {
    "a column": "return logits.amax(-1, keepdim=True)",
    "a row": "return logits[:1]",
    "NaN": "return logits * float('nan')",
    "log of 0": "return (logits * 0).log()",
    "counts": "return logits.long()",
    "bools": "return logits > 0",
    "complex": "return logits.to(torch.complex64)",
    "sparse": "return logits.to_sparse()",
    "meta": "return logits.to('meta')",
    "numpy": "return logits.numpy()",
    "None": "return None",
}
_LEVELS = {
    "endless": "n = 0\nwhile True:\n    n += 1\n    yield str(n)",
    "a long label": "cohort.fit(); yield 'x' * 10**6",
    "controls": "cohort.fit(); yield '\\x1b[2J'",
    "twice": "cohort.fit(); yield 'a'",
    "a number": "cohort.fit(); yield 3",
    "stops": "raise StopIteration",
    "writes weights": "cohort.fit(); cohort.weights['1.weight'].zero_() if '1.weight' in "
    "cohort.weights else next(iter(cohort.weights.values())).zero_()",
    "writes data": "cohort.data._x.zero_()\ncohort.fit()",
    "exits": "cohort.fit(); sys.exit(0)",
    "sets NaN": "cohort.fit(); cohort.set({n: w * float('nan') "
    "for n, w in cohort.weights.items()})",
}

MISBEHAVIOURS: list[Misbehaviour] = [
    *_many("attack", "score", _WRITES),
    *_many("attack", "score", _RAISES),
    *_many("attack", "score", _WORLD, EITHER),
    *_many("attack", "score", _SCORES),
    *_many("defense", "respond", _ANSWERS, words="respond"),
    *_many("defense", "respond", {"writes": "logits.zero_(); return logits + 1"}, HARMLESS),
    *_many("defense", "respond", {"float64": "return logits.double()"}, HARMLESS),
    *_many("defense", "respond", {"half": "return logits.half()"}, HARMLESS),
    *_many("defense", "respond", {"gradients": "return logits.requires_grad_()"}, HARMLESS),
    *_many("sparsifier", "sparsify", _LEVELS),
    *_many(
        "sparsifier", "sparsify",
        {"writes labels": "cohort.labels.zero_()",
         "writes rows": "cohort.rows('member')[0].zero_()"},
        HARMLESS,
    ),
    *_many("sparsifier", "penalty", {"a vector": "return next(iter(weights.values())).flatten()",
                                     "a float": "return 1.0"}, words="penalty"),
    *_many("sparsifier", "project", {"a ghost": "return {'ghost': next(iter(weights.values()))}",
                                     "a list": "return list(weights.values())",
                                     "turned": "return {n: w.flatten() for n, w in "
                                     "weights.items()}"}, words="project"),
    *_many("sparsifier", "memory", {"None": "return None", "numbers": "return {'a': 1.0}",
                                    "a list": "return list(weights.values())",
                                    "weights' names": "return dict(weights)"}, words="memory"),
    *_many("sparsifier", "prepare", {"None": "return None"}, words="prepare"),
    *_many("defense", "loss", {"a vector": "return cross_entropy(step.logits, step.y, "
                                           "reduction='none')",
                               "a float": "return 1.0", "None": "return None",
                               "exits": "sys.exit(0)"}, words="loss"),
    *_many("defense", "loss", {"writes into the data": "for o in gc.get_objects():\n"
           "    if type(o).__name__ == 'DeviceDataset': o.y.zero_()"}, words="writes into"),
    *_many("defense", "loss", {"dtype": "torch.set_default_dtype(torch.float64)"}, EITHER),
    *_many("defense", "inputs", {"a row": "return x[:1]", "None": "return None",
                                 "bools": "return x > 0"}, words="inputs"),
    *_many("defense", "schedule", {"None": "return None", "a dict": "return {}",
           "minus one": "return training.model_copy(update={'epochs': -1})"}, words="schedule"),
    *_many("defense", "finish", {"exits": "sys.exit(0)"}, words="finish"),
    *_many("defense", "epsilon", {"text": "return 'much'", "minus one": "return -1.0",
                                  "NaN": "return float('nan')"}, words="epsilon"),
    *_many("defense", "refusal", {"True": "return True"}, words="refusal"),
    *_many("model", "build", {"None": "return None", "exits": "sys.exit(0)",
           "the same again": "if not KEPT: KEPT.append(nn.Sequential(nn.Flatten(), "
           "nn.Linear(64, classes)))\nreturn KEPT[0]"}, words="build"),
    *_many("model", "build", {"writes into its input": "return nn.Sequential(nn.Flatten(), "
           "nn.ReLU(inplace=True), nn.Linear(64, classes))",
           "dtype": "torch.set_default_dtype(torch.float64)"}, HARMLESS),
    *_many("dataset", "load", {"None": "return None", "exits": "sys.exit(0)",
           "double": "return replace(examples(), x=examples().x.double())",
           "sparse": "e = examples(); object.__setattr__(e, 'x', e.x.to_sparse()); return e"}),
    *_many("dataset", "load", {"dtype": "torch.set_default_dtype(torch.float64)"}, HARMLESS),
    Misbehaviour("attack", "score is no method", "score: ClassVar[Any] = 5"),
    Misbehaviour("attack", "score takes nothing", "def score(self): return None"),
    Misbehaviour("defense", "respond takes nothing", "def respond(self): return None"),
    Misbehaviour("attack", "raises an error of ours", "raise DataError('not with these')", "score",
                 anonymous=True),
]  # fmt: skip
