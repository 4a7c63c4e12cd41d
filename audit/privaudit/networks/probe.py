"""Whether a network answers as it must, seen on a few examples before anything is trained."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from privaudit.errors import PluginError
from privaudit.networks.answer import Answers
from privaudit.networks.network import Network
from privaudit.networks.state import State

_MIXED = 8  # examples that are asked together, and each beside itself alone
_COMPANY = 0.01  # of the median row's largest logit; rounding changes far less
_AGAIN = 3  # times that the same is asked, for what draws differs then
_COMPANY_MATTERS = (
    "answers otherwise in other company: what it says of an example depends on the others of the "
    "batch, as where forward looks at the mean or maximum of all of x, or BatchNorm keeps no "
    "running statistics; let it depend on the example alone"
)
_FEW = 3  # examples, so that a batch, a class count and a sequence are not taken for each other


def check_answers(
    network: Network,
    state: State,
    examples: Callable[[Tensor], Tensor],
    model: str,
    classes: int,
    batch_size: int,
    count: int,
) -> None:
    """See that logits (B, classes) come, and learn what the network cannot do without.

    A network may take only images in the usual order of memory, or only batches of the size that
    it is trained with: `network.contiguous` and `network.batch` are then set.

    Args:
        network: the structure.
        state: one model's, without a leading axis, on the host.
        examples: gives those of some rows (b,), normalised, (b, ...).
        model: the plugin's name, for messages.
        classes: C.
        batch_size: of training.
        count: how many examples there are.

    Raises:
        PluginError: the answers are no logits of C classes, or that to one example depends on the
            others of its batch; the message says what to change.
        Exception: whatever the network raises, where it can answer no batch.
    """
    state = state.to(network.device)
    answer = _first_answer(network, state, examples, batch_size)
    problem = _problem(answer, classes) or _company(network, state, examples, count)
    if problem:
        raise PluginError(f"model {model!r} {problem}")


def _first_answer(
    network: Network, state: State, examples: Callable[[Tensor], Tensor], batch_size: int
) -> object:
    """What it answers to a few examples, in the first way that it can be asked."""
    few = examples(torch.zeros(_FEW, dtype=torch.int64, device=network.device))
    raised: Exception | None = None
    odd: object = None  # an answer that is not one for each example
    for contiguous, batch in ((False, None), (True, None), (False, batch_size), (True, batch_size)):
        if contiguous and few.ndim != 4:
            continue
        network.contiguous, network.batch = contiguous, batch
        try:
            answer: object = Answers(network)(state, few)
        except Exception as error:  # the network's code may raise anything
            raised = raised or error
            continue
        if not isinstance(answer, Tensor) or (answer.ndim and len(answer) == _FEW):
            return answer
        odd = answer if odd is None else odd
    network.contiguous, network.batch = False, None
    if odd is None and raised is not None:
        raise raised
    return odd


def _company(
    network: Network, state: State, examples: Callable[[Tensor], Tensor], count: int
) -> str:
    """What is wrong where an answer depends on which other examples are asked with it.

    An attack would then tell members by whom they are asked with. Each example is asked among
    others and beside copies of itself; what is drawn anew for each question is not compared.
    """
    ask, size = Answers(network), network.batch or _MIXED
    rows = torch.linspace(0, count - 1, size, device=network.device).long()
    mixed = ask(state, examples(rows))
    allowed = _COMPANY * float(mixed.abs().amax(1).median())

    def drawn() -> bool:
        again = (ask(state, examples(rows)) for _ in range(_AGAIN))
        return ask.draws or any(float((one - mixed).abs().max()) > allowed / 10 for one in again)

    copies = network.batch or 2  # a batch of one is another matter, which some networks cannot take
    for row, among in list(zip(rows, mixed, strict=True))[:_MIXED]:
        alone = ask(state, examples(row.expand(copies)))[0]
        if float((alone - among).abs().max()) > allowed:
            return "" if drawn() else _COMPANY_MATTERS
    return ""


def _problem(answer: object, classes: int) -> str:
    """What is wrong with an answer to `_FEW` examples, and what to change; empty: nothing."""
    wanted = f"logits (B, {classes}), one number for each example and class"
    if isinstance(answer, tuple | list):
        return (
            f"answers with a {type(answer).__name__} of {len(answer)}: return the {wanted} alone, "
            "or an object with `.logits`"
        )
    if not isinstance(answer, Tensor):
        return f"answers with {type(answer).__name__}: return the {wanted}"
    shape = tuple(answer.shape)
    shown = f"({', '.join(['B', *map(str, shape[1:])])}{',' if len(shape) == 1 else ''})"
    if answer.ndim == 0 or shape[0] != _FEW:
        return f"answers {_FEW} examples with shape {shape}: return {wanted}"
    if answer.ndim == 1:
        return f"answers {shown}, one number for each example: return {wanted}"
    if answer.ndim > 2:
        return (
            f"answers {shown}: return {wanted}; of a sequence or a map, take the last place, or "
            "the mean over all"
        )
    if shape[1] != classes:
        return (
            f"has {shape[1]} outputs, and the dataset has {classes} classes: return {wanted}, with "
            "as many as `build` is given as `classes`"
        )
    if not answer.is_floating_point():
        return f"answers with {answer.dtype}: return {wanted}, as floating-point numbers"
    if not bool(torch.isfinite(answer).all()):
        return "answers NaN or infinity before it is trained: look at its initial weights"
    sums = answer.double().sum(1)
    if bool((answer >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-4):
        return (
            "ends in a softmax, for its outputs sum to one: return the logits before it, because "
            "the loss takes the softmax itself"
        )
    return ""
