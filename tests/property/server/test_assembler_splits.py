"""Does it matter how the uplink happened to cut the stream into batches?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_learning import JUDGE, LAYOUT, episode_rows

from offboard.assembler import Assembler, Episode
from offboard.replay import join
from protocol.modes import Mode
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
    rows = np.concatenate([first, reset, second, third])
    rows["obs"] += np.random.default_rng(0).normal(scale=0.1, size=rows["obs"].shape)
    return rows


ROWS = stream()


def assembled(cuts: list[int]):
    assembler = Assembler(LAYOUT, JUDGE)
    parts = np.split(ROWS, sorted(cuts))
    batches, episodes = zip(*(assembler.push(rows) for rows in parts), strict=True)
    return join(batches), [episode for some in episodes for episode in some]


WHOLE, EPISODES = assembled([])


def test_the_stream_is_worth_cutting() -> None:
    assert WHOLE.size == 4 + 4 + 2
    assert [(e.number, e.representative) for e in EPISODES] == [(1, True), (2, False), (3, False)]


@settings(deadline=None)
@example([*range(len(ROWS))])
@given(st.lists(st.integers(0, len(ROWS)), max_size=len(ROWS)))
def test_every_way_of_cutting_gives_the_same(cuts: list[int]) -> None:
    batch, episodes = assembled(cuts)
    for cut, whole in zip(batch, WHOLE, strict=True):
        torch.testing.assert_close(cut, whole)
    assert [without_total(episode) for episode in episodes] == [*map(without_total, EPISODES)]
    assert [e.total for e in episodes] == pytest.approx([e.total for e in EPISODES])


def without_total(episode: Episode) -> Episode:
    return replace(episode, total=0.0)
