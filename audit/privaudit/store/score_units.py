"""Units of the journal: what an attack says about one target, as named tensors, and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from privaudit.errors import PrivauditError
from privaudit.store.unit_file import Schema
from privaudit.store.units import Unit
from privaudit.values import AttackScores

_FIELDS = ("score", "decision", "left_out", "offline")
_TEXT = "text"  # what is no tensor: JSON in bytes
_MOST = 2**10  # answers of one attack, its variants among them


def pack_scores(scores: AttackScores) -> Unit:
    """An attack's answer with its variants'."""
    unit = {
        name: value.detach().cpu().clone()  # two fields may be one tensor, which no file can hold
        for name in _FIELDS
        if (value := getattr(scores, name)) is not None
    }
    text = json.dumps({"lacks": scores.lacks, "variants": list(scores.variants)})
    unit[_TEXT] = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
    for number, variant in enumerate(scores.variants.values()):
        unit |= {f"{number}/{name}": value for name, value in pack_scores(variant).items()}
    return unit


def unpack_scores(unit: Mapping[str, Tensor]) -> AttackScores:
    """The answer in a unit.

    Raises:
        KeyError, TypeError, ValueError: it holds none.
    """
    text = json.loads(unit[_TEXT].numpy().tobytes())
    variants = {
        str(name): unpack_scores(_below(unit, f"{number}/"))
        for number, name in enumerate(text["variants"])
    }
    own = {name: unit.get(name) for name in _FIELDS if name != "score"}
    return AttackScores(unit["score"], variants=variants, lacks=str(text["lacks"]), **own)


def score_schema(rows: int, check: Callable[[AttackScores], object]) -> Schema:
    """What a unit of scores holds.

    Args:
        rows: of the examples that are scored.
        check: raises a PrivauditError where scores are not what the contract asks for.
    """

    def problem(tensors: Mapping[str, Tensor]) -> str:
        try:
            scores = unpack_scores(tensors)
            check(scores)
            if tensors.keys() != pack_scores(scores).keys():
                return "it holds tensors that belong to no scores"
        except (KeyError, TypeError, ValueError, RuntimeError, RecursionError) as error:
            return f"it holds no scores: {error!r}"
        except PrivauditError as error:
            return str(error)
        return ""

    return Schema("scores", 2**20 + _MOST * rows * 16, problem, first_format=False)


def _below(unit: Mapping[str, Tensor], start: str) -> Unit:
    return {name.removeprefix(start): t for name, t in unit.items() if name.startswith(start)}
