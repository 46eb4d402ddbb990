"""A TCP proxy of bad weather: it holds, delays, slices and resets what goes through it."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from enum import Enum
from types import TracebackType

_CHUNK_BYTES = 1 << 16
_LINGER_NONE = struct.pack("ii", 1, 0)


class Weather(Enum):
    """What the proxy does to traffic. ``RESET`` cuts every connection once and lets new ones in."""

    CLEAR = "clear"
    BLACK_HOLE = "black hole"
    DELAY = "delay"
    SLICE = "slice"
    RESET = "reset"


class Proxy:
    """Listens on a loopback port of its own and passes on to another one, in its own thread.

    Attributes:
        port: where it listens, once started.
    """

    def __init__(self, target_port: int, chance: random.Random) -> None:
        self._target_port = target_port
        self._chance = chance
        self._weather = Weather.CLEAR
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy")
        self._listening = threading.Event()
        self._open: set[asyncio.StreamWriter] = set()
        self.port = 0

    def set(self, weather: Weather) -> None:
        """Change the weather at once, for open connections too."""
        self._weather = weather
        if weather is Weather.RESET:
            self._loop.call_soon_threadsafe(self._reset)

    def __enter__(self) -> Proxy:
        self._thread.start()
        assert self._listening.wait(10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stopped = asyncio.Event()
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        await self._stopped.wait()
        server.close()
        self._reset()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:  # the server is down: so is this connection
            writer.transport.abort()
            return
        ends = {writer, there[1]}
        self._open |= ends
        try:
            await asyncio.gather(self._pump(reader, there[1]), self._pump(there[0], writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._open -= ends
            for end in ends:
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK_BYTES):
            while self._weather is Weather.BLACK_HOLE:
                await asyncio.sleep(0.02)
            if self._weather is Weather.DELAY:
                await asyncio.sleep(self._chance.uniform(0.02, 0.3))
            await self._write(writer, data)
        raise ConnectionResetError  # one side is gone: so is the other

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        while data:
            size = len(data)
            if self._weather is Weather.SLICE:
                size = self._chance.choice((1, 2, 7, 64, 1500))
                await asyncio.sleep(0)
            writer.write(data[:size])
            await writer.drain()
            data = data[size:]

    def _reset(self) -> None:
        for writer in self._open:
            line: socket.socket = writer.get_extra_info("socket")
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
            writer.transport.abort()
