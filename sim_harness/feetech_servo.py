"""The STS3215 servo in position mode, as its registers show it.

Its loop lives in the plant (:mod:`sim_harness.servo_drive`): this says where to and how strong.
Other modes can be selected, as on the device, but torque cannot be enabled in them: they are not
simulated, and neither are acceleration and goal time, which keep what is written to them.
"""

from __future__ import annotations

from collections.abc import Mapping

from protocol import sts3215
from protocol.dynamixel import ErrorNumber
from protocol.feetech import Alarm
from protocol.register import Register
from sim_harness.control_table import ControlTable
from sim_harness.wire_end import Reading, Setpoint

FIRMWARE = {sts3215.FIRMWARE_MAJOR: 3, sts3215.FIRMWARE_MINOR: 10}
"""What the servos report."""
MODEL = {sts3215.MODEL_NUMBER: sts3215.MODEL_NUMBER_STS3215}
SEALED = (sts3215.ID, sts3215.BAUD_RATE, sts3215.PHASE, sts3215.HOMING_OFFSET)
"""Registers whose effect is not simulated: they keep their value."""
MOVING_STEPS_S = 20


class FeetechServo:
    """One servo; ``table`` holds its registers, ``id`` is its address.

    A write that does not fit is not carried out, and the servo says nothing about it.
    """

    def __init__(self, node_id: int, initial: Mapping[Register, int]) -> None:
        self.id = node_id
        self._kept = {**MODEL, **FIRMWARE, sts3215.ID: node_id, **initial}
        self.power_up()

    def power_up(self) -> None:
        """As after a power cycle: what was not written to unlocked EEPROM is gone."""
        self.table = ControlTable(sts3215.STS3215, self._kept)
        self.table.put(sts3215.TORQUE_LIMIT, self.table.get(sts3215.MAX_TORQUE))
        self._registered: tuple[int, bytes] | None = None
        self._overloaded = False
        self._setpoint: Setpoint | None = None

    @property
    def setpoint(self) -> Setpoint:
        """What the position loop is to do; asked at every step of the physics."""
        if self._setpoint is None:
            self._setpoint = self._told()
        return self._setpoint

    @property
    def alarm(self) -> int:
        """The alarm byte of every answer."""
        return self.table.get(sts3215.STATUS)

    @property
    def return_delay_ns(self) -> int:
        """Pause between an instruction and this servo's answer."""
        counts = self.table.get(sts3215.RETURN_DELAY)
        return round(counts * sts3215.RETURN_DELAY_S_PER_COUNT * 1e9)

    @property
    def answers_writes(self) -> bool:
        """Whether writes are answered too."""
        return self.table.get(sts3215.RESPONSE_LEVEL) > 0

    def sense(self, reading: Reading) -> None:
        """Refresh the present values; drop the torque where an alarm says so."""
        put = self.table.put
        self._overloaded = reading.overloaded
        speed = round(reading.velocity_rad_s / sts3215.RAD_S_PER_COUNT)
        put(sts3215.PRESENT_POSITION, (sts3215.CENTRE_COUNT + reading.counts) % 4096)
        put(sts3215.PRESENT_SPEED, speed)
        put(sts3215.PRESENT_CURRENT, round(reading.current_a / sts3215.AMPERE_PER_COUNT))
        put(sts3215.PRESENT_VOLTAGE, round(reading.voltage_v / sts3215.VOLT_PER_COUNT))
        put(sts3215.PRESENT_TEMPERATURE, round(reading.temperature_c))
        put(sts3215.MOVING, int(abs(speed) > MOVING_STEPS_S))
        put(sts3215.STATUS, int(self._alarms()))
        if self._tripped():
            put(sts3215.TORQUE_ENABLE, 0)
            self._setpoint = None

    def read(self, address: int, length: int) -> bytes:
        """Bytes of the control table; zeros where there is nothing."""
        return self.table.read(address, length) or bytes(length)

    def write(self, address: int, data: bytes) -> None:
        """Set whole registers: all of them, or none."""
        assignments = self.table.decode(address, data)
        if isinstance(assignments, ErrorNumber):
            return
        if any(self._refuses(register, value) for register, value in assignments):
            return
        self._setpoint = None
        for register, value in assignments:
            self.table.put(register, value)
            if register.address < sts3215.EEPROM_BYTES and not self.table.get(sts3215.LOCK):
                self._kept[register] = value

    def reg_write(self, address: int, data: bytes) -> None:
        """Keep a write until :meth:`action`."""
        self._registered = (address, data)

    def action(self) -> None:
        """Carry out the registered write, if there is one."""
        if self._registered is not None:
            registered, self._registered = self._registered, None
            self.write(*registered)

    def _told(self) -> Setpoint:
        """The setpoint as the registers have it."""
        get = self.table.get
        duty = get(sts3215.TORQUE_LIMIT) / sts3215.FULL_TORQUE
        low, high = get(sts3215.MIN_POSITION), get(sts3215.MAX_POSITION)
        goal = min(max(get(sts3215.GOAL_POSITION), low), high)
        return Setpoint(
            goal_rad=(goal - sts3215.CENTRE_COUNT) * sts3215.RAD_PER_COUNT,
            duty_max=duty if get(sts3215.TORQUE_ENABLE) else 0.0,
            velocity_max_rad_s=abs(get(sts3215.GOAL_SPEED)) * sts3215.RAD_S_PER_COUNT,
        )

    def _refuses(self, register: Register, value: int) -> bool:
        if register in SEALED:
            return value != self.table.get(register)
        if register is sts3215.TORQUE_ENABLE and value:
            position_mode = self.table.get(sts3215.OPERATING_MODE) == sts3215.POSITION_MODE
            return not position_mode or self._tripped()
        return False

    def _alarms(self) -> Alarm:
        get, alarms = self.table.get, Alarm.NONE
        low, high = get(sts3215.MIN_VOLTAGE), get(sts3215.MAX_VOLTAGE)
        if not low <= get(sts3215.PRESENT_VOLTAGE) <= high:
            alarms |= Alarm.VOLTAGE
        if get(sts3215.PRESENT_TEMPERATURE) > get(sts3215.MAX_TEMPERATURE):
            alarms |= Alarm.TEMPERATURE
        if self._overloaded:
            alarms |= Alarm.OVERLOAD
        return alarms

    def _tripped(self) -> bool:
        return bool(self.alarm & self.table.get(sts3215.UNLOADING_CONDITION))
