"""A way for PostgreSQL clients through which a test ends the connection at a statement of its choice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Proxy:
    """Forwards to a server; cuts each connection once `statements_left` statements have passed.

    Before the cut the statement itself has reached the server or not, as `deliver` says: a crash after it was
    sent and a crash before.
    """

    port: int
    statements_left: int | None = None
    deliver: bool = True
    cut: int = 0
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    def end_after(self, statements: int, *, deliver: bool) -> None:
        """Cut at the statement after so many, counted over all connections from now on."""
        self.statements_left, self.deliver = statements, deliver

    def heal(self) -> None:
        """Let everything through again."""
        self.statements_left = None


@asynccontextmanager
async def proxied(host: str, port: int) -> AsyncIterator[Proxy]:
    """A proxy before the server, on a port of its own."""
    proxy = Proxy(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(host, port)
        back = asyncio.create_task(_pump(upstream_reader, writer))
        try:
            await _forward(proxy, reader, upstream_writer)
        finally:
            upstream_writer.close()
            back.cancel()
            await asyncio.gather(back, return_exceptions=True)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def _forward(proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Message by message (PostgreSQL documentation, "Message Flow"): the first has no type byte."""
    try:
        size = int.from_bytes(await reader.readexactly(4), "big")
        writer.write(size.to_bytes(4, "big") + await reader.readexactly(size - 4))
        while True:
            kind = await reader.readexactly(1)
            size = int.from_bytes(await reader.readexactly(4), "big")
            message = kind + size.to_bytes(4, "big") + await reader.readexactly(size - 4)
            # A statement is a simple query, or the Execute of an extended one.
            is_statement = kind in (b"Q", b"E")
            if is_statement and proxy.statements_left is not None:
                if proxy.statements_left == 0:
                    proxy.cut += 1
                    if proxy.deliver:
                        # With a Sync, or the server waits for more of the pipeline before it answers.
                        writer.write(message if kind == b"Q" else message + b"S\0\0\0\4")
                        await writer.drain()
                        await asyncio.sleep(0.01)
                    return
                proxy.statements_left -= 1
            writer.write(message)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        return
