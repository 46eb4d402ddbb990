"""Fixtures that several kinds of tests share; the peers themselves are in tests/support."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from made_policy import write_bundle
from made_rig import ROBOT, RigPort, make_rig_port

from protocol.robot_spec import RobotSpec, load_robot_spec


@pytest.fixture(scope="module")
def eager() -> Iterator[None]:
    """The learner's functions uncompiled: torch.compile costs 30 s and changes no result."""
    import torch

    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("offboard.compiled.can_compile", lambda: False)
        yield


@pytest.fixture
def furuta() -> RobotSpec:
    return load_robot_spec(ROBOT)


@pytest.fixture
def rig_port(furuta: RobotSpec) -> RigPort:
    return make_rig_port(furuta)


@pytest.fixture
def make_bundle(furuta: RobotSpec, tmp_path: Path) -> Callable[..., Path]:
    return partial(write_bundle, tmp_path, furuta)
