"""Bytes made from sound examples by the ways in which bytes go wrong. Deterministic by seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

MAX_BYTES = 8192
_TELLING = (0x00, 0x01, 0x7F, 0x80, 0xC0, 0xC1, 0xFD, 0xFE, 0xFF)

Mutation = Callable[[random.Random, bytearray], None]


def mutants(examples: Sequence[bytes], seed: int) -> Iterator[bytes]:
    """Without end: the examples themselves, then damaged ones."""
    yield from examples
    rng = random.Random(seed)
    while True:
        data = bytearray(rng.choice(examples))
        for _ in range(1 + int(rng.expovariate(0.7))):
            rng.choice(MUTATIONS)(rng, data)
        yield bytes(data[:MAX_BYTES])


def flip_bit(rng: random.Random, data: bytearray) -> None:
    """One bit."""
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def set_byte(rng: random.Random, data: bytearray) -> None:
    """A byte that means something in many formats."""
    if data:
        data[rng.randrange(len(data))] = rng.choice(_TELLING)


def set_number(rng: random.Random, data: bytearray) -> None:
    """Several bytes at once: a length, a count, a float that is not finite."""
    start = rng.randrange(len(data) + 1)
    value = rng.choice((b"\xff" * 4, b"\x00" * 8, b"\x7f\xc0\x00\x00", rng.randbytes(4)))
    data[start : start + len(value)] = value


def cut(rng: random.Random, data: bytearray) -> None:
    """The end is missing."""
    del data[rng.randrange(len(data) + 1) :]


def remove(rng: random.Random, data: bytearray) -> None:
    """Something in the middle is missing."""
    start = rng.randrange(len(data) + 1)
    del data[start : start + rng.randrange(1, 32)]


def insert(rng: random.Random, data: bytearray) -> None:
    """Something is there that does not belong."""
    start = rng.randrange(len(data) + 1)
    data[start:start] = rng.randbytes(rng.randrange(1, 32))


def repeat(rng: random.Random, data: bytearray) -> None:
    """A part comes twice, or a hundred times: nesting, duplicate keys, long lists."""
    start = rng.randrange(len(data) + 1)
    part = bytes(data[start : start + rng.randrange(1, 32)])
    data[start:start] = part * rng.choice((1, 2, 100))


MUTATIONS: tuple[Mutation, ...] = (flip_bit, set_byte, set_number, cut, remove, insert, repeat)
