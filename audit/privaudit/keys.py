"""Randomness that belongs to one model, whoever trains beside it.

On the host a key is an int, made by `derive`. On the device it is an int64 tensor that `uniform`
and `normal` turn into numbers by hashing (key, position): no generator, so the same under vmap,
in any company, on any device.

The hash is the finaliser of SplitMix64 (Steele, Lea & Flood 2014, "Fast splittable pseudorandom
number generators", fig. 15), whose output on a counter is the published generator itself.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from math import pi, prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_GAMMA = 0x9E3779B97F4A7C15 - (1 << 64)  # as a signed 64-bit number
_MIX_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX_2 = 0x94D049BB133111EB - (1 << 64)


def derive(key: int, *parts: int | str) -> int:
    """A new 63-bit key for a named purpose, independent of every other.

    >>> derive(0, "init") == derive(0, "init"), derive(0, "init") == derive(0, "order")
    (True, False)
    """
    text = "\x1f".join([str(key), *map(str, parts)])
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Draw from the global generators under a seed, and leave them as they were.

    They are torch's on the CPU, and on `device` where that is a GPU, NumPy's and Python's: what a
    network draws from, whose author knows nothing of keys.
    """
    cuda = [device] if device is not None and device.type == "cuda" else []
    before = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        for one in cuda:
            with torch.cuda.device(one):
                torch.cuda.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(before[0])
            random.setstate(before[1])


def _shift(z: Tensor, bits: int) -> Tensor:
    return (z >> bits) & ((1 << (64 - bits)) - 1)  # >> on int64 copies the sign: mask it off


def _mix(z: Tensor) -> Tensor:
    z = (z ^ _shift(z, 30)) * _MIX_1
    z = (z ^ _shift(z, 27)) * _MIX_2
    return z ^ _shift(z, 31)


def fold(key: Tensor, number: int | Tensor) -> Tensor:
    """A new key from a key and a number (a step, a layer), elementwise, int64."""
    if isinstance(number, int):  # a host's number takes part in a kernel; as a tensor it is sent
        return _mix(key + _signed((number + 1) * _GAMMA))
    return _mix(key + (number.to(key.device) + 1) * _GAMMA)


def _signed(number: int) -> int:
    """A number modulo 2^64, as int64 has it."""
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number


def _bits(key: Tensor, shape: tuple[int, ...]) -> Tensor:
    count = torch.arange(1, prod(shape) + 1, device=key.device).view(shape)
    return _mix(key.reshape(key.shape + (1,) * len(shape)) + count * _GAMMA)


def uniform(key: Tensor, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Numbers in [0, 1), (*key.shape, *shape): those of each key depend on it alone."""
    digits = 24 if dtype == torch.float32 else 53
    return _shift(_bits(key, shape), 64 - digits).to(dtype) * 2.0**-digits


def normal(key: Tensor, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard normal numbers (*key.shape, *shape), by Box and Muller's transform."""
    radius = torch.sqrt(-2 * torch.log1p(-uniform(fold(key, 0), *shape, dtype=dtype)))
    return radius * torch.cos(2 * pi * uniform(fold(key, 1), *shape, dtype=dtype))


def words(key: Tensor, count: int) -> Tensor:
    """Words of 32 random bits each, (*key.shape, count) int32; not under vmap."""
    pairs = -(-count // 2)
    if key.device.type == "cpu":
        bits = torch.from_numpy(_bits_on_host(key, pairs).view(np.int64))
    else:
        bits = _bits(key, (pairs,))
    return bits.view(torch.int32)[..., :count]


def normal_on_host(key: Tensor, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """The numbers of `normal` in half the time, for keys in the host's memory and not under vmap.

    NumPy shifts without a sign, and nothing is written twice.
    """
    radius = _uniform_on_host(fold(key, 0), shape, dtype).neg_().log1p_().mul_(-2).sqrt_()
    return radius.mul_(_uniform_on_host(fold(key, 1), shape, dtype).mul_(2 * pi).cos_())


def _uniform_on_host(key: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    digits = 24 if dtype == torch.float32 else 53
    z = _bits_on_host(key, prod(shape))
    z >>= np.uint64(64 - digits)
    numbers = torch.from_numpy(z.view(np.int64)).to(dtype)
    return numbers.mul_(2.0**-digits).view(key.shape + shape)


def _bits_on_host(key: Tensor, count: int) -> NDArray[np.uint64]:
    """What `_bits` gives of keys (...): (..., count)."""
    gamma, first, second = (np.uint64(n % 2**64) for n in (_GAMMA, _MIX_1, _MIX_2))
    counter = np.arange(1, count + 1, dtype=np.uint64) * gamma
    z = key.numpy().view(np.uint64)[..., None] + counter
    shifted = np.empty_like(z)
    for bits, factor in ((30, first), (27, second), (31, None)):
        np.right_shift(z, np.uint64(bits), out=shifted)
        z ^= shifted
        if factor is not None:
            z *= factor
    return z
