"""Faults of one kind that overlap: the end of one does not end the other."""

from __future__ import annotations

import pytest
from made_rig import ROBOT

from protocol import dynamixel as dxl
from protocol import xl330
from protocol.robot_spec import load_robot_spec
from sim_harness.hil.faults import (
    AnyFault,
    BrownOut,
    Dead,
    Frozen,
    Hot,
    Payload,
    Push,
    Reboot,
    Stuck,
    Unplug,
)
from sim_harness.hil.stage import Stage
from sim_harness.hil.stand import Cue, Stand
from sim_harness.terminal import Opened

SPEC = load_robot_spec(ROBOT)
ARM, PENDULUM = 1, 2
MS = 1_000_000


@pytest.fixture
def stage() -> Stage:
    return Stage(SPEC, ROBOT.parent, "nominal", 0)


def turn(stage: Stage, begins: bool, fault: AnyFault) -> None:
    stage.turn(begins, fault)
    stage.advance(stage.time_ns + MS)


def force_n(stage: Stage) -> list[float]:
    return [float(share) for share in stage.plant._data.xfrc_applied[-1, :3]]


def here(stage: Stage) -> list[int]:
    """Who answers a ping."""
    stage.advance(stage.time_ns + MS)
    parser, answers = dxl.Parser(), stage.receive(dxl.make_ping(dxl.BROADCAST_ID), stage.time_ns)
    return [dxl.parse_status(frame).id for each in answers for frame in parser.feed(each.data)]


def position(stage: Stage, node: int) -> int:
    stage.advance(stage.time_ns + MS)
    register, parser = xl330.PRESENT_POSITION, dxl.Parser()
    packet = dxl.make_read(node, register.address, register.size)
    (answer,) = stage.receive(packet, stage.time_ns)
    (frame,) = parser.feed(answer.data)
    return register.unpack(dxl.parse_status(frame).params)


def test_pushes_add_up_and_end_one_by_one(stage):
    one, other = Push(weights=(0.5, 0.0, 0.0), at_s=0.0), Push(weights=(0.25, 1.0, 0.0), at_s=0.1)
    turn(stage, True, one)
    weight_n = 2.0 * force_n(stage)[0]
    turn(stage, True, other)
    assert force_n(stage) == pytest.approx([0.75 * weight_n, weight_n, 0.0])
    turn(stage, False, one)
    assert force_n(stage) == pytest.approx([0.25 * weight_n, weight_n, 0.0])
    turn(stage, False, other)
    assert force_n(stage) == [0.0, 0.0, 0.0]


def test_loads_multiply_and_end_one_by_one(stage):
    whole_kg = float(stage._model.body_mass[-1])
    heavy, light = Payload(share=2.0, at_s=0.0), Payload(share=0.25, at_s=0.1)
    shares = []
    for begins, fault in ((True, heavy), (True, light), (False, heavy), (False, light)):
        turn(stage, begins, fault)
        shares.append(float(stage._model.body_mass[-1]) / whole_kg)
    assert shares == pytest.approx([2.0, 0.5, 0.25, 1.0])


def test_the_supply_is_what_was_cut_last_and_is_still_cut(stage):
    low, lower = BrownOut(supply_v=4.5, at_s=0.0), BrownOut(supply_v=4.0, at_s=0.1)
    supplies = []
    for begins, fault in ((True, low), (True, lower), (False, low), (False, lower)):
        turn(stage, begins, fault)
        supplies.append(stage.plant.supply_v)
    assert supplies == pytest.approx([4.5, 4.0, 4.0, 5.0])


@pytest.mark.parametrize(
    "shorter", [Reboot(node="motor", at_s=0.1), BrownOut(supply_v=0.0, at_s=0.1)]
)
def test_a_node_is_back_only_when_nothing_keeps_it_away(stage, shorter):
    dead = Dead(node="motor", at_s=0.0)
    for begins, fault in ((True, dead), (True, shorter), (False, shorter)):
        turn(stage, begins, fault)
    assert here(stage) == [PENDULUM]
    turn(stage, False, dead)
    assert here(stage) == [ARM, PENDULUM]


@pytest.mark.parametrize("held", [Stuck(joint="pendulum", at_s=0.0), Frozen(at_s=0.0)])
@pytest.mark.parametrize(
    "later", [Hot(joint="arm", temperature_c=40.0, at_s=0.1), Frozen(at_s=0.1)]
)
def test_a_held_encoder_stays_where_it_was_when_another_fault_begins_or_ends(stage, held, later):
    before = position(stage, PENDULUM)
    turn(stage, True, held)
    turn(stage, True, Push(weights=(0.0, 2.0, 0.0), at_s=0.0))
    stage.advance(stage.time_ns + 100 * MS)
    assert position(stage, PENDULUM) == before
    for begins in (True, False):
        turn(stage, begins, later)
        assert abs(position(stage, PENDULUM) - before) <= 1
    turn(stage, False, held)
    assert abs(position(stage, PENDULUM) - before) > 50


class Socket:
    """A terminal that only counts."""

    def __init__(self) -> None:
        self.plugged = False

    def open(self) -> Opened:
        self.plugged = True
        return Opened(-1, "tty")

    def close(self) -> None:
        self.plugged = False


def test_an_adapter_pulled_twice_is_back_when_both_let_go(stage):
    socket = Socket()
    stand = Stand(stage, SPEC.bus.baud, socket, lambda: 0)
    plugged = []
    first, second = Unplug(at_s=0.0, for_s=1.0), Unplug(at_s=0.5, for_s=1.0)
    for begins, fault in ((True, first), (True, second), (False, first), (False, second)):
        stand.cues.append(Cue(begins, fault))
        stand._obey()
        plugged.append(socket.plugged)
    assert plugged == [False, False, False, True]
