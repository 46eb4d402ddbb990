"""Do parts cover the whole, each with a stream of its own?"""

from __future__ import annotations

import pytest
import torch

from offboard.parts import parts_of, seed_of, stream
from protocol.errors import ConfigError


@pytest.mark.parametrize(("total", "into"), [(10, 1), (10, 3), (7, 7), (2, 5), (0, 3)])
def test_parts_cover_everything_once_and_evenly(total: int, into: int) -> None:
    parts = parts_of(total, into)
    covered = [thing for part in parts for thing in range(part.first, part.first + part.count)]
    assert covered == list(range(total))
    assert {part.count for part in parts} <= {total // into, -(-total // into)} - {0}


@pytest.mark.parametrize("into", [0, -1])
def test_fewer_than_one_part_is_refused(into: int) -> None:
    with pytest.raises(ConfigError, match="give 1 or more"):
        parts_of(4, into)


def test_a_stream_is_its_numbers_and_nothing_else() -> None:
    assert torch.equal(torch.rand(4, generator=stream(1, 2)), torch.rand(4, generator=stream(1, 2)))
    assert len({seed_of(a, b) for a in range(8) for b in range(8)}) == 64
