"""Which unit this is, as it was flashed."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from protocol.errors import ConfigError


class UnitFile(Struct, frozen=True):
    """``etc/wombet/unit.json``; it says more, which is nothing to us."""

    unit: str


def unit_name(path: Path) -> str:
    """The name in ``path``. Raises ConfigError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=UnitFile).unit
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} says not which unit this is ({error}); provision it") from error
