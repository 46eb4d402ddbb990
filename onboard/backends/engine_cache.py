"""Engines built on this machine, kept between starts.

A plan is native code: only what this machine has built itself may be loaded. Each file carries an
HMAC over its name and its content, under a key that never leaves the machine; anything else is not
there. The name stands for everything a plan is bound to.
Source: RUNTIME.md, Inference § 5.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from onboard.durable import write_bytes
from protocol.errors import StoreError

KEPT_PLANS = 4
PLAN_MAX_BYTES = 1 << 30
KEY_BYTES = DIGEST_BYTES = 32


def plan_name(graph: bytes, *bound_to: str) -> str:
    """A name for the plan of ``graph`` that differs with everything it is ``bound_to``."""
    facts = [hashlib.sha256(graph).hexdigest(), *bound_to]
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()


def open_cache(directory: Path, random: Callable[[int], bytes] = os.urandom) -> EngineCache:
    """The cache in ``directory``; its key is made when there is none.

    Raises:
        StoreError: the key can be neither read nor made.
    """
    path = directory / "key"
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        key = random(KEY_BYTES)
        write_bytes(path, key)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error}); remove it") from error
    if len(key) != KEY_BYTES:
        raise StoreError(f"{path}: is no key of {KEY_BYTES} bytes; remove it")
    return EngineCache(directory, key)


class EngineCache:
    """Plans by name; the last used few are kept."""

    def __init__(self, directory: Path, key: bytes) -> None:
        self._directory, self._key = directory, key

    def get(self, name: str) -> bytes | None:
        """The plan, if it is there and this machine has built it."""
        path = self._path(name)
        try:
            if path.stat().st_size > PLAN_MAX_BYTES:
                return None
            data = path.read_bytes()
        except OSError:
            return None
        tag, plan = data[:DIGEST_BYTES], data[DIGEST_BYTES:]
        if not hmac.compare_digest(tag, self._tag(name, plan)):
            return None
        with suppress(OSError):
            os.utime(path)
        return plan

    def put(self, name: str, plan: bytes) -> None:
        """Keep a plan. A full disk costs the next start its time, not this one its policy."""
        with suppress(StoreError, OSError):
            write_bytes(self._path(name), self._tag(name, plan) + plan)
            self._prune()

    def _prune(self) -> None:
        plans = sorted(self._directory.glob("*.plan"), key=lambda path: path.stat().st_mtime_ns)
        for path in plans[:-KEPT_PLANS]:
            path.unlink()

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.plan"

    def _tag(self, name: str, plan: bytes) -> bytes:
        return hmac.digest(self._key, name.encode() + plan, "sha256")
