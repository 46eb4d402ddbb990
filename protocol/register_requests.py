"""What a host asks a bus's nodes for, whatever the dialect: registers to read and to write."""

from __future__ import annotations

from typing import NamedTuple


class ReadRequest(NamedTuple):
    """Registers to read."""

    address: int
    length: int


class WriteRequest(NamedTuple):
    """Registers to write."""

    address: int
    data: bytes


class SyncRead(NamedTuple):
    """The same registers to read from each of ``nodes``."""

    address: int
    length: int
    nodes: tuple[int, ...]


class SyncWrite(NamedTuple):
    """Registers to write, as ``(node, data)`` pairs."""

    address: int
    data: tuple[tuple[int, bytes], ...]


def pairs(body: bytes, length: int) -> tuple[tuple[int, bytes], ...]:
    """A sync write's ``body`` of whole ``(node, data)`` pairs with ``length`` bytes each."""
    stride = length + 1
    starts = range(0, len(body), stride)
    return tuple((body[i], body[i + 1 : i + stride]) for i in starts)
