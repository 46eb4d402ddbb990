"""Does a crew of two learn what one process learns from the whole minibatch?"""

from __future__ import annotations

import pytest
import torch
from crew_of_two import CONFIG, DISCOUNT, A, O, learn, run_crew

from offboard.distributed import Crew, crew, follow
from offboard.sac import Sac, SacConfig, SacState
from protocol.errors import ConfigError

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture(scope="module")
def crew_states(tmp_path_factory: pytest.TempPathFactory) -> list[SacState]:
    """Uncompiled: what the leader and its follower hold in the end."""
    return run_crew(tmp_path_factory.mktemp("crew"), limit_s=280.0, TORCHDYNAMO_DISABLE="1")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("field", SacState._fields)
def test_two_workers_reach_the_parameters_of_one(crew_states: list[SacState], field: str) -> None:
    """To float tolerance: 20 updates in another order of summation differ by 1.2e-7 at most."""
    alone = learn(Sac(O, A, DISCOUNT, CONFIG))
    torch.testing.assert_close(
        getattr(crew_states[0], field), getattr(alone, field), rtol=1e-4, atol=1e-5
    )


@pytest.mark.timeout(300)
def test_the_follower_holds_the_leaders_networks_bit_by_bit(crew_states: list[SacState]) -> None:
    for mine, theirs in zip(*crew_states, strict=True):
        assert torch.equal(mine, theirs)


def test_half_of_every_minibatch_teaches_something_else() -> None:
    """Otherwise the tolerance above would prove nothing."""
    whole = learn(Sac(O, A, DISCOUNT, CONFIG))
    half = learn(Sac(O, A, DISCOUNT, CONFIG), slice(CONFIG.batch // 2))
    assert not torch.allclose(whole.critic, half.critic, rtol=1e-2, atol=1e-3)


def test_a_minibatch_that_cannot_be_shared_out_is_refused() -> None:
    sac = Sac(O, A, DISCOUNT, SacConfig(width=8, batch=32))
    with pytest.raises(ConfigError, match="32 cannot be shared out evenly among 3"):
        follow(Crew(1, 3), sac, O)


def test_without_torchrun_there_is_no_crew() -> None:
    with pytest.raises(ConfigError, match="torchrun --standalone"), crew():
        pass
