"""A wire between a client and a store: it can be slow, and it can be cut."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.kube.process import HOST

_CHUNK = 65536


class Wire:
    """Carries bytes to a port of loopback; what it carried towards the store is counted."""

    def __init__(self, port: int, bytes_per_second: float | None = None) -> None:
        self.carried = 0
        self._port = port
        self._rate = bytes_per_second
        self._cut_at: int | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    @property
    def endpoint(self) -> str:
        """Its URL."""
        assert self._server is not None, "it is open"
        return f"http://{HOST}:{self._server.sockets[0].getsockname()[1]}"

    @classmethod
    @asynccontextmanager
    async def opened(cls, port: int, bytes_per_second: float | None = None) -> AsyncIterator["Wire"]:
        """Give a wire to the port."""
        wire = cls(port, bytes_per_second)
        wire._server = await asyncio.start_server(wire._carry, HOST, 0)
        try:
            yield wire
        finally:
            wire.cut()
            wire._server.close()

    def cut_after(self, count: int) -> None:
        """Cut every connection, now and later, once so many bytes have been carried."""
        self._cut_at = count

    def cut(self) -> None:
        """Cut what is connected."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(HOST, self._port)
        self._writers |= {writer, far_writer}
        try:
            await asyncio.gather(self._copy(reader, far_writer, True), self._copy(far_reader, writer, False))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            for end in (writer, far_writer):
                end.transport.abort()
                self._writers.discard(end)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to_store: bool) -> None:
        while chunk := await reader.read(_CHUNK):
            if to_store:
                self.carried += len(chunk)
                if self._cut_at is not None and self.carried > self._cut_at:
                    raise ConnectionError("cut")
                if self._rate is not None:
                    await asyncio.sleep(len(chunk) / self._rate)
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
