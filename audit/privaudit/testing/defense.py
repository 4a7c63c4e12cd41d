"""The contract of defenses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from privaudit.api.plugin import Defense, Sparsifier, Step, overrides
from privaudit.testing.material import C, N, generator, tiny_cohort, tiny_step
from privaudit.testing.require import require

_P = 7  # parameters of the gradients that example_gradient and batch_gradient see

Weights = dict[str, Tensor]


def check_defense(defense: Defense) -> None:
    """Ask each of a defense's hooks about made-up steps, for one model and for two at once."""
    who = type(defense).__name__
    require(defense.during in ("all", "tune"), f'{who}.during must be "all" or "tune"')
    require(
        defense.sampling == "shuffle" or (defense.sampling == "poisson" and defense.per_example),
        f'{who}.sampling must be "shuffle", or "poisson" together with per_example = True',
    )
    x = torch.randn(N, 2, generator=generator())
    shape = defense.inputs(x, torch.tensor(3)).shape
    require(shape == x.shape, f"{who}.inputs must keep the shape {tuple(x.shape)}")
    companion = _companion(defense)
    _check_loss(defense, defense.loss, companion, f"{who}.loss")
    if companion is not None:
        _check_loss(defense, defense.companion_loss, companion, f"{who}.companion_loss")
        _check_companion_learns(defense, companion)
    _check_gradients(defense, who)
    logits = torch.randn(N, C, generator=generator())
    second = _playing(tiny_step(defense), companion, _weights(companion)).companion
    answer = defense.respond(logits.clone(), second)
    require(
        answer.shape == logits.shape,
        f"{who}.respond must keep the shape {tuple(logits.shape)}, not give {tuple(answer.shape)}",
    )
    require(not bool(answer.isnan().any()), f"{who}.respond answers finite logits with NaN")
    _check_training(defense)


def _companion(defense: Defense) -> nn.Module | None:
    who = type(defense).__name__
    written = [overrides(defense, method) for method in ("companion", "companion_loss")]
    require(
        all(written) or not any(written),
        f"{who} must write companion and companion_loss together, or neither",
    )
    if not any(written):
        return None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        companion = defense.companion(C)
    require(
        isinstance(companion, nn.Module) and any(True for _ in companion.parameters()),
        f"{who}.companion must build an nn.Module with parameters to train",
    )
    return companion


def _playing(step: Step, companion: nn.Module | None, weights: Weights) -> Step:
    """The step with the companion as its second player, under the given weights."""
    if companion is None:
        return step
    return replace(step, companion=lambda *inputs: functional_call(companion, weights, inputs))


def _weights(companion: nn.Module | None) -> Weights:
    return {} if companion is None else {n: p.detach() for n, p in companion.named_parameters()}


def _check_loss(
    defense: Defense, loss: Callable[[Step], Tensor], companion: nn.Module | None, where: str
) -> None:
    weights = _weights(companion)
    steps = [tiny_step(defense, seed) for seed in (0, 1)]

    def of(logits: Tensor, key: Tensor, reference: Tensor | None) -> Tensor:
        step = replace(steps[0], logits=logits, key=key, reference_logits=reference)
        return loss(_playing(step, companion, weights))

    alone = [of(step.logits, step.key, step.reference_logits) for step in steps]
    require(
        alone[0].shape == () and alone[0].is_floating_point(),
        f"{where} must be one number, not a tensor of shape {tuple(alone[0].shape)}",
    )
    require(bool(alone[0].isfinite()), f"{where} is {alone[0].item()} on plain logits")
    gradient = grad(of)(steps[0].logits, steps[0].key, steps[0].reference_logits)
    require(
        bool(gradient.isfinite().all()),
        f"{where} has a gradient that is not finite: guard square roots and logarithms at 0",
    )
    logits = torch.stack([step.logits for step in steps])
    keys = torch.stack([step.key for step in steps])
    references = [step.reference_logits for step in steps if step.reference_logits is not None]
    stacked = torch.stack(references) if references else None
    try:
        together = vmap(of, in_dims=(0, 0, 0 if references else None))(logits, keys, stacked)
    except RuntimeError as error:
        raise AssertionError(
            f"{where} does not work for two models at once under torch.vmap: branch with "
            f"torch.where, and draw randomness with privaudit.keys\n{error}"
        ) from error
    require(
        torch.allclose(together, torch.stack(alone), atol=1e-5, rtol=1e-4),
        f"{where} differs between two models at once (torch.vmap) and one after the other",
    )


def _check_companion_learns(defense: Defense, companion: nn.Module) -> None:
    step = tiny_step(defense)

    def of(weights: Weights) -> Tensor:
        return defense.companion_loss(_playing(step, companion, weights))

    gradients = grad(of)(_weights(companion))
    require(
        any(bool(gradient.any()) for gradient in gradients.values()),
        f"{type(defense).__name__}.companion_loss does not depend on the companion: "
        "call `step.companion`",
    )


def _check_gradients(defense: Defense, who: str) -> None:
    written = [m for m in ("example_gradient", "batch_gradient") if overrides(defense, m)]
    require(
        defense.per_example or not written,
        f"{who} writes {' and '.join(written)}, which is never called: "
        "set `per_example: ClassVar[bool] = True`",
    )
    gradients = torch.randn(4, _P, generator=generator())
    changed = vmap(defense.example_gradient)(gradients)
    total = defense.batch_gradient(changed.sum(0), torch.tensor(4.0), torch.tensor(5))
    for method, gradient in (("example_gradient", changed[0]), ("batch_gradient", total)):
        require(
            gradient.shape == (_P,) and bool(gradient.isfinite().all()),
            f"{who}.{method} must answer with finite numbers of shape ({_P},)",
        )


def _check_training(defense: Defense) -> None:
    """Two epochs in a real cohort, then what the defense does to the trained networks."""
    who = type(defense).__name__
    cohort = tiny_cohort(Sparsifier(name="plain"), defense)
    cohort.fit(tune=True)
    require(
        bool(cohort.logits().isfinite().all()),
        f"{who}: networks trained with it answer NaN or infinity after two epochs",
    )
    if overrides(defense, "finish"):
        finished = cohort.fork()
        defense.finish(finished)
        require(
            bool(finished.logits().isfinite().all()),
            f"{who}.finish leaves networks that answer NaN or infinity",
        )
