"""ZAP: which CURVE keys may complete a handshake. Pure, and it cannot raise.

Source: rfc.zeromq.org/spec/27.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zmq.utils import z85

DOMAIN = b"wombet"
_VERSION = b"1.0"
_REQUEST_FRAMES = (
    9  # routing id, empty, version, request, domain, address, identity, mechanism, key
)
_KEY_BYTES = 32


def answer(frames: Sequence[bytes], robot_of: Callable[[str], str | None]) -> list[bytes]:
    """The reply to one authentication request, ready for a ROUTER socket.

    Args:
        frames: the request as a ROUTER socket receives it.
        robot_of: the robot an enrolled z85 key belongs to, or None.

    Returns:
        Status 200 with the z85 key as User-Id for an enrolled key of our domain, 400 for all else.
    """
    envelope, request = [*frames[:2]], frames[3] if len(frames) > 3 else b""
    if len(frames) == _REQUEST_FRAMES:
        _, _, version, _, domain, _, _, mechanism, key = frames
        if (version, domain, mechanism) == (_VERSION, DOMAIN, b"CURVE") and len(key) == _KEY_BYTES:
            public = z85.encode(key)
            if robot_of(public.decode()) is not None:
                return [*envelope, _VERSION, request, b"200", b"OK", public, b""]
    return [*envelope, _VERSION, request, b"400", b"not enrolled", b"", b""]
