"""The contract of sparsifiers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import grad, vmap

from privaudit.api.boundary import broken, guest
from privaudit.api.calls import labels
from privaudit.api.contract import can_follow
from privaudit.api.plugin import Sparsifier, Weights, overrides
from privaudit.errors import PluginError, PrivauditError
from privaudit.keys import seeded
from privaudit.testing.material import C, TinyModel, build, tiny_cohort, tiny_examples
from privaudit.testing.require import OTHER_WEIGHTS, require, same
from privaudit.train.returned import first_memory, remembered

Named = Mapping[str, Tensor]

_WRITES = "writes into the weights that it is given: give new ones, `w.clamp(0)`, not `w.clamp_(0)`"


def check_sparsifier(sparsifier: Sparsifier) -> None:
    """Prepare small networks, try the hooks of training, then run the whole script once."""
    who = type(sparsifier).__name__
    accepted, refusals = [], []
    for convolutional in (False, True):
        try:
            prepared = _prepare(sparsifier, TinyModel(convolutional=convolutional))
        except PrivauditError as error:
            if isinstance(error, PluginError) and error.original:  # it fails, it does not refuse
                raise
            refusals.append(str(error))
            continue
        accepted.append(convolutional)
        _check_hooks(sparsifier, prepared)
    require(
        accepted, f"{who}.prepare accepts neither a perceptron nor a CNN: {'; '.join(refusals)}"
    )
    _check_script(sparsifier, "sparsify", convolutional=accepted[0])
    if can_follow(type(sparsifier)):
        _check_script(sparsifier, "follow", convolutional=accepted[0])


def _prepare(sparsifier: Sparsifier, model: TinyModel) -> nn.Module:
    examples = tiny_examples()
    network = build(model, examples.shape, seed=0)
    with torch.random.fork_rng(devices=[]), guest(sparsifier, "prepare"):
        torch.manual_seed(0)
        prepared = sparsifier.prepare(network)
    if not isinstance(prepared, nn.Module):
        what = f"gives {type(prepared).__name__}, not the nn.Module to train: return the module"
        raise broken(sparsifier, "prepare", what)
    logits = prepared.eval()((examples.x - examples.mean) / examples.std)
    require(
        logits.shape == (len(examples), C) and bool(logits.isfinite().all()),
        f"{type(sparsifier).__name__}.prepare must keep finite logits {(len(examples), C)}, "
        f"not give {tuple(logits.shape)}",
    )
    return prepared


def _check_hooks(sparsifier: Sparsifier, network: nn.Module) -> None:
    values = {name: value.detach() for name, value in network.named_parameters()}
    memory = _memory(sparsifier, Weights(values, network))
    for hook, check in _CHECKS.items():
        if overrides(sparsifier, hook):
            check(sparsifier, network, values, memory)


def _memory(sparsifier: Sparsifier, weights: Weights) -> dict[str, Tensor]:
    """What a fit of these weights begins with."""
    if not overrides(sparsifier, "memory"):
        return {}
    untouched = _copies(weights)
    with seeded(0), guest(sparsifier, "memory"):
        memory = first_memory(sparsifier, sparsifier.memory(weights), weights)
    if not same(dict(weights), untouched):
        raise broken(sparsifier, "memory", _WRITES)
    return memory


def _check_penalty(
    sparsifier: Sparsifier, network: nn.Module, values: Named, memory: Named
) -> None:
    who = type(sparsifier).__name__

    def penalty_of(named: Named, remembered: Named) -> Tensor:
        return sparsifier.penalty(Weights(named, network, remembered))

    with guest(sparsifier, "penalty"):
        penalty = penalty_of(values, memory)
    require(
        isinstance(penalty, Tensor) and penalty.shape == (), f"{who}.penalty must be one number"
    )
    with guest(sparsifier, "penalty"):
        gradients = grad(penalty_of)(values, memory)
        vmap(penalty_of)(_twice(values), _twice(memory))
    require(
        all(bool(gradient.isfinite().all()) for gradient in gradients.values()),
        f"{who}.penalty has a gradient that is not finite",
    )


def _check_project(
    sparsifier: Sparsifier, network: nn.Module, values: Named, memory: Named
) -> None:
    who = type(sparsifier).__name__
    for name, value in _moved(sparsifier, "project", network, values, memory).items():
        require(
            name in values or name in memory, f"{who}.project names {name!r}, which is no weight"
        )
        like = values[name] if name in values else memory[name]
        require(
            value.shape == like.shape and (name in memory or bool(value.isfinite().all())),
            f"{who}.project must keep the shape of {name} and finite numbers",
        )


def _check_remember(
    sparsifier: Sparsifier, network: nn.Module, values: Named, memory: Named
) -> None:
    changed = _moved(sparsifier, "remember", network, values, memory)
    remembered(sparsifier, changed, Weights(values, network, memory))


def _moved(
    sparsifier: Sparsifier, hook: str, network: nn.Module, values: Named, memory: Named
) -> Mapping[str, Tensor]:
    """What a hook gives that moves weights or renews the memory, for one model and for two."""

    def call(named: Named, kept: Named, epoch: Tensor) -> dict[str, Tensor]:
        changed = getattr(sparsifier, hook)(Weights(named, network, kept), epoch)
        if not isinstance(changed, Mapping):
            what = f"gives {type(changed).__name__}, not a mapping of tensors"
            raise broken(sparsifier, hook, what)
        return dict(changed)

    untouched = _copies(values), _copies(memory)
    with guest(sparsifier, hook):
        changed = call(values, memory, torch.tensor(1))
    if not same(values, untouched[0]):
        raise broken(sparsifier, hook, _WRITES)
    if not same(memory, untouched[1]):
        raise broken(sparsifier, hook, _WRITES.replace("the weights that", "the memory that"))
    with guest(sparsifier, hook):
        vmap(call)(_twice(values), _twice(memory), torch.tensor([1, 5]))
    return changed


_CHECKS = {"penalty": _check_penalty, "project": _check_project, "remember": _check_remember}


def _copies(values: Named) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in values.items()}


def _twice(values: Named) -> dict[str, Tensor]:
    """The tensors of two models, stacked."""
    return {name: torch.stack([value, value]) for name, value in values.items()}


def _check_script(sparsifier: Sparsifier, hook: str, convolutional: bool) -> None:
    reached = _reached(sparsifier, hook, convolutional)
    with seeded(1):  # elsewhere than the global generators were the first time
        again = _reached(sparsifier, hook, convolutional)
    if not same(reached, again):
        raise broken(sparsifier, hook, OTHER_WEIGHTS)


def _reached(sparsifier: Sparsifier, hook: str, convolutional: bool) -> dict[str, Tensor]:
    """The weights that a whole script leaves."""
    who = type(sparsifier).__name__
    cohort = tiny_cohort(sparsifier, convolutional=convolutional)
    if hook == "follow":  # another has trained the networks, and pruned them
        cohort.fit(sparsifier=Sparsifier(name="none"))
        cohort.prune(0.5)
    for level in labels(sparsifier, cohort, hook=hook):
        with guest(sparsifier, hook):
            cohort.check_copies()
        require(
            bool(cohort.logits().isfinite().all()),
            f"{who}.{hook}: level {level!r} answers NaN or infinity",
        )
        density = cohort.density()
        require(
            bool((density > 0).all()),
            f"{who}.{hook}: level {level!r} has no weight left: density {density.tolist()}",
        )
    with guest(sparsifier, hook):
        cohort.check_copies()
    return cohort.weights
