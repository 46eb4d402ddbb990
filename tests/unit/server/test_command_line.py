"""Does a program started with a config's command line run with that very config?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import tyro

from offboard.command_line import arguments
from offboard.finetune import FinetuneConfig
from offboard.planner_policy import SearchConfig
from offboard.sac import SacConfig
from offboard.session_plan import SessionConfig
from offboard.stages.serve_wiring import ServeConfig
from offboard.switch import Course

PLAIN = ServeConfig(
    robot=Path("hw configs/furuta.toml"), task="swing_up", unit="one", source=Path("source"),
    generated=Path("generate"), keys=Path("keys"),
)  # fmt: skip
UNUSUAL = replace(
    PLAIN,
    cpus=(1, 3),
    nice=10,
    policy="planner",
    search=SearchConfig(temperature=1e-9, penalty=-0.5),
    sac=SacConfig(target_subset=2, lr=3e-4, target_entropy=-12.5),
    finetune=FinetuneConfig(course=Course.FINETUNE),
    session=SessionConfig(gate_ratio=0.0, target_steps=2_000),
)


@pytest.mark.parametrize("config", [PLAIN, UNUSUAL])
def test_what_is_read_back_is_what_was_said(config: ServeConfig) -> None:
    assert tyro.cli(ServeConfig, args=arguments(config)) == config


def test_the_far_sides_defaults_do_not_matter() -> None:
    elsewhere = replace(UNUSUAL, cpus=(), session=SessionConfig())
    assert tyro.cli(ServeConfig, args=arguments(elsewhere), default=UNUSUAL) == elsewhere


@dataclass(frozen=True)
class _Switches:
    fast_lane: bool = False
    lights_on: bool = True


@dataclass(frozen=True)
class _Car:
    switches: _Switches = _Switches()


@pytest.mark.parametrize("switches", [_Switches(), _Switches(fast_lane=True, lights_on=False)])
def test_switches_are_said_both_ways(switches: _Switches) -> None:
    config = _Car(switches)
    assert tyro.cli(_Car, args=arguments(config)) == config
