"""The kind Backup by `dbtether apply`, on a real server and a folder: once, by a process of its own."""

import time

import pytest
import yaml
from tests.cli.program import Body, Program, admin_secret, assert_no_secret_told, cluster, database, user
from tests.cli.test_backup import as_user, run_logins
from tests.servers.fixtures import Admin
from tests.servers.server import Login

pytestmark = pytest.mark.majors(16, 18)


def storage() -> Body:
    """A folder beside the state directory."""
    return {
        "apiVersion": "dbtether.io/v1alpha1",
        "kind": "BackupStorage",
        "metadata": {"name": "disk"},
        "spec": {"local": {"path": "."}},
    }


def backup(name: str = "first", **spec: object) -> Body:
    """A Backup of the database `app`."""
    body = {"databaseRef": {"name": "app"}, "storageRef": {"name": "disk"}, **spec}
    return {
        "apiVersion": "dbtether.io/v1alpha1",
        "kind": "Backup",
        "metadata": {"name": name, "namespace": "default"},
        "spec": body,
    }


def status_of(program: Program, name: str = "first") -> Body:
    """What the state says of a Backup."""
    path = program.state / "resources" / "Backup" / "default" / f"{name}.yaml"
    found: Body = yaml.safe_load(path.read_text())["status"]
    return found


@pytest.fixture
def ready(program: Program, admin: Admin, unique: str) -> Program:
    """A database with a table of 1,000 rows, made by its own admin user."""
    name = program.write(
        admin_secret(Login(admin.user, admin.password)),
        cluster(admin.server),
        database("app", databaseName=f"{unique}_app"),
        user(f"{unique}-dev", "app", "admin"),
        storage(),
    )
    applied = program.run("apply", "-f", name)
    assert applied.code == 0, applied.err
    with as_user(program, admin, unique) as connection:
        connection.execute("CREATE TABLE orders AS SELECT n AS id FROM generate_series(1, 1000) n")
    return program


def test_an_applied_backup_is_taken_once_and_stays_when_its_resource_goes(
    ready: Program, admin: Admin, unique: str
) -> None:
    mark = admin.server.mark()
    manifest = ready.write(backup(), name="backup.yaml")
    applied = ready.run("apply", "-f", manifest)
    assert applied.code == 0, applied.err
    status = status_of(ready)
    assert status["phase"] == "Completed"
    assert status["path"].startswith(f"file://{ready.folder}/pg/{unique}_app/")
    assert ready.run("backup", "verify", key_of(ready, status), "--from", ".").code == 0
    assert not run_logins(admin, unique), "the run's login is gone"
    assert not (ready.state / "jobs" / status["jobName"] / "files").exists(), "what the job was given is gone"
    assert_no_secret_told(ready, admin.password, log=admin.server.log_since(mark))

    assert ready.run("apply", "-f", manifest).code == 0
    assert status_of(ready) == status, "the same spec never runs again"

    assert ready.run("delete", "backup", "first").code == 0
    assert ready.run("backup", "verify", key_of(ready, status), "--from", ".").code == 0, "its object stays"
    assert ready.run("apply", "-f", manifest).code == 0
    again = status_of(ready)
    assert (again["path"], again["runId"], again["sha256"]) == (status["path"], status["runId"], status["sha256"])
    assert len(ready.run("backup", "list", "--from", ".", "-o", "json").json["items"]) == 1

    changed = ready.write(backup(filenameTemplate="again.sql.zst"), name="backup.yaml")
    assert ready.run("apply", "-f", changed).code == 0
    assert status_of(ready)["path"].endswith("/again.sql.zst")


def key_of(program: Program, status: Body) -> str:
    """The key of a Backup's object in the folder."""
    return str(status["path"]).removeprefix(f"file://{program.folder}/")


@pytest.mark.parametrize("seconds", [1.2, 1.8, 2.6])
def test_an_apply_that_is_killed_leaves_a_run_that_the_next_one_takes_over(
    ready: Program, admin: Admin, unique: str, seconds: float
) -> None:
    with as_user(ready, admin, unique) as connection:
        connection.execute("INSERT INTO orders SELECT n FROM generate_series(1, 300000) n")
    manifest = ready.write(backup(filenameTemplate="now.sql"), name="backup.yaml")
    first = ready.start("apply", "-f", manifest)
    time.sleep(seconds)
    first.kill()
    first.communicate()
    applied = ready.run("apply", "-f", manifest)
    assert applied.code == 0, applied.err
    status = status_of(ready)
    assert ready.run("backup", "verify", key_of(ready, status), "--from", ".").code == 0
    assert len(ready.run("backup", "list", "--from", ".", "-o", "json").json["items"]) == 1
    assert not run_logins(admin, unique)


def test_a_plan_starts_nothing(ready: Program) -> None:
    planned = ready.run("plan", "-f", ready.write(backup(), name="backup.yaml"))
    assert "Backup default/first" in planned.out
    assert planned.code == 2
    assert not list((ready.state / "jobs").glob("*"))
