"""A clock step that reaches the runtime and nobody else.

A small library in front of the C library (``false_clock/false_clock.c``) adds an offset to the time
of day of the processes it is loaded into; the machine's own clock is not touched.
"""

from __future__ import annotations

from pathlib import Path

from protocol.errors import ConfigError
from sim_harness.hil.host import Host

_SOURCE = Path(__file__).with_name("false_clock")
_LIBRARY, _OFFSET = "false_clock.so", "offset"


def can_step(host: Host) -> bool:
    """Whether the library can be built there."""
    return host.call("sh", "-c", "command -v cc").returncode == 0


class FalseClock:
    """The time of day of one runtime.

    Args:
        host: where it runs.
        place: a directory of its own there.
    """

    def __init__(self, host: Host, place: str) -> None:
        self._host, self._place = host, place

    def install(self) -> None:
        """Build the library there; the time is right. Raises ConfigError."""
        self._must("mkdir", "-p", self._place)
        self._host.put(_SOURCE, self._place)
        library, source = f"{self._place}/{_LIBRARY}", f"{self._place}/false_clock.c"
        self._must("cc", "-std=gnu99", "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl")
        self._must("dd", "if=/dev/zero", f"of={self._place}/{_OFFSET}", "bs=8", "count=1")

    def words(self) -> tuple[str, ...]:
        """What comes before a command that is to see this time."""
        place = self._place
        offset = f"FALSE_CLOCK_OFFSET={place}/{_OFFSET}"
        return ("env", f"LD_PRELOAD={place}/{_LIBRARY}", offset)

    def step(self, step_s: float) -> None:
        """The time is off by so much from now on. Raises ConfigError."""
        octal = "".join(
            f"\\{byte:03o}" for byte in round(step_s * 1e9).to_bytes(8, "little", signed=True)
        )
        write = f"printf '{octal}' | dd of='{self._place}/{_OFFSET}' bs=8 count=1 conv=notrunc"
        self._must("sh", "-c", write)

    def _must(self, *command: str) -> None:
        done = self._host.call(*command)
        if done.returncode != 0:
            raise ConfigError(f"{command[0]}: {done.stderr.strip()}")
