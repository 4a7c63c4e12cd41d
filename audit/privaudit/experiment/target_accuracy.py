"""Whether a target that was trained elsewhere knows its members as it should."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from scipy.special import betainc
from torch import Tensor

from privaudit.api.float32 import float32_products
from privaudit.cohort import Cohort
from privaudit.doubts.doubt import Doubt
from privaudit.doubts.guessing import Agreement, agreement
from privaudit.doubts.renamed import other_names
from privaudit.errors import DataError
from privaudit.experiment.normalisation import described, is_images, normalised
from privaudit.networks.answer import Answers
from privaudit.recipe import TargetOptions
from privaudit.recipe.target import TargetAccuracy
from privaudit.statistics.intervals import clopper_pearson
from privaudit.train.dataset import DeviceDataset
from privaudit.values import Examples, Role

_MOST = 2000  # members, and non-members, that are asked
_FEW = 500  # members that are asked in other ways
_BELOW = 0.01  # accuracies are written down rounded
_ABOVE = 0.02  # and, while a network trains, taken on augmented examples, which are harder
_CLEAR = 0.05  # from so much on, two accuracies are far from each other
# Of stopping a target for what luck of the draw has done. One that knows less than is said passes
# for safe if it goes on, and costs a look at the recipe if it stops.
_CHANCE_BELOW = 0.01
_CHANCE = 1e-4
_LEFT = 0.6  # of the errors: of 288 half-trained targets, other ways left 0.74 or more
_LUCK = 0.01  # of taking another way to ask for a better one, as a network that guesses might
_WAYS = ("unit", "imagenet", "none", "dataset")

_MISASKED = (
    "it is not asked as it was trained, and seems to have forgotten its members: what it "
    "remembers cannot be seen like this, whatever target.accuracy says"
)


@dataclass(frozen=True)
class _Asked:
    """A target, with the examples as it takes them and as the recipe's dataset is normalised."""

    cohort: Cohort
    examples: Examples
    pool: Examples

    def right(self, examples: Examples, rows: Tensor) -> Tensor:
        """(n,) bool: which of the rows are classified rightly, if asked as `examples` say."""
        return self.predicted(examples, rows) == self.pool.y[rows]

    @float32_products()
    def predicted(self, examples: Examples, rows: Tensor) -> Tensor:
        """(n,) int64."""
        network = self.cohort.network
        data = DeviceDataset(examples.take(rows), network.device, network.dtype)
        ask = Answers(network).to_rows
        every = torch.arange(len(rows), device=network.device)
        return ask(self.cohort.states()[0], data.plain, every).argmax(1).cpu()


def check_accuracy(
    options: TargetOptions, cohort: Cohort, examples: Examples, pool: Examples, role: Tensor
) -> tuple[Doubt, ...]:
    """Stop where a target knows its members worse than it can if it is asked as it was trained.

    That is, if its accuracy is more than 1 point below what the recipe expects (one-sided exact
    binomial test, 1 in 100), or more than 2 points above it (99.99 % Clopper-Pearson interval); or,
    where the recipe expects nothing, if it is no better than guessing (see `doubts.guessing`), if
    it is 5 points or more below that on non-members (as certainly), or if it would be far more
    right with its classes in another order (see `doubts.renamed`), or asked with another usual
    normalisation or order of channels: 5 points more (sign test, 1 in 100), and 60 % of its errors
    or less. A target that is half-trained may gain some points by any change of scale.

    Args:
        options: the recipe's `target`.
        cohort: the target.
        examples: as it takes them.
        pool: the same, normalised as the recipe's dataset is.
        role: (N,) uint8: of the target; within a role, rows are in an order by lot.

    Returns:
        A doubt where the recipe expects what is seen, and another way to ask is far better: who
        writes down what a wrongly asked target reaches must not make it pass.

    Raises:
        DataError: with the likely causes.
    """
    asked = _Asked(cohort, examples, pool)
    members, others = (
        (role == what).nonzero()[:_MOST, 0] for what in (Role.MEMBER, Role.NON_MEMBER)
    )
    classes = len(examples.classes)
    predicted = asked.predicted(examples, members)
    inside = agreement(pool.y[members], predicted, classes)
    outside = agreement(pool.y[others], asked.predicted(examples, others), classes)
    expected, checkpoint = options.expected, f"target.checkpoint: {options.checkpoint}"
    problem = _far("members", inside, expected.members)
    problem = problem or _far("non_members", outside, expected.non_members)
    if problem and _exchanged(inside, outside, expected):
        raise DataError(
            f"{checkpoint} {problem}; of target.non_members it classifies {_share(outside)}: "
            "members and non_members seem to be swapped"
        )
    ways = *_better(asked, members[:_FEW]), *_order(pool, predicted, members)
    better = _best(sorted(ways, reverse=True))
    if not problem and expected.members is None:
        if inside.guessing:
            problem = f"classifies {inside.words('target.members')}"
        elif _below(inside, outside):
            raise DataError(
                f"{checkpoint} classifies {_share(inside)} of target.members rightly, and "
                f"{_share(outside)} of target.non_members: they may be swapped, non-members "
                "easier, or members forgotten on purpose"
                + (f". {better}" if better else f"; if this is right, {_as_it_is(inside)}")
            )
        elif better:
            problem = f"classifies {_share(inside)} of target.members rightly"
    if problem:
        raise DataError(
            f"{checkpoint} {problem}: it is not asked as it was trained, or is another network. "
            + (better or f"{_causes(examples)}. If it is right as it is, {_as_it_is(inside)}")
        )
    return (Doubt("misasked", "target", _MISASKED, _seen(inside, better)),) if better else ()


def _as_it_is(inside: Agreement) -> str:
    return f"set target.accuracy: {inside.accuracy:.3g}"


def _seen(inside: Agreement, better: str) -> str:
    return f"classifies {_share(inside)} of its members rightly. {better}"


def _exchanged(inside: Agreement, outside: Agreement, expected: TargetAccuracy) -> bool:
    """Whether what is expected fits if members are taken for non-members, and these for them."""
    if expected.members is None or _far("", outside, expected.members):
        return False
    if expected.non_members is None:
        return _below(inside, outside)
    return not _far("", inside, expected.non_members)


def _far(name: str, seen: Agreement, expected: float | None) -> str:
    if expected is None:
        return ""
    most = clopper_pearson(seen.correct, seen.count, 1 - 2 * _CHANCE_BELOW).high
    least = clopper_pearson(seen.correct, seen.count, 1 - _CHANCE).low
    if least - _ABOVE <= expected <= most + _BELOW:
        return ""
    return (
        f"classifies {_share(seen)} of target.{name} rightly, and target.accuracy expects "
        f"{100 * expected:.1f} %"
    )


def _below(inside: Agreement, outside: Agreement) -> bool:
    """Whether members are classified far worse than non-members."""
    if inside.accuracy > outside.accuracy - _CLEAR:
        return False
    high = clopper_pearson(inside.correct, inside.count, 1 - _CHANCE).high
    return high < clopper_pearson(outside.correct, outside.count, 1 - _CHANCE).low


def _better(asked: _Asked, rows: Tensor) -> Iterator[tuple[float, str]]:
    """Other ways to ask, and the clearly larger shares that are then right."""
    before = asked.right(asked.examples, rows)
    for way, examples in _other_ways(asked):
        try:
            right = asked.right(examples, rows)
        except Exception:  # a program may raise anything, and need not take these
            continue
        gained, lost = int((right & ~before).sum()), int((before & ~right).sum())
        errors, left = int((~before).sum()), int((~right).sum())
        clear = gained - lost > _CLEAR * len(rows) and left <= _LEFT * errors
        if clear and betainc(gained, lost + 1, 0.5) < _LUCK:
            yield float(right.double().mean()), way


def _best(better: list[tuple[float, str]]) -> str:
    if not better:
        return ""
    share, way = better[0]
    return f"With {way} it classifies {100 * share:.1f} % rightly: ask it so"


def _other_ways(asked: _Asked) -> Iterator[tuple[str, Examples]]:
    here = asked.examples
    for how in _WAYS:
        try:
            examples = normalised(how, asked.pool)
        except DataError:
            continue
        if not (_equal(examples.mean, here.mean) and _equal(examples.std, here.std)):
            yield f"target.normalise: {how}", examples
    if is_images(here) and here.shape[0] == 3:
        flipped = replace(here, x=here.x.flip(1))
        yield "channels in the order BGR", flipped


def _equal(one: Tensor, other: Tensor) -> bool:
    return bool(torch.isclose(one, other).all())


def _order(pool: Examples, predicted: Tensor, members: Tensor) -> Iterator[tuple[float, str]]:
    """Another order of the target's classes, and the far larger share that is then right."""
    labels = pool.y[members]
    name = other_names(labels.numpy(), predicted.numpy(), len(pool.classes))
    if name is None:
        return
    called = torch.from_numpy(name)
    errors, left = int((labels != predicted).sum()), int((called[labels] != predicted).sum())
    if left > _LEFT * errors:
        return  # a network that is hardly trained may mistake one class for another
    share = 1 - left / len(labels)
    names = ", ".join(pool.classes[i] for i in called.argsort()[:8].tolist())
    yield share, f"its classes in the order {names}{', ...' if len(name) > 8 else ''}"


def _causes(examples: Examples) -> str:
    order = ", ".join(examples.classes[:4]) + (", ..." if len(examples.classes) > 4 else "")
    images = ""
    if is_images(examples):
        channels, height, width = examples.shape
        images = f"the size of images (now {height} x {width}), "
        if channels == 3:
            images += "the order of channels (RGB is given, some take BGR), "
    return (
        f"Look at target.normalise (now {described(examples)}), the order of classes (now "
        f"{order}), {images}and whether it is the right file"
    )


def _share(seen: Agreement) -> str:
    return f"{100 * seen.accuracy:.1f} % ({seen.correct:,} of {seen.count:,})"
