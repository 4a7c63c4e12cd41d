"""Calls the hooks of plugins, and holds what they return to the contract."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from privaudit.api.boundary import broken, guest
from privaudit.api.cohort import Cohort
from privaudit.api.oddities import tensor_problem, type_name
from privaudit.api.plugin import (
    Attack,
    Dataset,
    Defense,
    Plugin,
    Promise,
    Sparsifier,
    overrides,
)
from privaudit.api.scores import checked_scores as checked_scores
from privaudit.api.scores import scored as scored
from privaudit.api.scores import scored_all as scored_all
from privaudit.api.split_options import SplitOptions
from privaudit.api.watch import copied_examples
from privaudit.training import Training
from privaudit.values import Examples

MOST_LEVELS = 1000  # of a sparsifier: a script that goes on and on is ended
_LONGEST_LABEL = 100  # characters: labels are columns of tables and parts of files' names


def labels(
    sparsifier: Sparsifier, cohort: Cohort, *beside: Plugin, hook: str = "sparsify"
) -> Iterator[str]:
    """The levels that a sparsifier's script reaches.

    Args:
        sparsifier: whose.
        cohort: what it works on.
        beside: whose code runs, too.
        hook: `sparsify`, or `follow`.

    Raises:
        PluginError: it fails, is no generator of different labels, or reaches none.
    """
    seen: set[str] = set()
    with guest(sparsifier, hook, *beside):
        script = getattr(sparsifier, hook)(cohort)
    if not isinstance(script, Iterator):
        shown = "None" if script is None else f"a {type(script).__name__}"
        raise broken(sparsifier, hook, f"gives {shown}, not an iterator of labels")
    while True:
        with guest(sparsifier, hook, *beside):
            try:
                label = next(script)
            except StopIteration:
                break
        if not isinstance(label, str):
            raise broken(sparsifier, hook, f"must yield labels in text: not {label!r}")
        label = str.__str__(label)
        if len(label) > _LONGEST_LABEL or not label.isprintable():
            what = f"must yield labels of at most {_LONGEST_LABEL} printable characters"
            raise broken(sparsifier, hook, f"{what}: not {label[:_LONGEST_LABEL]!r}")
        if len(seen) == MOST_LEVELS:
            what = f"yields more than {MOST_LEVELS:,} levels: let it come to an end"
            raise broken(sparsifier, hook, what)
        if label in seen:
            raise broken(sparsifier, hook, f"yields {label!r} twice")
        seen.add(label)
        yield label
    if not seen:
        raise broken(sparsifier, hook, "yields no level: there is nothing to audit")


def loaded(dataset: Dataset, root: Path) -> Examples:
    """A dataset's examples.

    Raises:
        DataError: its files are missing or damaged.
        PluginError: it fails otherwise, or gives something else.
    """
    with guest(dataset, "load"):
        examples = dataset.load(root)
    if not isinstance(examples, Examples):
        raise broken(dataset, "load", f"gives {type_name(examples)}, not privaudit.Examples")
    for name in ("x", "y", "mean", "std"):
        if what := tensor_problem(getattr(examples, name)):
            raise broken(dataset, "load", f"gives {what} as {name}")
    return copied_examples(examples)  # the plugin may keep its own and change them


def checked_module(plugin: Plugin, hook: str, module: object) -> nn.Module:
    """A network that a hook has built.

    Raises:
        PluginError: it is none.
    """
    if not isinstance(module, nn.Module):
        raise broken(plugin, hook, f"gives {type_name(module)}, not an nn.Module")
    return module


def responded(defense: Defense, logits: Tensor, companion: Callable[..., Tensor] | None) -> Tensor:
    """What a defense lets an attacker see of one model's logits (N, C).

    Raises:
        PluginError: it fails, or answers with another shape.
    """
    with guest(defense, "respond"):
        answer: object = defense.respond(logits.clone(), companion)
    if not isinstance(answer, Tensor):
        raise broken(defense, "respond", f"gives {type_name(answer)}, not a tensor of logits")
    if answer.shape != logits.shape:
        raise broken(
            defense,
            "respond",
            f"gives shape {tuple(answer.shape)} for logits of shape {tuple(logits.shape)}",
        )
    if what := tensor_problem(answer):
        raise broken(defense, "respond", f"gives {what}")
    if not answer.is_floating_point():
        raise broken(defense, "respond", f"must give floating-point numbers, not {answer.dtype}")
    answer = answer.detach().to(logits.dtype, copy=True)
    lost = logits.isfinite().all(-1) & ~answer.isfinite().all(-1)
    if bool(lost.any()):
        raise broken(
            defense,
            "respond",
            f"gives NaN or infinity for {int(lost.sum())} of {len(lost)} examples: before a "
            "logarithm, clamp(min=1e-9)",
        )
    return answer


def scheduled(defense: Defense, training: Training) -> Training:
    """The options of a training, as its defense changes them.

    Raises:
        PluginError: it fails, or gives something else, or options that are none.
    """
    with guest(defense, "schedule"):
        options: object = defense.schedule(training)
    if not isinstance(options, Training):
        raise broken(defense, "schedule", f"gives {type_name(options)}, not a Training")
    try:
        checked = Training.model_validate(options.model_dump(warnings=False))
    except ValueError as error:  # model_copy(update=...) checks nothing
        first: list[Any] = getattr(error, "errors", lambda: [])()
        named = ".".join(map(str, first[0]["loc"])) if first else "a Training"
        said = first[0]["msg"] if first else str(error)
        raise broken(
            defense, "schedule", f"gives options that are none, {named}: {said}"
        ) from error
    return checked if checked != options else options


def companion_scheduled(defense: Defense) -> tuple[int, float]:
    """How many steps the companion takes for each step of the model, and its lr.

    Raises:
        PluginError: it fails, or gives something else.
    """
    with guest(defense, "companion_schedule"):
        answer: object = defense.companion_schedule()
    if isinstance(answer, tuple | list) and len(answer) == 2:
        steps, lr = answer
        whole = isinstance(steps, int) and not isinstance(steps, bool) and 0 <= steps < 10**6
        if whole and _number(lr) and math.isfinite(lr):
            return steps, float(lr)
    what = f"must give a number of steps and a learning rate, such as 5, 1e-3: not {answer!r:.100}"
    raise broken(defense, "companion_schedule", what)


def learns_afterwards(defense: Defense) -> bool:
    """Whether its second network takes no part in training: `finish` trains it afterwards.

    Raises:
        PluginError: `companion_schedule` fails, or gives something else.
    """
    if not (overrides(defense, "companion") and overrides(defense, "finish")):
        return False
    return companion_scheduled(defense)[0] == 0


def finished(defense: Defense, cohort: Cohort, *beside: Plugin) -> None:
    """Let a defense change the trained networks of a level."""
    with guest(defense, "finish", *beside):
        defense.finish(cohort)


def promised(defense: Defense, rate: float, steps: int, members: int) -> Promise | None:
    """The ε that a defense promises, with what terms it tells.

    Args:
        defense: whose hook is asked.
        rate: chance of each member to be in a batch.
        steps: of all trainings of one model.
        members: of one model; told to hooks that take it.

    Raises:
        PluginError: it fails, or promises what is no ε.
    """
    with guest(defense, "epsilon"):
        hook: Callable[..., object] = defense.epsilon
        told = {"members": members} if "members" in inspect.signature(hook).parameters else {}
        answer = hook(rate, steps, **told)
    if answer is None:
        return None
    promise = answer if isinstance(answer, Promise) else Promise(answer)  # type: ignore[arg-type]
    if not _number(promise.epsilon):
        what = f"must give a number from 0 on, or None: not {promise.epsilon!r}"
        raise broken(defense, "epsilon", what)
    if promise.delta is not None and not (_number(promise.delta) and promise.delta < 1):
        what = f"must give a delta from 0 to below 1, or None: not {promise.delta!r}"
        raise broken(defense, "epsilon", what)
    return replace(promise, epsilon=float(promise.epsilon))


def _number(value: object) -> bool:
    """Whether it is a number from 0 on."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return not math.isnan(value) and value >= 0


def refused_by_attack(attack: Attack, split: SplitOptions, shadows: int) -> str | None:
    """Why an attack cannot work with a recipe's split.

    Raises:
        PluginError: it fails, or answers with something else than text or None.
    """
    with guest(attack, "refusal"):
        reason = attack.refusal(split, shadows)
    return _reason(attack, reason)


def refused_by_split(plugin: Sparsifier | Defense, split: SplitOptions) -> str | None:
    """Why a sparsifier or a defense cannot work with a recipe's split.

    Raises:
        PluginError: it fails, or answers with something else than text or None.
    """
    with guest(plugin, "refusal"):
        reason = plugin.refusal(split)
    return _reason(plugin, reason)


def _reason(plugin: Plugin, reason: object) -> str | None:
    if reason is not None and not isinstance(reason, str):
        raise broken(plugin, "refusal", f"must give a reason in text, or None: not {reason!r}")
    return reason
