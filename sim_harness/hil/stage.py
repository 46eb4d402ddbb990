"""A rig to which things happen, all of them written down. No clock, no I/O."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import get_args

import mujoco
import numpy as np

from protocol.robot_spec import RobotSpec
from sim_harness.firmware import firmware_for
from sim_harness.hil.faults import (
    AnyFault,
    Babble,
    BrownOut,
    Dead,
    Delay,
    Drop,
    Duplicate,
    Flip,
    Frozen,
    Half,
    Hot,
    ImuFault,
    Jump,
    Noisy,
    Overloaded,
    Payload,
    Push,
    Reboot,
    Stuck,
)
from sim_harness.hil.faulty_firmware import FaultyFirmware
from sim_harness.hil.tape import Event, Heard, Turned, answers_crc32
from sim_harness.model import compile_model
from sim_harness.plant import Plant
from sim_harness.rig import Rig
from sim_harness.wire_end import Reply

GRAVITY_M_S2 = 9.81
_NO_PUSH = (0.0, 0.0, 0.0)


class Stage:
    """See :class:`sim_harness.link.Machine`; equal seeds and events, equal runs.

    Attributes:
        firmware: the nodes.
        plant: the physics.
        events: what happened so far.
    """

    def __init__(self, spec: RobotSpec, directory: Path, body: str, seed: int) -> None:
        """``directory`` is where the MJCF lies. Raises ConfigError as ``compile_model``."""
        parameters = spec.body(body)
        self._model = compile_model(spec, parameters, directory)
        self.plant = Plant(spec, parameters, self._model, seed)
        self.firmware = FaultyFirmware(
            firmware_for(spec), spec, np.random.default_rng(seed), lambda: self._rig.time_ns
        )
        self._rig = Rig(spec, body, self.plant, self.firmware)
        self._carrier = carrier(self._model)
        self._mass_kg = float(self._model.body_mass[self._carrier])
        self._inertia_kg_m2 = self._model.body_inertia[self._carrier].copy()
        self._weight_n = GRAVITY_M_S2 * float(self._model.body_subtreemass[0])
        self._on: list[Push | Payload | BrownOut] = []
        self.events: list[Event] = []

    @property
    def time_ns(self) -> int:
        """End of the last physics step."""
        return self._rig.time_ns

    def advance(self, until_ns: int) -> None:
        """Run every whole physics step that ends at or before ``until_ns``."""
        self._rig.advance(until_ns)

    def receive(self, data: bytes, now_ns: int) -> list[Reply]:
        """Bytes from the host; answers in the order they go on the wire."""
        replies = self._rig.receive(data, now_ns)
        self.events.append(Heard(now_ns, data, answers_crc32(replies)))
        return replies

    def turn(self, begins: bool, fault: AnyFault | None, mark: str = "") -> None:
        """A fault begins or ends now, or a moment is to be remembered."""
        self.events.append(Turned(self.time_ns, begins, fault, mark))
        if isinstance(fault, (Push, Payload, BrownOut)):
            (self._on.append if begins else self._on.remove)(fault)
            self._act_on_the_body(fault)
        if isinstance(fault, _AT_THE_NODES):
            (self.firmware.begin if begins else self.firmware.end)(fault)

    def _act_on_the_body(self, changed: Push | Payload | BrownOut) -> None:
        """Pushes add up, loads multiply, and the supply is what was cut last."""
        if isinstance(changed, Push):
            pushes = [each.weights for each in self._on if isinstance(each, Push)]
            shares = [sum(along) for along in zip(*pushes, _NO_PUSH, strict=True)]
            force_n = [self._weight_n * share for share in shares]
            self.plant.push(self._model.body(self._carrier).name, force_n)
        elif isinstance(changed, Payload):
            self._weigh(prod(each.share for each in self._on if isinstance(each, Payload)))
        else:
            supplies = [each.supply_v for each in self._on if isinstance(each, BrownOut)]
            self.plant.feed(supplies[-1] if supplies else None)

    def _weigh(self, share: float) -> None:
        self._model.body_mass[self._carrier] = share * self._mass_kg
        self._model.body_inertia[self._carrier] = share * self._inertia_kg_m2
        mujoco.mj_setConst(self._model, mujoco.MjData(self._model))


def carrier(model: mujoco.MjModel) -> int:
    """The body that is pushed and loses its load: what floats, or else the end of the chain."""
    floating = np.flatnonzero(model.jnt_type == mujoco.mjtJoint.mjJNT_FREE)
    return int(model.jnt_bodyid[floating[0]]) if floating.size else model.nbody - 1


_AT_THE_WIRE = (Drop, Flip, Duplicate, Half, Delay, Babble)
_AT_THE_NODES = (
    *_AT_THE_WIRE,
    *(Stuck, Frozen, Jump, Noisy, Dead, Overloaded, Hot, Reboot, BrownOut, *get_args(ImuFault)),
)
