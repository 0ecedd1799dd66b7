"""A database to dump, one to restore into, and the login of a run: made as dbtether makes them, in plain SQL."""

import hashlib
import subprocess
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace

import psycopg
from psycopg import sql
from tests.servers.server import Server

from dbtether.backup.clients import find_clients
from dbtether.backup.formats import DumpFormat, packer
from dbtether.backup.manifest import Content
from dbtether.backup.restore.check import check
from dbtether.backup.restore.job import Expectation, tables_digest
from dbtether.backup.restore.load import Loaded, LoadRequest, load
from dbtether.backup.restore.model import ExistingObjects, Findings, LoadWay, Rules
from dbtether.backup.scanner import DumpScanner
from dbtether.postgres.connection import ConnectParameters
from dbtether.postgres.restores.model import committed_name

PASSWORD = "Correct7Horse"
RUN = "a1b2c3d4"
_CONTENTS = """
SELECT c.oid::regclass::text, c.relkind::text, pg_get_userbyid(c.relowner)::text,
       (SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum)
          FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY 1
"""


@dataclass(slots=True)
class Pair:
    """The target is `<unique>`, the source `<unique>_src`."""

    server: Server
    unique: str
    source_server: Server = field(init=False)

    def __post_init__(self) -> None:
        self.source_server = self.server

    @property
    def source(self) -> str:
        return f"{self.unique}_src"

    @property
    def group(self) -> str:
        return f"dbtether_{self.unique}_admin"

    @property
    def login(self) -> str:
        return f"dbtether_run_{self.unique}"

    def make(self) -> None:
        """Both databases, the group, and the login that runs as the group."""
        options = " WITH INHERIT TRUE, SET TRUE" if self.server.major >= 16 else ""
        with self.server.connect() as connection:
            for text in (
                f'CREATE DATABASE "{self.unique}" TEMPLATE template0',
                f'REVOKE CONNECT, TEMPORARY ON DATABASE "{self.unique}" FROM PUBLIC',
                f'CREATE ROLE "{self.group}"',
                f'GRANT CONNECT, TEMPORARY, CREATE ON DATABASE "{self.unique}" TO "{self.group}"',
                f"CREATE ROLE \"{self.login}\" LOGIN PASSWORD '{PASSWORD}'",
                f'GRANT "{self.group}" TO "{self.login}"{options}',
                f'ALTER ROLE "{self.login}" IN DATABASE "{self.unique}" SET role = \'{self.group}\'',
            ):
                connection.execute(text.encode())
        with self.server.connect(dbname=self.unique) as connection:
            connection.execute(f'GRANT CREATE, USAGE ON SCHEMA public TO "{self.group}"'.encode())
        with self.source_server.connect() as connection:
            connection.execute(f'CREATE DATABASE "{self.source}" TEMPLATE template0'.encode())

    # -- what is in the databases ------------------------------------------------------------------------------

    def fill(self, *texts: str) -> None:
        """Run statements in the source."""
        with self.source_server.connect(dbname=self.source) as connection:
            for text in texts:
                connection.execute(text.encode())

    def at(self, text: str, *, as_owner: bool = False) -> list[tuple[object, ...]]:
        """Run a statement in the target, as the superuser."""
        with self.server.connect(dbname=self.unique) as connection:
            if as_owner:
                connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(self.group)))
            cursor = connection.execute(text.encode())
            return cursor.fetchall() if cursor.description else []

    def contents(self) -> list[tuple[object, ...]]:
        """Relations of the target with their columns and owners, and how many rows are in each table."""
        found = []
        for row in self.at(_CONTENTS):
            rows = self.at(f"TABLE {row[0]}") if row[1] in ("r", "p", "m") else None
            found.append((*row, None if rows is None else len(rows)))
        return found

    @property
    def is_empty(self) -> bool:
        """Whether nothing is in the target."""
        return not self.at(_CONTENTS)

    @property
    def is_committed(self) -> bool:
        """Whether the server says that the run's load was committed."""
        query = "SELECT rolconfig FROM pg_roles WHERE rolname = %s"
        with self.server.connect() as connection:
            found = connection.execute(query, (self.login,)).fetchone()
        assert found is not None
        return f"application_name={committed_name(RUN)}" in (found[0] or ())

    # -- dumps --------------------------------------------------------------------------------------------------

    def dump(self, format_: DumpFormat = DumpFormat.PLAIN, *options: str) -> bytes:
        """The source as pg_dump gives it, packed."""
        server, clients = self.source_server, find_clients(self.source_server.major)
        kind = "custom" if format_.is_custom else "plain"
        command = [
            clients.path("pg_dump"),
            f"--format={kind}",
            *options,
            "--dbname",
            server.dsn(dbname=self.source),
        ]
        plain = subprocess.run(command, capture_output=True, check=True).stdout
        return plain if format_.is_custom else packed(plain, format_)

    # -- restores -----------------------------------------------------------------------------------------------

    @property
    def rules(self) -> Rules:
        return Rules(self.server.major)

    @property
    def request(self) -> LoadRequest:
        """Load a plain dump in one transaction into the target."""
        return LoadRequest(
            parameters=ConnectParameters(self.server.host, self.server.port, self.login, PASSWORD, sslmode="disable"),
            database=self.unique,
            application_name="dbtether: restore team/again",
            run_id=RUN,
            owner=self.group,
            way=LoadWay.TRANSACTION,
            existing=ExistingObjects.REFUSE,
            rules=self.rules,
            format=DumpFormat.PLAIN,
            expected=None,
        )

    async def load(self, content: bytes, request: LoadRequest | None = None, **changes: object) -> Loaded:
        """Load an object into the target."""
        return await load(replace(request or self.request, **changes), pieces(content))  # type: ignore[arg-type]

    async def check(
        self, content: bytes, format_: DumpFormat = DumpFormat.PLAIN, expected: Expectation | None = None
    ) -> Findings:
        """Pass an object through the first pass."""
        return await check(pieces(content), format_, self.rules, expected)


async def pieces(content: bytes, size: int = 64 * 1024) -> AsyncIterator[bytes]:
    """The object as a store would give it."""
    for start in range(0, len(content), size):
        yield content[start : start + size]


def packed(plain: bytes, format_: DumpFormat) -> bytes:
    """A plain dump as an object of this format."""
    stream = packer(format_)
    return stream.pack(plain) + stream.finish()


def expectation(content: bytes, plain: bytes, rows: Mapping[str, int] | None = None) -> Expectation:
    """What the manifest of a dump would say."""
    return Expectation(
        stored=_content(content),
        plain=_content(plain),
        tables=None if rows is None else len(rows),
        rows=None if rows is None else sum(rows.values()),
        tables_sha256=None if rows is None else tables_digest(rows),
    )


def rows_of(plain: bytes) -> dict[str, int]:
    """The rows of each table in a plain dump."""
    scanner = DumpScanner()
    scanner.feed(plain)
    return scanner.close().rows


def _content(data: bytes) -> Content:
    return Content(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def sessions_of(server: Server, login: str) -> int:
    """How many sessions a login has."""
    with psycopg.connect(server.dsn()) as connection:
        found = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", (login,)).fetchone()
    assert found is not None
    return int(found[0])
