"""Whom the authenticator lets in; and that nothing makes it raise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zmq.utils import z85

from offboard.gate import DOMAIN, answer

KEY = bytes(range(32))
ENROLLED = {z85.encode(KEY).decode(): "furuta-01"}
REQUEST = [b"route", b"", b"1.0", b"7", DOMAIN, b"127.0.0.1", b"", b"CURVE", KEY]


def replaced(index: int, frame: bytes) -> list[bytes]:
    return [*REQUEST[:index], frame, *REQUEST[index + 1 :]]


def test_an_enrolled_key_gets_in_under_its_own_name():
    reply = answer(REQUEST, ENROLLED.get)
    assert reply == [b"route", b"", b"1.0", b"7", b"200", b"OK", z85.encode(KEY), b""]


@pytest.mark.parametrize(
    "request_frames",
    [
        replaced(8, bytes(32)),
        replaced(8, KEY[:-1]),
        replaced(7, b"NULL"),
        replaced(7, b"PLAIN"),
        replaced(4, b"elsewhere"),
        replaced(2, b"2.0"),
        REQUEST[:-1],
        [*REQUEST, b"more"],
    ],
)
def test_everyone_else_stays_out(request_frames):
    reply = answer(request_frames, ENROLLED.get)
    assert reply[:2] == [b"route", b""]
    assert reply[4] == b"400"
    assert reply[6] == b""


@given(st.lists(st.binary(max_size=64), max_size=12))
def test_no_request_makes_it_raise_or_open(frames):
    envelope = frames[:2]
    assert answer(frames, ENROLLED.get)[len(envelope) + 2] == b"400"
