"""Which audits of two runs belong together, and which only one of them has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from privaudit.diff.values import Lone, Network
from privaudit.store.failure import Failure
from privaudit.store.result import RunResult

Key = tuple[str, str, str]
"""Subject, level and attack."""

Numbers = Mapping[Key, Mapping[Network, int]]
"""Numbers of a run's audits."""


@dataclass(frozen=True)
class Pair:
    """The audits of both runs with one subject, level and attack, network by network.

    Attributes:
        key: which they are.
        networks: the P seeds and targets that both have, in the order of A.
        a: (P,) numbers of A's audits.
        b: (P,) numbers of B's.
    """

    key: Key
    networks: tuple[Network, ...]
    a: tuple[int, ...]
    b: tuple[int, ...]


def numbers(run: RunResult) -> Numbers:
    """A run's audits by what they are about."""
    by_key: dict[Key, dict[Network, int]] = {}
    for number, audit in enumerate(run.audits):
        key = audit.subject, audit.level, audit.attack
        by_key.setdefault(key, {})[audit.seed, audit.target] = number
    return by_key


def joined(a: Numbers, b: Numbers) -> list[Pair]:
    """What both have, in the order of A."""
    pairs = []
    for key, ours in a.items():
        theirs = b.get(key, {})
        networks = tuple(network for network in ours if network in theirs)
        if networks:
            numbers_a, numbers_b = (tuple(own[n] for n in networks) for own in (ours, theirs))
            pairs.append(Pair(key, networks, numbers_a, numbers_b))
    return pairs


def alone(here: Numbers, there: Numbers, failures: Sequence[Failure]) -> list[Lone]:
    """What only the first has.

    Args:
        here: the run that has it.
        there: the other one.
        failures: of the other one.
    """
    found = []
    for key, ours in here.items():
        lone = tuple(network for network in ours if network not in there.get(key, {}))
        if lone:
            found.append(Lone(*key, lone, _why(key, lone, failures)))
    return found


def _why(key: Key, networks: Sequence[Network], failures: Sequence[Failure]) -> str:
    """Why a run has not made an audit that it was to make; empty where it was not to."""
    subject, level, attack = key
    for failure in failures:
        if (
            failure.subject == subject
            and failure.level in ("", level)
            and failure.attack in ("", attack)
            and (failure.seed is None or (failure.seed, failure.target) in networks)
        ):
            return failure.sentence
    return ""
