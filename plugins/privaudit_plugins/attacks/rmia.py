"""The robust membership inference attack."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

import privaudit
from privaudit.reductions import log_odds_at
from privaudit_plugins.attacks._confidence import taylor_odds, temperature_unit
from privaudit_plugins.attacks._in_turn import threshold_in_turn, turns
from privaudit_plugins.attacks._phi import finite_ends
from privaudit_plugins.attacks._pool import finite
from privaudit_plugins.attacks._refusals import without_members, without_population
from privaudit_plugins.attacks._rmia import share_dominated, ties_broken
from privaudit_plugins.attacks._rmia_rows import Known, Mode
from privaudit_plugins.attacks._rmia_tuning import (
    TEMPERATURES,
    TENTHS,
    UNTUNED,
    best_options,
    few_shadows,
    some_rows,
)
from privaudit_plugins.attacks._rows import RowShadows, need_some, row_scores, row_shadows

_UNFITTED = 0.33  # `a` as the paper has it for the softmax, where nothing tells it
_ENOUGH = 50  # examples of the population; with fewer a share has very few values
_LACKS = {
    "auto": "a shadow that was not trained on them",
    "offline": "a shadow that was not trained on them",
    "online": "a shadow that was trained on them or one that was not",
}


class RMIA(privaudit.Attack):
    """How many examples of the population the likelihood ratio of an example exceeds.

    The population are the rows that are not audited, but for those that shadows validate with or
    defend themselves with.

    The defaults are not the paper's γ = 2, T = 1, which say nothing where all probabilities are
    near one. Over nine sets of networks (`benchmarks/README.md`) the temperature decides: tuned on
    8 or 32 shadows its AUC is within 0.002 of the best of any option, 0.008 with 60 members; T = 2,
    taken where the shadows are too few to tune on, within 0.015. γ changes a rank only where it
    saturates, which γ = 1 never does.
    """

    paper: ClassVar[str] = (
        "Zarifzadeh et al. 2024, Low-cost high-power membership inference attacks"
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "Unless told, γ is 1 and the temperature is tuned on the shadows, where the paper has "
        "γ = 2 and T = 1, which say nothing where all probabilities are near one.",
        "Unless told, probabilities are a softmax, where the paper's main tables have "
        "`softmax: taylor` at temperature 2.",
        "Examples that exceed equally many others are ranked by their ratio, where the paper "
        "leaves them equal, as `ties: keep` does.",
        "The guess `a` is fitted to examples that have shadows on both sides, where the paper "
        "searches the best on one shadow; `a: tune` searches on several.",
    )
    shadows: ClassVar[int] = 1
    name: Literal["rmia"] = "rmia"
    mode: Mode = Field(
        "auto",
        description="online: P is the mean over shadows with and without the example; offline: "
        "guessed from those without; auto: online for each example that has both",
    )
    gamma: float = Field(
        1.0, gt=0, allow_inf_nan=False, description="γ, by which a ratio must exceed another"
    )
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] | Literal["auto"] = Field(
        "auto",
        description="divides the logits before the softmax; auto: the one with the best AUC on "
        "shadows that are attacked by the others, 2 where they are too few",
    )
    softmax: Literal["softmax", "taylor"] = Field(
        "softmax",
        description="taylor: with a polynomial for exp and a soft margin, as the paper's main "
        "tables have it at temperature 2; only for logits as the network gives them",
    )
    taylor_order: int = Field(4, ge=2, le=20, description="of the polynomial; even")
    taylor_margin: float = Field(
        0.6, ge=0, allow_inf_nan=False, description="taken from the true class's logit"
    )
    ties: Literal["ratio", "keep"] = Field(
        "ratio",
        description="ratio: of examples that exceed equally many, the larger ratio comes first; "
        "keep: the paper's share, which has one value more than the population has examples",
    )
    a: Annotated[float, Field(ge=0, le=1)] | Literal["auto", "tune"] = Field(
        "auto",
        description="where P is guessed, it is ((1 + a)·P_out + 1 - a) / 2; auto: fitted to "
        "examples with shadows on both sides, 0.33 where none has them; tune: the tenth with the "
        "best AUC on shadows that are attacked by the others",
    )

    @field_validator("taylor_order")
    @classmethod
    def _even(cls, order: int) -> int:
        if order % 2:
            raise ValueError("must be even, so that no probability is negative")
        return order

    def refusal(self, split: privaudit.SplitOptions, shadows: int) -> str | None:
        """It wants a population, and for some options shadows that trained on the audited."""
        refusal = without_population(split, held_out=False)
        if self.mode == "online":
            return refusal or without_members(split, "mode online")
        return refusal or (without_members(split, "a: tune") if self.a == "tune" else None)

    def needed_answers(self) -> tuple[str, ...]:
        """The log-odds at the temperature, or at all that it is chosen from."""
        if self.softmax == "taylor":
            return ("logits",)
        tried = (*TEMPERATURES, UNTUNED) if self.temperature == "auto" else (self.temperature,)
        return tuple(dict.fromkeys(map(log_odds_at, tried)))

    def answers_suffice(self, outputs: privaudit.Outputs, rows: Tensor) -> bool:
        """Not of networks so sure that temperatures are chosen from multiples of these."""
        if self.softmax == "taylor" or self.temperature != "auto":
            return True
        sureness = outputs.of(log_odds_at(1.0), rows)[:, 0]
        return all(temperature_unit(one) == 1 for one in sureness)

    def score(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        """The share of the population whose ratio p / P is at least γ times smaller.

        The decision's threshold is the one of best balanced accuracy when shadows are the target
        in turn, attacked by the others in the same way; there is none where the others are too
        few, such as one pair of shadows.

        Raises:
            PrivauditError: there is no population, the shadows are too few, or a model answers
                NaN.
        """
        by_row = row_shadows(signals)
        population = self._population(signals)
        used = torch.cat([by_row.rows, population])
        role = signals.shadow_role[:, used]
        inside = role == privaudit.Role.MEMBER
        outside = (role == privaudit.Role.NON_MEMBER) | (role == privaudit.Role.OUTSIDE)
        known = Known(inside, outside, by_row.tested, self.mode)
        everyone = torch.ones((1, len(role)), dtype=torch.bool)
        scored, guessed = (which[0, : len(by_row.rows)] for which in known.rows(everyone))
        need_some("rmia", scored, _LACKS[self.mode])
        temperature, a = self._options(signals, by_row, known)
        target = self._odds(signals.target, signals, used, temperature)[0]
        shadows = self._odds(signals.shadows, signals, used, temperature)[:, 0]
        target, shadows = finite_ends(target, shadows)
        finite(target, "the target")
        for k, answers in enumerate(shadows):
            finite(answers, f"shadow {k}")
        (answer,) = self._shares(known.ratios(target[None], shadows, everyone, [a])[0], known)
        kept = known.turns(turns(len(role), len(by_row.rows)))
        learnt = self._shares(known.ratios(shadows[: len(kept)], shadows, kept, [a])[0], known)
        return row_scores(
            signals,
            answer,
            threshold_in_turn(learnt, known.members, known.tested),
            scorable=scored,
            lacks=_LACKS[self.mode],
            offline=None if bool((guessed | ~scored).all()) else guessed,
        )

    def _odds(
        self,
        outputs: privaudit.Outputs,
        signals: privaudit.Signals,
        rows: Tensor,
        temperature: float,
    ) -> Tensor:
        """Log p - log(1 - p) of the true class, (..., 1, n)."""
        if self.softmax == "softmax":
            return outputs.of(log_odds_at(temperature), rows, signals.y)
        return taylor_odds(
            outputs.logits,
            signals.y,
            rows,
            temperature,
            order=self.taylor_order,
            margin=self.taylor_margin,
        )

    def _shares(self, ratio: Tensor, known: Known) -> Tensor:
        """(T, n): the scores of T targets whose log-ratios are (T, n + Z)."""
        size = known.tested.shape[1]
        shares = []
        for values, population in zip(ratio[:, :size], ratio[:, size:], strict=True):
            share = share_dominated(values, population, self.gamma)
            if self.ties == "ratio":
                share = ties_broken(share, values, int((~population.isnan()).sum()))
            shares.append(share)
        return torch.stack(shares)

    def _options(
        self, signals: privaudit.Signals, by_row: RowShadows, known: Known
    ) -> tuple[float, float]:
        """The temperature and the `a`, chosen by the shadows where that is asked for."""
        chosen = some_rows(len(by_row.rows))
        few = few_shadows(known, chosen)
        shadows, rows = signals.shadows[: len(few.inside)], by_row.rows[chosen]

        def odds(temperature: float) -> Tensor:
            return finite_ends(self._odds(shadows, signals, rows, temperature)[:, 0])[0]

        def guesses(shadows: Tensor) -> Sequence[float]:
            if self.a == "tune":
                return TENTHS
            if self.a != "auto":
                return [self.a]
            fitted = few.fitted(shadows)
            return [_UNFITTED if fitted is None else fitted]

        temperatures = [self.temperature] if self.temperature != "auto" else []
        if not temperatures:
            unit = temperature_unit(shadows.of(log_odds_at(1.0), rows, signals.y))
            if not shadows.has_logits:
                unit = 1.0  # `answers_suffice` has seen that networks are no surer
            temperatures = [t * unit for t in TEMPERATURES]
        if self.temperature == "auto" or self.a == "tune":
            best = best_options(odds, few, temperatures, guesses)
            if best is not None:
                return best
        if self.a == "tune":
            raise privaudit.ShortageError(
                "rmia tunes a on shadows with members and non-members among the audited examples, "
                "attacked by other shadows, and there are too few: set a to a number such as 0.33"
            )
        temperature = UNTUNED * unit if self.temperature == "auto" else self.temperature
        return temperature, guesses(odds(temperature))[0]

    def _population(self, signals: privaudit.Signals) -> Tensor:
        """Where (Z,) int64 the examples stand that audited ones are compared with."""
        role = signals.shadow_role
        outside = (role == privaudit.Role.NON_MEMBER) | (role == privaudit.Role.OUTSIDE)
        population = (~signals.audited & outside.any(0)).nonzero()[:, 0]
        if len(population) == 0:
            raise privaudit.ShortageError(
                "rmia compares with a population of examples that are not audited, and there are "
                "none",
                lacking="population",
            )
        if len(population) < _ENOUGH and self.ties == "keep":
            below = int(signals.audited.sum()) // 2
            warnings.warn(  # which Python shows once, however many targets there are
                f"rmia compares with a population of {len(population)}, too few for its AUC to "
                f"mean much: set ties to ratio, or split.members below {below}, so that {_ENOUGH} "
                "or more are left",
                stacklevel=2,
            )
        return population


@privaudit.hookimpl
def privaudit_provide() -> list[type[privaudit.Plugin]]:
    """The plugin of this module."""
    return [RMIA]
