"""Who may see the page: one key for each start, and a cookie for whoever has shown it."""

from __future__ import annotations

import secrets
from hmac import compare_digest
from pathlib import Path

from offboard.durable_file import write_durably
from protocol.errors import StoreError

KEY_FILE = "page.key"
KEY_BYTES = 24
MAX_SESSIONS = 64
"""The oldest is forgotten; whoever it was shows the key again."""


def make_key(run: Path) -> str:
    """A fresh key in ``RUN/page.key``, readable by its owner only. Raises StoreError."""
    key = secrets.token_urlsafe(KEY_BYTES)
    write_durably(run / KEY_FILE, f"{key}\n".encode())
    return key


def read_key(run: Path) -> str:
    """The key of the last start. Raises StoreError if there is none."""
    path = run / KEY_FILE
    try:
        key = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    if not key:
        raise StoreError(f"{path} is empty; start the page again")
    return key


class Sessions:
    """Those who have shown the key, while this process lives."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self._open: dict[str, None] = {}

    def enter(self, shown: str) -> str | None:
        """A new session's secret if ``shown`` is the key; how long it takes tells nothing."""
        if not compare_digest(shown.strip().encode(), self._key):
            return None
        session = secrets.token_urlsafe(KEY_BYTES)
        self._open[session] = None
        for oldest in [*self._open][:-MAX_SESSIONS]:
            self._open.pop(oldest)
        return session

    def knows(self, session: str) -> bool:
        """Is it one of ours?"""
        return any(compare_digest(session.encode(), known.encode()) for known in self._open)

    def leave(self, session: str) -> None:
        """Forget it."""
        self._open.pop(session, None)
