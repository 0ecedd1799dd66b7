"""The environment that PostgreSQL's client programs run in: where and as whom, without a secret to be seen."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from psycopg.conninfo import make_conninfo

from dbtether.postgres.connection import ConnectParameters

# A tenant's ALTER ROLE or ALTER DATABASE must neither end a dump nor change what is in it.
_OPTIONS = (
    "-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0 -c row_security=off "
    "-c default_transaction_read_only={read_only} -c search_path=pg_catalog"
)
_OPTIONS_SINCE = ((17, "-c transaction_timeout=0"),)
_PASSED_ON = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR")


@contextmanager
def client_environment(
    parameters: ConnectParameters,
    database: str,
    application_name: str,
    *,
    major: int,
    read_only: bool,
    inherited: Mapping[str, str],
) -> Iterator[dict[str, str]]:
    """The variables for pg_dump, psql or pg_restore; the password is in a file (mode 0600) that goes with them."""
    options = _OPTIONS.format(read_only="on" if read_only else "off")
    options += "".join(f" {option}" for since, option in _OPTIONS_SINCE if major >= since)
    with tempfile.TemporaryDirectory(prefix="dbtether-client-") as folder:
        passwords = Path(folder) / "passwords"
        passwords.touch(mode=0o600)
        passwords.write_text(_password_line(parameters, database))
        values = {
            "PGHOST": parameters.host,
            "PGPORT": str(parameters.port),
            "PGUSER": parameters.user,
            "PGDATABASE": database,
            "PGPASSFILE": str(passwords),
            "PGSSLMODE": parameters.sslmode,
            "PGSSLROOTCERT": parameters.sslrootcert,
            "PGSSLCERT": parameters.sslcert,
            "PGSSLKEY": parameters.sslkey,
            "PGGSSENCMODE": "disable",
            "PGCONNECT_TIMEOUT": str(max(2, round(parameters.connect_timeout_seconds))),
            "PGAPPNAME": application_name[:63],
            "PGOPTIONS": options,
            # Understood from libpq 16 on: a server that asks for the password in clear text could be anybody.
            "PGREQUIREAUTH": None if parameters.sslmode == "verify-full" else "!password",
            "LC_ALL": "C",
        }
        kept = {name: inherited[name] for name in _PASSED_ON if name in inherited}
        yield kept | {name: value for name, value in values.items() if value is not None}


def connection_target(database: str) -> str:
    """The `--dbname` of a client program: what no environment variable can say."""
    return make_conninfo(
        "", dbname=database, keepalives_idle=30, keepalives_interval=10, keepalives_count=3, tcp_user_timeout=60000
    )


def _password_line(parameters: ConnectParameters, database: str) -> str:
    """One line of a password file (libpq documentation, "The Password File")."""
    fields = (parameters.host, str(parameters.port), database, parameters.user, parameters.password)
    return ":".join(field.replace("\\", "\\\\").replace(":", "\\:") for field in fields) + "\n"
