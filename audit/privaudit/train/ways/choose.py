"""Which way a fit takes: tried on a few examples before anything is trained.

The plain way is what a network's author wrote, so it is the measure. A quicker way is taken where
it gives the same loss, gradients and buffers as the plain one; what the plain way cannot do
cannot be trained at all.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from privaudit.api.boundary import blamed
from privaudit.api.float32 import float32_products
from privaudit.api.plugin import Plugin
from privaudit.errors import PrivauditError
from privaudit.networks.answer import Answers, each_to_its_own
from privaudit.networks.state import Rows, State
from privaudit.optimizers import OPTIMIZERS
from privaudit.train.batch import Batch, StepResult
from privaudit.train.dataset import DeviceDataset
from privaudit.train.game import Turn, TurnLoader, answered
from privaudit.train.loader import BatchLoader
from privaudit.train.objective import Objective
from privaudit.train.optimizer import Optimizer
from privaudit.train.ways.chain_step import chain_of, chain_steps
from privaudit.train.ways.graph import graph_steps, graph_suits
from privaudit.train.ways.plain import plain_steps
from privaudit.train.ways.vmapped import vmapped_steps
from privaudit.train.ways.way import Steps
from privaudit.training import Training

logger = logging.getLogger(__name__)

WAYS: dict[str, Callable[[Objective, int, DeviceDataset, Training, Optimizer], Steps]] = {
    "graph": graph_steps,
    "chain": chain_steps,
    "vmapped": vmapped_steps,
    "plain": plain_steps,
}
"""The ways by name, the quickest first."""

_SUITS: dict[str, Callable[[Objective, DeviceDataset, Training], bool]] = {
    "graph": graph_suits,
    "chain": lambda objective, data, options: chain_of(objective, data, options) is not None,
    "vmapped": lambda objective, data, options: True,
}
"""The quicker ways, and whether one is to be tried."""

_TRIED = 4  # examples of a tried step; BatchNorm makes nothing of two
_CLOSE = {torch.float64: 1e-6, torch.float32: 2e-2}  # of the largest gradient


@dataclass(frozen=True)
class Choice:
    """A way, and why none of the quicker ones.

    Attributes:
        way: a name in `WAYS`.
        reason: why a quicker way will not do; empty where none was refused.
    """

    way: str
    reason: str = ""


Gradients = list[Tensor | None]


@dataclass(frozen=True)
class _Tried:
    """What a step of two models comes to.

    Attributes:
        step: theirs.
        then: their weights and memory, as the sparsifier leaves them afterwards.
        answers: theirs before, in evaluation mode; empty where nobody asks for them in training.
        companion: gradients of their companions' losses, by parameter; empty without one.
    """

    step: StepResult
    then: State
    answers: Tensor
    companion: Gradients


@dataclass(frozen=True)
class _Trial:
    """One step of two models, taken in any way.

    Attributes:
        objective: what it minimises.
        data: the examples.
        state: the models.
        batch: theirs.
        turn: what their companions see; None without any.
        asked: whether training asks for answers, to validate.
        options: the schedule.
    """

    objective: Objective
    data: DeviceDataset
    state: State
    batch: Batch
    turn: Turn | None
    asked: bool
    options: Training

    def by(self, way: str) -> _Tried:
        """What a step comes to, and a companion's, and what the sparsifier makes of them."""
        network, count = self.objective.network, len(self.state.flat)
        named = network.views(self.state.flat.clone())
        rule = OPTIMIZERS[self.options.optimizer](self.options)
        steps = WAYS[way](self.objective, count, self.data, self.options, Optimizer(named, rule))
        now = self.state.clone()
        second: Gradients = []
        ask = partial(each_to_its_own, Answers(network), steps.answers, self.state)
        if self.objective.companion and self.turn:
            shown = next(answered(self.turn, self.data, ask))
            companion = self.objective.companion.views(now.companion)
            second, _ = steps.companion_gradients(companion, now, shown)
        result = steps.gradients(named, now, self.batch)
        flat, memory = now.flat, now.memory
        if self.objective.projects:
            flat, memory = steps.project(flat, memory, self.batch.epoch)
        if self.objective.renews:
            memory = steps.remember(flat, memory, self.batch.epoch)
        answers = ask(self.batch.x) if self.asked else now.flat[:, :0]
        return _Tried(result, replace(now, flat=flat, memory=memory), answers, second)


@float32_products()
def choose_way(
    objective: Objective,
    data: DeviceDataset,
    start: State,
    rows: list[Rows],
    options: Training,
    plugins: tuple[Plugin, ...] = (),
) -> Choice:
    """The quickest way that gives what the plain one gives.

    Args:
        objective: the network and the hooks in force.
        data: the examples.
        start: M models, on the host.
        rows: theirs.
        options: the schedule.
        plugins: whose code runs, to be named where it asks for a slower way.

    Raises:
        Exception: whatever the network or a hook raises when it is called plainly.
    """
    if objective.defense.per_example:
        objective.network.check_single_examples(f"defense {objective.defense.name!r}")
    size = objective.network.batch or min(_TRIED, options.batch_size)
    precision = "fp64" if options.precision == "fp64" else "fp32"
    plain_options = options.model_copy(update={"compile": False, "precision": precision})
    some = torch.arange(min(2, len(rows)))
    state = start[some].to(data.y.device)
    few_options = plain_options.model_copy(update={"batch_size": size})
    few = [_shortened(rows[int(m)], 4 * size) for m in some]
    loader = BatchLoader(objective, data, None, few, some.tolist(), few_options, state.flat.dtype)
    batch = next(loader.epoch(0).batches)
    turn = None
    if objective.companion:
        turn = next(TurnLoader(objective, data, few, some.tolist(), size, 1).epoch(0, 1))
    asked = any(len(r.validation) for r in rows)
    trial = _Trial(objective, data, state, batch, turn, asked, plain_options)
    expected = trial.by("plain")
    reason = ""
    for way, suits in _SUITS.items():
        if not suits(objective, data, options):
            continue
        try:
            with warnings.catch_warnings():  # what torch says of a way that may not be taken
                warnings.simplefilter("ignore")
                result = trial.by(way)
            _compare(expected, result, state.flat.dtype)
        except PrivauditError:
            raise
        except Exception as error:  # whatever torch raises where it cannot stack a function
            reason = _reason(error, plugins)
            continue
        return Choice(way, reason)
    return Choice("plain", reason)


def _shortened(rows: Rows, count: int) -> Rows:
    return replace(rows, member=rows.member[:count], reference=rows.reference[:count])


class _DifferError(Exception):
    """A way's step is not what the plain way's is."""


def _compare(expected: _Tried, result: _Tried, dtype: torch.dtype) -> None:
    """Raise unless two steps are the same but for rounding."""
    plain, other = expected.step, result.step
    then, other_then = expected.then, result.then
    pairs = [
        ("its loss", plain.loss, other.loss),
        ("its projection", then.flat, other_then.flat),
        ("its answer", expected.answers, result.answers),
    ]
    pairs += [(f"memory {n!r}", t, other_then.memory[n]) for n, t in then.memory.items()]
    pairs += [(f"buffer {n!r}", b, other.buffers[n]) for n, b in plain.buffers.items()]
    for what, one, two in pairs:
        if not _alike(one, two, _largest(one), dtype):
            raise _DifferError(f"{what} comes out differently when models share a step")
    _compare_gradients("its gradients come", plain.gradients, other.gradients, dtype)
    second = "its companion's gradients come"
    _compare_gradients(second, expected.companion, result.companion, dtype)


def _compare_gradients(what: str, plain: Gradients, other: Gradients, dtype: torch.dtype) -> None:
    gradients = list(zip(plain, other, strict=True))
    largest = max((float(g.abs().max()) for g, _ in gradients if g is not None), default=0.0)
    for right, quick in gradients:
        either = right if right is not None else quick
        if either is None:
            continue
        nothing = torch.zeros_like(either)
        pair = (nothing if right is None else right), (nothing if quick is None else quick)
        if not _alike(pair[0], pair[1], largest, dtype):
            raise _DifferError(f"{what} out differently when models share a step")


def _largest(values: Tensor) -> float:
    """The largest magnitude that is finite."""
    if not values.numel():
        return 0.0
    return float(values.double().nan_to_num(0.0, 0.0, 0.0).abs().max())


def _alike(one: Tensor, two: Tensor, scale: float, dtype: torch.dtype) -> bool:
    if one.shape != two.shape:
        return False
    return torch.allclose(
        one.double(), two.double(), rtol=0, atol=_CLOSE[dtype] * scale + 1e-7, equal_nan=True
    )


def _reason(error: Exception, plugins: tuple[Plugin, ...]) -> str:
    """Why a way will not do, in the words of the author whose code it cannot take."""
    in_words = None if isinstance(error, _DifferError) else blamed(error, *plugins)
    text = str(in_words or error).strip() or type(error).__name__
    return text.splitlines()[0]
