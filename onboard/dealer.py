"""The robot's socket to its server: ZeroMQ DEALER with CURVE.

Every option is set before connect, where alone it takes effect. Values: FLEET.md § 2.
"""

from __future__ import annotations

import zmq

from onboard.identity import Identity
from protocol.errors import ConfigError
from protocol.messages import MAX_BYTES

_QUEUED_MESSAGES = 16


def connect(
    context: zmq.Context[zmq.Socket[bytes]], endpoint: str, identity: Identity
) -> zmq.Socket[bytes]:
    """A connecting socket; nothing is queued while there is no peer, sending then says ``Again``.

    Raises:
        ConfigError: this libzmq lacks CURVE, or the endpoint makes no sense.
    """
    if not zmq.has("curve"):
        raise ConfigError("this libzmq was built without CURVE; install pyzmq from its wheel")
    socket = context.socket(zmq.DEALER)
    options: dict[int, int | bytes] = {
        zmq.CURVE_SERVERKEY: identity.server,
        zmq.CURVE_PUBLICKEY: identity.public,
        zmq.CURVE_SECRETKEY: identity.secret,
        zmq.HEARTBEAT_IVL: 2000,
        zmq.HEARTBEAT_TIMEOUT: 6000,
        zmq.HEARTBEAT_TTL: 6000,
        zmq.HANDSHAKE_IVL: 5000,
        zmq.CONNECT_TIMEOUT: 5000,
        zmq.RECONNECT_IVL: 200,
        zmq.RECONNECT_IVL_MAX: 5000,
        zmq.MAXMSGSIZE: MAX_BYTES,
        zmq.SNDHWM: _QUEUED_MESSAGES,
        zmq.RCVHWM: _QUEUED_MESSAGES,
        zmq.LINGER: 0,
        zmq.IMMEDIATE: 1,
        zmq.TCP_KEEPALIVE: 1,
    }
    for option, value in options.items():
        socket.setsockopt(option, value)
    try:
        socket.connect(endpoint)
    except zmq.ZMQError as error:
        socket.close()
        raise ConfigError(f"server {endpoint!r}: {error}; write tcp://HOST:PORT") from error
    return socket
