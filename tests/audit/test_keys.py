"""Randomness from keys: published numbers, distributions, and one key at a time."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch.func import vmap

from privaudit.keys import _bits, derive, fold, normal, normal_on_host, uniform, words

# The first outputs of SplitMix64 from seed 1234567, as on Rosetta Code ("Pseudo-random
# numbers/Splitmix64"), and from seed 0, as in the test of Java's SplittableRandom.
PUBLISHED = {
    1234567: [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ],
    0: [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F],
}


@pytest.mark.parametrize("seed", PUBLISHED)
def test_bits_are_those_of_splitmix64(seed: int) -> None:
    expected = PUBLISHED[seed]
    bits = _bits(torch.tensor(seed), (len(expected),))
    assert [int(b) % 2**64 for b in bits] == expected


def test_uniform_numbers_are_the_leading_bits_as_a_fraction() -> None:
    single = uniform(torch.tensor(0), 3)
    double = uniform(torch.tensor(0), 3, dtype=torch.float64)
    assert single.tolist() == [(b >> 40) / 2**24 for b in PUBLISHED[0]]
    assert double.tolist() == [(b >> 11) / 2**53 for b in PUBLISHED[0]]


def test_derived_keys_differ_by_key_purpose_and_number() -> None:
    keys = [derive(k, what, n) for k in range(20) for what in ("order", "build") for n in range(20)]
    assert len(set(keys)) == len(keys)
    assert all(0 <= key < 2**63 for key in keys)


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**40))
def test_folding_changes_the_key(key: int, number: int) -> None:
    folded = fold(torch.tensor(key), torch.tensor([number, number + 1]))
    assert len({key, *folded.tolist()}) == 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_have_their_distribution(dtype: torch.dtype) -> None:
    key = torch.tensor(derive(5, "test"))
    flat, bell = uniform(key, 20_000, dtype=dtype), normal(key, 20_000, dtype=dtype)
    assert flat.dtype == bell.dtype == dtype
    assert stats.kstest(flat.numpy(), "uniform").pvalue > 0.01
    assert stats.kstest(bell.numpy(), "norm").pvalue > 0.01
    assert bool(torch.isfinite(bell).all())
    assert flat.max() < 1


def test_streams_of_neighbouring_keys_are_uncorrelated() -> None:
    streams = normal(torch.arange(50), 2000, dtype=torch.float64)
    off = torch.corrcoef(streams)[~torch.eye(50, dtype=torch.bool)]
    assert off.abs().max() < 5 / 2000**0.5


def test_a_key_draws_the_same_numbers_in_any_company() -> None:
    keys = torch.arange(6).view(2, 3)
    together = uniform(keys, 4, 5)
    assert together.shape == (2, 3, 4, 5)
    assert torch.equal(together[1, 2], uniform(torch.tensor(5), 4, 5))
    stacked = vmap(lambda key: normal(key, 7), randomness="error")(keys.flatten())
    assert torch.equal(stacked[4], normal(torch.tensor(4), 7))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_made_on_the_host_are_those_made_on_a_device(dtype: torch.dtype) -> None:
    keys = torch.tensor([[3, -9], [2**63 - 1, 0], [-(2**63), 77]])
    expected = normal(keys, 5, 3, dtype=dtype)
    assert torch.equal(normal_on_host(keys, 5, 3, dtype=dtype), expected)
    for count in (1, 4, 5):
        bits = _bits(keys, (3,)).view(torch.int32)
        assert torch.equal(words(keys, count), bits[..., :count])
    many = words(torch.tensor(5), 100_000).double() / 2**32 + 0.5
    assert stats.kstest(many.numpy(), "uniform").pvalue > 1e-3
