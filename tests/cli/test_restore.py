"""`dbtether restore` on a real server and a folder: back, over, undone, and what cannot be."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
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

pytestmark = pytest.mark.majors(18)


@pytest.fixture
def ready(program: Program, admin: Admin, unique: str) -> Program:
    """A database with a table of 1,000 rows, made by its own admin user, and a backup of it."""
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
    taken = program.run("backup", "app", "--to", "backups")
    assert taken.code == 0, taken.err
    return program


@contextmanager
def as_user(program: Program, admin: Admin, unique: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    password = program.secret("default", f"{unique}-dev-credentials")["password"]
    with psycopg.connect(admin.server.dsn(f"{unique}-dev", password, f"{unique}_app"), autocommit=True) as connection:
        yield connection


def count(program: Program, admin: Admin, unique: str) -> object:
    with as_user(program, admin, unique) as connection:
        row = connection.execute("SELECT count(*) FROM orders").fetchone()
    return None if row is None else row[0]


def test_rows_deleted_by_accident_come_back_and_an_undo_takes_them_away_again(
    ready: Program, admin: Admin, unique: str
) -> None:
    with as_user(ready, admin, unique) as connection:
        connection.execute("DELETE FROM orders WHERE id > 10")
    refused = ready.run("restore", "app", "--from", "backups")
    assert refused.code == 1
    assert "has 1 object" in refused.err
    assert count(ready, admin, unique) == 10

    mark = admin.server.mark()
    restored = ready.run("restore", "app", "--from", "backups", "--on-conflict", "drop")
    assert restored.code == 0, restored.err
    told = lines(restored.out)
    assert told[0].startswith("Database default/app is restored, in ")
    assert told[2] == "  holds    1 tables, 1,000 rows"
    assert told[3].startswith(f"  before   database {unique}_app__before_")
    assert told[4] == "  undo     dbtether restore undo app"
    assert count(ready, admin, unique) == 1000
    assert_no_secret_told(ready, admin.password, log=admin.server.log_since(mark))

    undone = ready.run("restore", "undo", "app")
    assert undone.code == 0, undone.err
    assert lines(undone.out)[0].startswith("Database default/app is as it was before run ")
    assert count(ready, admin, unique) == 10

    status = ready.run("status")
    assert "Restore" not in status.out, "what the command made for itself is gone"
    assert "restore-" not in ready.run("get", "backupstorages").out


def test_an_overwrite_tells_machines_what_it_did(ready: Program, admin: Admin, unique: str) -> None:
    with as_user(ready, admin, unique) as connection:
        connection.execute("DELETE FROM orders WHERE id > 10")
    found = ready.run("restore", "app", "--from", "backups", "--on-conflict", "overwrite", "-o", "json").json
    assert (found["phase"], found["tables"], found["rows"], found["way"]) == ("Completed", 1, 1000, "transaction")
    assert "replaced" not in found
    assert count(ready, admin, unique) == 1000
    assert ready.run("restore", "undo", "app").code == 1, "nothing was replaced"


def test_a_dump_s_file_is_restored_wherever_it_lies(ready: Program, admin: Admin, unique: str) -> None:
    (path,) = (ready.folder / "backups").rglob("*.sql.gz")
    with as_user(ready, admin, unique) as connection:
        connection.execute("DROP TABLE orders")
    signed = ready.run("restore", "app", "--from", str(path), "-o", "json").json
    assert (signed["phase"], signed["way"]) == ("Completed", "transaction")

    (ready.folder / "elsewhere").mkdir()
    copy = shutil.copy(path, ready.folder / "elsewhere" / "copy.sql.gz")
    with as_user(ready, admin, unique) as connection:
        connection.execute("DROP TABLE orders")
    unsigned = ready.run("restore", "app", "--from", str(copy), "-o", "json").json
    assert (unsigned["phase"], unsigned["way"]) == ("Completed", "staging"), "nobody's word is taken for it"
    assert count(ready, admin, unique) == 1000


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("app", "--from", "nothing.sql"), 1, "there is no such file, and no Backup of this name"),
        (("app", "--from", "./nothing.sql"), 1, "there is no "),
        (("app", "--from", "ftp://host/dump.sql"), 3, "give a folder, s3://"),
        (("app", "--from", "latest", "--on-conflict", "merge"), 3, "--on-conflict: "),
        (("app", "--from", "latest", "--keep-replaced-for", "soon"), 3, "--keep-replaced-for: "),
        (("other", "--from", "latest"), 1, "does not exist in .dbtether: apply it first"),
        (("undo", "app"), 1, "has no database from before a restore"),
    ],
    ids=["no-backup", "no-file", "no-place", "no-such-way", "no-duration", "no-database", "nothing-to-undo"],
)
def test_what_cannot_be_restored_is_told_in_one_sentence(
    ready: Program, arguments: tuple[str, ...], code: int, words: str
) -> None:
    ran = ready.run("restore", *arguments)
    assert ran.code == code, ran.err
    assert words in ran.err
    assert_one_sentence(ran)


def test_a_backup_is_verified_without_touching_anything(ready: Program, admin: Admin, unique: str) -> None:
    with as_user(ready, admin, unique) as connection:
        connection.execute("DELETE FROM orders WHERE id > 10")
    done = ready.run("restore", "app", "--from", "backups", "--verify-only")
    assert done.code == 0, done.err
    first, *facts = lines(done.out)
    assert "was not touched; its backup is good" in first
    assert any("1 tables, 1,000 rows" in fact for fact in facts)
    assert count(ready, admin, unique) == 10
    refused = ready.run("restore", "app", "--from", "backups", "--verify-only", "--on-conflict", "drop")
    assert refused.code != 0
    assert "leave --on-conflict out" in refused.err
