"""Every command on real servers: apply, plan, get, describe, credentials, status, delete."""

import os
import stat

import psycopg
import pytest
import yaml
from tests.cli.program import (
    Body,
    Program,
    admin_secret,
    assert_no_secret_told,
    cluster,
    database,
    lines,
    names_on,
    user,
)
from tests.servers.fixtures import Admin
from tests.servers.server import Login, Server

# The layers below are tested on every major; what is printed does not depend on it.
pytestmark = pytest.mark.majors(18)


def _bodies(admin: Admin, unique: str) -> list[Body]:
    # The wrong way round: who refers stands before what it refers to.
    return [
        user(f"{unique}-reader", "app"),
        user(f"{unique}-owner", "app", "admin"),
        database("app", databaseName=f"{unique}_app", extensions=["pg_trgm"]),
        cluster(admin.server),
        admin_secret(Login(admin.user, admin.password)),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}, "data": {}},
    ]


def test_from_manifests_to_a_working_login_and_back(program: Program, admin: Admin, unique: str) -> None:
    name, server = program.write(*_bodies(admin, unique)), admin.server
    mark = server.mark()

    planned = program.run("plan", "-f", name)
    assert planned.code == 2
    assert f"Create database {unique}_app" in planned.out
    assert "ConfigMap other" in planned.err

    applied = program.run("apply", "-f", name)
    assert applied.code == 0, applied.err
    assert [line.split() for line in lines(applied.out)] == [
        ["NAME", "ENDPOINT", "PHASE", "VERSION", "AGE"],
        ["pg", server.host, "Connected", server.version, lines(applied.out)[1].split()[-1]],
        ["NAMESPACE", "NAME", "CLUSTER", "DATABASE", "PHASE", "AGE"],
        ["default", "app", "pg", f"{unique}_app", "Ready", lines(applied.out)[3].split()[-1]],
        ["NAMESPACE", "NAME", "DATABASE", "USERNAME", "PRIVILEGES", "PHASE", "AGE"],
        ["default", f"{unique}-owner", "app", f"{unique}-owner", "admin", "Ready", lines(applied.out)[5].split()[-1]],
        [
            "default",
            f"{unique}-reader",
            "app",
            f"{unique}-reader",
            "readonly",
            "Ready",
            lines(applied.out)[6].split()[-1],
        ],
    ]
    assert f"DatabaseUser default/{unique}-reader  Ready" in applied.err

    password = program.run("credentials", f"{unique}-reader", "--key", "password").out.strip()
    program.said.clear()
    with psycopg.connect(server.dsn(f"{unique}-reader", password, f"{unique}_app")) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)

    again = program.run("plan", "-f", name)
    assert again.code == 0
    assert again.out == "Nothing to do: the servers are as the manifests say.\n"

    assert_no_secret_told(program, admin.password, log=server.log_since(mark))
    deleted = program.run("delete", "-f", name)
    assert deleted.code == 0, deleted.err
    assert lines(deleted.out) == [
        "DBCluster pg deleted",
        "Database default/app deleted",
        f"DatabaseUser default/{unique}-owner deleted",
        f"DatabaseUser default/{unique}-reader deleted",
        "Secret ops/admin deleted",
    ]
    assert names_on(server, f"{unique}_app")[0] == []
    assert not [role for role in names_on(server, unique)[1] if not role.startswith("dbtether_")]


@pytest.fixture
def applied(program: Program, server: Server, unique: str) -> tuple[Program, str]:
    """Return the program after an apply, and the name of the manifest."""
    superuser = Admin(server, server.superuser.user, server.superuser.password, is_superuser=True)
    name = program.write(*_bodies(superuser, unique))
    assert program.run("apply", "-f", name).code == 0
    return program, name


def test_machine_output_is_alone_on_stdout(applied: tuple[Program, str]) -> None:
    program, name = applied
    listed = program.run("apply", "-f", name, "-o", "json").json
    assert [item["kind"] for item in listed["items"]] == ["DBCluster", "Database", "DatabaseUser", "DatabaseUser"]
    assert all(item["status"]["phase"] in ("Connected", "Ready") for item in listed["items"])
    assert program.run("get", "db", "app", "-o", "json").json["metadata"]["name"] == "app"
    assert yaml.safe_load(program.run("get", "databases", "-o", "yaml").out)["kind"] == "List"
    assert program.run("plan", "-f", name, "-o", "json").json["statements"] == []
    assert program.run("status", "-o", "json").json["items"][0]["kind"] == "DBCluster"
    described = program.run("describe", "Database", "app", "-o", "json").json
    assert [event["reason"] for event in described["events"]] == ["Ready"]


def test_get_lists_like_kubectl(applied: tuple[Program, str]) -> None:
    program, _ = applied
    assert lines(program.run("get", "db").out)[0].split() == ["NAME", "CLUSTER", "DATABASE", "PHASE", "AGE"]
    assert lines(program.run("get", "databases", "-A").out)[0].split()[0] == "NAMESPACE"
    elsewhere = program.run("get", "db", "-n", "elsewhere")
    assert (elsewhere.code, elsewhere.out) == (0, "")
    assert elsewhere.err == "No resources found in namespace elsewhere\n"
    assert program.run("get", "db", "nothing").code == 1
    assert "did you mean" in program.run("get", "databse").err


def test_describe_tells_spec_status_and_events(applied: tuple[Program, str], unique: str) -> None:
    program, _ = applied
    told = program.run("describe", "dbu", f"{unique}-reader").out
    for part in (
        "Phase:        Ready",
        "privileges: readonly",
        "Conditions:",
        "Events:",
        f"{unique}-reader-credentials",
    ):
        assert part in told


def test_credentials_mask_the_password_unless_it_is_asked_for(applied: tuple[Program, str], unique: str) -> None:
    program, _ = applied
    password = program.secret("default", f"{unique}-reader-credentials")["password"]
    masked = program.run("credentials", f"{unique}-reader")
    assert password not in masked.out + masked.err
    assert f"user       {unique}-reader" in masked.out
    assert program.run("credentials", f"{unique}-reader", "--key", "password").out == password + "\n"
    shown = program.run("credentials", f"{unique}-reader", "-o", "json").json
    assert shown["secrets"][0]["data"]["password"] == password
    assert program.run("credentials", f"{unique}-reader", "--key", "pasword").code == 3


def test_a_broken_grant_is_named_by_plan_and_repaired_by_apply(
    applied: tuple[Program, str], server: Server, unique: str
) -> None:
    program, name = applied
    with server.connect() as connection:
        connection.execute(f'REVOKE "dbtether_{unique}_app_readonly" FROM "{unique}-reader"'.encode())
    planned = program.run("plan", "-f", name)
    assert planned.code == 2
    assert "Plan: 1 statement;" in planned.out
    assert f"dbtether_{unique}_app_readonly" in planned.out
    script = program.run("plan", "-f", name, "--sql")
    assert script.code == 2
    assert f'GRANT "dbtether_{unique}_app_readonly" TO "{unique}-reader"' in script.out
    assert program.run("apply", "-f", name).code == 0
    assert program.run("plan", "-f", name).code == 0


def test_a_second_apply_writes_nothing_and_sends_only_selects(applied: tuple[Program, str], server: Server) -> None:
    program, name = applied
    before, mark = program.files(), server.mark()
    assert program.run("apply", "-f", name).code == 0
    assert program.files() == before
    sent = [text.lstrip() for text in server.statements_since(mark)]
    assert sent
    assert [text for text in sent if not text.startswith(("SELECT", "WITH", "SET ", "BEGIN", "COMMIT"))] == []


def test_plan_writes_nothing_not_even_where_it_may_not(applied: tuple[Program, str], unique: str) -> None:
    program, _ = applied
    name = program.write(database("more", databaseName=f"{unique}_more"), name="more.yaml")
    before = program.files()
    program.state.chmod(stat.S_IRUSR | stat.S_IXUSR)
    planned = program.run("plan", "-f", name)
    program.state.chmod(stat.S_IRWXU)
    assert planned.code == 2, planned.err
    assert f"Create database {unique}_more" in planned.out
    assert program.files() == before


def test_a_manifest_that_vanished_deletes_nothing_without_prune(
    applied: tuple[Program, str], server: Server, unique: str
) -> None:
    program, _ = applied
    superuser = Admin(server, server.superuser.user, server.superuser.password, is_superuser=True)
    fewer = program.write(*_bodies(superuser, unique)[1:], name="fewer.yaml")
    kept = program.run("apply", "-f", fewer)
    assert kept.code == 0
    assert f"DatabaseUser default/{unique}-reader; left as it is (--prune deletes)" in kept.err
    refused = program.run("apply", "-f", fewer, "--prune")
    assert refused.code == 3
    assert f"Drop login {unique}-reader  [destructive]" in refused.err
    assert "nothing was changed" in refused.err
    assert f"{unique}-reader" in names_on(server, unique)[1]
    planned = program.run("plan", "-f", fewer, "--prune", "-o", "json")
    assert planned.code == 2
    assert planned.json["destructive"] > 0
    pruned = program.run("apply", "-f", fewer, "--prune", "--yes")
    assert pruned.code == 0, pruned.err
    assert f"DatabaseUser default/{unique}-reader deleted" in pruned.err
    assert f"{unique}-reader" not in names_on(server, unique)[1]


def test_identity_fields_cannot_be_changed(applied: tuple[Program, str], unique: str) -> None:
    program, _ = applied
    name = program.write(database("app", databaseName=f"{unique}_other"), name="changed.yaml")
    before = program.files()
    ran = program.run("apply", "-f", name)
    assert ran.code == 3
    assert "spec.databaseName:" in ran.err
    assert "changed.yaml:" in ran.err
    assert program.files() == before


def test_a_generated_secret_is_not_overwritten_by_a_manifest(applied: tuple[Program, str], unique: str) -> None:
    program, _ = applied
    secret = admin_secret(Login("somebody", "something"), name=f"{unique}-reader-credentials")
    secret["metadata"]["namespace"] = "default"
    before = program.files()
    ran = program.run("apply", "-f", program.write(secret, name="secret.yaml"))
    assert ran.code == 3
    assert "was generated by dbtether" in ran.err
    assert program.files() == before


def test_verbose_tells_each_statement_on_stderr(applied: tuple[Program, str], unique: str) -> None:
    program, name = applied
    ran = program.run("delete", "-f", name, "-v")
    assert f"Database default/app: Drop database {unique}_app" in ran.err
    assert "Drop database" not in ran.out


def test_retain_keeps_the_database_and_says_so(program: Program, server: Server, unique: str) -> None:
    bodies = [
        database("app", databaseName=f"{unique}_app", deletionPolicy="Retain"),
        cluster(server),
        admin_secret(server.superuser),
    ]
    name = program.write(*bodies)
    assert program.run("apply", "-f", name).code == 0
    ran = program.run("delete", "database", "app")
    assert ran.code == 0
    assert f"database {unique}_app stays on the server (deletionPolicy: Retain)" in ran.out
    assert names_on(server, unique)[0] == [f"{unique}_app"]


def test_one_process_writes_at_a_time_and_others_may_read(applied: tuple[Program, str]) -> None:
    program, name = applied
    import fcntl

    with (program.state / "lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        locked = program.run("apply", "-f", name)
        assert locked.code == 5
        assert "is in use by" in locked.err
        assert program.run("plan", "-f", name).code == 0
        assert program.run("get", "db").code == 0


def test_the_state_directory_comes_from_the_environment(program: Program, server: Server, unique: str) -> None:
    program.environment = {"DBTETHER_STATE": "elsewhere", "DBTETHER_INSTALLATION": "ci", "ADMIN": "postgres"}
    program.environment["ADMIN_PASSWORD"] = server.superuser.password
    body = cluster(server)
    del body["spec"]["credentialsSecretRef"]
    body["spec"]["credentialsFromEnv"] = {"username": "ADMIN", "password": "ADMIN_PASSWORD"}
    name = program.write(body, database("app", databaseName=f"{unique}_app"))
    assert program.run("apply", "-f", name).code == 0
    assert (program.folder / "elsewhere" / "installation").read_text() == "ci\n"
    assert not program.state.exists()
    assert program.run("delete", "-f", name).code == 0


def test_no_colour_and_no_live_display_without_a_terminal(applied: tuple[Program, str]) -> None:
    program, name = applied
    ran = program.run("apply", "-f", name)
    assert "\x1b" not in ran.out + ran.err


def test_a_reader_that_goes_away_is_no_failure_to_shout_about(applied: tuple[Program, str]) -> None:
    program, _ = applied
    read, write = os.pipe()
    os.close(read)
    process = program.start("get", "dbu", "-A")
    assert process.stdout is not None
    process.stdout.close()
    os.close(write)
    _, err = process.communicate()
    assert "Traceback" not in err
    assert "BrokenPipe" not in err
