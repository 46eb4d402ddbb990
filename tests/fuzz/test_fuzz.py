"""Does any decoder crash on damaged bytes? Bounded and repeatable; `make fuzz` is the long run."""

from __future__ import annotations

from itertools import islice

import pytest
from fuzz_decoders import DECODERS, NOTHING, Decoder, is_crash
from fuzz_mutations import mutants
from fuzz_run import table

EXECUTIONS = 3000
SEED = 20261122


@pytest.mark.parametrize("name", DECODERS)
def test_damaged_bytes_are_refused_by_the_decoders_own_family(name: str) -> None:
    decoder = DECODERS[name]
    for data in islice(mutants(decoder.examples, SEED), EXECUTIONS):
        error = is_crash(decoder, data)
        assert error is None, f"{data.hex()}: {error!r}"


@pytest.mark.parametrize("name", DECODERS)
def test_examples_are_sound(name: str) -> None:
    """Or the fuzzer would never get past the first check."""
    for data in DECODERS[name].examples:
        DECODERS[name].feed(data)


@pytest.mark.parametrize("name", DECODERS)
def test_damage_is_noticed(name: str) -> None:
    """Most damaged examples are refused; decoders that resynchronise have nothing to refuse."""
    decoder = DECODERS[name]
    if decoder.may_raise == NOTHING:
        pytest.skip("skips what it cannot read")
    refused = 0
    for data in islice(mutants(decoder.examples, SEED), 200):
        try:
            decoder.feed(data)
        except decoder.may_raise:
            refused += 1
    assert refused > 60


def test_a_crash_would_be_found() -> None:
    def careless(data: bytes) -> int:
        return data[4]

    found = (is_crash(Decoder(careless, ValueError, []), data) for data in mutants([b"abcdef"], 0))
    assert isinstance(next(filter(None, found)), IndexError)


def test_a_run_is_told_as_a_table() -> None:
    entry = {"executions": 1_000_000, "crashes": 2, "commit": "abc", "day": "now"}
    old = {"executions": 10, "crashes": 0}
    assert table({"b": entry, "a": old}).splitlines()[2:] == [
        "| `a` | 10 | 0 | not noted |",
        "| `b` | 1,000,000 | 2 | abc now |",
    ]
