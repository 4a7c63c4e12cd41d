"""Networks that learn from the shadows' answers to tell members, as Yuan & Zhang train theirs.

Source: Yuan & Zhang 2022, "Membership inference attacks and defenses in neural network pruning";
optimiser, batch size and initial weights as in the code published with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from privaudit import AttackScores, Outputs, Signals
from privaudit.keys import derive, seeded
from privaudit.learning import Batch, Dropper, Problem, alike, learn, learning_device
from privaudit.optimizers import SGD
from privaudit_plugins.attacks._pool import finite, needed, on_shadows, on_target, spread

Features = Callable[[Outputs, Tensor], Tensor]
"""From one model's outputs (no M axis) and labels, of n examples, to features (n, F) float64."""

Weights = dict[str, Tensor]
"""Parameters and buffers of T equal networks by name, each with a first axis of T."""

Together = Callable[[Weights, Tensor, Dropper], Tensor]
"""What T networks in training answer: of x (T, B, F), dropping as told, (T, B, 2)."""

_BATCH = 128
_MOMENTUM = 0.9
_WEIGHT_DECAY = 5e-4


@dataclass(frozen=True)
class Kind:
    """A kind of network.

    Attributes:
        build: from F to a network (n, F) to (n, 2): non-member and member.
        together: what many of them answer while they are trained.
        dropout: the chance of a hidden number to be dropped.
    """

    build: Callable[[int], nn.Module]
    together: Together
    dropout: float = 0.0


def learn_and_score(
    attack: str,
    signals: Sequence[Signals],
    features: Features,
    kind: Kind,
    epochs: int,
    learning_rate: float,
    *,
    standardised: bool = False,
) -> list[AttackScores]:
    """Train a network on each target's shadows' members and non-members, and let it judge.

    Args:
        attack: its name, for error messages and the seed.
        signals: of the targets, with K ≥ 1 shadows each.
        features: what the networks get to see.
        kind: of network.
        epochs: passes over the shadow examples.
        learning_rate: at first; a tenth of it from half of the epochs, a hundredth from three
            quarters.
        standardised: whether features are seen in units of the shadows' standard deviations, from
            their mean.

    Returns:
        The member's logit minus the non-member's; the decision is whether it is positive.

    Raises:
        PrivauditError: the shadows lack members or non-members, or a model answers NaN.
    """
    networks, problems, asked = [], [], []
    for one in signals:
        learnt, rows = _seen(attack, one, features, standardised)
        with seeded(derive(one.seed, attack)):
            network = kind.build(rows.shape[1])
            _initialise(network)
            generator = torch.Generator()
            generator.set_state(torch.get_rng_state())
        networks.append(network)
        problems.append(problem(*learnt, generator))
        asked.append(rows)
    for group in alike(problems):
        chosen = [networks[number] for number in group]
        train(chosen, [problems[number] for number in group], kind, epochs, learning_rate)
    return [_judged(*one) for one in zip(networks, asked, signals, strict=True)]


def _seen(
    attack: str, signals: Signals, features: Features, standardised: bool
) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """What a network learns from, (n, F) and membership (n,) bool, and what it is asked, (m, F)."""

    def measure(outputs: Outputs, rows: Tensor, whose: str) -> Tensor:
        noisy = None if outputs.noisy is None else outputs.noisy[:, rows]
        versions = {name: Outputs(v.logits[:, rows]) for name, v in outputs.versions.items()}
        own = Outputs(outputs.logits[:, rows], noisy, None, outputs.noise_scale, versions=versions)
        return finite(features(own, signals.y[rows]), whose)

    learnt = needed(attack, signals, on_shadows(signals, measure))
    known, asked = learnt.value, on_target(signals, measure)
    if standardised:
        std, mean = torch.std_mean(known, 0, correction=0)
        scale = torch.where(std > 0, std, 1)
        known, asked = ((x - mean) / scale for x in (known, asked))
    return (known.float(), learnt.member), asked.float()


def _judged(network: nn.Module, asked: Tensor, signals: Signals) -> AttackScores:
    with torch.no_grad():
        parts = torch.split(asked.to(learning_device()), 4096)
        logits = torch.cat([network(part) for part in parts]).cpu().double()
    score = spread(logits[:, 1] - logits[:, 0], signals)
    return AttackScores(score, score > 0)


def problem(x: Tensor, member: Tensor, generator: torch.Generator) -> Problem:
    """To tell members, who weigh as much as non-members however few they are.

    Args:
        x: (n, F).
        member: (n,) bool, with at least one of each.
        generator: of order and dropout.
    """
    y = member.long()
    balance = len(y) / (2 * torch.bincount(y, minlength=2).to(x.dtype))
    return Problem(x, y, balance[y], generator)


def train(
    networks: Sequence[nn.Module],
    problems: Sequence[Problem],
    kind: Kind,
    epochs: int,
    learning_rate: float,
) -> None:
    """Minimise each network's weighted cross-entropy by SGD, all of them in step.

    They end on the device, in evaluation mode.

    Args:
        networks: T of one structure, with their initial weights.
        problems: theirs, with as many examples each.
        kind: of network.
        epochs: passes over the examples, each in a new order.
        learning_rate: at first; a tenth of it from half of the epochs, a hundredth from three
            quarters.
    """
    device = learning_device()
    states = [network.to(device).state_dict() for network in networks]
    weights = {name: torch.stack([state[name] for state in states]) for name in states[0]}
    names = [name for name, _ in networks[0].named_parameters()]
    parameters = [weights[name] for name in names]
    sgd = SGD(_MOMENTUM, _WEIGHT_DECAY)
    slots = sgd.init(parameters)
    drop = Dropper(kind.dropout, [one.generator for one in problems])
    leaves = [weight.detach().requires_grad_() for weight in parameters]  # of the same memory
    weights |= dict(zip(names, leaves, strict=True))

    def step(batch: Batch) -> None:
        late = (batch.epoch >= epochs // 2) + (batch.epoch >= epochs * 3 // 4)
        with torch.enable_grad():
            log_p = kind.together(weights, batch.x, drop).log_softmax(-1)
            own = log_p.gather(-1, batch.y[..., None])[..., 0]
            loss = -(own * batch.weight).sum() / batch.y.shape[1]
            gradients = torch.autograd.grad(loss, leaves)
        sgd.update(parameters, gradients, slots, learning_rate * 0.1**late)

    learn(problems, step, epochs=epochs, batch_size=_BATCH)
    for number, network in enumerate(networks):
        network.load_state_dict({name: weight[number] for name, weight in weights.items()})
        network.eval()


def linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    """The layers of a name on x (T, n, in): (T, n, out)."""
    return affine(weights[f"{name}weight"], weights[f"{name}bias"], x)


def affine(weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    """T linear layers, (T, out, in) and (T, out), on x (T, n, in): (T, n, out)."""
    return torch.baddbmm(bias[:, None], x, weight.mT)


def _initialise(network: nn.Module) -> None:
    """Xavier's normal weights and no biases; attention's own matrices stay as PyTorch has them."""
    for module in network.modules():
        if type(module) is nn.Linear:
            nn.init.xavier_normal_(module.weight)
            nn.init.zeros_(module.bias)
