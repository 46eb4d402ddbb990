"""Which published policy the server's operator wants robots to stay with: ``RUN/pin.json``.

The file says what is wanted, not what to do, so it may be written while the server is away, and
twice. A pin cannot reach back into a robot: the server publishes that policy once more, under a new
number and its own signature, and lets nothing newer out (ADR 18).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from offboard.durable_file import write_durably
from protocol.errors import ConfigError, StoreError

PIN_FILE = "pin.json"


class _Pin(Struct, frozen=True, forbid_unknown_fields=True):
    version: Annotated[int, Meta(ge=1, le=2**32 - 1)]


_decoder = msgspec.json.Decoder(_Pin)


def read_pin(run: Path) -> int:
    """The version wanted in ``run``, 0 if none is. Raises StoreError if the file is damaged."""
    path = run / PIN_FILE
    try:
        return _decoder.decode(path.read_bytes()).version
    except FileNotFoundError:
        return 0
    except (OSError, msgspec.DecodeError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error


def pin_policy(run: Path, version: int) -> None:
    """Have robots stay with what ``run`` published as ``version``, until :func:`unpin_policy`.

    Raises:
        ConfigError: ``run`` is no run, or the version none.
        StoreError: it cannot be written.
    """
    if not (run / "config.json").exists():
        raise ConfigError(f"{run} holds no run; name the --out of `serve`")
    if version < 1:
        raise ConfigError(f"no policy has version {version}; the first one published is 1")
    write_durably(run / PIN_FILE, msgspec.json.encode(_Pin(version)))


def unpin_policy(run: Path) -> None:
    """Let newer policies out again.

    Raises:
        ConfigError: none is pinned.
        StoreError: it cannot be written.
    """
    try:
        (run / PIN_FILE).unlink()
    except FileNotFoundError as error:
        raise ConfigError(f"no policy of {run} is pinned") from error
    except OSError as error:
        raise StoreError(f"{run / PIN_FILE} cannot be removed: {error}") from error


class PolicyPin:
    """The wish as a running server sees it. One that becomes unreadable stays as it was.

    Attributes:
        version: wanted, 0 if none is.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        self.version = 0

    def refresh(self) -> bool:
        """Take up a changed file; whether it asks for something else now. Never raises."""
        before = self.version
        try:
            self.version = read_pin(self._run)
        except StoreError:
            return False
        return self.version != before
