"""One node of the motor bus: answers to instructions addressed to it. Time is an argument.

The plain :class:`Node` is the 12-bit encoder; :class:`sim_harness.servo.Servo` adds a motor.
"""

from __future__ import annotations

from collections.abc import Mapping

from protocol import xl330
from protocol.dynamixel import ErrorNumber, Status
from protocol.dynamixel_nodes import NodeModel
from protocol.register import Register
from sim_harness.control_table import Assignment, ControlTable
from sim_harness.wire_end import Demand, Reading

EEPROM_BYTES = 64
FIRMWARE_VERSION = 52
"""What the nodes report; recent enough for a fast sync read."""

SEALED = (xl330.ID, xl330.BAUD_RATE, xl330.DRIVE_MODE, xl330.HOMING_OFFSET)
"""Registers whose effect is not simulated: they keep their value and say so (Result Fail)."""


class Node:
    """A bus node with a control table; every instruction method returns the status it would send.

    Attributes:
        id: address on the bus.
        model: what kind of node it is.
        table: its registers.
    """

    def __init__(self, node_id: int, model: NodeModel, initial: Mapping[Register, int]) -> None:
        self.id, self.model = node_id, model
        own = {xl330.MODEL_NUMBER: model.number, **initial, xl330.ID: node_id}
        self.table = ControlTable(model.registers, own)
        self._registered: tuple[int, bytes] | None = None
        self._reading: Reading | None = None

    @property
    def demand(self) -> Demand:
        """What this node's motor is asked for."""
        return 0.0

    @property
    def return_delay_ns(self) -> int:
        """Pause between an instruction and this node's answer."""
        counts = self.table.get(xl330.RETURN_DELAY)
        return round(counts * xl330.RETURN_DELAY_S_PER_COUNT * 1e9)

    @property
    def return_level(self) -> int:
        """0: answers pings only; 1: reads too; 2: everything."""
        return self.table.get(xl330.STATUS_RETURN_LEVEL)

    def elapse(self, now_ns: int) -> None:
        """Time has passed, whether or not anybody spoke."""

    def hear(self, now_ns: int) -> None:
        """An instruction for this node arrived."""
        self.table.put(xl330.REALTIME_TICK, now_ns // 1_000_000 % 32_768)

    def sense(self, reading: Reading) -> None:
        """Refresh the present values."""
        self._reading = reading
        put = self.table.put
        put(xl330.PRESENT_POSITION, xl330.CENTRE_COUNT + reading.counts)
        put(xl330.PRESENT_VELOCITY, round(reading.velocity_rad_s / xl330.RAD_S_PER_COUNT))
        put(xl330.PRESENT_CURRENT, self._load(reading.current_a))
        put(xl330.PRESENT_VOLTAGE, round(reading.voltage_v / xl330.VOLT_PER_COUNT))
        put(xl330.PRESENT_TEMPERATURE, round(reading.temperature_c))

    def ping(self) -> Status:
        """Model number and firmware version."""
        return self.read(xl330.MODEL_NUMBER.address, 2)._replace(
            params=xl330.MODEL_NUMBER.pack(self.table.get(xl330.MODEL_NUMBER))
            + xl330.FIRMWARE_VERSION.pack(self.table.get(xl330.FIRMWARE_VERSION))
        )

    def read(self, address: int, length: int) -> Status:
        """Bytes of the control table; Access error outside it."""
        data = self.table.read(address, length)
        return self._status(ErrorNumber.ACCESS) if data is None else self._status(params=data)

    def write(self, address: int, data: bytes) -> Status:
        """Set whole registers: all of them or, on any error, none."""
        assignments = self._accept(address, data)
        if isinstance(assignments, ErrorNumber):
            return self._status(assignments)
        for register, value in assignments:
            self.table.put(register, value)
        return self._status()

    def reg_write(self, address: int, data: bytes) -> Status:
        """Keep a write until :meth:`action`."""
        assignments = self._accept(address, data)
        if isinstance(assignments, ErrorNumber):
            return self._status(assignments)
        self._registered = (address, data)
        return self._status()

    def action(self) -> Status:
        """Carry out the registered write; Instruction error if there is none."""
        if self._registered is None:
            return self._status(ErrorNumber.INSTRUCTION)
        registered, self._registered = self._registered, None
        return self.write(*registered)

    def reboot(self) -> Status:
        """RAM returns to its initial values, EEPROM stays."""
        kept = {
            register: self.table.get(register)
            for register in self.model.registers
            if register.address < EEPROM_BYTES
        }
        self.table = ControlTable(self.model.registers, kept)
        self._registered = None
        self.refresh()
        return self._status()

    def refresh(self) -> None:
        """After a restart the sensors show at once what they showed before."""
        if self._reading is not None:
            self.sense(self._reading)

    def refuse(self, error: ErrorNumber) -> Status:
        """Answer to an instruction this node cannot follow."""
        return self._status(error)

    def _load(self, current_a: float) -> int:
        """Count of the present current, or load."""
        return round(current_a / self.model.ampere) if self.model.mode else 0

    def _accept(self, address: int, data: bytes) -> list[Assignment] | ErrorNumber:
        assignments = self.table.decode(address, data)
        if isinstance(assignments, ErrorNumber):
            return assignments
        errors = (self._refusal(register, value) for register, value in assignments)
        return next((error for error in errors if error), assignments)

    def _refusal(self, register: Register, value: int) -> ErrorNumber:
        """Why this model does not take ``value``; NONE if it does."""
        sealed = register in SEALED and value != self.table.get(register)
        return ErrorNumber.RESULT_FAIL if sealed else ErrorNumber.NONE

    def _status(self, error: ErrorNumber = ErrorNumber.NONE, params: bytes = b"") -> Status:
        alert = self.table.get(xl330.HARDWARE_ERROR) != 0
        return Status(self.id, error, alert, params)
