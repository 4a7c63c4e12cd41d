"""The values that flow through an audit: plain frozen dataclasses of tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

import torch
from torch import Tensor

from privaudit.errors import DataError


@dataclass(frozen=True)
class Augmentation:
    """Random changes to an image while training.

    Attributes:
        flip: mirror left and right with probability one half.
        crop: pad by this many pixels on each side, then cut out the original size at random.
    """

    flip: bool = False
    crop: int = 0


@dataclass(frozen=True)
class Examples:
    """A dataset: every example once, in a fixed order.

    Attributes:
        x: (N, ...) numbers in uint8 or float32: features (N, D), series (N, T) and (N, T, D),
            maps (N, height, width), images (N, channels, height, width); or tokens in int64,
            (N, T) or of any other shape: indices into a vocabulary, from 0 on.
        y: (N,) int64 labels, 0 to C - 1.
        classes: the C class names.
        mean: subtracted from x, in x's units; its shape broadcasts to one example. Tokens are
            never normalised: theirs is the scalar 0.
        std: divides x - mean, in x's units; its shape broadcasts to one example; for tokens the
            scalar 1.
        augmentation: what training may do to images (N, channels, height, width); None where it
            makes no sense.
    """

    x: Tensor
    y: Tensor
    classes: tuple[str, ...]
    mean: Tensor
    std: Tensor
    augmentation: Augmentation | None = None

    def __post_init__(self) -> None:
        if self.y.dtype != torch.int64 or self.y.ndim != 1 or len(self.x) != len(self.y):
            raise DataError(
                f"a dataset needs one int64 label for each of its {len(self.x)} examples, "
                f"got {self.y.dtype} labels of shape {tuple(self.y.shape)}"
            )
        if self.x.dtype not in (torch.uint8, torch.float32, torch.int64):
            raise DataError(
                f"a dataset's x must be uint8, float32, or int64 for tokens, got {self.x.dtype}"
            )
        if self.x.ndim < 2:
            raise DataError(
                "a dataset's x must have an axis of examples and one or more of their numbers, "
                f"got shape {tuple(self.x.shape)}: of one number for each example make (N, 1)"
            )
        if len(self.y) == 0:
            raise DataError("the dataset is empty: it needs examples to train on and to audit")
        low, high = int(self.y.min()), int(self.y.max())
        if low < 0 or high >= len(self.classes):
            raise DataError(
                f"labels run from {low} to {high}, but there are {len(self.classes)} classes"
            )
        if len(self.classes) < 2:
            raise DataError(f"the dataset has one class, {self.classes[0]!r}: it needs at least 2")
        if self.x.is_floating_point() and not bool(torch.isfinite(self.x).all()):
            row = int((~torch.isfinite(self.x.flatten(1)).all(1)).nonzero()[0])
            raise DataError(f"example {row} of the dataset holds NaN or infinity: clean it first")
        if self.tokens:
            self._check_tokens()

    def _check_tokens(self) -> None:
        wrong = (self.x < 0).flatten(1).any(1)
        if bool(wrong.any()):
            row = int(wrong.nonzero()[0])
            raise DataError(
                f"example {row} of the dataset holds the token {int(self.x[row].min())}, and "
                "tokens are indices from 0 on: shift them, or give numbers as float32"
            )
        if self.mean.ndim or self.std.ndim or self.mean != 0 or self.std != 1:
            raise DataError(
                "tokens are never normalised: give a dataset of int64 the mean torch.tensor(0.0) "
                "and the std torch.tensor(1.0), or give numbers as float32"
            )

    def __len__(self) -> int:
        return len(self.y)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example, without N."""
        return tuple(self.x.shape[1:])

    @property
    def tokens(self) -> bool:
        """Whether x holds indices into a vocabulary, which nobody may calculate with."""
        return self.x.dtype == torch.int64

    def take(self, rows: Tensor) -> Examples:
        """The examples of the given rows, (n,) int64, in that order."""
        return replace(self, x=self.x[rows], y=self.y[rows])


class Role(IntEnum):
    """What an example is to a model."""

    OUTSIDE = 0
    MEMBER = 1
    NON_MEMBER = 2
    VALIDATION = 3
    REFERENCE = 4


def audited(role: Tensor) -> Tensor:
    """Members and non-members, bool, from roles of any shape."""
    return (role == Role.MEMBER) | (role == Role.NON_MEMBER)


@dataclass(frozen=True)
class Split:
    """Who was in whose training data.

    Attributes:
        role: (M, N) uint8, a `Role` for each of M models and N examples; model 0 is the target.
            Members and non-members are audited.
        shadows: (T, M) bool: which models may serve as shadows of target t.
        targets: (T,) int64: the models that are attacked in turn.
        seeds: (M,) int64: each model's own seed, the same whatever M is.
    """

    role: Tensor
    shadows: Tensor
    targets: Tensor
    seeds: Tensor


@dataclass(frozen=True)
class Outputs:
    """What models answer about N examples.

    Attributes:
        logits: (M, Q, N, C): query 0 is the example itself, the rest its augmentations.
        noisy: (M, D, N, C): answers to D noisy copies x + `noise_scale`·N(0, I) of each
            normalised example; NaN on rows that are neither member nor non-member of that model.
            None unless an attack asks.
        gradient_norm: (M, N): norm of the gradient of the loss of each example; None unless
            an attack asks.
        noise_scale: ε of the noisy copies.
    """

    logits: Tensor
    noisy: Tensor | None = None
    gradient_norm: Tensor | None = None
    noise_scale: float = 1e-3

    @property
    def nbytes(self) -> int:
        """Bytes that they take."""
        tensors = (self.logits, self.noisy, self.gradient_norm)
        return sum(t.numel() * t.element_size() for t in tensors if t is not None)

    def __getitem__(self, models: int | slice | Tensor) -> Outputs:
        """The outputs of one model (no M axis), or of several; a slice of them is no copy."""
        return Outputs(
            self.logits[models],
            None if self.noisy is None else self.noisy[models],
            None if self.gradient_norm is None else self.gradient_norm[models],
            self.noise_scale,
        )


@dataclass(frozen=True)
class Signals:
    """What an attacker has. No field holds the target's membership.

    Attributes:
        x: (N, ...) the examples, as the dataset gives them.
        y: (N,) int64 labels.
        audited: (N,) bool: the target's members and non-members, to be told apart.
        target: the target's outputs, without the M axis: logits (Q, N, C).
        shadows: the outputs of K shadow models: logits (K, Q, N, C).
        shadow_role: (K, N) uint8, a `Role`: the shadows' membership is known to the attacker.
        seed: for the attack's own randomness.
    """

    x: Tensor
    y: Tensor
    audited: Tensor
    target: Outputs
    shadows: Outputs
    shadow_role: Tensor
    seed: int = 0


@dataclass(frozen=True)
class AttackScores:
    """An attack's answer about every example.

    Attributes:
        score: (N,), higher = likelier a member; rows that are not audited are ignored.
        decision: (N,) bool, the attacker's own verdict with its threshold chosen on the shadows,
            or None.
        variants: the answers of the attack's variants, by name, reported beside its own.
        left_out: (N,) bool: audited rows that the attack cannot score, whose score may be NaN.
            They are counted, named, and left out of every metric. They may depend on what the
            attacker knows of the shadows, never on the target's answers. None: no row.
        lacks: what these rows lack, to be read after "lack", such as "a shadow that was not
            trained on them".
        offline: (N,) bool: rows that are scored, but, unlike others, without shadows that were
            trained on them: counted and named, too. None: no row, or all alike.
    """

    score: Tensor
    decision: Tensor | None = None
    variants: Mapping[str, AttackScores] = field(default_factory=dict)
    left_out: Tensor | None = None
    lacks: str = ""
    offline: Tensor | None = None
