"""What a backup of a Database needs from its server: the facts, a login that reads it, and its end afterwards."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from dbtether.api.names import Group
from dbtether.api.resource import Key
from dbtether.backup.manifest import Collation, Extension, Grant, Source
from dbtether.errors import Retryable
from dbtether.postgres.connection import ConnectParameters
from dbtether.postgres.databases.model import Database
from dbtether.postgres.dumps.guards import needed_groups
from dbtether.postgres.dumps.model import DesiredRunLogin, DumpSource, ObservedRunLogin, run_comment, run_login_name
from dbtether.postgres.dumps.plan import plan, plan_end
from dbtether.postgres.passwords import generate_password, scram_verifier
from dbtether.postgres.roles.model import role_names
from dbtether.postgres.server.access import Server
from dbtether.postgres.statement import Statement

_PASSWORD_LENGTH = 32


@dataclass(frozen=True, slots=True)
class DatabaseOnServer:
    """A Database resource and the database behind it."""

    key: Key
    cluster: str
    name: str
    """The database's name in PostgreSQL."""
    server: Server


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """What pg_dump is started with, and what the manifest will say of the database."""

    parameters: ConnectParameters
    """As the run's own login."""
    source: Source


@dataclass(frozen=True, slots=True)
class Preflight:
    """What was found before anything is made."""

    groups: tuple[Group, ...]
    """Whose rights the dump needs."""
    source: Source


@asynccontextmanager
async def prepared_run(
    database: DatabaseOnServer, subject: Key, run_id: str, installation: str, expires: datetime
) -> AsyncIterator[PreparedRun]:
    """A login for the run, which is gone after the block, and the database's facts.

    Raises Retryable or Blocked: also when the dump would have holes, before anything is made.
    """
    found = await preflight(database)
    parameters = await make_login(database, found, subject, run_id, installation, expires)
    try:
        yield PreparedRun(parameters, found.source)
    finally:
        await end_run(database.server, subject, run_id)


async def preflight(database: DatabaseOnServer) -> Preflight:
    """What the dump needs and what the manifest will tell. Raises Blocked when the dump would have holes."""
    found = await database.server.dump_source(database.name, role_names(database.name))
    groups = needed_groups(database.name, role_names(database.name), found)
    return Preflight(groups, await _source(database, found))


async def make_login(
    database: DatabaseOnServer, found: Preflight, subject: Key, run_id: str, installation: str, expires: datetime
) -> ConnectParameters:
    """How to connect as the run's own login, which is made, or given another password. Raises Retryable or Blocked."""
    server, password, name = database.server, generate_password(_PASSWORD_LENGTH), run_login_name(run_id)
    desired = DesiredRunLogin(
        name=name,
        comment=run_comment(subject.kind, subject.namespace, subject.name, installation),
        database=database.name,
        roles=role_names(database.name),
        groups=found.groups,
        expires=expires,
        verifier=scram_verifier(password, name),
    )
    await server.apply(plan(desired, await _observe(server, name)), str(subject))
    return replace(server.parameters, user=name, password=password)


async def end_run(server: Server, subject: Key, run_id: str) -> None:
    """End a run's sessions and drop its login, if it is there. Raises Retryable or Blocked."""
    await server.apply(plan_end(await _observe(server, run_login_name(run_id))), str(subject))


async def plan_sweep(server: Server, installation: str) -> tuple[Statement, ...]:
    """What drops the logins that killed runs have left behind, once they have expired. Raises Retryable or Blocked."""
    found = [await _observe(server, name) for name in await server.expired_runs(installation)]
    return tuple(item for observed in found for item in plan_end(observed))


def expiry(now: datetime, deadline: timedelta | None) -> datetime:
    """When a run's login expires: a little after its deadline, or after a day."""
    return now + (timedelta(days=1) if deadline is None else deadline + timedelta(minutes=10))


async def _observe(server: Server, name: str) -> ObservedRunLogin:
    return ObservedRunLogin(server.facts, (await server.shared([name])).roles.get(name))


async def _source(database: DatabaseOnServer, found: DumpSource) -> Source:
    server = database.server
    shared = await server.shared([], [database.name])
    row = shared.databases.get(database.name)
    inside = None if row is None else await server.inside(row, database.name, ())
    if row is None or inside is None:
        raise Retryable("DatabaseNotReady", f"Database {database.name} is not there, or closed; trying again")
    return Source(
        cluster=database.cluster,
        namespace=database.key.namespace,
        resource=database.key.name,
        database=database.name,
        server_version=server.facts.version,
        server_identity=server.facts.system_identifier,
        encoding=row.encoding,
        collation=_collation(row, found),
        owner=row.owner,
        connection_limit=row.connection_limit,
        size_bytes=found.size_bytes,
        grants=tuple(
            Grant(grantee=item.grantee, privilege=item.privilege, grantable=item.grantable) for item in row.acl
        ),
        settings=row.settings,
        role_settings=dict(found.role_settings),
        extensions=tuple(
            Extension(name=item.name, version=item.version, schema_name=item.schema) for item in inside.extensions
        ),
    )


def _collation(row: Database, found: DumpSource) -> Collation:
    return Collation(
        provider=row.locale_provider,
        collate=row.lc_collate,
        ctype=row.lc_ctype,
        icu_locale=row.icu_locale,
        version=found.collation_version,
    )
