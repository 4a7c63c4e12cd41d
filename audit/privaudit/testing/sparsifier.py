"""The contract of sparsifiers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import grad, vmap

from privaudit.api.boundary import broken, guest
from privaudit.api.calls import labels
from privaudit.api.plugin import Sparsifier, Weights, overrides
from privaudit.errors import PluginError, PrivauditError
from privaudit.keys import seeded
from privaudit.testing.material import C, TinyModel, build, tiny_cohort, tiny_examples
from privaudit.testing.require import OTHER_WEIGHTS, require, same

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
    _check_script(sparsifier, convolutional=accepted[0])


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
    who = type(sparsifier).__name__
    values = {name: value.detach() for name, value in network.named_parameters()}
    if overrides(sparsifier, "penalty"):
        with guest(sparsifier, "penalty"):
            penalty = sparsifier.penalty(Weights(values, network))
        require(
            isinstance(penalty, Tensor) and penalty.shape == (), f"{who}.penalty must be one number"
        )
        with guest(sparsifier, "penalty"):
            gradients = grad(lambda named: sparsifier.penalty(Weights(named, network)))(values)
            vmap(lambda named: sparsifier.penalty(Weights(named, network)))(_twice(values))
        require(
            all(bool(gradient.isfinite().all()) for gradient in gradients.values()),
            f"{who}.penalty has a gradient that is not finite",
        )
    if overrides(sparsifier, "project"):
        untouched = {name: value.clone() for name, value in values.items()}
        with guest(sparsifier, "project"):
            projected = sparsifier.project(Weights(values, network), torch.tensor(1))
        if not same(values, untouched):
            raise broken(sparsifier, "project", _WRITES)
        for name, value in projected.items():
            require(name in values, f"{who}.project names {name!r}, which is no weight")
            require(
                value.shape == values[name].shape and bool(value.isfinite().all()),
                f"{who}.project must keep the shape of {name} and finite numbers",
            )
        with guest(sparsifier, "project"):
            vmap(lambda named, epoch: dict(sparsifier.project(Weights(named, network), epoch)))(
                _twice(values), torch.tensor([1, 5])
            )


def _twice(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of two models, stacked."""
    return {name: torch.stack([value, value]) for name, value in values.items()}


def _check_script(sparsifier: Sparsifier, convolutional: bool) -> None:
    reached = _reached(sparsifier, convolutional)
    with seeded(1):  # elsewhere than the global generators were the first time
        again = _reached(sparsifier, convolutional)
    if not same(reached, again):
        raise broken(sparsifier, "sparsify", OTHER_WEIGHTS)


def _reached(sparsifier: Sparsifier, convolutional: bool) -> dict[str, Tensor]:
    """The weights that the whole script leaves."""
    who = type(sparsifier).__name__
    cohort = tiny_cohort(sparsifier, convolutional=convolutional)
    for level in labels(sparsifier, cohort):
        with guest(sparsifier, "sparsify"):
            cohort.check_copies()
        require(
            bool(cohort.logits().isfinite().all()),
            f"{who}.sparsify: level {level!r} answers NaN or infinity",
        )
        density = cohort.density()
        require(
            bool((density > 0).all()),
            f"{who}.sparsify: level {level!r} has no weight left: density {density.tolist()}",
        )
    with guest(sparsifier, "sparsify"):
        cohort.check_copies()
    return cohort.weights
