"""Is an ensemble fitted in groups one ensemble, and the same wherever it was fitted?"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from made_learning import SMALL_MODEL, linear_transitions
from made_records import ROBOT_FILE

from offboard.ensemble import fit_group, fit_in_groups
from offboard.model_state import ModelState
from offboard.task_setup import load_task
from offboard.workers import Here
from offboard.world_model import WorldModel

pytestmark = pytest.mark.usefixtures("eager")

TASK = "swing_up"
DATA = linear_transitions(400, seed=0)
FRESH = linear_transitions(200, seed=1)
STEPS = 120
SEED = 5


@pytest.fixture(scope="module")
def whole(eager: None) -> WorldModel:
    return load_task(ROBOT_FILE, TASK).world_model(SMALL_MODEL)


@pytest.fixture(scope="module")
def state(eager: None) -> ModelState:
    return fit_in_groups(Here(), ROBOT_FILE, TASK, SMALL_MODEL, DATA, STEPS, SEED, groups=2)


def group(members: int, index: int) -> tuple[WorldModel, ModelState]:
    config = replace(SMALL_MODEL, members=members)
    fitted = fit_group(ROBOT_FILE, TASK, config, DATA, STEPS, SEED, index)
    return load_task(ROBOT_FILE, TASK).world_model(config), fitted


def test_every_members_mean_is_its_groups(whole: WorldModel, state: ModelState) -> None:
    mean, _ = whole.predict(state, FRESH.obs, FRESH.applied)
    groups = [group(2, 0), group(1, 1)]
    apart = torch.cat([model.predict(own, FRESH.obs, FRESH.applied)[0] for model, own in groups])
    torch.testing.assert_close(mean, apart)


def test_it_learns_as_an_ensemble_fitted_as_one_does(whole: WorldModel, state: ModelState) -> None:
    as_one = whole.fit(whole.initial(DATA, SEED), DATA, STEPS, torch.Generator().manual_seed(SEED))
    assert whole.nmse(state, FRESH) < 1.5 * whole.nmse(as_one, FRESH)


def test_it_can_be_trained_on(whole: WorldModel, state: ModelState) -> None:
    further = whole.fit(state, DATA, 100, torch.Generator().manual_seed(0))
    assert whole.nmse(further, FRESH) < whole.nmse(state, FRESH)
