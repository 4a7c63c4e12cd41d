"""Whether a target that was trained elsewhere answers as a network must, seen before training."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from privaudit.cohort import Cohort
from privaudit.cohort.answers import exact
from privaudit.doubts.numbers import looks_like
from privaudit.errors import DataError
from privaudit.experiment.checkpoint import Program, first_line
from privaudit.networks.answer import Answers
from privaudit.values import Examples

_TRIED = 1000  # examples asked: as many as are asked at once later
_DRAWS = 2000  # answers compared with themselves
_FEW = 8  # examples that keep each other company, when whoever looks at company must show it
_ALONE = 16
_CALLS = 64  # answers to one example, for what is drawn once for a whole batch
_SMALL = 0.5  # a network may end in a ReLU, and hardly have learnt anything
# Differences over the median row's largest logit. The same batch asked again comes out the same
# to the last bit, or nearly; another batch may take other kernels, which round otherwise, and a
# program of half precision rounds at every step.
_AGAIN, _COMPANY = 1e-4, 0.01
_AGAIN_HALF, _COMPANY_HALF = 0.02, 0.05

Ask = Callable[[Tensor], Tensor]


def check_answers(cohort: Cohort, examples: Examples, path: str) -> None:
    """See that a target answers with finite logits that depend on each example alone.

    A program may have been saved in training. One that draws, as dropout does, is seen by asking
    for 2,000 answers or more twice: where an example's answer changes with a chance of at least
    1 in 100, the chance to see no change is below 10^-8. One that draws once for a whole batch, as
    stochastic depth may, is asked 64 times more about one example: where it skips something once
    in ten times, the chance to see no change is about 1 in 1,000. One that looks at the other
    examples of a batch, as batch normalisation in training does, is seen by asking in full
    batches, in batches of eight, and one by one.

    Args:
        cohort: the target.
        examples: as it takes them.
        path: its file, for messages.

    Raises:
        DataError: it does not.
    """
    x = examples.x[:_TRIED]
    data, answers, state = cohort.data.on(x), Answers(cohort.network, keyed=False), cohort.states()

    def ask(rows: Tensor) -> Tensor:
        return answers(state[0], data.plain(rows.to(data.y.device))).cpu()

    rows = torch.arange(len(x))
    try:
        with exact():
            whole = _first(cohort, ask, rows)
            ask(rows[:1])
            problem = _problem(whole, (len(x), len(examples.classes)))
            problem = problem or _drawn(ask, rows, whole, _half(cohort))
    except Exception as error:  # a program may raise anything
        raise DataError(
            f"target.checkpoint: {path} cannot answer {len(x)} examples, or a single one, of shape "
            f"{examples.shape}: {first_line(error)}"
        ) from error
    if problem:
        raise DataError(f"target.checkpoint: {path} {problem}")


def _first(cohort: Cohort, ask: Ask, rows: Tensor) -> Tensor:
    try:
        return ask(rows)
    except RuntimeError:  # it may take images in the usual order of memory only
        cohort.network.contiguous = True
        return ask(rows)


def _problem(whole: Tensor, wanted: tuple[int, int]) -> str:
    """What is wrong with the answers themselves; empty: nothing."""
    if whole.shape != wanted:
        return f"answers {wanted[0]} examples with shape {tuple(whole.shape)} instead of {wanted}"
    if not bool(torch.isfinite(whole).all()):
        return "answers NaN or infinity: it is damaged, or its training diverged"
    meaning = looks_like(whole)
    if meaning == "probabilities":
        return "answers with probabilities: save it without the softmax at its end"
    if meaning == "sigmoids" and float(whole.max()) > _SMALL:
        return (
            "answers with numbers from 0 to 1 alone, as a sigmoid gives them: save it without the "
            "sigmoid at its end"
        )
    if meaning not in (None, "sigmoids"):
        return f"answers with numbers that look like {meaning}: save it so that it gives logits"
    return ""


def _drawn(ask: Ask, rows: Tensor, whole: Tensor, half: bool) -> str:
    """Whether answers change from one time to the next, or with their company."""
    scale = whole.abs().amax(1).median()
    again, company = (_AGAIN_HALF, _COMPANY_HALF) if half else (_AGAIN, _COMPANY)

    def differ(one: Tensor, other: Tensor, tolerance: float) -> bool:
        return bool((one - other).abs().max() > tolerance * scale)

    drawn = (
        "answers otherwise each time it is asked, as dropout does in training: save it after "
        ".eval()"
    )
    for _ in range(max(1, -(-_DRAWS // len(rows)))):
        if differ(whole, ask(rows), again):
            return drawn
    single = ask(rows[:1])
    if any(differ(single, ask(rows[:1]), again) for _ in range(_CALLS)):
        return drawn
    few = torch.split(rows, _FEW)[: _ALONE // 2]
    for part in [*few, *torch.split(rows[:_ALONE], 1)]:
        if differ(whole[part], ask(part), company):
            return (
                "answers otherwise in other company, as batch normalisation does in training: save "
                "it after .eval()"
            )
    return ""


def _half(cohort: Cohort) -> bool:
    """Whether the network calculates with fewer digits than float32."""
    module = cohort.network.module
    dtype = module.dtype if isinstance(module, Program) else cohort.network.dtype
    return dtype in (torch.float16, torch.bfloat16)
