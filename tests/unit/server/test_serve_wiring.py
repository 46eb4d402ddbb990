"""Does ``serve`` publish the kind of policy it was asked for?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors
from made_learning import (
    JUDGE,
    LAYOUT,
    SMALL_MODEL,
    SMALL_SAC,
    A,
    O,
    episode_rows,
    linear_transitions,
)
from made_records import ROBOT_FILE

from offboard.keys import init_server
from offboard.planner_policy import SearchConfig
from offboard.publish import open_repository
from offboard.run_dir import RunDir
from offboard.sac import Sac
from offboard.session import Session, SessionConfig
from offboard.stages.serve_wiring import Prior, ServeConfig, _open_session
from offboard.stages.source import Source
from offboard.task_setup import load_task
from offboard.world_model import WorldModel

pytestmark = pytest.mark.usefixtures("eager")

DATA = linear_transitions(200, seed=0)


def prior() -> Prior:
    """A source run that learned nothing."""
    sac, model = Sac(O, A, 0.98, SMALL_SAC), WorldModel(LAYOUT, JUDGE, SMALL_MODEL)
    untrained = sac.initial(seed=0), model.initial(DATA, seed=0)
    config = {"model": asdict(SMALL_MODEL)}
    return Prior(Source(*untrained, DATA, DATA.obs[:1], {}, config), DATA)


def opened(kind: str, place: Path) -> tuple[Session, Path, RunDir]:
    """A session of a new server, its repository and its run."""
    keys = init_server(place / "keys")
    repository = open_repository(place / "repository", keys.signers, keys.root)
    config = ServeConfig(
        robot=ROBOT_FILE, task="swing_up", unit="one", source=place, generated=place, keys=place,
        policy=kind, search=SearchConfig(horizon=1, pairs=1), sac=SMALL_SAC,
        session=SessionConfig(zero_shot_episodes=1, episode_steps=3),
    )  # fmt: skip
    setup, ingest, run = load_task(ROBOT_FILE, "swing_up"), SimpleNamespace(), RunDir(place)
    session, _ = _open_session(config, setup, prior(), repository, ingest, run)
    return session, repository.directory, run


@pytest.mark.parametrize(("kind", "searches"), [("actor", False), ("planner", True)])
def test_the_published_policy_is_of_the_kind_asked_for(kind, searches, tmp_path: Path) -> None:
    session, repository, run = opened(kind, tmp_path)
    session.begin()
    (weights,) = repository.rglob("*.safetensors")
    with safetensors.safe_open(weights, framework="numpy") as file:
        assert ("search.pushes" in file.keys()) is searches  # noqa: SIM118  no mapping
    session.push(episode_rows(1))
    session.turn()
    first, second = run.metrics()
    assert "imagined_return" not in first
    assert 0.0 <= second["imagined_return"] <= 3.0
