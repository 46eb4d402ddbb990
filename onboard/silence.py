"""When to tell the operator that the server does not answer. Pure.

A CURVE handshake with a wrong key fails without a word, as an absent server does.
"""

from __future__ import annotations

FIRST_S = 5.0
AGAIN_S = 60.0


class Silence:
    """How long nothing has been streamed to ``server``, and whether that was said."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._due_s: float | None = None

    def complaint(self, now_s: float, streaming: bool) -> str:
        """What to say now; mostly nothing: once after ``FIRST_S``, then every ``AGAIN_S``."""
        if streaming:
            self._due_s = None
        elif self._due_s is None:
            self._due_s = now_s + FIRST_S
        elif now_s >= self._due_s:
            self._due_s = now_s + AGAIN_S
            return f"not streaming to {self._server}: check address, keys, and that the server runs"
        return ""
