"""The values that flow through an audit: plain frozen dataclasses of tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

import torch
from torch import Tensor

from privaudit.answers import Outputs as Outputs
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
        names: N names by which people find the examples again, such as `train/cat/7.png` or
            `adult.data, line 7`; None where there are none. No network and no attack sees them,
            and they are no part of what makes two datasets the same.
    """

    x: Tensor
    y: Tensor
    classes: tuple[str, ...]
    mean: Tensor
    std: Tensor
    augmentation: Augmentation | None = None
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.names is not None and len(self.names) != len(self.x):
            raise DataError(
                f"a dataset's names must be as many as its examples: got {len(self.names)} names "
                f"of {len(self.x)} examples"
            )
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
        names = self.names and tuple(self.names[row] for row in rows.tolist())
        return replace(self, x=self.x[rows], y=self.y[rows], names=names)


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
        canary: (N,) bool: examples made up for the audit, which then is about them alone; None
            where there are none.
        coins: whether a fair coin of its own decided on the membership of each audited example.
    """

    role: Tensor
    shadows: Tensor
    targets: Tensor
    seeds: Tensor
    canary: Tensor | None = None
    coins: bool = False

    @property
    def audited(self) -> Tensor:
        """(M, N) bool: the members and non-members that attacks are about."""
        every = audited(self.role)
        return every if self.canary is None else every & self.canary

    @property
    def ordinary(self) -> Tensor:
        """(N,) bool: the examples that are as the dataset has them."""
        return torch.ones(self.role.shape[1]).bool() if self.canary is None else ~self.canary


@dataclass(frozen=True)
class Signals:
    """What an attacker has. No field holds the target's membership.

    Attributes:
        x: (N, ...) the examples, as the dataset gives them.
        y: (N,) int64 labels.
        audited: (N,) bool: the target's members and non-members, to be told apart.
        target: the target's outputs, without the M axis: logits (Q, N, C), or, of an attack that
            declares what it needs of an answer (`Attack.answers`), that: log_odds (Q, N) and so on.
        shadows: the outputs of K shadow models: logits (K, Q, N, C), log_odds (K, Q, N) and so on.
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
