"""The core on real servers: what is applied is what is observed, broken things are named and mended."""

import psycopg
from tests.postgres.core import (
    PASSWORD,
    desired_database,
    desired_login,
    drop_database,
    drop_login,
    make_database,
    make_login,
    plan_database,
    plan_login,
    run,
)
from tests.servers.fixtures import Admin

from dbtether.api.names import Group
from dbtether.postgres.databases.model import DesiredExtension
from dbtether.postgres.server.access import Server


def test_a_settled_database_with_users_needs_no_statement(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        database = desired_database(f"{unique}_app", extensions=(DesiredExtension("pg_trgm"),))
        await make_database(server, database)
        assert await plan_database(server, database) == ()
        for group in (Group.READONLY, Group.READWRITE, Group.ADMIN):
            user = desired_login(f"{unique}-{group}", (database.name, group))
            await make_login(server, user)
            assert await plan_login(server, desired_login(user.name, (database.name, group), verifier=None)) == ()
        assert await plan_database(server, database) == ()

    run(admin, scenario)


def test_dropping_all_leaves_nothing(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        database = desired_database(f"{unique}_app")
        await make_database(server, database)
        user = desired_login(f"{unique}-u", (database.name, Group.ADMIN))
        await make_login(server, user)
        with psycopg.connect(admin.server.dsn(user.name, PASSWORD, database.name)) as connection:
            connection.execute("CREATE TABLE t (id serial PRIMARY KEY); INSERT INTO t DEFAULT VALUES")
            connection.commit()
            await drop_login(server, user)
        await drop_database(server, database)
        with admin.server.connect() as connection:
            left = connection.execute(
                "SELECT rolname FROM pg_roles WHERE rolname LIKE %(p)s UNION SELECT datname FROM pg_database "
                "WHERE datname LIKE %(p)s",
                {"p": f"%{unique}%"},
            ).fetchall()
        assert left == []

    run(admin, scenario)
