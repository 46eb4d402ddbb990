"""Is a command decided over once, and too late only where it would set something in motion?"""

from __future__ import annotations

import pytest

from onboard.command import Command, OperatorRequest
from onboard.control_api import Clear, Estop, Start, Stop


def test_only_the_first_to_take_it_decides() -> None:
    command = Command(Start())
    assert not command.taken
    assert [command.take() for _ in range(3)] == [True, False, False]
    assert command.taken


@pytest.mark.parametrize(
    ("request_", "late_from_ns"),
    [
        (Start(deadline_ns=100), 101),
        (Clear(deadline_ns=100), 101),
        (Start(), None),
        (Clear(), None),
        (Stop(), None),
        (Estop(), None),
    ],
)
def test_what_moves_has_a_deadline_and_stopping_has_none(
    request_: OperatorRequest, late_from_ns: int | None
) -> None:
    found = [now_ns for now_ns in (99, 100, 101, 10**18) if Command(request_).late(now_ns)]
    assert found == ([] if late_from_ns is None else [101, 10**18])
