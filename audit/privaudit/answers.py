"""What models answer: logits, or what attacks need of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import Tensor

from privaudit.errors import PrivauditError
from privaudit.reductions import REDUCTIONS, reduced, reduction

ORIGINAL = "original"
"""The signal that asks for the dense original, and its name among `Outputs.versions`."""

VERSIONS = "versions"
"""The signal that asks for every other version of the networks."""


class Kept(Protocol):
    """One kind of answer of M models, in memory or in a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(M, Q, N, ...)."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of memory; what lies in a file takes none."""
        ...

    def read(self, model: int, rows: Tensor | None = None) -> Tensor:
        """Those of one model, (Q, N, ...), or of some rows (n,) int64, to look at."""
        ...


@dataclass(frozen=True)
class DerivedTable:
    """A reduction of logits (M, Q, N, C) with labels (N,), made of those rows that are read."""

    name: str
    logits: Tensor
    labels: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """(M, Q, N); what lies behind is nobody's question."""
        return tuple(self.logits.shape[:3])

    @property
    def nbytes(self) -> int:
        """It holds nothing of its own."""
        return 0

    def read(self, model: int, rows: Tensor | None = None) -> Tensor:
        """Those of one model, (Q, N, ...), or of some rows (n,) int64."""
        every = torch.arange(len(self.labels)) if rows is None else rows
        return reduced(self.name, self.logits[model], self.labels, every)


@dataclass(frozen=True)
class Outputs:
    """What models answer about N examples.

    Where no attack of a run needs logits, only what they need is kept of them, and `logits` is
    missing: who asks for it is told what to declare.

    Attributes:
        logits: (M, Q, N, C): query 0 is the example itself, the rest its augmentations.
        noisy: (M, D, N, C): answers to D noisy copies x + `noise_scale`·N(0, I) of each
            example as the recipe's dataset normalises it; NaN on rows that are neither member nor
            non-member of that model. None unless an attack asks.
        gradient_norm: (M, N): norm of the gradient of the loss of each example; None unless
            an attack asks.
        noise_scale: ε of the noisy copies.
        kept: by name of a reduction, what is kept of all models' logits; `of` reads it.
        chosen: which of these models, (M,) int64, or a single one; None: all.
        queries: how many of what is kept is shown.
        classes: C.
        extremes: (M, 2) float64: the smallest and the largest of each model's logits; NaN where
            one is NaN. None where there are logits.
        labels: (N,) int64, for reductions of logits.
        versions: what the same networks answer elsewhere on their way, model by model: under
            `ORIGINAL` the dense ones from which these were made sparse; under "level " and its
            label each level before this one, in order. Empty unless an attack asks.
    """

    logits: Tensor = field(repr=False)
    noisy: Tensor | None = None
    gradient_norm: Tensor | None = None
    noise_scale: float = 1e-3
    kept: Mapping[str, Kept] = field(default_factory=dict, repr=False)
    chosen: Tensor | int | None = None
    queries: int = 2**31
    classes: int = 0
    extremes: Tensor | None = None
    labels: Tensor | None = field(default=None, repr=False)
    versions: Mapping[str, Outputs] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.logits is None:  # `changed` and `without_logits` say so
            object.__delattr__(self, "logits")
        else:
            object.__setattr__(self, "classes", self.logits.shape[-1])

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name == "logits":
                raise _missing("logits")
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @classmethod
    def without_logits(cls, **values: Any) -> Outputs:
        """Outputs of which no logits are kept."""
        return cls(cast(Tensor, None), **values)

    def changed(self, **values: Any) -> Outputs:
        """These outputs but for some fields, whether there are logits or not."""
        return Outputs(**({"logits": None} | vars(self) | values))

    @property
    def has_logits(self) -> bool:
        """Whether logits are there, for which any reduction can be found."""
        return "logits" in vars(self)

    @property
    def original(self) -> Outputs | None:
        """What the dense networks answer from which these were made sparse; None if unknown."""
        return self.versions.get(ORIGINAL)

    @property
    def log_odds(self) -> Tensor:
        """(M, Q, N) float64: log p_y - log(1 - p_y) of the label y, of attacks that declare it."""
        return self.of("log_odds")

    @property
    def label_probability(self) -> Tensor:
        """(M, Q, N) float32: the probability of the label, of attacks that declare it."""
        return self.of("label_probability")

    @property
    def predicted(self) -> Tensor:
        """(M, Q, N) int16: the likeliest class, of attacks that declare it."""
        return self.of("predicted")

    @property
    def top(self) -> Tensor:
        """(M, Q, N, 3) float64: the three largest probabilities, of attacks that declare it."""
        return self.of("top")

    def of(self, name: str, rows: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        """A reduction of the answers, (M, Q, n, ...), without M of one model: the caller's own.

        Args:
            name: of `reductions.REDUCTIONS`, or `reductions.log_odds_at`.
            rows: (n,) int64, the examples asked for; None: all.
            y: (N,) int64 labels, where the outputs do not know them.

        Raises:
            PrivauditError: it is not kept, and neither are the logits.
        """
        if reduction(name) is None:
            known = ", ".join(map(repr, REDUCTIONS))
            raise PrivauditError(f"there is no answer {name!r}: there are {known} and 'logits'")
        if self.has_logits:
            labels = self.labels if y is None else y
            if labels is None:
                raise PrivauditError(f"{name!r} of logits needs labels: give `Outputs.labels`")
            every = torch.arange(self.logits.shape[-2]) if rows is None else rows
            return reduced(name, self.logits, labels, every)
        if name not in self.kept:
            raise _missing(name)
        table = self.kept[name]
        if isinstance(self.chosen, int):
            return table.read(self.chosen, rows)[: self.queries].clone()
        models = range(table.shape[0]) if self.chosen is None else self.chosen.tolist()
        found = torch.empty(0)
        for k, model in enumerate(models):
            one = table.read(model, rows)[: self.queries]
            if k == 0:
                found = torch.empty((len(models), *one.shape), dtype=one.dtype)
            found[k] = one
        return found

    @property
    def nbytes(self) -> int:
        """Bytes of memory that they take."""
        tensors = (vars(self).get("logits"), self.noisy, self.gradient_norm)
        tables = sum(table.nbytes for table in self.kept.values())
        versions = sum(version.nbytes for version in self.versions.values())
        return (
            tables + versions + sum(t.numel() * t.element_size() for t in tensors if t is not None)
        )

    def __getitem__(self, models: int | slice | Tensor) -> Outputs:
        """The outputs of one model (no M axis), or of several; a slice of them is no copy."""
        chosen: dict[str, Any] = {
            name: part[models]
            for name in ("logits", "noisy", "gradient_norm", "extremes")
            if (part := vars(self).get(name)) is not None
        }
        chosen["versions"] = {name: version[models] for name, version in self.versions.items()}
        if self.kept:
            every = self.chosen
            if every is None:
                every = torch.arange(next(iter(self.kept.values())).shape[0])
            assert isinstance(every, Tensor)  # a single model has no axis to choose from
            some = every[models]
            chosen["chosen"] = int(some) if some.ndim == 0 else some
        return self.changed(**chosen)


def _missing(name: str) -> PrivauditError:
    return PrivauditError(
        f"{name!r} is not kept of the answers, for no attack of this run has declared it: write "
        f"`answers: ClassVar[tuple[str, ...]] = ({name!r},)` in the attack's class"
    )
