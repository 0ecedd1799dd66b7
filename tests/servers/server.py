"""A real PostgreSQL server for tests: one throw-away cluster, its two administrators, its statement log."""

import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow
from tests.servers.builds import Build
from tests.servers.statement_log import LOG_LINE_PREFIX, LoggedStatement, logged_statements

from dbtether.embedded.process import (
    HOST,
    SUPERUSER,
    PostgresProcess,
    make_cluster,
    prepare_directory,
    usable_programs,
    write_password_file,
)

ADMIN = "rds_admin"

_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "100",
    "max_prepared_transactions": "5",
    "wal_level": "logical",
    "log_statement": "all",
    "log_line_prefix": LOG_LINE_PREFIX,
}
_HBA = "host all all 127.0.0.1/32 scram-sha-256\n"


@dataclass(frozen=True, slots=True)
class Login:
    """A role that can log in."""

    user: str
    password: str = field(repr=False)


@dataclass(slots=True)
class Server:
    """A server of one major; `admin` is what a managed service gives: CREATEDB CREATEROLE, no SUPERUSER."""

    build: Build
    directory: Path
    superuser: Login
    admin: Login
    _programs: Path = field(repr=False)
    _process: PostgresProcess = field(repr=False)
    host: str = HOST

    @classmethod
    def make(cls, build: Build, directory: Path) -> "Server":
        """Make a new cluster in the folder, start it, and return the server."""
        prepare_directory(directory)
        # Beside the folder, so that the servers of one run share the copy, where one is needed.
        programs = usable_programs(build.programs, directory.parent)
        superuser = Login(SUPERUSER, secrets.token_urlsafe(12))
        password_file = directory / "password"
        write_password_file(password_file, superuser.password)
        make_cluster(programs, directory / "data", password_file)
        (directory / "data" / "pg_hba.conf").write_text(_HBA)
        process = PostgresProcess.start(programs, directory / "data", directory / "server.log", _SETTINGS)
        server = cls(build, directory, superuser, Login(ADMIN, secrets.token_urlsafe(12)), programs, process)
        try:
            server._create_admin()
        except BaseException:
            server.stop()
            raise
        return server

    @property
    def major(self) -> int:
        """The major version, such as 16."""
        return self.build.major

    @property
    def version(self) -> str:
        """The full version, such as 16.14."""
        return self.build.version

    @property
    def port(self) -> int:
        """The TCP port on loopback; it stays the same over a restart."""
        return self._process.port

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        return self._process.pid

    @property
    def log(self) -> Path:
        """The server's log, with every statement."""
        return self._process.log

    def dsn(self, user: str | None = None, password: str | None = None, dbname: str = "postgres") -> str:
        """Return a connection string; of the superuser when no user is given."""
        return make_conninfo(
            host=self.host,
            port=self.port,
            user=user or self.superuser.user,
            password=(self.superuser.password if user is None else password),
            dbname=dbname,
            connect_timeout=10,
        )

    @contextmanager
    def connect(self, login: Login | None = None, dbname: str = "postgres") -> Iterator[psycopg.Connection[TupleRow]]:
        """Give an autocommit connection, of the superuser when no login is given."""
        login = login or self.superuser
        with psycopg.connect(self.dsn(login.user, login.password, dbname), autocommit=True) as connection:
            yield connection

    def start(self) -> None:
        """Start the server again on its port, after a stop."""
        self._process = PostgresProcess.start(self._programs, self.directory / "data", self.log, _SETTINGS, self.port)

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Stop the server at once, as a crash would; with SIGINT it says goodbye and writes a checkpoint."""
        self._process.stop(how)

    def restart(self) -> None:
        """Stop the server at once and start it again on its port."""
        self.stop()
        self.start()

    def mark(self) -> int:
        """Return the log's present end, to ask later what came after it."""
        return self.log.stat().st_size

    def log_since(self, mark: int) -> str:
        """Return all that the server logged after a mark."""
        with self.log.open("rb") as file:
            file.seek(mark)
            return file.read().decode(errors="replace")

    def logged_since(self, mark: int) -> list[LoggedStatement]:
        """Return the statements that the server was sent after a mark, with who sent each."""
        return logged_statements(self.log_since(mark))

    def statements_since(self, mark: int, application_name: str | None = None) -> list[str]:
        """Return the texts of the statements sent after a mark, of one application when it is named."""
        return [
            statement.text
            for statement in self.logged_since(mark)
            if application_name is None or statement.application_name == application_name
        ]

    def drop_everything_named(self, part: str) -> None:
        """Drop every database and role whose name contains the text, with all that these roles own."""
        with self.connect() as connection:
            for name in _names(connection, _DATABASES, part):
                quoted = sql.Identifier(name)
                connection.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(quoted))
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(quoted))
            roles = _names(connection, _ROLES, part)
            databases = _names(connection, _OPEN_DATABASES, "")
        for database in databases if roles else ():
            with self.connect(dbname=database) as connection:
                for role in roles:
                    connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(role)))
        with self.connect() as connection:
            for role in roles:
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))

    def _create_admin(self) -> None:
        with self.connect() as connection:
            # The verifier is made here, so that no log of these tests holds a password from the start.
            verifier = connection.pgconn.encrypt_password(
                self.admin.password.encode(), self.admin.user.encode(), b"scram-sha-256"
            ).decode()
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN CREATEDB CREATEROLE NOSUPERUSER PASSWORD {}").format(
                    sql.Identifier(self.admin.user), sql.Literal(verifier)
                )
            )


_DATABASES = """
SELECT datname FROM pg_catalog.pg_database
WHERE strpos(datname, %s) > 0 ORDER BY datname
"""
_OPEN_DATABASES = """
SELECT datname FROM pg_catalog.pg_database
WHERE strpos(datname, %s) > 0 AND datallowconn ORDER BY datname
"""
_ROLES = """
SELECT rolname FROM pg_catalog.pg_roles WHERE strpos(rolname, %s) > 0 ORDER BY rolname
"""


def _names(connection: psycopg.Connection[TupleRow], query: str, part: str) -> list[str]:
    return [row[0] for row in connection.execute(query, (part,))]
