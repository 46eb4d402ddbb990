"""What the agent has to say, as JSON lines: changes of state, not every step. Never a secret."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

import msgspec

from onboard.log_file import LogFile

_QUIET = ("", "ok", 0, False)


class EventLog:
    """Writes one line for each event, and for a state only when it changes."""

    def __init__(
        self, stream: TextIO, clock_s: Callable[[], float], file: LogFile | None = None
    ) -> None:
        """``clock_s`` is wall time; ``file`` gets every line too."""
        self._stream, self._file = stream, file
        self._clock_s = clock_s
        self._states: dict[str, object] = {}

    def note(self, event: str, **facts: object) -> None:
        """One line, now."""
        line = {"time_s": round(self._clock_s(), 3), "event": event, **facts}
        text = msgspec.json.encode(line).decode()
        if self._file is not None:
            self._file.write(text)
        self._stream.write(text + "\n")
        self._stream.flush()

    def state(self, name: str, value: object) -> None:
        """A line if ``name`` was not ``value`` before; none for a quiet beginning."""
        before = self._states.get(name, value if value in _QUIET else None)
        self._states[name] = value
        if before != value:
            self.note(name, state=value)
