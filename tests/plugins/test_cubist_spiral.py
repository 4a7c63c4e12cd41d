"""The Cubist Spiral: its corners and points, against an independent drawing and the authors'."""

from __future__ import annotations

from cmath import exp, pi
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from privaudit_plugins.datasets.cubist_spiral import CubistSpiral


def corners(radius_more: float) -> list[complex]:
    angles = [pi + 0.25 * pi * eighth + 0.4 * pi for eighth in range(17)]
    return [(10 * angle + pi + radius_more) * exp(1j * angle) for angle in angles]


def test_points_lie_on_the_pieces_at_equal_distances(tmp_path: Path) -> None:
    spiral = CubistSpiral(points=4000).load(tmp_path)
    assert spiral.classes == ("outer", "inner")
    for arm, more in enumerate((15, -15)):
        points = [complex(*row) for row in spiral.x[spiral.y == arm].tolist()]
        ends = list(pairwise(corners(more)))
        length = sum(abs(b - a) for a, b in ends)
        for a, b in ends:
            count = int(abs(b - a) / length * 2000)
            piece, points = points[:count], points[count:]
            assert abs(piece[0] - b) < 1e-4  # an arm's pieces run from their later corner
            assert abs(piece[-1] - a) < 1e-4
            for step, point in enumerate(piece):
                assert abs(point - (b + (a - b) * step / (count - 1))) < 1e-3
        assert points == []


def test_the_points_are_those_of_the_authors_code(tmp_path: Path) -> None:
    """What get_data of cubist_spiral/CubistSpiral.py gives, github.com/stephenqz/sparsest."""
    spiral = CubistSpiral().load(tmp_path)
    assert spiral.y.bincount().tolist() == [24991, 24991]
    normalised = (spiral.x - spiral.mean) / spiral.std
    known = {
        0: (0.5846, -0.8010),
        12345: (1.0888, -1.2932),
        40000: (1.1865, 0.8636),
        49981: (-1.3377, -0.8699),
    }
    for row, features in known.items():
        assert normalised[row].tolist() == pytest.approx(features, abs=6e-5)


def test_features_are_standardised(tmp_path: Path) -> None:
    for noise in (0.0, 20.0):
        spiral = CubistSpiral(points=2000, noise=noise).load(tmp_path)
        normalised = (spiral.x.double() - spiral.mean) / spiral.std
        assert normalised.mean(0).abs().max() < 1e-6
        assert normalised.std(0).tolist() == pytest.approx([1, 1], abs=1e-6)


def test_noise_has_its_deviation_and_is_the_same_every_time(tmp_path: Path) -> None:
    clean, noisy, again = (
        CubistSpiral(points=6000, noise=noise).load(tmp_path).x for noise in (0, 12, 12)
    )
    assert torch.equal(noisy, again)
    gaps = noisy - clean
    assert gaps.std(0).tolist() == pytest.approx([12, 12], rel=0.04)
    assert gaps.mean(0).abs().max() < 0.6
    assert abs(float(torch.corrcoef(gaps.T)[0, 1])) < 0.05


@pytest.mark.parametrize(
    "options",
    [{"points": 10}, {"points": -5}, {"noise": -1}, {"noise": "inf"}, {"noise": "nan"}, {"n": 3}],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CubistSpiral.model_validate(options)
