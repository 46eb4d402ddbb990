"""A node's control table: registers as bytes, with the access rules that hold for every model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protocol.dynamixel import ErrorNumber
from protocol.register import Register

Assignment = tuple[Register, int]


class ControlTable:
    """Registers of one node. Gaps between registers read as zero.

    Attributes:
        changes: how often a register was set.
    """

    def __init__(self, registers: Sequence[Register], initial: Mapping[Register, int]) -> None:
        self._by_address = {register.address: register for register in registers}
        self._covered = {
            register.address + offset for register in registers for offset in range(register.size)
        }
        self._bytes = bytearray(max(self._covered) + 1)
        self.changes = 0
        for register in registers:
            self.put(register, initial.get(register, register.initial))

    def get(self, register: Register) -> int:
        """Value of a register of this table."""
        end = register.address + register.size
        return register.unpack(bytes(self._bytes[register.address : end]))

    def put(self, register: Register, value: int) -> None:
        """Set a register as the node itself does: no access rule applies."""
        self._bytes[register.address : register.address + register.size] = register.pack(value)
        self.changes += 1

    def read(self, address: int, length: int) -> bytes | None:
        """Bytes of a range that begins and ends in a register; None for any other range."""
        if length == 0 or not {address, address + length - 1} <= self._covered:
            return None
        return bytes(self._bytes[address : address + length])

    def decode(self, address: int, data: bytes) -> list[Assignment] | ErrorNumber:
        """The whole registers a write would set, or why the node refuses it. Changes nothing."""
        assignments: list[Assignment] = []
        while data:
            register = self._by_address.get(address)
            if register is None or register.access == "R":
                return ErrorNumber.ACCESS
            if len(data) < register.size:
                return ErrorNumber.DATA_LENGTH
            value = register.unpack(data)
            if not register.minimum <= value <= register.maximum:
                return ErrorNumber.DATA_RANGE
            assignments.append((register, value))
            address, data = address + register.size, data[register.size :]
        return assignments
