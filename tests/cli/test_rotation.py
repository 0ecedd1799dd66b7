"""Time that passes for a state directory: a new password now, what is due, and a process that stays."""

import random
import shutil
import signal
import time
from typing import Any

import psycopg
import pytest
import yaml
from tests.cli.program import Program, admin_secret, assert_no_secret_told, cluster, database, read_until, user
from tests.servers.server import Server

pytestmark = pytest.mark.majors(18)

OVERLAP = {"rotation": {"days": 30, "strategy": "Overlap"}}


def applied(program: Program, server: Server, unique: str, **spec: Any) -> str:
    """A user `app` whose login is `unique`; gives what apply said."""
    bodies = [admin_secret(server.superuser), cluster(server), database("app", databaseName=unique)]
    bodies.append(user("app", "app", username=unique, **spec))
    ran = program.run("apply", "-f", program.write(*bodies), "--installation", unique)
    assert ran.code == 0, ran.err
    return ran.err


def credentials(program: Program) -> tuple[str, str]:
    secret = program.secret("default", "app-credentials")
    return secret["user"], secret["password"]


def works(server: Server, unique: str, login: tuple[str, str]) -> bool:
    try:
        psycopg.connect(server.dsn(*login, unique)).close()
    except psycopg.OperationalError:
        return False
    return True


def grow_old(program: Program) -> None:
    """Let the password be from long ago."""
    path = program.state / "resources" / "DatabaseUser" / "default" / "app.yaml"
    body = yaml.safe_load(path.read_text())
    body["status"]["passwordUpdatedAt"] = "2020-01-01T00:00:00Z"
    body["status"].pop("nextRotation", None)
    path.write_text(yaml.safe_dump(body, sort_keys=False))


def test_rotate_replaces_a_password_and_says_where_it_is(program: Program, server: Server, unique: str) -> None:
    applied(program, server, unique)
    seen = [credentials(program)]
    for _ in range(2):
        ran = program.run("rotate", "app")
        assert ran.code == 0, ran.err
        assert "the new password is in Secret app-credentials" in ran.out
        seen.append(credentials(program))
        assert works(server, unique, seen[-1])
        assert not works(server, unique, seen[-2])
    assert_no_secret_told(program, *(password for _, password in seen))


def test_rotate_refuses_what_it_cannot_do(program: Program, server: Server, unique: str) -> None:
    assert program.run("rotate", "app").code == 5
    assert not program.state.exists()
    applied(program, server, unique)
    ran = program.run("rotate", "nobody")
    assert ran.code == 1
    assert "DatabaseUser default/nobody does not exist" in ran.err


def test_apply_says_that_time_passes_by_run_and_tick(program: Program, server: Server, unique: str) -> None:
    said = applied(program, server, unique, **OVERLAP)
    assert "only with `dbtether run`, or `dbtether tick` from cron" in said


def test_tick_does_what_is_due_and_nothing_else(program: Program, server: Server, unique: str) -> None:
    applied(program, server, unique, **OVERLAP)
    first = credentials(program)
    ran = program.run("tick")
    assert (ran.code, ran.out) == (0, "")
    assert credentials(program) == first
    grow_old(program)
    ran = program.run("tick")
    assert ran.code == 0, ran.err
    assert "DatabaseUser default/app  PasswordRotated: " in ran.out
    second = credentials(program)
    assert second[0] == f"{unique}_b"
    assert works(server, unique, first)
    assert works(server, unique, second)
    assert_no_secret_told(program, first[1])


@pytest.mark.parametrize("strategy", ["InPlace", "Overlap"])
def test_a_tick_that_is_killed_anywhere_is_finished_by_the_next(
    program: Program, server: Server, unique: str, strategy: str
) -> None:
    applied(program, server, unique, rotation={"days": 30, "strategy": strategy})
    chance = random.Random(strategy)
    for _ in range(5):
        before = credentials(program)
        grow_old(program)
        process = program.start("tick")
        time.sleep(chance.uniform(0.3, 1.6))
        process.kill()
        process.communicate()
        shown = credentials(program)
        assert strategy == "InPlace" or (works(server, unique, shown) and works(server, unique, before))
        ran = program.run("tick")
        assert ran.code == 0, ran.err
        after = credentials(program)
        assert after != before
        assert shown in (before, after)
        assert works(server, unique, after)
        assert works(server, unique, before) is (strategy == "Overlap")


def test_run_keeps_the_state_and_ends_by_a_signal(program: Program, server: Server, unique: str) -> None:
    applied(program, server, unique, **OVERLAP)
    grow_old(program)
    process = program.start("run")
    seen = read_until(process.stderr, "Ctrl-C ends it")
    refused = program.run("apply", "-f", "all.yaml")
    assert refused.code == 5
    assert "stop it (dbtether run ends only then)" in refused.err
    with server.connect() as connection:
        connection.execute(f'ALTER ROLE "{unique}" CONNECTION LIMIT 3')
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0, seen + err
    assert "stopped" in err
    assert program.run("tick").code == 0


def test_import_knows_both_logins_of_a_user(program: Program, server: Server, unique: str) -> None:
    applied(program, server, unique, **OVERLAP)
    assert program.run("rotate", "app").code == 0
    program.write(admin_secret(server.superuser), cluster(server), name="server.yaml")
    shutil.rmtree(program.state)
    imported = program.run("import", "-f", "server.yaml", "--installation", unique)
    assert imported.code == 0, imported.err
    (found,) = program.run("get", "dbu", "-o", "json").json["items"]
    assert found["status"]["secondLogin"] == f"{unique}_b"
    assert program.run("apply", "-f", "all.yaml").code == 0
    assert program.run("delete", "dbu", "app").code == 0
    with server.connect() as connection:
        left = connection.execute("SELECT count(*) FROM pg_roles WHERE rolname LIKE %s", (f"{unique}%",)).fetchone()
    assert left == (0,)
