"""How many of the examples on a list with a bound are false, where the truth is known.

    python -m benchmarks.false_discoveries

Half of the non-members are known, as in `privaudit report --explain`; the rest of the examples are
tested. A score is normal, a member's a little higher; it is cut into few values where scores tie.
The mean share of false ones over all games is to stay at or below the level.
"""

from __future__ import annotations

import argparse

import numpy as np

from privaudit.explain.discoveries import discoveries
from privaudit.explain.scores import Audited, LevelScores

SIZES = ((600, 600), (1000, 100), (100, 1000), (40, 40))
STRENGTHS = (0.0, 1.0, 3.0)
VALUES = (0, 4, 1)  # steps a deviation; 0: no ties


def main() -> None:
    """Play the games, a row for each setting."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--games", type=int, default=1000)
    options = parser.parse_args()
    print("| members : others | strength | steps | level | told | named | false % | error |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    worst = -np.inf
    for sizes in SIZES:
        for strength in STRENGTHS:
            for steps in VALUES:
                for level in (0.05, 0.1, 0.2):
                    shares, named = _games(sizes, strength, steps, level, options.games)
                    if not len(shares):
                        print(f"| {sizes[0]} : {sizes[1]} | {strength:g} | {steps} | {level} | 0 |")
                        continue
                    error = shares.std() / len(shares) ** 0.5
                    worst = max(worst, (shares.mean() - level) / max(error, 1e-9))
                    print(
                        f"| {sizes[0]} : {sizes[1]} | {strength:g} | {steps} | {level} | "
                        f"{len(shares)} | {named:.1f} | {100 * shares.mean():.2f} | "
                        f"{100 * error:.2f} |",
                        flush=True,
                    )
    print(f"furthest above its level: {worst:.1f} standard errors")


def _games(
    sizes: tuple[int, int], strength: float, steps: int, level: float, games: int
) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], float]:
    """The share of false ones of each game in which something can be told, and the mean length."""
    members, others = sizes
    inside = np.arange(members + others) < members
    rows = np.arange(len(inside))
    rng = np.random.default_rng([members, others, round(10 * strength), steps])
    shares, lengths = [], []
    for game in range(games):
        score = rng.standard_normal(len(inside)) + strength * inside
        if steps:
            score = np.floor(score * steps)
        audit = Audited(rows, np.zeros(len(rows), np.int64), inside, score, seed=game)
        found = discoveries(LevelScores("", "", "", ("",), (audit,)), level)
        if found.named is not None and found.false_share is not None:
            shares.append(found.false_share)
            lengths.append(found.named)
    return np.array(shares), float(np.mean(lengths)) if lengths else 0.0


if __name__ == "__main__":
    main()
