"""Attacks that compare how likely the target finds an example with how likely others find it."""

from __future__ import annotations

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
from privaudit_plugins.attacks._refusals import without_members
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
_LACKS = {
    "auto": "a shadow that was not trained on them",
    "offline": "a shadow that was not trained on them",
    "online": "a shadow that was trained on them or one that was not",
}


class LikelihoodRatio(privaudit.Attack):
    """What `rmia` and `informia` share: p of the target, P of the shadows, and their options."""

    shadows: ClassVar[int] = 1
    mode: Mode = Field(
        "auto",
        description="online: P is the mean over shadows with and without the example; offline: "
        "guessed from those without; auto: online for each example that has both",
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
        """For some options it wants shadows that trained on the audited."""
        if self.mode == "online":
            return without_members(split, "mode online")
        return without_members(split, "a: tune") if self.a == "tune" else None

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

    def _judged(self, ratio: Tensor, known: Known) -> Tensor:
        """(T, n): the scores of T targets whose log-ratios are (T, n + Z), Z the population's."""
        raise NotImplementedError

    def _scored(self, signals: privaudit.Signals) -> privaudit.AttackScores:
        """Scores by `_judged`, and their decisions.

        The decision's threshold is the one of best balanced accuracy when shadows are the target
        in turn, attacked by the others in the same way; there is none where the others are too
        few, such as one pair of shadows.

        Raises:
            PrivauditError: the shadows are too few, or a model answers NaN.
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
        need_some(self.name, scored, _LACKS[self.mode])
        temperature, a = self._options(signals, by_row, known)
        target = self._odds(signals.target, signals, used, temperature)[0]
        shadows = self._odds(signals.shadows, signals, used, temperature)[:, 0]
        target, shadows = finite_ends(target, shadows)
        finite(target, "the target")
        for k, answers in enumerate(shadows):
            finite(answers, f"shadow {k}")
        (answer,) = self._judged(known.ratios(target[None], shadows, everyone, [a])[0], known)
        kept = known.turns(turns(len(role), len(by_row.rows)))
        learnt = self._judged(known.ratios(shadows[: len(kept)], shadows, kept, [a])[0], known)
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
                f"{self.name} tunes a on shadows with members and non-members among the audited "
                "examples, attacked by other shadows, and there are too few: set a to a number "
                "such as 0.33"
            )
        temperature = UNTUNED * unit if self.temperature == "auto" else self.temperature
        return temperature, guesses(odds(temperature))[0]

    def _population(self, signals: privaudit.Signals) -> Tensor:
        """Where (Z,) int64 the examples stand that audited ones are compared with."""
        role = signals.shadow_role
        outside = (role == privaudit.Role.NON_MEMBER) | (role == privaudit.Role.OUTSIDE)
        return (~signals.audited & outside.any(0)).nonzero()[:, 0]
