"""The contract of defenses."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import grad, vmap

from privaudit.api.boundary import broken, guest, guests
from privaudit.api.calls import finished
from privaudit.api.plugin import Defense, Sparsifier, Step, overrides
from privaudit.keys import seeded
from privaudit.testing.material import C, N, generator, tiny_cohort
from privaudit.testing.require import OTHER_WEIGHTS, require, same
from privaudit.testing.steps import Weights, companion_weights, playing, stacked, tiny_step
from privaudit.training import Training

_P = 7  # parameters of the gradients that example_gradient and batch_gradient see
_DRAWS = (
    "answers the same logits differently: an attacker who asks twice sees through it, and no run "
    "can be repeated; draw from the logits themselves, by `privaudit.keys`"
)


def check_defense(defense: Defense) -> None:
    """Ask each of a defense's hooks about made-up steps, for one model and for two at once."""
    who = type(defense).__name__
    require(
        defense.sampling == "shuffle" or defense.per_example,
        f'{who}.sampling may be "poisson" together with per_example = True only',
    )
    _check_schedule(defense)
    _check_inputs(defense)
    companion = _companion(defense)
    _check_loss(defense, "loss", companion)
    if companion is not None:
        _check_loss(defense, "companion_loss", companion)
        _check_companion_learns(defense, companion)
    _check_gradients(defense, who)
    _check_answers(defense, companion)
    _check_training(defense)


def _check_schedule(defense: Defense) -> None:
    with guest(defense, "schedule"):
        training = defense.schedule(Training())
    if not isinstance(training, Training):
        raise broken(defense, "schedule", f"must give a privaudit.Training, not {training!r}")


def _check_inputs(defense: Defense) -> None:
    """On features, on images, and on images whose channels lie last in memory."""
    images = torch.randn(2, N, 3, 4, 4, generator=generator())
    last = torch.stack(list(images)).permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    keys = torch.tensor([3, 4])
    for x in (torch.randn(2, N, 2, generator=generator()), images, last):
        with guest(defense, "inputs"):
            alone = [defense.inputs(one.clone(), key) for one, key in zip(x, keys, strict=True)]
        if alone[0].shape != x[0].shape:
            what = f"must keep the shape {tuple(x[0].shape)}, not give {tuple(alone[0].shape)}"
            raise broken(defense, "inputs", what)
        with guest(defense, "inputs"):
            lent = x.clone()
            together = vmap(defense.inputs)(lent, keys)
        if not same(lent, x):
            what = "writes into the batch that it is given: give a new one, `x + n`, not `x += n`"
            raise broken(defense, "inputs", what)
        _check_alike(defense, "inputs", alone, together)


def _companion(defense: Defense) -> nn.Module | None:
    who = type(defense).__name__
    written = [overrides(defense, method) for method in ("companion", "companion_loss")]
    require(
        all(written) or not any(written),
        f"{who} must write companion and companion_loss together, or neither",
    )
    if not any(written):
        return None
    with torch.random.fork_rng(devices=[]), guest(defense, "companion"):
        torch.manual_seed(0)
        companion = defense.companion(C)
    require(
        isinstance(companion, nn.Module) and any(True for _ in companion.parameters()),
        f"{who}.companion must build an nn.Module with parameters to train",
    )
    return companion


def _check_loss(defense: Defense, hook: str, companion: nn.Module | None) -> None:
    """One number with a finite gradient, the same for two models at once as for each alone."""
    loss: Callable[[Step], Tensor] = getattr(defense, hook)
    steps = [tiny_step(defense, seed) for seed in (0, 1)]
    weights = companion_weights(companion)
    weight_sets = [weights, {name: 0.5 * value for name, value in weights.items()}]

    def of(step: dict[str, Tensor], weights: Weights) -> Tensor:
        return loss(playing(Step(companion=None, **step), companion, weights))

    def gradient_of(step: dict[str, Tensor], weights: Weights) -> Tensor:
        logits = step["logits"]
        gradient: Tensor = grad(lambda varied: of(step | {"logits": varied}, weights))(logits)
        return gradient

    fields = [stacked([step]) for step in steps]
    plain = [{name: value[0] for name, value in step_fields.items()} for step_fields in fields]
    with guest(defense, hook):
        alone = [of(*pair) for pair in zip(plain, weight_sets, strict=True)]
    first = alone[0]
    if not isinstance(first, Tensor):
        raise broken(defense, hook, f"must give one number, not {type(first).__name__}")
    if first.shape != () or not first.is_floating_point():
        what = f"must be one number, not a tensor of shape {tuple(first.shape)}: take the mean"
        raise broken(defense, hook, what)
    if not bool(first.isfinite()):
        raise broken(defense, hook, f"is {first.item()} on plain logits")
    with guest(defense, hook):
        gradient = gradient_of(plain[0], weight_sets[0])
    if not bool(gradient.isfinite().all()):
        what = "has a gradient that is not finite: guard square roots and logarithms at 0"
        raise broken(defense, hook, what)
    both = {name: torch.stack([one[name] for one in weight_sets]) for name in weights}
    in_dims = (0, 0 if both else None)
    with guest(defense, hook):
        together = vmap(of, in_dims=in_dims)(stacked(steps), both)
        vmap(gradient_of, in_dims=in_dims)(stacked(steps), both)
    _check_alike(defense, hook, alone, together)


def _check_alike(defense: Defense, hook: str, alone: list[Tensor], together: Tensor) -> None:
    if not torch.allclose(together, torch.stack(alone), atol=1e-5, rtol=1e-4):
        what = "differs between two models at once (torch.vmap) and one after the other"
        raise broken(defense, hook, what)


def _check_companion_learns(defense: Defense, companion: nn.Module) -> None:
    step = tiny_step(defense)

    def of(weights: Weights) -> Tensor:
        return defense.companion_loss(playing(step, companion, weights))

    with guest(defense, "companion_loss"):
        gradients = grad(of)(companion_weights(companion))
    require(
        any(bool(gradient.any()) for gradient in gradients.values()),
        f"{type(defense).__name__}.companion_loss does not depend on the companion: "
        "call `step.companion`",
    )


def _check_gradients(defense: Defense, who: str) -> None:
    gradients = torch.randn(4, _P, generator=generator())
    with guest(defense, "example_gradient"):
        changed = vmap(defense.example_gradient)(gradients)
    with guest(defense, "batch_gradient"):
        total = defense.batch_gradient(changed.sum(0), torch.tensor(4.0), torch.tensor(5))
    for method, gradient in (("example_gradient", changed[0]), ("batch_gradient", total)):
        require(
            gradient.shape == (_P,) and bool(gradient.isfinite().all()),
            f"{who}.{method} must answer with finite numbers of shape ({_P},)",
        )
    with guest(defense, "batch_gradient"):
        vmap(defense.batch_gradient)(
            torch.stack([total, total]), torch.tensor([4.0, 3.0]), torch.tensor([5, 6])
        )


def _check_answers(defense: Defense, companion: nn.Module | None) -> None:
    """On logits in order, and on others that lie in memory as a convolution may leave them."""
    second = playing(tiny_step(defense), companion, companion_weights(companion)).companion
    plain = torch.randn(N, C, generator=generator())
    for logits in (plain, plain.mT.contiguous().mT):
        with guest(defense, "respond"):
            answer = defense.respond(logits.clone(memory_format=torch.preserve_format), second)
        if answer.shape != logits.shape:
            what = f"must keep the shape {tuple(logits.shape)}, not give {tuple(answer.shape)}"
            raise broken(defense, "respond", what)
        with seeded(1), guest(defense, "respond"):  # elsewhere than the generators were
            again = defense.respond(logits.clone(memory_format=torch.preserve_format), second)
        if not same(answer, again):
            raise broken(defense, "respond", _DRAWS)
        if bool(answer.isnan().any()):
            raise broken(defense, "respond", "answers finite logits with NaN")


def _check_training(defense: Defense) -> None:
    """Two epochs in a real cohort, then what the defense does to the trained networks."""
    who = type(defense).__name__
    cohort = tiny_cohort(Sparsifier(name="plain"), defense)
    with guests(defense):
        cohort.fit(tune=True)
    require(
        bool(cohort.logits().isfinite().all()),
        f"{who}: networks trained with it answer NaN or infinity after two epochs",
    )
    if overrides(defense, "finish"):
        trained, again = cohort.fork(), cohort.fork()
        finished(defense, trained)
        with guest(defense, "finish"):
            trained.check_copies()
            trained.companions()
        with seeded(1):
            finished(defense, again)
        if not all(map(same, trained.states(), again.states())):
            raise broken(defense, "finish", OTHER_WEIGHTS)
        require(
            bool(trained.logits().isfinite().all()),
            f"{who}.finish leaves networks that answer NaN or infinity",
        )
