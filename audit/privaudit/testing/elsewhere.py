"""Hooks on a device that is not the host's, as far as they can be tried without one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from privaudit.api.boundary import broken
from privaudit.api.plugin import Defense, Model, Plugin, Sparsifier, Step, Weights, overrides
from privaudit.testing import pretend
from privaudit.testing.material import C, TinyModel, build, generator, tiny_examples
from privaudit.testing.steps import tiny_step


def check_elsewhere(plugin: Plugin, shape: tuple[int, ...] | None = None, classes: int = C) -> None:
    """See that no hook mixes tensors of its own, on the host, with those it is given.

    Nothing is differentiated. What a hook raises otherwise says nothing here: it was asked the
    same on the host. A torch that cannot pretend another device checks nothing.

    Args:
        plugin: to be tried.
        shape: of a model: the only examples to try.
        classes: of a model: how many there are.

    Raises:
        PluginError: it does.
    """
    if not pretend.available():
        return
    for hook, call in _calls(plugin, pretend.device(), shape, classes):
        try:
            with torch.no_grad(), pretend.watching():
                call()
        except pretend.MixedError as error:
            what = f"would fail on a GPU: {str(error).partition(',')[0].lower()}"
            where = f"{what}; make new tensors with device=x.device"
            raise broken(plugin, hook, where) from error
        except Exception:
            continue


def _calls(
    plugin: Plugin, there: torch.device, shape: tuple[int, ...] | None, classes: int
) -> Iterator[tuple[str, Callable[[], object]]]:
    match plugin:
        case Defense() as defense:
            yield from _of_defense(defense, there)
        case Sparsifier() as sparsifier:
            yield from _of_sparsifier(sparsifier, there)
        case Model() as model:
            shape = shape or tiny_examples().shape
            network, x = build(model, shape, 0, classes), _numbers(2, *shape)
            yield "build", lambda: network.to(there)(x.to(there))


def _of_defense(
    defense: Defense, there: torch.device
) -> Iterator[tuple[str, Callable[[], object]]]:
    step = tiny_step(defense)

    def moved() -> Step:
        named = {field.name: getattr(step, field.name) for field in fields(step)}
        there_too: Any = {n: t.to(there) for n, t in named.items() if isinstance(t, Tensor)}
        return replace(step, **there_too)

    if overrides(defense, "loss") and not overrides(defense, "companion"):
        yield "loss", lambda: defense.loss(moved())
    if overrides(defense, "inputs"):
        x, key = _numbers(6, 2), torch.tensor(3)
        yield "inputs", lambda: defense.inputs(x.to(there), key.to(there))
    if overrides(defense, "example_gradient"):
        yield "example_gradient", lambda: defense.example_gradient(_numbers(7).to(there))
    if overrides(defense, "batch_gradient"):
        count, key = torch.tensor(6.0), torch.tensor(3)
        yield (
            "batch_gradient",
            lambda: defense.batch_gradient(_numbers(7).to(there), count.to(there), key.to(there)),
        )


def _of_sparsifier(
    sparsifier: Sparsifier, there: torch.device
) -> Iterator[tuple[str, Callable[[], object]]]:
    network = build(TinyModel(convolutional=False), tiny_examples().shape, seed=0)

    def weights() -> Weights:
        values = {name: value.detach() for name, value in network.named_parameters()}
        memory: Mapping[str, Tensor] = {}
        if overrides(sparsifier, "memory"):  # which is called on the host
            memory = sparsifier.memory(Weights(values, network))
        named, remembered = ({n: t.to(there) for n, t in of.items()} for of in (values, memory))
        return Weights(named, network, remembered)

    if overrides(sparsifier, "penalty"):
        yield "penalty", lambda: sparsifier.penalty(weights())
    if overrides(sparsifier, "project"):
        yield "project", lambda: sparsifier.project(weights(), torch.tensor(1).to(there))
    if overrides(sparsifier, "remember"):
        yield "remember", lambda: sparsifier.remember(weights(), torch.tensor(1).to(there))


def _numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator())
