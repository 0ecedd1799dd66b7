"""Statements as data: batches, the script that is printed, and no secret in any form of them."""

import logging
import subprocess
import traceback

import psycopg
import pytest
from psycopg import sql
from tests.postgres import facts
from tests.postgres.core import desired_database, desired_login, plan_login, run, settle_database
from tests.postgres.facts import VERIFIER, role
from tests.servers.fixtures import Admin

from dbtether.api.names import Group
from dbtether.errors import Blocked
from dbtether.postgres.connection import ConnectParameters
from dbtether.postgres.roles.model import ObservedLogin
from dbtether.postgres.roles.plan import plan
from dbtether.postgres.server.access import Server
from dbtether.postgres.statement import SecretLiteral, Statement, batches, script, statement


def _secret() -> Statement:
    return statement("Set it", "", "ALTER ROLE {r} PASSWORD {p}", r=sql.Identifier("u"), p=SecretLiteral(VERIFIER))


def test_no_representation_shows_a_secret() -> None:
    one = _secret()
    login = desired_login("u", ("app", Group.READONLY), verifier=VERIFIER)
    planned = plan(login, ObservedLogin(facts.server(16), None))
    parameters = ConnectParameters("h", 1, "u", VERIFIER)
    shown = [one, one.query, list(one.query), one.text, script([one], "postgres"), login, planned, parameters]
    shown += [role("u", verifier=VERIFIER), mapped(planned), next(batches([one]))]
    for item in shown:
        for text in (repr(item), str(item), f"{item}"):
            assert VERIFIER not in text, type(item)
            assert VERIFIER[20:40] not in text


def mapped(planned: tuple[Statement, ...]) -> dict[str, object]:
    return {one.purpose: (one, one.query) for one in planned}


def test_a_failed_comparison_shows_no_secret() -> None:
    """What pytest prints of two that differ: the fields that are compared."""
    mine, other = (desired_login("u", ("app", group), verifier=VERIFIER) for group in (Group.READONLY, Group.ADMIN))
    with pytest.raises(AssertionError) as failed:
        assert mine == other
    assert VERIFIER not in str(failed.value)
    with pytest.raises(AssertionError) as failed:
        assert _secret() == statement("Other", "", "SELECT 1")
    assert VERIFIER not in str(failed.value)
    with pytest.raises(AssertionError) as failed:
        assert role("u", verifier=VERIFIER) == role("v", verifier="x")
    assert VERIFIER not in str(failed.value)


def test_no_error_and_no_log_of_a_failed_password_shows_it(
    admin: Admin, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def scenario(server: Server) -> None:
        broken = statement(
            "Set it", "", "ALTER ROLE {r} PASSWORD {p} NONSENSE", r=sql.Identifier(unique), p=SecretLiteral(VERIFIER)
        )
        missing = statement(
            "Set it", "", "ALTER ROLE {r} PASSWORD {p}", r=sql.Identifier(unique), p=SecretLiteral(VERIFIER)
        )
        for plan_ in ([broken], [missing]):
            with pytest.raises(Blocked) as refused:
                await server.apply(plan_, "test")
            text = "".join(traceback.format_exception(refused.value)) + caplog.text + repr(refused.value)
            assert VERIFIER not in text

    run(admin, scenario)
    assert VERIFIER not in caplog.text


def test_purposes_are_one_line_and_the_script_runs_as_shown(admin: Admin, unique: str) -> None:
    """psql takes it, whatever the names hold; with a masked password it refuses instead of setting the mask."""
    name = f"{unique} 'q\"\\;\n-- x"
    execute = [
        statement(f"Purpose {name}", name, "COMMENT ON SCHEMA public IS {t}", t=sql.Literal("a\\b'c\n\\! false"))
    ]
    programs = admin.server.build.programs
    if admin.server.major < 18 or not (programs / "psql").exists():
        pytest.skip("one psql is enough")

    async def make(server: Server) -> None:
        await server.apply(
            [statement("Make", "", "CREATE DATABASE {n}", transactional=False, n=sql.Identifier(name))], "test"
        )

    run(admin, make)
    superuser = admin.server.superuser
    text = script(execute, "postgres")
    assert "\n-- Purpose" in text

    def psql(what: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [programs / "psql", "-X", "-v", "ON_ERROR_STOP=1", admin.server.dsn()],
            input=what,
            text=True,
            capture_output=True,
            check=False,
            env={"PGPASSWORD": superuser.password},
        )

    assert psql(text).returncode == 0, psql(text).stderr
    with psycopg.connect(admin.server.dsn(dbname=name)) as connection:
        row = connection.execute("SELECT obj_description('public'::regnamespace)").fetchone()
    assert row == ("a\\b'c\n\\! false",)
    masked = psql(script([_secret()], "postgres"))
    assert "syntax error" in masked.stderr


def test_statements_that_cannot_share_a_transaction_are_apart() -> None:
    def one(purpose: str, **changes: object) -> Statement:
        return statement(purpose, **{"database": "", "template": "SELECT 1", **changes})  # type: ignore[arg-type]

    found = [
        [item.purpose for item in batch.statements]
        for batch in batches(
            [one("a"), one("b"), one("c", transactional=False), one("d", transactional=False), one("e"),
             one("f", database="x"), one("g", database="x", new_transaction=True)]
        )
    ]  # fmt: skip
    assert found == [["a", "b"], ["c"], ["d"], ["e"], ["f"], ["g"]]


def test_the_password_of_a_login_reaches_no_server_log(admin: Admin, unique: str) -> None:
    async def scenario(server: Server) -> None:
        database = desired_database(f"{unique}_app")
        await settle_database(server, database)
        mark = admin.server.mark()
        user = desired_login(f"{unique}-u", (database.name, Group.READONLY))
        await server.apply(await plan_login(server, user), "test")
        assert "Correct7Horse" not in admin.server.log_since(mark)
        assert "SCRAM-SHA-256" in admin.server.log_since(mark)

    run(admin, scenario)
