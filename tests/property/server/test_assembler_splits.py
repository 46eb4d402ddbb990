"""Does it matter how the uplink happened to cut the stream into batches?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_learning import JUDGE, LAYOUT, episode_rows

from offboard.assembler import EVERY_TICK, Assembler, Episode
from offboard.replay import join
from protocol.modes import Mode
from protocol.robot_spec import Policy
from protocol.step_record import End, Flag, Rows


def stream() -> Rows:
    """Three episodes with a reset, a lost row, a stale one, and a swap in their midst."""
    first = episode_rows(1, steps=4)
    reset = episode_rows(1, steps=3, first=5)
    reset["mode"], reset["end"] = Mode.RECOVER, End.RUNNING
    second = np.delete(episode_rows(2, steps=6, first=9, version=2, end=End.TERMINATED), 3)
    third = episode_rows(3, steps=5, first=16, version=2, end=End.ABORTED)
    third["policy_version"][3:] = 3
    third["flags"][1] = Flag.STALE_SENSOR
    for part in (first, second, third):
        part["flags"][part["step"] % 2 == 0] |= np.uint32(Flag.ASKED)
    rows = np.concatenate([first, reset, second, third])
    rows["obs"] += np.random.default_rng(0).normal(scale=0.1, size=rows["obs"].shape)
    return rows


ROWS = stream()
POLICIES = [EVERY_TICK, Policy(divisor=2), Policy(divisor=3, between="interpolate")]


def assembled(cuts: list[int], policy: Policy = EVERY_TICK):
    assembler = Assembler(LAYOUT, JUDGE, policy)
    parts = np.split(ROWS, sorted(cuts))
    batches, episodes = zip(*(assembler.push(rows) for rows in parts), strict=True)
    return join(batches), [episode for some in episodes for episode in some]


def test_the_stream_is_worth_cutting() -> None:
    whole, episodes = assembled([])
    assert whole.size == 4 + 4 + 2
    assert [(e.number, e.representative) for e in episodes] == [(1, True), (2, False), (3, False)]
    assert [assembled([], policy)[0].size for policy in POLICIES] == [10, 5, 1]


@pytest.mark.parametrize("policy", POLICIES)
@settings(deadline=None)
@example([*range(len(ROWS))])
@given(st.lists(st.integers(0, len(ROWS)), max_size=len(ROWS)))
def test_every_way_of_cutting_gives_the_same(policy: Policy, cuts: list[int]) -> None:
    wanted, known = assembled([], policy)
    batch, episodes = assembled(cuts, policy)
    for cut, whole in zip(batch, wanted, strict=True):
        torch.testing.assert_close(cut, whole)
    assert [without_total(episode) for episode in episodes] == [*map(without_total, known)]
    assert [e.total for e in episodes] == pytest.approx([e.total for e in known])


def without_total(episode: Episode) -> Episode:
    return replace(episode, total=0.0)
