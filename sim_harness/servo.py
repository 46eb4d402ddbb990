"""Servos of the X series in the mode we drive them in: torque, goals, watchdog, hardware errors.

Current mode for the XL330-M288, position mode for the XL430-W250, whose loop lives in the plant
(:mod:`sim_harness.servo_drive`). Other operating modes can be selected, as on the device, but
torque cannot be enabled in them: they are not simulated, and neither are profiles and the gains of
the position loop, which keep what is written to them. Source: ROBOTIS e-manual, "XL330-M288-T" and
"XL430-W250-T".
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntFlag

from protocol import xl330, xl430
from protocol.dynamixel import ErrorNumber, Status
from protocol.dynamixel_nodes import NodeModel
from protocol.register import Register
from sim_harness.node import EEPROM_BYTES, Node
from sim_harness.wire_end import Demand, Reading, Setpoint

_GOALS = (xl330.GOAL_PWM, xl330.GOAL_CURRENT, xl330.GOAL_VELOCITY, xl330.GOAL_POSITION)
GOALS = frozenset(register.address for register in _GOALS)
"""Where they stand; a tripped watchdog makes them read-only."""
OPERATING_MODES = (0, 1, 3, 4, 5, 16)
WATCHDOG_NS_PER_COUNT = round(xl330.WATCHDOG_S_PER_COUNT * 1e9)
MODES = {"current": xl330.CURRENT_MODE, "position": xl430.POSITION_MODE}
_LAST_COUNT = xl330.COUNTS_PER_TURN - 1
_NEVER_NS = 1 << 62


class HardwareError(IntFlag):
    """Bits of register 70 that this servo can raise."""

    INPUT_VOLTAGE = 1
    OVERHEATING = 4
    OVERLOAD = 32


class Servo(Node):
    """A node with a motor. Without torque it coasts; a tripped watchdog latches.

    What it then does: no current flows, or the joint is held where it was.
    """

    def __init__(self, node_id: int, model: NodeModel, initial: Mapping[Register, int]) -> None:
        super().__init__(node_id, model, initial)
        self._heard_ns, self._changes = 0, -1
        self._known, self._patience_ns = self.table, _NEVER_NS
        self._demand: Demand = 0.0

    @property
    def demand(self) -> Demand:
        """What the motor is asked for; wanted at every step of the physics."""
        self._look()
        return self._demand

    def elapse(self, now_ns: int) -> None:
        """Trips the bus watchdog after silence while torque is on."""
        self._look()
        if now_ns - self._heard_ns > self._patience_ns:
            self._stop()

    def hear(self, now_ns: int) -> None:
        """Feeds the watchdog: any instruction that names this node counts."""
        super().hear(now_ns)
        self._heard_ns = now_ns

    def sense(self, reading: Reading) -> None:
        """As every node; and checks the limits whose violation switches the motor off."""
        super().sense(reading)
        speed = abs(self.table.get(xl330.PRESENT_VELOCITY))
        self.table.put(xl330.MOVING, int(speed > self.table.get(xl330.MOVING_THRESHOLD)))
        errors = self.table.get(xl330.HARDWARE_ERROR) | self._violations()
        self.table.put(xl330.HARDWARE_ERROR, errors)
        if errors & self.table.get(xl330.SHUTDOWN):
            self.table.put(xl330.TORQUE_ENABLE, 0)

    def reg_write(self, address: int, data: bytes) -> Status:
        """As every node; register 69 tells that a write is waiting."""
        status = super().reg_write(address, data)
        self._show_registered()
        return status

    def action(self) -> Status:
        """As every node; register 69 is cleared."""
        status = super().action()
        self._show_registered()
        return status

    def _look(self) -> None:
        """What the registers say, if they have changed."""
        if self._known is self.table and self._changes == self.table.changes:
            return
        self._known, self._changes = self.table, self.table.changes
        counts = self.table.get(xl330.BUS_WATCHDOG)
        self._patience_ns = counts * WATCHDOG_NS_PER_COUNT if self._armed() else _NEVER_NS
        self._demand = self._setpoint() if self.model.mode == "position" else self._current_a()

    def _armed(self) -> bool:
        counts = self.table.get(xl330.BUS_WATCHDOG)
        return bool(self.table.get(xl330.TORQUE_ENABLE)) and 0 < counts < xl330.WATCHDOG_TRIPPED

    def _stop(self) -> None:
        """The watchdog bit."""
        self.table.put(xl330.BUS_WATCHDOG, xl330.WATCHDOG_TRIPPED)
        if self.model.mode == "position":
            here = self.table.get(xl330.PRESENT_POSITION)
            self.table.put(xl330.GOAL_POSITION, min(max(here, 0), _LAST_COUNT))
        else:
            self.table.put(xl330.GOAL_CURRENT, 0)

    def _current_a(self) -> float:
        if not self.table.get(xl330.TORQUE_ENABLE):
            return 0.0
        return self.table.get(xl330.GOAL_CURRENT) * xl330.AMPERE_PER_COUNT

    def _setpoint(self) -> Setpoint:
        get = self.table.get
        duty = abs(get(xl430.GOAL_PWM)) / xl430.FULL_PWM
        return Setpoint(
            goal_rad=(get(xl330.GOAL_POSITION) - xl330.CENTRE_COUNT) * xl330.RAD_PER_COUNT,
            duty_max=duty if get(xl330.TORQUE_ENABLE) else 0.0,
            velocity_max_rad_s=0.0,
        )

    def _load(self, current_a: float) -> int:
        """As the register can show it; a load is a share of what full duty gives at standstill."""
        count = super()._load(current_a)
        return min(max(count, -1000), 1000) if self.model.mode == "position" else count

    def _show_registered(self) -> None:
        self.table.put(xl330.REGISTERED_INSTRUCTION, int(self._registered is not None))

    def _violations(self) -> int:
        """Bits of :class:`HardwareError`; seldom any."""
        get = self.table.get
        low, high = get(xl330.MIN_VOLTAGE_LIMIT), get(xl330.MAX_VOLTAGE_LIMIT)
        errors = 0
        if not low <= get(xl330.PRESENT_VOLTAGE) <= high:
            errors |= HardwareError.INPUT_VOLTAGE
        if get(xl330.PRESENT_TEMPERATURE) > get(xl330.TEMPERATURE_LIMIT):
            errors |= HardwareError.OVERHEATING
        if self._reading is not None and self._reading.overloaded:
            errors |= HardwareError.OVERLOAD
        return errors

    def _refusal(self, register: Register, value: int) -> ErrorNumber:
        get = self.table.get
        tripped = get(xl330.BUS_WATCHDOG) == xl330.WATCHDOG_TRIPPED
        rules = (
            (
                ErrorNumber.ACCESS,
                register.address < EEPROM_BYTES and get(xl330.TORQUE_ENABLE),
            ),
            (
                ErrorNumber.DATA_RANGE,
                tripped
                and (register.address in GOALS or (register == xl330.BUS_WATCHDOG and value)),
            ),
            (
                ErrorNumber.DATA_RANGE,
                register == xl330.OPERATING_MODE and value not in OPERATING_MODES,
            ),
            (
                ErrorNumber.DATA_LIMIT,
                register == xl330.GOAL_CURRENT and abs(value) > get(xl330.CURRENT_LIMIT),
            ),
            (
                ErrorNumber.DATA_LIMIT,
                register == xl330.GOAL_POSITION and not self._within_stops(value),
            ),
            (
                ErrorNumber.RESULT_FAIL,
                register == xl330.TORQUE_ENABLE and value and not self._can_drive(),
            ),
        )
        broken = (error for error, applies in rules if applies)
        return next(broken, super()._refusal(register, value))

    def _can_drive(self) -> bool:
        """Torque needs the simulated mode, and no hardware error since the last reboot."""
        mode = self.table.get(xl330.OPERATING_MODE)
        errors = self.table.get(xl330.HARDWARE_ERROR) & self.table.get(xl330.SHUTDOWN)
        return self.model.mode is not None and mode == MODES[self.model.mode] and not errors

    def _within_stops(self, count: int) -> bool:
        get = self.table.get
        return get(xl330.MIN_POSITION_LIMIT) <= count <= get(xl330.MAX_POSITION_LIMIT)
