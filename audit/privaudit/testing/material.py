"""Small made-up inputs for the conformance check."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

import torch
from torch import Tensor, nn

from privaudit.answers import ORIGINAL, VERSIONS
from privaudit.api.boundary import guest
from privaudit.api.needs import seen_by
from privaudit.api.plugin import Attack, Defense, Model, Sparsifier
from privaudit.cohort import Cohort
from privaudit.training import Training
from privaudit.values import Examples, Outputs, Role, Signals

N, C = 40, 3  # examples and classes


def generator(seed: int = 0) -> torch.Generator:
    """Randomness that leaves torch's global generator alone."""
    return torch.Generator().manual_seed(seed)


def tiny_examples() -> Examples:
    """40 images of one channel and 4×4 pixels in 3 classes that can be told apart."""
    y = torch.arange(N) % C
    noise = torch.randint(0, 60, (N, 1, 4, 4), generator=generator())
    x = (noise + 60 * y.view(N, 1, 1, 1)).to(torch.uint8)
    return Examples(
        x=x,
        y=y,
        classes=("low", "middle", "high"),
        mean=torch.tensor(90.0),
        std=torch.tensor(50.0),
    )


def tiny_signals(attack: Attack) -> Signals:
    """What an attack that asks for no more than its class attributes say would get.

    Members are answered with more confidence. Eight examples are outside the audit.
    """
    shadows = max(4, attack.shadows)
    g = generator()
    examples = tiny_examples()
    audited = torch.arange(N) < N - 8
    inside = torch.rand(1 + shadows, N, generator=g) < 0.5
    inside[2::2] = ~inside[1:-1:2]  # complementary pairs of shadows, as `halves` makes them
    role = torch.where(inside, Role.MEMBER, Role.NON_MEMBER).to(torch.uint8)
    role[:, ~audited] = Role.OUTSIDE
    outputs = _tiny_outputs(attack, role, examples.y, g)
    return Signals(
        x=examples.x,
        y=examples.y,
        audited=audited,
        target=outputs[0],
        shadows=outputs[torch.arange(1, 1 + shadows)],
        shadow_role=role[1:],
        seed=1,
    )


def _tiny_outputs(attack: Attack, role: Tensor, y: Tensor, g: torch.Generator) -> Outputs:
    """Outputs of M models with roles (M, N), as the attack asks for them."""
    member = role == Role.MEMBER
    right = (y[:, None] == torch.arange(C)).float()  # (N, C)
    surety = 2.0 + 2.0 * member  # (M, N)
    clean = surety[..., None] * right + torch.randn(len(role), N, C, generator=g)
    logits = clean[:, None] + 0.1 * torch.randn(len(role), attack.queries, N, C, generator=g)
    noisy = None
    if attack.noise:
        noise = torch.randn(len(role), attack.noise, N, C, generator=g)
        noisy = logits[:, :1] + 1e-3 * noise
        noisy = noisy.masked_fill((role == Role.OUTSIDE)[:, None, :, None], torch.nan)
    norm = None
    if "gradient_norm" in attack.signals:
        norm = torch.rand(len(role), N, generator=g) / surety
    versions = {}
    for name in (ORIGINAL, "level round 1") if attack.signals & {ORIGINAL, VERSIONS} else ():
        versions[name] = Outputs(1.5 * logits + torch.randn(logits.shape, generator=g))
    return seen_by(attack, Outputs(logits, noisy, norm, versions=versions), y)


class TinyNetwork(nn.Sequential):
    """Layers by name, of which the convolutions are a segment each."""

    segments: tuple[tuple[str, ...], ...]

    def __init__(self, layers: dict[str, nn.Module]) -> None:
        super().__init__(OrderedDict(layers))
        self.segments = tuple((name,) for name in layers if name.startswith("conv"))


class TinyModel(Model):
    """A perceptron without BatchNorm, or a convolutional network with it, for `tiny_examples`."""

    name: Literal["tiny"] = "tiny"
    convolutional: bool = False

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """From examples (B, 1, 4, 4) to logits (B, classes)."""
        if not self.convolutional:
            return TinyNetwork(
                {
                    "flatten": nn.Flatten(),
                    "hidden": nn.Linear(16, 16),
                    "relu": nn.ReLU(),
                    "output": nn.Linear(16, classes),
                }
            )
        return TinyNetwork(
            {
                "conv1": nn.Conv2d(1, 4, 3, padding=1, bias=False),
                "norm1": nn.BatchNorm2d(4),
                "relu1": nn.ReLU(),
                "conv2": nn.Conv2d(4, 4, 3, padding=1, bias=False),
                "norm2": nn.BatchNorm2d(4),
                "relu2": nn.ReLU(),
                "flatten": nn.Flatten(),
                "output": nn.Linear(64, classes),
            }
        )


def build(model: Model, shape: tuple[int, ...], seed: int, classes: int = C) -> nn.Module:
    """A network under its own seed, as the engine builds it."""
    with torch.random.fork_rng(devices=[]), guest(model, "build"):
        torch.manual_seed(seed)
        return model.build(shape, classes)


def tiny_cohort(
    sparsifier: Sparsifier, defense: Defense | None = None, *, convolutional: bool = False
) -> Cohort:
    """A target and a shadow on `tiny_examples` that train for two epochs and keep nothing on disk.

    Members, non-members, validation and reference examples: 16, 16, 4 and 4; the shadow's members
    are the target's non-members.
    """
    inside, outside = torch.full((16,), Role.MEMBER), torch.full((16,), Role.NON_MEMBER)
    rest = torch.cat([torch.full((4,), Role.VALIDATION), torch.full((4,), Role.REFERENCE)])
    target, shadow = torch.cat([inside, outside, rest]), torch.cat([outside, inside, rest])
    return Cohort(
        tiny_examples(),
        torch.stack([target, shadow]).to(torch.uint8),
        torch.tensor([1, 2]),
        model=TinyModel(convolutional=convolutional),
        sparsifier=sparsifier,
        defense=defense or Defense(name="none"),
        training=Training(epochs=2, batch_size=8, lr=0.05),
    )
