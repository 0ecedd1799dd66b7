"""A database that holds everything is what it was when it was restored, as an independent comparison tells.

What differs stands in exceptions.py, line by line; a difference that is not there fails a test here, and so does
an exception that is none any more.
"""

import gzip
from dataclasses import replace
from pathlib import Path

import pytest
from tests.backup.unpacking import UNPACK
from tests.cli.program import Program
from tests.controllers.world import scenario
from tests.restore.compare import ABOUT_THE_DATABASE, Snapshot, differences, snapshot
from tests.restore.everything import TRUSTED_EXTENSIONS, Roles, fill, regrant
from tests.restore.exceptions import (
    GIVEN_BY_DEFAULT,
    LEFT_TO_THE_TARGET,
    LOST_BY_PG_DUMP,
    MADE_BEFOREHAND,
    NAMED_BY_18,
    beyond,
)
from tests.restore.pair import Pair, expectation, rows_of
from tests.restore.round_trip import Place, load_with_psql
from tests.servers.fixtures import Admin
from tests.servers.server import Server
from tests.servers.session import Servers

from dbtether.backup.clients import ClientPrograms
from dbtether.backup.formats import DumpFormat
from dbtether.backup.restore.model import ExistingObjects, LoadWay, Rules

# As dbtether dumps.
OPTIONS = ("--no-owner", "--no-tablespaces", "--no-subscriptions", "--quote-all-identifiers")
STAYING = frozenset({"public", "ext", "my schema"})
"""Schemas that are there before a load: one that every database has, and those of its extensions."""
WAYS = ((LoadWay.TRANSACTION, DumpFormat.GZIP), (LoadWay.STAGING, DumpFormat.CUSTOM))


def roles_of(pair: Pair) -> Roles:
    return Roles(pair.group, f"{pair.unique}_reporter", f"{pair.unique}_auditor")


def filled(pair: Pair, server: Server, name: str, major: int | None = None) -> Snapshot:
    """Fill a database of a server, all of it the group's."""
    roles = roles_of(pair)
    with server.connect() as connection:
        for role in (roles.owner, roles.reporter, roles.auditor):
            if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is None:
                connection.execute(f'CREATE ROLE "{role}"'.encode())
        connection.execute(f'GRANT CREATE ON DATABASE "{name}" TO "{roles.owner}"'.encode())
    with server.connect(dbname=name) as connection:
        connection.execute(f'GRANT CREATE, USAGE ON SCHEMA public TO "{roles.owner}"'.encode())
        connection.execute(f'SET ROLE "{roles.owner}"'.encode())
        fill(connection, roles, major)
        connection.execute("RESET ROLE")
        regrant(connection, roles)
        return snapshot(connection)


def assert_nothing(told: list[str]) -> None:
    assert not told, "\n".join(told)


def prepare(pair: Pair) -> Rules:
    """Make the extensions in the target, as the platform's admin does before a load."""
    for schema in ("ext", "my schema"):
        pair.at(f'CREATE SCHEMA "{schema}" AUTHORIZATION "{pair.group}"')
    for name in TRUSTED_EXTENSIONS:
        pair.at(f'CREATE EXTENSION {name} SCHEMA "{"my schema" if name == "btree_gin" else "ext"}"')
    roles = roles_of(pair)
    return Rules(
        pair.server.major, frozenset({"public", "ext", "my schema"}), frozenset({roles.reporter, roles.auditor})
    )


async def restored(pair: Pair, way: LoadWay, format_: DumpFormat) -> Snapshot:
    """Dump the source, check the dump, load it into the target, and look at that."""
    rules = prepare(pair)
    content = pair.dump(format_, *OPTIONS)
    plain = content if format_.is_custom else UNPACK[format_](content)
    expected = expectation(content, plain, None if format_.is_custom else rows_of(plain))
    await pair.check(content, format_, expected)
    await pair.load(content, replace(pair.request, rules=rules), format=format_, way=way, expected=expected)
    with pair.server.connect(dbname=pair.unique) as connection:
        return snapshot(connection)


@pytest.mark.parametrize(("way", "format_"), WAYS, ids=lambda value: value.value)
@scenario
async def test_everything_comes_back(pair: Pair, way: LoadWay, format_: DumpFormat) -> None:
    before = filled(pair, pair.server, pair.source)
    found = differences(before, await restored(pair, way, format_), but=ABOUT_THE_DATABASE)
    assert_nothing(beyond(found, roles_of(pair), LOST_BY_PG_DUMP, LEFT_TO_THE_TARGET, MADE_BEFOREHAND))


@scenario
async def test_everything_comes_back_over_everything(pair: Pair) -> None:
    before = filled(pair, pair.server, pair.source)
    filled(pair, pair.server, pair.unique)
    content, roles = pair.dump(DumpFormat.PLAIN, *OPTIONS), roles_of(pair)
    rules = Rules(pair.server.major, STAYING, frozenset({roles.reporter, roles.auditor}))
    await pair.load(content, replace(pair.request, rules=rules, existing=ExistingObjects.DROP))
    with pair.server.connect(dbname=pair.unique) as connection:
        found = differences(before, snapshot(connection), but=ABOUT_THE_DATABASE)
    assert_nothing(beyond(found, roles, LOST_BY_PG_DUMP, LEFT_TO_THE_TARGET, GIVEN_BY_DEFAULT))


async def moved(pair: Pair, older: Server, format_: DumpFormat) -> list[str]:
    """The undocumented differences after a restore to a newer major.

    It is compared with what the newer server makes of the same statements: each major has words of its own for
    definitions.
    """
    twin = f"{pair.unique}_twin"
    with older.connect() as connection:
        connection.execute(f'CREATE DATABASE "{pair.source}" TEMPLATE template0'.encode())
    pair.source_server = older
    try:
        filled(pair, older, pair.source)
        with pair.server.connect() as connection:
            connection.execute(f'CREATE DATABASE "{twin}" TEMPLATE template0'.encode())
        wanted = filled(pair, pair.server, twin, older.major)
        found = differences(wanted, await restored(pair, LoadWay.TRANSACTION, format_), but=ABOUT_THE_DATABASE)
    finally:
        older.drop_everything_named(pair.unique)
    named = NAMED_BY_18 if pair.server.major == 18 else ()
    return beyond(found, roles_of(pair), LOST_BY_PG_DUMP, LEFT_TO_THE_TARGET, MADE_BEFOREHAND, named)


@pytest.mark.majors(16, 17, 18)
@scenario
async def test_everything_comes_to_the_next_major(pair: Pair, servers: Servers) -> None:
    assert_nothing(await moved(pair, servers.shared(pair.server.major - 1), DumpFormat.CUSTOM))


@pytest.mark.majors(18)
@scenario
async def test_everything_comes_from_the_oldest_major(pair: Pair, servers: Servers) -> None:
    assert_nothing(await moved(pair, servers.shared(13), DumpFormat.ZSTD))


@pytest.mark.majors(13, 18)
def test_a_backup_holds_everything(admin: Admin, unique: str, clients: ClientPrograms, tmp_path: Path) -> None:
    """What `dbtether backup` takes is complete without dbtether: psql loads it."""
    place = Place(Program(tmp_path), admin, unique)
    place.make_roles()
    place.apply("app")
    place.fill("app")
    taken = place.program.run("backup", "app", "--to", "backups", "-o", "json")
    assert taken.code == 0, taken.err
    plain = gzip.decompress((tmp_path / "backups" / taken.json["key"]).read_bytes())
    before, roles, copy = place.look("app"), place.roles("app"), place.named("psql")
    with place.inside("postgres") as connection:
        connection.execute(f"CREATE DATABASE {copy} TEMPLATE template0".encode())
        # A dump has no owners: all is its who loads it. Some of it is for a superuser.
        connection.execute(f"ALTER ROLE {roles.owner} SUPERUSER".encode())
        load_with_psql(clients, place.server, copy, plain, roles.owner)
        connection.execute(f"ALTER ROLE {roles.owner} NOSUPERUSER".encode())
    assert_nothing(beyond(differences(before, place.look("psql"), but=ABOUT_THE_DATABASE), roles, LOST_BY_PG_DUMP))
