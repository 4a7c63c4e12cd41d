"""A thin sample of every part of the campaign; the whole is `python -m tests.campaign`."""

from __future__ import annotations

import multiprocessing

import pytest
from tests.campaign._case import parts

_SAMPLE = 3  # cases of each part, spread over it


def _sampled(name: str) -> list[str]:
    cases = list(parts()[name].cases(0))
    step = max(1, len(cases) // _SAMPLE)
    problems = ((case.name, case.outcome()) for case in cases[step // 2 :: step][:_SAMPLE])
    return [f"{case}: {problem}" for case, problem in problems if problem]


@pytest.mark.parametrize("name", sorted(parts()))
def test_a_sample_of_the_campaign_goes_well(name: str) -> None:
    # In a process that has computed nothing yet: its cases fork.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_sampled, (name,)) == []
