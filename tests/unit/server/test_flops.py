"""Do the counts agree with what PyTorch counts while the work is done?"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from offboard.bench import flops
from offboard.bench.contenders import (
    BURST,
    fit_steps,
    learner,
    made_transitions,
    matrix_products,
    our_updates,
    plans,
)
from offboard.columns import Unnamed
from offboard.model_state import ModelConfig
from offboard.planner import PlanConfig
from offboard.sac import Sac
from offboard.world_model import WorldModel

pytestmark = pytest.mark.usefixtures("eager")

O, A, BATCH = 5, 2, 4
MODEL = ModelConfig(members=3, width=8, batch=16, check_every=BURST)
PLAN = PlanConfig(horizon=2, policy_candidates=3, random_candidates=4, elites=2)


def counted(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def tiny() -> Sac:
    return learner(O, A, width=8, batch=BATCH)


def model_space():
    return WorldModel(Unnamed(O, A), None, MODEL).space


def test_an_update() -> None:
    sac = tiny()
    work = our_updates(sac)
    work.run()  # the first makes the data too
    wanted = flops.update(sac.actor_space, sac.critic_space, BATCH)
    assert counted(work.run) == BURST * wanted


def test_a_step_of_the_fit() -> None:
    """One step more costs one step: what fit does besides is the same for both."""
    model = WorldModel(Unnamed(O, A), None, MODEL)
    data = made_transitions(O, A, 100)
    state, generator = model.initial(data, 0), torch.Generator().manual_seed(0)
    two, three = (
        counted(lambda steps=steps: model.fit(state, data, steps, generator)) for steps in (2, 3)
    )
    assert three - two == flops.fit(model.space, MODEL.batch)


def test_a_plan() -> None:
    """The model also puts changes into their columns and onto circles: two small products."""
    sac = tiny()
    networks = flops.plan(model_space(), sac.actor_space, sac.critic_space, PLAN)
    placing = flops.imagined_steps(PLAN) * 2 * (2 * O**2)
    work = plans(sac, PLAN, MODEL, starts=5)
    assert counted(work.run) == 5 * (networks + placing)


def test_imagined_steps_of_a_plan() -> None:
    """Three of the policy's candidates are rolled out, then all seven, two steps each."""
    assert flops.imagined_steps(PLAN) == 2 * (3 + 7)


def test_a_matrix_product_counts_its_operations() -> None:
    work = matrix_products(6, torch.float32)
    assert counted(work.run) == work.units == 2 * 6**3


@pytest.mark.parametrize("stance", ["default", "force_eager"])
def test_the_fit_runs_in_both_stances(stance: str) -> None:
    fit_steps(O, A, MODEL, stance).run()
