"""Does a reference say what the target is worth, and that it is worth nothing where that is so?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from offboard.bench import expert
from offboard.bench.expert import Reference, reference_of
from offboard.bench.pairs import PAIRS, pair_named
from offboard.bench.world import World, open_world
from offboard.rollout import Policy
from protocol.errors import ConfigError


def test_solved_is_four_fifths_of_the_way_from_random_to_expert() -> None:
    assert Reference(110.0, 10.0, source_gain=200.0).threshold == pytest.approx(90.0)


@pytest.mark.parametrize(
    ("expert_return", "reachable"), [(50.0, True), (49.9, False), (0.0, False), (-5.0, False)]
)
def test_a_target_is_reachable_if_its_expert_gains_a_quarter_of_the_sources(
    expert_return: float, reachable: bool
) -> None:
    reference = Reference(expert_return, random_return=0.0, source_gain=200.0)
    assert (reference.threshold is not None) is reachable


def test_the_best_expert_is_the_reference_and_is_not_made_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def giving(start: str, value: float) -> Any:
        return lambda *_: made.append(start) or value

    prior = SimpleNamespace(expert_return=210.0, random_return=10.0)
    monkeypatch.setattr(expert, "source_of", lambda *_: prior)
    monkeypatch.setattr(expert, "random_return", lambda *_: 5.0)
    monkeypatch.setitem(expert._EXPERTS, "source", giving("source", 90.0))
    monkeypatch.setitem(expert._EXPERTS, "scratch", giving("scratch", 70.0))
    pair = replace(pair_named("furuta"), expert_from=("source", "scratch"))
    assert reference_of(pair, tmp_path) == Reference(90.0, 5.0, 200.0)
    assert reference_of(pair, tmp_path) == Reference(90.0, 5.0, 200.0)
    assert made == ["source", "scratch"]


def test_a_source_that_was_not_learned_is_no_yardstick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prior = SimpleNamespace(expert_return=10.0, random_return=10.0)
    monkeypatch.setattr(expert, "source_of", lambda *_: prior)
    with pytest.raises(ConfigError, match="more source steps"):
        reference_of(pair_named("furuta"), tmp_path)


def first_reward(world: World, policy: Policy) -> float:
    env = open_world(world)
    obs, _ = env.reset(seed=3)
    reward = env.step(policy(obs))[1]
    env.close()
    return float(reward)


def test_the_mirrored_expert_does_in_the_crossed_body_what_the_source_does_at_home() -> None:
    pair = pair_named("cheetah_inverted")
    policy = lambda obs: np.tanh(obs[:6]).astype(np.float32)  # noqa: E731
    at_home = first_reward(pair.source, policy)
    assert first_reward(pair.target, lambda obs: -policy(obs)) == at_home
    assert first_reward(pair.target, policy) != at_home


def test_only_crossed_wires_make_the_source_expert_mirrored_the_targets() -> None:
    mirrored = {pair.name for pair in PAIRS if "mirror" in pair.expert_from}
    assert mirrored == {"cheetah_inverted"}
