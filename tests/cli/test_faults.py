"""Faults of servers and of those who run them: one clear sentence, a non-zero exit, nothing half-applied."""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import psycopg
import pytest
from psycopg import sql
from tests.cli.program import (
    Body,
    Program,
    Ran,
    admin_secret,
    assert_no_secret_told,
    assert_one_sentence,
    cluster,
    database,
    names_on,
    read_until,
    user,
)
from tests.servers.server import Login, Server

pytestmark = pytest.mark.majors(18)


def _failed(program: Program, server: Server, *bodies: Body, code: int = 1, wait: str = "20s") -> Ran:
    """The apply, which failed with a sentence and told no secret."""
    mark = server.mark()
    ran = program.run("apply", "-f", program.write(*bodies), "--wait", wait)
    assert ran.code == code, ran.err + ran.out
    assert_one_sentence(ran)
    assert_no_secret_told(program, server.superuser.password, server.admin.password, log=server.log_since(mark))
    return ran


def test_a_wrong_password_is_told_and_never_shown(program: Program, server: Server, unique: str) -> None:
    secret = admin_secret(Login(server.superuser.user, "a-wrong-password"))
    ran = _failed(program, server, secret, cluster(server), database("app", databaseName=f"{unique}_app"))
    assert "DBCluster pg: " in ran.err
    assert "password authentication failed" in ran.err
    assert "AuthenticationFailed" in ran.err
    assert "a-wrong-password" not in ran.err
    assert names_on(server, unique) == ([], [])


def test_a_corrected_password_is_taken_at_once(program: Program, server: Server, unique: str) -> None:
    wrong = admin_secret(Login(server.superuser.user, "a-wrong-password"))
    _failed(program, server, wrong, cluster(server), database("app", databaseName=f"{unique}_app"))
    name = program.write(admin_secret(server.superuser), cluster(server), database("app", databaseName=f"{unique}_app"))
    assert program.run("apply", "-f", name).code == 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param({"endpoint": "no-such-host.invalid"}, "does not resolve", id="a host that does not resolve"),
        pytest.param({"port": 1}, "refused", id="a port that nothing listens on"),
    ],
)
def test_a_server_that_cannot_be_reached_is_told_when_the_wait_is_over(
    program: Program, server: Server, unique: str, change: Body, sentence: str
) -> None:
    bodies = admin_secret(server.superuser), cluster(server, **change), database("app", databaseName=f"{unique}_app")
    ran = _failed(program, server, *bodies, code=4, wait="1s")
    assert sentence in ran.err
    assert "the time of --wait is over" in ran.err


def test_tls_that_the_server_does_not_speak_is_told(program: Program, server: Server) -> None:
    ran = program.run(
        "apply", "--wait", "1s", "-f", program.write(admin_secret(server.superuser), cluster(server, tls={}))
    )
    assert ran.code in (1, 4)
    assert "SSL" in ran.err


def test_missing_references_are_named(program: Program, server: Server, unique: str) -> None:
    lost = database("app", clusterRef={"name": "nowhere"}, databaseName=f"{unique}_app")
    ran = _failed(program, server, lost, user(f"{unique}-reader", "no-such-db"))
    assert 'DBCluster "nowhere" does not exist' in ran.err
    assert "Database default/no-such-db does not exist" in ran.err


def test_a_missing_admin_secret_is_named(program: Program, server: Server) -> None:
    assert "Secret ops/admin does not exist" in _failed(program, server, cluster(server)).err


def test_two_resources_that_name_one_database_are_a_conflict(program: Program, server: Server, unique: str) -> None:
    twins = [database(name, databaseName=f"{unique}_app") for name in ("first", "second")]
    ran = _failed(program, server, admin_secret(server.superuser), cluster(server), *twins)
    assert ran.err.count("DatabaseConflict") == 1
    assert len([line for line in ran.out.splitlines() if line.split()[-2:-1] == ["Ready"]]) == 1
    assert names_on(server, unique)[0] == [f"{unique}_app"]


def test_two_users_that_name_one_role_are_a_conflict(program: Program, server: Server, unique: str) -> None:
    twins = [user(name, "app", username=f"{unique}_reader") for name in ("first", "second")]
    app = database("app", databaseName=f"{unique}_app")
    ran = _failed(program, server, admin_secret(server.superuser), cluster(server), app, *twins)
    assert ran.err.count("RoleConflict") == 1
    # Whoever came second gets no password for a login that is not its own.
    assert len(list((program.state / "secrets/default").glob("*-credentials.yaml"))) == 1


def test_a_foreign_database_is_left_alone(program: Program, server: Server, unique: str) -> None:
    with server.connect() as connection:
        connection.execute(f'CREATE DATABASE "{unique}_app"'.encode())
    app = database("app", databaseName=f"{unique}_app")
    ran = _failed(program, server, admin_secret(server.superuser), cluster(server), app)
    assert "DatabaseNotOurs" in ran.err
    assert program.run("delete", "-f", "all.yaml").code == 0
    assert names_on(server, unique) == ([f"{unique}_app"], [])


def test_a_foreign_role_is_left_alone(program: Program, server: Server, unique: str) -> None:
    with server.connect() as connection:
        connection.execute(f'CREATE ROLE "{unique}-reader"'.encode())
    app = database("app", databaseName=f"{unique}_app")
    reader = user(f"{unique}-reader", "app")
    ran = _failed(program, server, admin_secret(server.superuser), cluster(server), app, reader)
    assert "RoleNotOurs" in ran.err
    assert not (program.state / f"secrets/default/{unique}-reader-credentials.yaml").exists()
    assert program.run("delete", "-f", "all.yaml").code == 0
    with server.connect() as connection:
        found = connection.execute("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", (f"{unique}-reader",))
        assert found.fetchone() == (False,)


def test_an_extension_that_the_server_does_not_have_is_named(program: Program, server: Server, unique: str) -> None:
    app = database("app", databaseName=f"{unique}_app", extensions=["no_such_extension"])
    ran = _failed(program, server, admin_secret(server.superuser), cluster(server), app)
    assert "no_such_extension" in ran.err
    assert "ExtensionNotAvailable" in ran.err
    assert names_on(server, unique) == ([], [])


def test_a_template_in_use_is_told(program: Program, server: Server, unique: str) -> None:
    template = f"{unique}_template"
    with server.connect() as connection:
        connection.execute(f'CREATE DATABASE "{template}" IS_TEMPLATE true'.encode())
    app = database("app", databaseName=f"{unique}_app", template=template)
    # CREATE DATABASE itself waits five seconds for the others to leave.
    with server.connect(dbname=template):
        ran = _failed(program, server, admin_secret(server.superuser), cluster(server), app, code=4, wait="8s")
    assert "being accessed by other users" in ran.err
    assert names_on(server, f"{unique}_app")[0] == []
    assert program.run("apply", "-f", "all.yaml").code == 0


def test_an_admin_without_createrole_is_given_the_statement_for_a_dba(
    program: Program, server: Server, unique: str
) -> None:
    weak = Login(f"{unique}-weak", "weak-password-of-a-test")
    with server.connect() as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(weak.user), sql.Literal(weak.password))
        )
    app = database("app", databaseName=f"{unique}_app")
    ran = program.run("apply", "-f", program.write(admin_secret(weak), cluster(server), app))
    assert ran.code == 1
    assert f'let a DBA run: ALTER ROLE "{weak.user}" CREATEROLE;' in ran.err
    assert f'let a DBA run: ALTER ROLE "{weak.user}" CREATEDB;' in ran.err
    assert weak.password not in "".join(program.said)
    assert names_on(server, f"{unique}_app") == ([], [])
    with server.connect() as connection:
        connection.execute(f'ALTER ROLE "{weak.user}" CREATEROLE CREATEDB'.encode())
    assert program.run("apply", "-f", "all.yaml").code == 0
    assert program.run("delete", "-f", "all.yaml").code == 0


@contextmanager
def _no_slot_left(server: Server) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            while True:
                stack.enter_context(server.connect(server.admin))
        except psycopg.OperationalError:
            yield


def test_used_up_connections_are_told_and_waited_for(
    program: Program, fresh_server: Callable[[int], Server], unique: str
) -> None:
    server = fresh_server(18)
    bodies = admin_secret(server.admin), cluster(server), database("app", databaseName=f"{unique}_app")
    with _no_slot_left(server):
        ran = _failed(program, server, *bodies, code=4, wait="2s")
        assert "TooManyConnections" in ran.err
    assert program.run("apply", "-f", "all.yaml").code == 0


def test_a_server_that_goes_away_in_the_middle_leaves_nothing_that_a_second_apply_does_not_finish(
    program: Program, fresh_server: Callable[[int], Server], unique: str
) -> None:
    server = fresh_server(18)
    bodies = [admin_secret(server.superuser), cluster(server)]
    bodies += [database(f"app-{number}", databaseName=f"{unique}_{number}") for number in range(6)]
    bodies += [user(f"{unique}-reader-{number}", f"app-{number}") for number in range(6)]
    name = program.write(*bodies)
    process = program.start("apply", "-f", name, "--wait", "3s")
    # The moment at which the first database is ready, and others are being made.
    read_until(process.stderr, "Ready")
    server.stop(signal.SIGQUIT)
    _, err = process.communicate()
    assert process.returncode in (1, 4)
    assert "Traceback" not in err
    server.start()
    again = program.run("apply", "-f", name)
    assert again.code == 0, again.err
    assert program.run("plan", "-f", name).code == 0
    assert program.run("delete", "-f", name).code == 0
    assert names_on(server, unique) == ([], [])
