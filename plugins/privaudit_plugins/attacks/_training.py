"""A network that learns from the shadows' answers to tell members, as Yuan & Zhang train theirs.

Source: Yuan & Zhang 2022, "Membership inference attacks and defenses in neural network pruning";
optimiser, batch size and initial weights as in the code published with it.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from privaudit import AttackScores, Outputs, Signals
from privaudit.keys import derive, seeded
from privaudit.optimizers import SGD
from privaudit_plugins.attacks._pool import finite, needed, on_shadows, on_target, spread

Features = Callable[[Outputs, Tensor], Tensor]
"""From one model's outputs (no M axis) and labels, of n examples, to features (n, F) float64."""

_BATCH = 128
_MOMENTUM = 0.9
_WEIGHT_DECAY = 5e-4


def learn_and_score(
    attack: str,
    signals: Signals,
    features: Features,
    build: Callable[[int], nn.Module],
    epochs: int,
    learning_rate: float,
) -> AttackScores:
    """Train a network on the shadows' members and non-members, and let it judge the target's.

    Args:
        attack: its name, for error messages and the seed.
        signals: with K ≥ 1 shadows.
        features: what the network gets to see.
        build: from F to a network (n, F) to (n, 2): non-member and member.
        epochs: passes over the shadow examples.
        learning_rate: at first; a tenth of it from half of the epochs, a hundredth from three
            quarters.

    Returns:
        The member's logit minus the non-member's; the decision is whether it is positive.

    Raises:
        PrivauditError: the shadows lack members or non-members, or a model answers NaN.
    """

    def measure(outputs: Outputs, rows: Tensor, whose: str) -> Tensor:
        noisy = None if outputs.noisy is None else outputs.noisy[:, rows]
        own = Outputs(outputs.logits[:, rows], noisy, None, outputs.noise_scale)
        return finite(features(own, signals.y[rows]), whose)

    learnt = needed(attack, signals, on_shadows(signals, measure))
    asked = on_target(signals, measure).float()
    with seeded(derive(signals.seed, attack)):
        network = build(asked.shape[1])
        train(network, learnt.value.float(), learnt.member, epochs, learning_rate)
    with torch.no_grad():
        logits = torch.cat([network(part) for part in torch.split(asked, 4096)]).double()
    score = spread(logits[:, 1] - logits[:, 0], signals)
    return AttackScores(score, score > 0)


def train(network: nn.Module, x: Tensor, member: Tensor, epochs: int, learning_rate: float) -> None:
    """Minimise the cross-entropy in which members weigh as much as non-members, by SGD.

    Draws from torch's global generator: initial weights, order and dropout. The network ends in
    evaluation mode.

    Args:
        network: (n, F) to (n, 2).
        x: (n, F), of the network's type.
        member: (n,) bool, with at least one of each.
        epochs: passes over the examples, each in a new order.
        learning_rate: at first; a tenth of it from half of the epochs, a hundredth from three
            quarters.
    """
    _initialise(network)
    # The first torch.optim.SGD of a process imports torch's compiler, which takes seconds.
    parameters = list(network.parameters())
    weights = [p.detach() for p in parameters]
    sgd = SGD(_MOMENTUM, _WEIGHT_DECAY)
    slots = sgd.init(weights)
    y = member.long()
    balance = len(y) / (2 * torch.bincount(y, minlength=2).to(x.dtype))
    network.train()
    for epoch in range(epochs):
        lr = learning_rate * 0.1 ** ((epoch >= epochs // 2) + (epoch >= epochs * 3 // 4))
        for rows in torch.randperm(len(x)).tensor_split(ceil(len(x) / _BATCH)):
            loss = cross_entropy(network(x[rows]), y[rows], balance, reduction="sum") / len(rows)
            sgd.update(weights, torch.autograd.grad(loss, parameters), slots, lr)
    network.eval()


def _initialise(network: nn.Module) -> None:
    """Xavier's normal weights and no biases; attention's own matrices stay as PyTorch has them."""
    for module in network.modules():
        if type(module) is nn.Linear:
            nn.init.xavier_normal_(module.weight)
            nn.init.zeros_(module.bias)
