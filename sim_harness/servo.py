"""The XL330-M288 servo in current control mode: torque, goals, bus watchdog, hardware errors.

Source: ROBOTIS e-manual, "XL330-M288-T". Other operating modes can be selected, as on the device,
but torque cannot be enabled in them: they are not simulated.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntFlag

from protocol import xl330
from protocol.dynamixel import ErrorNumber, Status
from protocol.register import Register
from sim_harness.node import EEPROM_BYTES, Node
from sim_harness.wire_end import Reading

GOALS = (xl330.GOAL_PWM, xl330.GOAL_CURRENT, xl330.GOAL_VELOCITY, xl330.GOAL_POSITION)
OPERATING_MODES = (0, 1, 3, 4, 5, 16)
WATCHDOG_NS_PER_COUNT = round(xl330.WATCHDOG_S_PER_COUNT * 1e9)


class HardwareError(IntFlag):
    """Bits of register 70 that this servo can raise."""

    INPUT_VOLTAGE = 1
    OVERHEATING = 4
    OVERLOAD = 32


class Servo(Node):
    """A node with a motor. Without torque it coasts; a tripped watchdog latches zero current."""

    def __init__(self, node_id: int, initial: Mapping[Register, int]) -> None:
        super().__init__(node_id, xl330.XL330, initial)
        self._heard_ns = 0

    @property
    def current_a(self) -> float:
        """The current the regulator is asked for."""
        if not self.table.get(xl330.TORQUE_ENABLE):
            return 0.0
        return self.table.get(xl330.GOAL_CURRENT) * xl330.AMPERE_PER_COUNT

    def elapse(self, now_ns: int) -> None:
        """As every node; and trips the bus watchdog after silence while torque is on."""
        super().elapse(now_ns)
        counts = self.table.get(xl330.BUS_WATCHDOG)
        armed = self.table.get(xl330.TORQUE_ENABLE) and 0 < counts < xl330.WATCHDOG_TRIPPED
        if armed and now_ns - self._heard_ns > counts * WATCHDOG_NS_PER_COUNT:
            self.table.put(xl330.BUS_WATCHDOG, xl330.WATCHDOG_TRIPPED)
            self.table.put(xl330.GOAL_CURRENT, 0)

    def hear(self, now_ns: int) -> None:
        """Feeds the watchdog: any instruction that names this node counts."""
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

    def _show_registered(self) -> None:
        self.table.put(xl330.REGISTERED_INSTRUCTION, int(self._registered is not None))

    def _violations(self) -> HardwareError:
        get = self.table.get
        low, high = get(xl330.MIN_VOLTAGE_LIMIT), get(xl330.MAX_VOLTAGE_LIMIT)
        errors = HardwareError(0)
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
                tripped and (register in GOALS or (register == xl330.BUS_WATCHDOG and value)),
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
        return mode == xl330.CURRENT_MODE and not errors
