"""Is the source learned on bodies drawn from the robot file, and never on one of the test set?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from made_learning import SMALL_MODEL, SMALL_SAC
from made_records import ROBOT_FILE

from offboard.rollout import make_env
from offboard.run_dir import open_run
from offboard.stages import source
from offboard.stages.source import SourceConfig, run_source
from protocol.errors import ConfigError, StoreError

SOURCE = SourceConfig(
    robot=ROBOT_FILE, task="swing_up", randomise=True, sac=SMALL_SAC, model=SMALL_MODEL
)


def starts(env) -> list[list[float]]:
    """First observations after a wild second, of three episodes."""
    found = []
    for seed in (1, 2, 3):
        env.reset(seed=seed)
        for _ in range(20):
            seen, *_ = env.step(env.action_space.high)
        found.append(seen.tolist())
    env.close()
    return found


def test_the_source_is_learned_on_other_bodies_than_it_is_judged_on() -> None:
    drawn, plain = starts(source._env(SOURCE)), starts(source._judge_env(SOURCE))
    fixed = starts(source._env(replace(SOURCE, randomise=False)))
    assert fixed == plain
    assert all(one != other for one, other in zip(drawn, plain, strict=True))


@pytest.mark.parametrize("body", ["target", "sticky", "tired"])
@pytest.mark.parametrize("randomise", [False, True])
def test_no_source_is_learned_on_a_body_of_the_test_set(
    body: str, randomise: bool, tmp_path: Path
) -> None:
    config = replace(SOURCE, body=body, randomise=randomise)
    with pytest.raises(ConfigError, match=f"'{body}' is of the test set"):
        run_source(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_world_that_draws_no_bodies_says_so() -> None:
    with pytest.raises(ConfigError, match="leave --randomise out"):
        make_env(ROBOT_FILE, "swing_up", "nominal", "CartPole-v1", randomise=True)


def test_a_run_begun_before_there_was_the_choice_goes_on_without_it(tmp_path: Path) -> None:
    old = replace(SOURCE, randomise=False)
    path = open_run(tmp_path, old, "inputs").path / "config.json"
    path.write_text(
        path.read_text().replace('"randomise":false,', "").replace('"randomise": false,', "")
    )
    assert "randomise" not in path.read_text()
    open_run(tmp_path, old, "inputs")
    with pytest.raises(StoreError, match="another randomise"):
        open_run(tmp_path, SOURCE, "inputs")
