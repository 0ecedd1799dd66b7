"""Servers with a policy, a firewall of their own, a standby or an upgrade: what is said, and what cures it."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.controllers.world import World, scenario
from tests.servers.builds import NoBuild
from tests.servers.fixtures import Admin
from tests.servers.server import Server

from dbtether.embedded.process import PostgresProcess, server_account, usable_programs


def set_on_server(world: World, name: str, value: str) -> None:
    """A setting that the server reads at its start."""
    with world.admin.server.connect() as connection:
        connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
    # With a checkpoint: these servers write nothing to the disk in time.
    world.admin.server.stop(signal.SIGINT)
    world.admin.server.start()


@pytest.mark.majors(13, 18)
@scenario
async def test_a_password_that_the_servers_policy_rejects_is_said_and_another_one_taken(
    world: World, fresh: World
) -> None:
    """passwordcheck sees a verifier only, and still knows the password that is the login's name."""
    del world
    set_on_server(fresh, "shared_preload_libraries", "passwordcheck")
    await fresh.cluster()
    await fresh.database()
    own = f"{fresh.unique}-own"
    await fresh.store.apply_secret("team", own, {"password": fresh.login().encode()})
    await fresh.user(passwordSecretRef={"name": own, "key": "password"})
    await fresh.user("generated")
    await fresh.settle()
    assert await fresh.reason(fresh.user_key()) == "PasswordRejected"
    message = str((await fresh.status(fresh.user_key()))["message"])
    assert "password must not " in message
    assert "put another password into the Secret" in message
    assert fresh.login() not in fresh.left()
    await fresh.assert_ready(fresh.user_key("generated"))

    await fresh.store.apply_secret("team", own, {"password": b"Correct7Horse"})
    await fresh.settled_and_ready()
    await fresh.store.apply_secret("team", own, {"password": fresh.login().encode()})
    await fresh.settle()
    assert await fresh.reason(fresh.user_key()) == "PasswordRejected"
    assert fresh.works(fresh.login(), "Correct7Horse", fresh.named()), "the old one stays until a good one comes"


@contextmanager
def hba(server: Server, line: str) -> Iterator[None]:
    """A first line in pg_hba.conf; the first that fits decides."""
    path = server.directory / "data" / "pg_hba.conf"
    before = path.read_text()
    path.write_text(f"{line}\n{before}")
    with server.connect() as connection:
        connection.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            path.write_text(before)
            connection.execute("SELECT pg_reload_conf()")


@pytest.mark.majors(13, 18)
@scenario
async def test_a_login_that_pg_hba_refuses_is_not_said_to_work(world: World) -> None:
    await world.cluster()
    await world.database()
    await world.user()
    with hba(world.admin.server, f'host all "{world.login()}" 127.0.0.1/32 reject'):
        await world.settle()
        assert await world.reason(world.user_key()) == "LoginFailed"
        assert "pg_hba.conf" in str((await world.status(world.user_key()))["message"])
        await world.assert_ready(world.database_key())
    await world.settled_and_ready()
    assert await world.login_works()


@pytest.mark.majors(13, 18)
@scenario
async def test_an_extension_that_the_server_must_load_waits_for_that(world: World, fresh: World) -> None:
    """A lesser admin may neither read the setting nor make it: it hears that it needs a superuser."""
    del world
    await fresh.cluster(allowedExtensions=["pg_stat_statements"])
    await fresh.database(extensions=["pg_stat_statements"])
    await fresh.settle()
    reason = await fresh.reason(fresh.database_key())
    if not fresh.admin.is_superuser:
        assert reason == "MissingPrivileges"
        return
    assert reason == "ExtensionNeedsPreload"
    assert "shared_preload_libraries" in str((await fresh.status(fresh.database_key()))["message"])
    assert fresh.left() == []
    set_on_server(fresh, "shared_preload_libraries", "pg_stat_statements")
    await fresh.settled_and_ready()
    assert fresh.rows("SELECT count(*) >= 0 FROM pg_stat_statements", dbname=fresh.named()) == [(True,)]


@contextmanager
def standby_of(primary: Server, folder: Path) -> Iterator[Server]:
    """A streaming replica: the primary's files, taken while it is down, and a connection to it from then on."""
    folder.mkdir(mode=0o711)
    primary.stop(signal.SIGINT)
    data = folder / "data"
    shutil.copytree(primary.directory / "data", data, ignore=shutil.ignore_patterns("postmaster.pid"))
    (data / "standby.signal").touch()
    with (data / "postgresql.auto.conf").open("a") as file:
        password = primary.superuser.password
        file.write(
            f"primary_conninfo = 'host={primary.host} port={primary.port} user={primary.superuser.user} "
            f"password={password}'\n"
        )
    _give_away(data)
    primary.start()
    # A standby that could hold fewer prepared transactions than its primary does not start.
    settings = {"hot_standby": "on", "fsync": "off", "max_prepared_transactions": "5"}
    programs = usable_programs(primary.build.programs, primary.directory.parent)
    process = PostgresProcess.start(programs, data, folder / "server.log", settings)
    try:
        yield replace(primary, directory=folder, _process=process)
    finally:
        process.stop()


def _give_away(data: Path) -> None:
    account = server_account()
    for path in (data, *data.rglob("*")) if account is not None else ():
        assert account is not None
        os.chown(path, account.uid, account.gid)


@pytest.mark.majors(15, 18)
@scenario
async def test_a_standby_is_told_from_its_primary_and_a_failover_passes(world: World, fresh: World) -> None:
    del world
    primary = fresh.admin.server
    path = primary.directory / "data" / "pg_hba.conf"
    path.write_text(path.read_text() + "host replication all 127.0.0.1/32 scram-sha-256\n")
    await fresh.cluster()
    await fresh.database()
    await fresh.user()
    await fresh.settled_and_ready()
    with standby_of(primary, primary.directory.parent / f"standby-{fresh.unique}") as standby:
        await fresh.change(fresh.cluster_key, port=standby.port)
        await fresh.database("second")
        await fresh.change(fresh.user_key(), connectionLimit=3)
        await fresh.settle()
        assert "a standby" in str((await fresh.status(fresh.cluster_key))["message"])
        assert await fresh.reason(fresh.database_key("second")) == "ServerReadOnly"
        assert await fresh.reason(fresh.user_key()) == "DatabaseNotReady"
        assert await fresh.login_works(), "who only reads can go on there"
        primary.stop()
        with standby.connect() as connection:
            connection.execute("SELECT pg_promote()")
        await fresh.settled_and_ready()
        fresh.admin = replace(fresh.admin, server=standby)
        assert await fresh.login_works()


@pytest.mark.majors(18)
@scenario
async def test_a_server_that_is_read_only_by_default_is_written_to(world: World, fresh: World) -> None:
    """Providers set this when a disk is full, tenants for themselves; the admin's session says what it wants."""
    del world
    await fresh.cluster()
    set_on_server(fresh, "default_transaction_read_only", "on")
    await fresh.database()
    await fresh.settled_and_ready()


@pytest.mark.majors(18)
@pytest.mark.parametrize("old", [15, 17])
@scenario
async def test_after_an_upgrade_to_another_major_everything_is_still_ours(
    world: World, old: int, fresh_server: Callable[[int], Server]
) -> None:
    """Dumped and loaded into another server: nothing is done there before a person has said that it is meant."""
    before = _world_on(world, _server(fresh_server, old))
    await before.cluster()
    await before.database(extensions=["pg_trgm"], schemas=[{"name": "app"}])
    for level in ("readonly", "readwrite", "admin"):
        await before.user(level, privileges=level)
    await before.settled_and_ready()
    with before.logged_in(before.login("admin"), await before.password("admin"), before.named()) as connection:
        connection.execute("CREATE TABLE app.t (id serial); INSERT INTO app.t DEFAULT VALUES")
    new = fresh_server(18)
    copy(before.admin.server, new)

    after = _world_on(world, new)
    await after.admin_secret()
    await after.change(after.cluster_key, port=new.port)
    await after.settle()
    assert await after.reason(after.cluster_key) == "ServerChanged"
    assert await after.reason(after.database_key()) == "ClusterNotConnected"
    identity = after.rows("SELECT system_identifier::text FROM pg_control_system()")[0][0]
    await after.annotate(after.cluster_key, confirm_server=identity)
    await cure(after)
    await after.assert_ready()
    assert (await after.status(after.cluster_key))["postgresVersion"].startswith("18.")
    assert await after.plan() == {}
    for level in ("readonly", "readwrite", "admin"):
        assert await after.login_works(level)
    query = "SELECT * FROM app.t"
    assert after.works(after.login("readonly"), await after.password("readonly"), after.named(), query)
    with after.logged_in(after.login("admin"), await after.password("admin"), after.named()) as connection:
        connection.execute("CREATE TABLE app.later ()")
    query = "SELECT * FROM app.later"
    assert after.works(after.login("readonly"), await after.password("readonly"), after.named(), query)


async def cure(world: World) -> None:
    """What an upgrade left to a DBA: run the statements until nothing required is missing."""
    for _ in range(5):
        await world.settle()
        entries = (await world.status(world.cluster_key)).get("missingPrivileges", ())
        required = [entry["statement"] for entry in entries if entry["severity"] == "Required"]
        if not required:
            return
        with world.admin.server.connect() as connection:
            for statement in required:
                connection.execute(statement.encode())
    raise AssertionError(f"still missing: {required}")


def _world_on(world: World, server: Server) -> World:
    login = server.superuser if world.admin.is_superuser else server.admin
    return World(Admin(server, login.user, login.password, world.admin.is_superuser), world.unique, world.store)


def _server(fresh_server: Callable[[int], Server], major: int) -> Server:
    try:
        return fresh_server(major)
    except NoBuild as error:
        pytest.skip(str(error))


def copy(old: Server, new: Server) -> None:
    """Everything of one server into another, as pg_dumpall and psql of the newer one do it."""
    programs = new.build.programs
    environment = {"PGPASSWORD": old.superuser.password, "PATH": os.environ["PATH"]}
    address = ["-h", old.host, "-p", str(old.port), "-U", old.superuser.user]
    dump = subprocess.run(
        [str(programs / "pg_dumpall"), *address], env=environment, capture_output=True, check=True
    ).stdout
    # The roles that both servers have keep the newer one's password: both were made by the tests.
    kept = {f"ALTER ROLE {name} ".encode() for name in (old.superuser.user, old.admin.user)}
    lines = [line for line in dump.splitlines() if not line.startswith(tuple(kept))]
    environment["PGPASSWORD"] = new.superuser.password
    address = ["-h", new.host, "-p", str(new.port), "-U", new.superuser.user, "-d", "postgres", "-q"]
    subprocess.run(
        [str(programs / "psql"), *address],
        env=environment,
        input=b"\n".join(lines),
        check=True,
        capture_output=True,
    )
    with new.connect() as connection:
        connection.execute(f"ALTER ROLE {new.admin.user} LOGIN CREATEDB CREATEROLE".encode())
