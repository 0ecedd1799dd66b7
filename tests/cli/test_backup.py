"""`dbtether backup` on a real server and a folder: take, list, show, verify."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from tests.cli.program import (
    Program,
    admin_secret,
    assert_no_secret_told,
    assert_one_sentence,
    cluster,
    database,
    lines,
    user,
)
from tests.servers.fixtures import Admin
from tests.servers.server import Login

# The dump itself is tested on every major that has its programs here.
pytestmark = pytest.mark.majors(18)


@pytest.fixture
def ready(program: Program, admin: Admin, unique: str) -> Program:
    """A database with a table of 1,000 rows, made by its own admin user."""
    name = program.write(
        admin_secret(Login(admin.user, admin.password)),
        cluster(admin.server),
        database("app", databaseName=f"{unique}_app"),
        user(f"{unique}-dev", "app", "admin"),
    )
    applied = program.run("apply", "-f", name)
    assert applied.code == 0, applied.err
    with as_user(program, admin, unique) as connection:
        connection.execute("CREATE TABLE orders AS SELECT n AS id FROM generate_series(1, 1000) n")
    return program


@contextmanager
def as_user(program: Program, admin: Admin, unique: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    password = program.secret("default", f"{unique}-dev-credentials")["password"]
    with psycopg.connect(admin.server.dsn(f"{unique}-dev", password, f"{unique}_app"), autocommit=True) as connection:
        yield connection


def only_key(program: Program) -> str:
    items = program.run("backup", "list", "--from", "backups", "-o", "json").json["items"]
    assert len(items) == 1
    return str(items[0]["key"])


def test_one_command_takes_a_backup_and_the_folder_tells_of_it(ready: Program, admin: Admin, unique: str) -> None:
    mark = admin.server.mark()
    taken = ready.run("backup", "app", "--to", "backups")
    assert taken.code == 0, taken.err
    key = only_key(ready)
    assert lines(taken.out)[1] == f"  object   file://{ready.folder}/backups/{key}"
    assert lines(taken.out)[-1] == "  holds    1 tables, 1,000 rows"

    listed = lines(ready.run("backup", "list", "--from", "backups").out)
    assert listed[0].split() == ["KEY", "DATABASE", "CLUSTER", "TAKEN", "SIZE", "STATE"]
    assert listed[1].split()[:3] == [key, f"{unique}_app", "pg"]
    assert listed[1].split()[-1] == "Complete"

    assert "signed        by this installation" in ready.run("backup", "show", key, "--from", "backups").out
    verified = ready.run("backup", "verify", key, "--from", "backups")
    assert verified.code == 0
    assert "is sound" in verified.out
    assert_no_secret_told(ready, admin.password, log=admin.server.log_since(mark))
    assert not run_logins(admin, unique), "the run's login is gone"


def test_the_name_s_suffix_picks_the_format(ready: Program) -> None:
    for suffix in ("sql", "sql.zst", "dump"):
        taken = ready.run("backup", "app", "--to", "backups", "--filename", f"now.{suffix}", "-o", "json").json
        assert taken["format"] == f".{suffix}"
        assert ready.run("backup", "verify", taken["key"], "--from", "backups").code == 0


def test_a_key_that_is_taken_is_never_overwritten(ready: Program) -> None:
    first, second = (
        ready.run("backup", "app", "--to", "backups", "--filename", "daily.sql.gz", "-o", "json").json for _ in range(2)
    )
    assert first["key"].endswith("/daily.sql.gz")
    assert second["key"].endswith(f"/daily-{second['runId']}.sql.gz")
    for taken in (first, second):
        assert ready.run("backup", "verify", taken["key"], "--from", "backups").code == 0


def test_what_became_of_an_object_is_told(ready: Program) -> None:
    ready.run("backup", "app", "--to", "backups")
    key = only_key(ready)
    path = ready.folder / "backups" / key
    whole = path.read_bytes()

    path.write_bytes(whole[:-1])
    for command in (("list",), ("show", key), ("verify", key)):
        ran = ready.run("backup", *command, "--from", "backups")
        assert ran.code == 1, command
        assert f"has {len(whole) - 1} bytes, and its manifest says {len(whole)}" in ran.err

    path.write_bytes(bytes([*whole[:-20], whole[-20] ^ 1, *whole[-19:]]))
    assert ready.run("backup", "list", "--from", "backups").code == 0, "its size is right"
    verified = ready.run("backup", "verify", key, "--from", "backups", "-o", "json")
    assert verified.code == 1
    assert verified.json["sound"] is False

    path.unlink()
    assert "is gone, and its manifest is still there" in ready.run("backup", "list", "--from", "backups").err


def test_foreign_files_and_other_databases_stay_apart(ready: Program, unique: str) -> None:
    ready.run("backup", "app", "--to", "backups")
    folder = ready.folder / "backups" / "pg" / f"{unique}_app"
    (folder / "README.txt").write_text("by hand")
    (folder / "imported.sql.gz").write_bytes(b"")
    items = ready.run("backup", "list", "--from", "backups", "-o", "json").json["items"]
    assert sorted(item["state"] for item in items) == ["Complete", "NoManifest"]
    assert ready.run("backup", "list", f"{unique}_ap", "--from", "backups", "-o", "json").json["items"] == []
    assert len(ready.run("backup", "list", "app", "--from", "backups", "-o", "json").json["items"]) == 1


REFUSED = {
    "no such database": (("nothing", "--to", "b"), 1, "Database default/nothing does not exist in .dbtether"),
    "no such place": (("app", "--to", "ftp://x"), 3, "--to 'ftp://x': give a folder, s3://BUCKET"),
    "no such format": (("app", "--to", "b", "--filename", "x.zip"), 3, "the suffix picks the format"),
    "a name that leaves its folder": (("app", "--to", "b", "--filename", "../x.sql"), 3, "--filename '../x.sql'"),
    "a bucket's name that is none": (("app", "--to", "s3://A_B"), 3, "--to 's3://A_B'"),
    "a folder that is not there": (("list", "--from", "nowhere"), 1, "--from: there is no folder nowhere"),
    "a key that is not there": (("verify", "x.sql", "--from", "."), 1, "the object does not exist"),
}


def test_bad_input_gets_one_sentence(ready: Program) -> None:
    for arguments, code, told in REFUSED.values():
        ran = ready.run("backup", *arguments)
        assert ran.code == code, arguments
        assert told in ran.err
        assert_one_sentence(ran)


def test_what_the_dump_could_not_read_is_told_before_anything_is_written(
    ready: Program, admin: Admin, unique: str
) -> None:
    with admin.server.connect(dbname=f"{unique}_app") as connection:
        connection.execute("ALTER TABLE orders ENABLE ROW LEVEL SECURITY; ALTER TABLE orders FORCE ROW LEVEL SECURITY")
    ran = ready.run("backup", "app", "--to", "backups")
    assert ran.code == 1
    assert "row security hides rows of public.orders (ALTER TABLE public.orders" in ran.err
    assert list((ready.folder / "backups").rglob("*")) == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_an_end_in_the_middle_leaves_nothing_to_be_taken_for_a_backup(
    ready: Program, admin: Admin, unique: str, how: signal.Signals
) -> None:
    with as_user(ready, admin, unique) as connection:
        connection.execute("INSERT INTO orders SELECT n FROM generate_series(1, 1500000) n")
    arguments = ("backup", "app", "--to", "backups", "--filename", "big.sql")
    with ready.start(*arguments) as process:
        _wait_for(ready.folder / "backups")
        process.send_signal(how)
        process.communicate(timeout=30)
    assert process.returncode == (-how if how is signal.SIGKILL else 130)
    assert _items(ready) == []
    again = ready.run(*arguments)
    assert again.code == 0, again.err
    left = run_logins(admin, unique)
    assert len(left) == (how is signal.SIGKILL), "only a process that is killed cannot clean up"
    for role in left:
        with admin.server.connect() as connection:
            connection.execute(sql.SQL("ALTER ROLE {} VALID UNTIL 'yesterday'").format(sql.Identifier(role)))
    assert ready.run("apply", "-f", "all.yaml").code == 0
    assert not run_logins(admin, unique), "what has expired is swept"


def run_logins(admin: Admin, unique: str) -> list[str]:
    """The logins that were made for runs on the test's database."""
    query = """
        SELECT r.rolname::text FROM pg_roles r JOIN pg_auth_members m ON m.member = r.oid
          JOIN pg_roles g ON g.oid = m.roleid
         WHERE starts_with(r.rolname, 'dbtether_run_') AND strpos(g.rolname, %s) > 0 GROUP BY 1"""
    with admin.server.connect() as connection:
        return [row[0] for row in connection.execute(query, (unique,))]


def _items(program: Program) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(program.run("backup", "list", "--from", "backups", "-o", "json").out)[
        "items"
    ]
    return found


def _wait_for(folder: Path) -> None:
    end = time.monotonic() + 20
    while not any(path.is_file() and path.stat().st_size > 1_000_000 for path in folder.rglob("*")):
        assert time.monotonic() < end, "it never began"
        time.sleep(0.01)


def test_programs_of_others_read_what_was_taken(ready: Program) -> None:
    taken = ready.run("backup", "app", "--to", "backups", "-o", "json").json
    path = ready.folder / "backups" / taken["key"]
    text = subprocess.run(["gzip", "-dc", str(path)], capture_output=True, check=True).stdout
    assert b'COPY "public"."orders"' in text
