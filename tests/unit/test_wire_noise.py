"""What a bad wire does to bytes."""

from __future__ import annotations

import numpy as np
import pytest

from sim_harness.hil.faults import Babble, Delay, Drop, Duplicate, Flip, Half
from sim_harness.hil.wire_noise import damaged, damaged_reply
from sim_harness.wire_end import Reply

DATA = bytes(range(100))


def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("kind", [Drop, Flip, Duplicate, Half])
def test_a_share_of_zero_changes_nothing(kind):
    fault = kind(share=0.0, at_s=0.0)
    assert damaged_reply(Reply(5, DATA), [fault], rng()) == Reply(5, DATA)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Drop(share=1.0, at_s=0.0), b""),
        (Duplicate(share=1.0, at_s=0.0), bytes(np.repeat(np.frombuffer(DATA, np.uint8), 2))),
        (Half(share=1.0, at_s=0.0), DATA),
        (Delay(delay_s=1.0, at_s=0.0), DATA),
    ],
)
def test_to_the_robot_bytes_vanish_or_come_twice_and_answers_faults_do_nothing(fault, expected):
    assert damaged(DATA, [fault], rng()) == expected


def test_flipping_turns_exactly_one_bit_of_every_byte_hit():
    flipped = damaged(DATA, [Flip(share=1.0, at_s=0.0)], rng())
    turned = [bin(a ^ b).count("1") for a, b in zip(DATA, flipped, strict=True)]
    assert turned == [1] * len(DATA)


def test_about_the_given_share_is_hit():
    left = damaged(bytes(10_000), [Drop(share=0.2, at_s=0.0)], rng())
    assert 7_800 < len(left) < 8_200


def test_half_an_answer_is_its_first_half():
    assert damaged_reply(Reply(0, DATA), [Half(share=1.0, at_s=0.0)], rng()).data == DATA[:50]


def test_noise_comes_before_the_answer():
    data = damaged_reply(Reply(0, DATA), [Babble(length=7, at_s=0.0)], rng()).data
    assert (len(data), data[7:]) == (107, DATA)


def test_a_late_answer_is_late_by_delay_and_at_most_jitter():
    fault, noise = Delay(delay_s=0.001, jitter_s=0.002, at_s=0.0), rng()
    late = [damaged_reply(Reply(500, b""), [fault], noise).delay_ns - 500 for _ in range(200)]
    assert 1_000_000 <= min(late) < 1_200_000
    assert 2_800_000 < max(late) <= 3_000_000


def test_equal_seeds_damage_equally():
    faults = [Drop(share=0.1, at_s=0.0), Flip(share=0.1, at_s=0.0)]
    assert damaged(DATA, faults, rng()) == damaged(DATA, faults, rng())
